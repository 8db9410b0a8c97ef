"""Commands made of verbs: see `jobfleet.operations.verb`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import click

from jobfleet.cli import fail
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Command, by_option, read_past
from jobfleet.cli.output import say
from jobfleet.cli.view import FORM
from jobfleet.errors import DuplicateJob, InvalidJob, JobNotFound
from jobfleet.operations.verb import FLAG, PAST, TEXT, Kind, Parameter, Verb

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


def options_of(
    verb: Verb[..., Any], *, is_optional: bool = False, status: Sequence[str] = ()
) -> Callable[[Decorated], Decorated]:
    """Add the parameters of a verb to a command, with ``--by``.

    Args:
        verb: The verb.
        is_optional: Whether the command does something else without the arguments.
        status: The values of ``--status``, if they are others than in its kind.
    """
    return lambda function: parameters_of(
        verb.parameters, is_optional=is_optional, status=status
    )(by_option(function))  # fmt: skip


def parameters_of(
    parameters: Sequence[Parameter], *, is_optional: bool = False, status: Sequence[str] = ()
) -> Callable[[Decorated], Decorated]:
    """Add parameters to a command: arguments for what must be given, and options. See `options_of`."""

    def decorate(function: Decorated) -> Decorated:
        for one in reversed(parameters):
            if one.is_argument and one.is_required:
                add = click.argument(one.name, type=Read(one.kind), metavar=one.kind.metavar, required=not is_optional)
            else:
                add = _option_of(one, status if one.name == "status" else ())
            function = add(function)
        return function

    return decorate


def _option_of(one: Parameter, words: Sequence[str]) -> Callable[[Decorated], Decorated]:
    kind = one.kind
    more: dict[str, Any] = {"help": one.help, "required": one.is_required}
    known = words or kind.schema.get("enum", ())
    if kind is FLAG:
        more |= {"is_flag": True}
    elif known:
        more |= {"type": click.Choice(known, case_sensitive=False), "callback": None if words else _reads(kind)}
    elif kind is PAST:
        more |= {"metavar": kind.metavar, "callback": read_past}
    elif kind.is_many:
        more |= {"metavar": kind.metavar, "multiple": True}
    else:
        text = {} if kind.read is TEXT.read else {"type": Read(kind)}
        more |= {"metavar": kind.metavar, **text, **({} if one.default is None else {"default": one.default})}
    return click.option(one.flag, one.name, **more)


def _reads(kind: Kind) -> Callable[[click.Context, click.Parameter, str | None], Any]:
    return lambda _ctx, _option, text: None if text is None else kind.read(text)


def command_of(verb: Verb[..., Any]) -> click.Command:
    """The command of a verb."""

    @options_of(verb)
    @click.pass_obj
    def run(invocation: Invocation, /, by: str | None, **values: Any) -> None:
        run_verb(invocation, verb, values, by)

    return click.command(verb.command.rpartition(" ")[2], cls=Command, help=verb.text)(run)


class Each(NamedTuple):
    """What became of each of some things.

    Attributes:
        done: The results by the id of what was changed.
        left: The ids of the others.
        code: The exit code.
    """

    done: Mapping[str, Any]
    left: Sequence[str]
    code: int


def each(ids: Iterable[str], act: Callable[[str], Any], why_not: Callable[[str], str]) -> Each:
    """Apply an act to each of some things. A failure is printed, and the next one follows.

    Args:
        ids: The ids.
        act: The act; its result is false if nothing has changed.
        why_not: Says why nothing has changed.
    """
    done: dict[str, Any] = {}
    left: list[str] = []
    code = fail.DONE
    for one in ids:
        try:
            if result := act(one):
                done[one] = result
                continue
            say(why_not(one))
            code = max(code, fail.FAILED)
        except (DuplicateJob, InvalidJob, JobNotFound) as error:
            say(f"{one}: {error}" if isinstance(error, DuplicateJob) else str(error))
            code = max(code, fail.NOT_FOUND if isinstance(error, JobNotFound) else fail.FAILED)
        left.append(one)
    return Each(done, left, code)


def run_verb(invocation: Invocation, verb: Verb[..., Any], values: Mapping[str, Any], by: str | None) -> None:
    """Run a verb, and show its result."""
    with invocation.fleet() as fleet:
        result = verb.on(fleet, values, by)
    data = verb.answer(values, result, FORM)
    if verb.state:
        data = {verb.noun if name == "name" else name: one for name, one in data.items()}
    invocation.output.show(data=data, ids=[verb.target_of(values)], text=verb.sentence(values, result))
