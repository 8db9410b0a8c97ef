"""`jobfleet enqueue`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

import click

from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import TIME, Command
from jobfleet.cli.output import plain_lines, say, to_json
from jobfleet.cli.schema import job_data, jsonable
from jobfleet.model import Job, JobStatus, Priority, Receipt, split_id
from jobfleet.model.unique import ON_CONFLICT, SCOPES

if TYPE_CHECKING:
    from jobfleet.fleet.sync import Fleet

_NEGATIVE = re.compile(r"-\.?\d")
PRIORITIES = [priority.name.lower() for priority in reversed(Priority)]
_MARK = "\0"  # no argument of a process can hold it


class EnqueueCommand(Command):
    """A command whose arguments may be negative numbers, also without ``--`` before them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Mark negative numbers that are no flag's value, so that they are not read as flags."""
        takers = {
            name for option in self.params if isinstance(option, click.Option) for name in option.opts if _takes(option)
        }
        marked, is_value, is_open = [], False, True
        for arg in args:
            is_open = is_open and (arg != "--" or is_value)
            marked.append(_MARK + arg if is_open and not is_value and _NEGATIVE.match(arg) else arg)
            is_value = is_open and not is_value and arg in takers
        return super().parse_args(ctx, marked)


def _takes(option: click.Option) -> bool:
    return not (option.is_flag or option.count)


def read_argument(text: str) -> object:
    """An argument as JSON, else as the text it is."""
    text = text.removeprefix(_MARK)
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def _refuse(word: str) -> NoReturn:
    raise ValueError(word)  # NaN and Infinity are no JSON


class ScopeType(click.ParamType[str | float]):
    """How long a unique key is held: a word, or a time."""

    name = "scope"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | float:
        """Read a word as it is, and all else as a time."""
        return value if value in SCOPES else TIME.convert(value, param, ctx)


def json_object(_ctx: click.Context, _option: click.Parameter, text: str | None) -> Mapping[str, object] | None:
    """A flag's value as a JSON object."""
    if text is None:
        return None
    value = read_argument(text)
    if not isinstance(value, dict):
        raise click.BadParameter(f"{text!r} is no JSON object; write it as '{{\"key\": 1}}'.")
    return value


def read_moment(_ctx: click.Context, _option: click.Parameter, text: str | None) -> datetime | None:
    """A flag's value as a time."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no ISO time; write it as 2026-11-25T14:00 or with +01:00.") from None


@click.command(cls=EnqueueCommand)
@click.argument("function", metavar="NAME")
@click.argument("args", nargs=-1, metavar="[ARG]...")
@click.option("--kwargs", metavar="JSON", callback=json_object, help="Keyword arguments, as a JSON object.")
@click.option("--queue", metavar="NAME", help="Its queue.")
@click.option("--priority", type=click.Choice(PRIORITIES, case_sensitive=False), help="Its urgency.")
@click.option("--delay", type=TIME, help="Not before so long from now.")
@click.option("--at", "scheduled_at", metavar="ISO", callback=read_moment, help="Not before this time.")
@click.option("--max-retries", type=click.IntRange(min=0), metavar="N", help="How often a failed run is repeated.")
@click.option("--retry-delay", type=TIME, help="Time before the first repetition.")
@click.option("--retry-backoff", type=float, metavar="N", help="The factor by which that time grows.")
@click.option("--no-jitter", is_flag=True, help="Keep that time exactly.")
@click.option("--max-crashes", type=click.IntRange(min=1), metavar="N", help="How many crashes of its worker fail it.")
@click.option("--timeout", type=TIME, help="How long a run may take.")
@click.option("--expires-in", type=TIME, help="Let it go if it has not started by then.")
@click.option("--tag", "tags", multiple=True, metavar="TEXT", help="A tag; may be repeated.")
@click.option("--metadata", metavar="JSON", callback=json_object, help="Data carried along, as a JSON object.")
@click.option("--user", metavar="TEXT", help="Whom it is attributed to.")
@click.option("--session", metavar="TEXT", help="The session it belongs to.")
@click.option("--correlation-id", metavar="TEXT", help="Carried into logs and context.")
@click.option("--result-ttl", type=TIME, help="How long its result is kept.")
@click.option("--id", metavar="TEXT", help="An id of your own: enqueueing it again makes no second job.")
@click.option("--unique", metavar="KEY", help="A key that one job holds at a time; {0} is its first ARG.")
@click.option("--unique-for", type=ScopeType(), metavar="SCOPE", help="How long: queued, open (default) or a time.")
@click.option("--on-conflict", type=click.Choice(ON_CONFLICT), help="What if another holds it. [default existing]")
@click.option("--debounce-max", type=TIME, help="How long debounce puts a job off at most.")
@click.option("--group", metavar="TEXT", help="The group it belongs to, for turns and limits.")
@click.option("--name", metavar="TEXT", help="A label for people; default the function's name.")
@click.option("--wait", is_flag=True, help="Wait for its end and print the result alone.")
@click.option("--wait-timeout", type=TIME, help="Wait so long at most; implies --wait.")
@click.pass_obj
def enqueue(
    invocation: Invocation,
    /,
    function: str,
    args: tuple[str, ...],
    kwargs: Mapping[str, object] | None,
    priority: str | None,
    no_jitter: bool,
    tags: tuple[str, ...],
    name: str | None,
    wait: bool,
    wait_timeout: float | None,
    **options: Any,
) -> None:
    """Put a job into the fleet and print its id.

    NAME is the function's name as workers know it; no module is imported here. Each ARG is read as JSON, else as a
    text: 20 is a number, ann@example.org a text, '"20"' a text too.
    """
    if options["delay"] is not None and options["scheduled_at"] is not None:
        raise click.UsageError("Give --at or --delay, not both.")
    job = Job(
        function if name is None else name,
        function,
        [read_argument(arg) for arg in args],
        kwargs or {},
        priority=Priority[priority.upper()] if priority else None,
        retry_jitter=False if no_jitter else None,
        tags=tags or None,
        **options,
    )
    with invocation.fleet() as fleet:
        receipt = fleet.submit(job)
        if not receipt.created:
            say(_was_there(job, receipt))
        if wait or wait_timeout is not None:
            _await(invocation, fleet, receipt.id, wait_timeout)
            return
    data = {"id": receipt.id, "created": receipt.created, "status": receipt.status}
    invocation.output.show(data=data, ids=[receipt.id], text=receipt.id)


def _was_there(job: Job, receipt: Receipt) -> str:
    if split_id(receipt.id).suffix == job.suffix:
        return f"{receipt.id} was there already."
    return f"{receipt.id} holds the unique key; it is {receipt.status}."


def _await(invocation: Invocation, fleet: Fleet, job_id: str, timeout: float | None) -> None:
    """Print a job's result, when it has one.

    Raises:
        JobFailed: It failed; JobCancelled and JobExpired likewise.
        WaitTimeout: It took too long.
    """
    from jobfleet.handle.base import outcome_of

    fleet.store.patience = invocation.config.patience
    try:
        result = fleet.wait(job_id, timeout=timeout)
    except KeyboardInterrupt:
        say(f"{job_id} goes on.")
        raise
    output = invocation.output
    if output.form == "json":
        output.show(data=job_data(result), ids=(), text="")
    elif output.form == "ids":
        output.line(job_id)
    elif result.status is JobStatus.COMPLETED:
        value = result.result
        if not isinstance(value, str):
            output.line(to_json(jsonable(value)))
        else:
            output.line(plain_lines(value) if output.is_terminal else value)
    outcome_of(result)
