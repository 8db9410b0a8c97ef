"""Commands made of verbs: see `jobfleet.operations.verb`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from jobfleet.cli import fail
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Command, by_option, yes_option
from jobfleet.cli.output import agreed, say
from jobfleet.cli.view import FORM
from jobfleet.model.option_checks import similar_function, similar_queue
from jobfleet.operations.lanes import seen
from jobfleet.operations.operation import drive_blocking
from jobfleet.operations.verb import DRY_RUN, FLAG, Kind, Verb, verbs_of

if TYPE_CHECKING:
    from types import ModuleType

    from jobfleet.fleet.sync import Fleet

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
        function = by_option(yes_option(function) if verb.question else function)
        for one in reversed(verb.parameters):
            if one.is_argument:
                is_required = one.is_required and not is_optional
                metavar = one.kind.metavar if is_required or is_optional else f"[{one.kind.metavar}]"
                add = click.argument(one.name, type=Read(one.kind), metavar=metavar, required=is_required)
            elif one.kind is FLAG:
                add = click.option(one.flag, one.name, is_flag=True, help=one.help)
            else:
                add = click.option(
                    *one.flag.split(), one.name, type=Read(one.kind), metavar=one.kind.metavar, help=one.help,
                    required=one.is_required,
                )  # fmt: skip
            function = add(function)
        return function

    return decorate


def add_verbs(module: ModuleType, *groups: click.Group) -> None:
    """Add the verbs of a module to groups of commands, but those that are written by hand there."""
    of_name = {f"{group.name}": group for group in groups}
    for verb in verbs_of(module):
        group, _, act = verb.command.partition(" ")
        if group in of_name and act not in of_name[group].commands and "command" not in verb.holes:
            of_name[group].add_command(command_of(verb))


def command_of(verb: Verb[..., Any]) -> click.Command:
    """The command of a verb."""

    @options_of(verb)
    @click.pass_obj
    def run(invocation: Invocation, /, by: str | None, yes: bool = False, **values: Any) -> int:
        return run_verb(invocation, verb, values, by, yes=yes)

    return click.command(verb.command.rpartition(" ")[2], cls=Command, help=verb.text)(run)


def run_verb(
    invocation: Invocation, verb: Verb[..., Any], values: Mapping[str, Any], by: str | None, *, yes: bool = False
) -> int:
    """Run a verb, and show its result; return the exit code."""
    with invocation.fleet() as fleet:
        lines = new_names(fleet, values.get("queue") if verb.creates else None, values.get("function"))
        if verb.question and not values.get(DRY_RUN) and not _is_agreed(fleet, verb, values, yes=yes):
            return fail.FAILED
        result = verb.on(fleet, values, by)
    for line in lines:
        say(line)
    data = verb.answer(values, result, FORM)
    if verb.state:
        data = {verb.noun if name == "name" else name: one for name, one in data.items()}
    ids = [result if isinstance(result, str) else verb.target_of(values)]
    text = result if verb.result == "id" else verb.sentence(values, result)
    invocation.output.show(data=data, ids=ids, text=text)
    return fail.FAILED if verb.fails_unchanged and not verb.has_changed(result) else fail.DONE


def _is_agreed(fleet: Fleet, verb: Verb[..., Any], values: Mapping[str, Any], *, yes: bool) -> bool:
    question = verb.question
    if not isinstance(question, str):
        question = drive_blocking(fleet.store, question(fleet.context, values))
    return not question or agreed(question, yes=yes)


def new_names(fleet: Fleet, queue: str | None, function: str | None = None) -> list[str]:
    """Return one line per name that is new. Ask before the command changes something, and print them afterwards.

    A new queue with the name of another one, but for a few letters, is left out: its creation warns.

    Args:
        fleet: The fleet.
        queue: The queue that the command may create.
        function: The function that it names.
    """
    from jobfleet.operations.workers import runs_undecorated, workers_of

    if queue is None and function is None:
        return []
    known, lines = drive_blocking(fleet.store, seen(fleet.context)), []
    if queue is not None and queue not in known.queues and similar_queue(queue, known.queues) is None:
        lines.append(f"Queue {queue!r} is new.")
    is_run = function is None or function in known.functions
    if function is not None and not is_run and not runs_undecorated(workers_of(fleet.context, known), function):
        meant = similar_function(function, known.functions)
        lines.append(f"No worker has published {function!r}{f'; did you mean {meant!r}?' if meant else '.'}")
    return lines
