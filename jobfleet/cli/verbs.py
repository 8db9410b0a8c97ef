"""Commands made of verbs: see `jobfleet.operations.verb`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from jobfleet.cli import fail
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Command, by_option, read_past, yes_option
from jobfleet.cli.output import agreed, say
from jobfleet.cli.view import FORM
from jobfleet.errors import DuplicateJob, InvalidJob, JobNotFound
from jobfleet.model.names import similar_function, similar_queue
from jobfleet.operations.lanes import seen
from jobfleet.operations.operation import drive_blocking
from jobfleet.operations.verb import DRY_RUN, FLAG, PAST, TEXT, Kind, Parameter, Verb, verbs_of

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
    )(by_option(yes_option(function) if verb.question else function))  # fmt: skip


def parameters_of(
    parameters: Sequence[Parameter], *, is_optional: bool = False, status: Sequence[str] = ()
) -> Callable[[Decorated], Decorated]:
    """Add parameters to a command: arguments for what must be given, and options. See `options_of`."""

    def decorate(function: Decorated) -> Decorated:
        for one in reversed(parameters):
            if one.is_argument:
                is_required = one.is_required and not is_optional
                metavar = one.kind.metavar if is_required or is_optional else f"[{one.kind.metavar}]"
                add = click.argument(one.name, type=_type_of(one.kind), metavar=metavar, required=is_required)
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
        more |= {"metavar": kind.metavar, "type": _type_of(kind)}
        more |= {} if one.default is None else {"default": one.default}
    return click.option(*one.flag.split(), one.name, **more)


def _type_of(kind: Kind) -> click.ParamType[Any]:
    """The type of a kind. A plain text may be completed: see `jobfleet.cli.completion`."""
    return click.STRING if kind.read is TEXT.read else Read(kind)


def _reads(kind: Kind) -> Callable[[click.Context, click.Parameter, str | None], Any]:
    return lambda _ctx, _option, text: None if text is None else kind.read(text)


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


class Each(NamedTuple):
    """The result for each of some things.

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
