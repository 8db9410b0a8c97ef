"""Commands made of verbs: see `jobfleet.operations.verb`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, TypeVar

import click

from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Command, by_option
from jobfleet.operations.verb import FLAG, Kind, Verb

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class Read(click.ParamType[Any]):
    """A value of a kind.

    Args:
        kind: The kind.
    """

    name = "text"

    def __init__(self, kind: Kind) -> None:
        self._kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read a text."""
        if not isinstance(value, str):
            return value
        try:
            return self._kind.read(value)
        except ValueError as error:
            self.fail(f"{value!r}: {error}.", param, ctx)


def options_of(verb: Verb[..., Any], *, is_optional: bool = False) -> Callable[[Decorated], Decorated]:
    """Add the parameters of a verb to a command: arguments for what must be given, and options.

    Args:
        verb: The verb.
        is_optional: Whether the command does something else without the arguments.
    """

    def decorate(function: Decorated) -> Decorated:
        function = by_option(function)
        for one in reversed(verb.parameters):
            if one.is_required:
                add = click.argument(one.name, type=Read(one.kind), metavar=one.kind.metavar, required=not is_optional)
            elif one.kind is FLAG:
                add = click.option(one.flag, one.name, is_flag=True, help=one.help)
            else:
                add = click.option(one.flag, one.name, type=Read(one.kind), metavar=one.kind.metavar, help=one.help)
            function = add(function)
        return function

    return decorate


def command_of(verb: Verb[..., Any]) -> click.Command:
    """The command of a verb."""

    @options_of(verb)
    @click.pass_obj
    def run(invocation: Invocation, /, by: str | None, **values: Any) -> None:
        run_verb(invocation, verb, values, by)

    return click.command(verb.act, cls=Command, help=verb.text)(run)


def run_verb(invocation: Invocation, verb: Verb[..., Any], values: Mapping[str, Any], by: str | None) -> None:
    """Run a verb, and show its result."""
    with invocation.fleet() as fleet:
        has_changed = attrgetter(verb.name)(fleet)(**values, by=by)
    place = {verb.noun if name == "name" else name: values[name] for name in verb.target}
    data = {**place, **({"state": verb.state} if verb.state else {}), "changed": has_changed}
    invocation.output.show(data=data, ids=[verb.target_of(values)], text=verb.sentence(values, has_changed=has_changed))
