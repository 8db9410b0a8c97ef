"""`jobfleet enqueue`."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

import click

from jobfleet.cli.following import waited, while_waiting
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import TIME, Command
from jobfleet.cli.output import plain_lines, say, to_json
from jobfleet.cli.verbs import parameters_of
from jobfleet.cli.view import job_data, jsonable
from jobfleet.errors import JobfleetError
from jobfleet.model import Job, JobStatus, Priority, Receipt, split_id
from jobfleet.model.fields import TEXTS
from jobfleet.model.option_types import ORDERS
from jobfleet.model.templates import ON_CONFLICT, SCOPES
from jobfleet.operations.by_name import check_call
from jobfleet.operations.operation import drive_blocking
from jobfleet.operations.verb import TEXT, Parameter

if TYPE_CHECKING:
    from jobfleet.fleet.sync import Fleet


_NEGATIVE = re.compile(r"-\.?\d")
UNIQUE_FOR_HELP = "How long the job holds its key: queued, open or a time. [default open]"
PRIORITIES = [priority.name.lower() for priority in reversed(Priority)]
TELL_AFTER = 2.0
"""Seconds after which ``--wait`` shows the id of a job that has not ended."""
_MARK = "\0"  # an argument of a process cannot contain it


class EnqueueCommand(Command):
    """A command whose arguments may be negative numbers without a ``--`` before them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Mark negative numbers that are not values of flags, so that click does not read them as flags."""
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
    """An argument as JSON, else as a text."""
    text = text.removeprefix(_MARK)
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def _refuse(word: str) -> NoReturn:
    raise ValueError(word)  # NaN and Infinity are not JSON


class ScopeType(click.ParamType[str | float]):
    """How long a unique key is held: a word, or a time."""

    name = "scope"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | float:
        """Read a word as it is, any other value as a time."""
        if value in SCOPES:
            return str(value)
        if isinstance(value, str) and value.isalpha():
            self.fail(f"{value!r}: use 'queued', 'open', or a time such as '30s' or '24h'.", param, ctx)
        return TIME.convert(value, param, ctx)


class DelaysType(click.ParamType[float | list[float]]):
    """One time, or several with commas between them."""

    name = "delays"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | list[float]:
        """Read each time as the settings do."""
        if not isinstance(value, str) or "," not in value:
            return TIME.convert(value, param, ctx)
        return [TIME.convert(part.strip(), param, ctx) for part in value.split(",")]


def json_object(_ctx: click.Context, _option: click.Parameter, text: str | None) -> Mapping[str, object] | None:
    """A flag's value as a JSON object."""
    if text is None:
        return None
    value = read_argument(text)
    if not isinstance(value, dict):
        raise click.BadParameter(f"{text!r} is not a JSON object; write it as '{{\"key\": 1}}'.")
    return value


def callback_job(_ctx: click.Context, _option: click.Parameter, name: str | None) -> Job | None:
    """A flag's value as a job of that function, without arguments."""
    return None if name is None else Job(name, name)


def read_moment(_ctx: click.Context, _option: click.Parameter, text: str | None) -> datetime | None:
    """A flag's value as a time."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not an ISO time; write it as 2026-11-25T14:00 or with +01:00.") from None


@click.command(cls=EnqueueCommand)
@click.argument("function", metavar="NAME")
@click.argument("args", nargs=-1, metavar="[ARG]...")
@click.option("--kwargs", metavar="JSON", callback=json_object, help="Keyword arguments, as a JSON object.")
@click.option("--queue", metavar="NAME", help="The queue of the job.")
@click.option("--priority", type=click.Choice(PRIORITIES, case_sensitive=False), help="The priority of the job.")
@click.option("--delay", type=TIME, help="Do not start the job before this time from now.")
@click.option(
    "--at", "scheduled_at", metavar="ISO", callback=read_moment, help="Do not start the job before this time."
)
@click.option("--max-retries", type=click.IntRange(min=0), metavar="N", help="Most retries after failed runs.")
@click.option(
    "--retry-delay",
    type=DelaysType(),
    metavar="TIME[,TIME]...",
    help="Delay before the first retry, or before each retry; the last one repeats.",
)
@click.option(
    "--retry-for",
    type=TIME,
    help="No retry is due later than this after the first run was due. Replaces the default of --max-retries.",
)
@click.option("--retry-backoff", type=float, metavar="N", help="Factor by which the delay grows with each retry.")
@click.option("--no-jitter", is_flag=True, help="Use the exact delay, without jitter.")
@click.option(
    "--max-crashes", type=click.IntRange(min=1), metavar="N", help="Crashes of its worker after which the job fails."
)
@click.option("--timeout", type=TIME, help="Longest time of a run.")
@click.option("--hard-timeout", type=TIME, help="Time after which a run is ended by force. [default --timeout + 10s]")
@click.option("--expires-in", type=TIME, help="The job expires if it has not started within this time.")
@click.option("--tag", "tags", multiple=True, metavar="TEXT", help="A tag; may be repeated.")
@click.option("--metadata", metavar="JSON", callback=json_object, help="Data to store with the job, as a JSON object.")
@parameters_of([Parameter(field.name, TEXT, field.help) for field in TEXTS])
@click.option("--result-ttl", type=TIME, help="How long to keep the result.")
@click.option("--id", metavar="TEXT", help="Your own id: enqueueing it again makes no second job.")
@click.option("--unique", metavar="KEY", help="A key that one job holds at a time; {0} is its first ARG.")
@click.option("--unique-for", type=ScopeType(), metavar="SCOPE", help=UNIQUE_FOR_HELP)
@click.option(
    "--on-conflict", type=click.Choice(ON_CONFLICT), help="What to do if another job holds the key. [default existing]"
)
@click.option("--debounce-max", type=TIME, help="Longest time that debounce delays a job.")
@click.option(
    "--depends-on",
    multiple=True,
    metavar="ID",
    help="A job that must complete first; a part of its id is enough. May be repeated.",
)
@click.option("--on-success", callback=callback_job, metavar="NAME", help="A function to run when the job completes.")
@click.option(
    "--on-failure",
    callback=callback_job,
    metavar="NAME",
    help="A function to run when the job fails for good or expires.",
)
@click.option("--group", metavar="TEXT", help="The group of the job, for fair shares and limits.")
@click.option("--order", type=click.Choice(ORDERS), help="Run the jobs of the group one at a time, in this order.")
@click.option("--name", metavar="TEXT", help="A label to show; default the function's name.")
@click.option("--wait", is_flag=True, help="Wait for the job to end and print only its result.")
@click.option("--wait-timeout", type=TIME, help="Longest time to wait; implies --wait.")
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
    depends_on: tuple[str, ...],
    name: str | None,
    wait: bool,
    wait_timeout: float | None,
    **options: Any,
) -> None:
    """Enqueue a job and print its id.

    NAME is the function's name in the workers; this command imports no module. Each ARG is read as JSON, else as a
    text: 20 is a number, ann@example.org a text, '"20"' a text too. If a worker has published the function, they must
    fit its parameters.
    """
    if options["delay"] is not None and options["scheduled_at"] is not None:
        raise click.UsageError("Give --at or --delay, not both.")
    with invocation.fleet() as fleet:
        job = Job(
            function if name is None else name,
            function,
            [read_argument(arg) for arg in args],
            kwargs or {},
            priority=Priority[priority.upper()] if priority else None,
            retry_jitter=False if no_jitter else None,
            tags=tags or None,
            depends_on=fleet.full_ids(depends_on) if depends_on else None,
            **options,
        )
        drive_blocking(fleet.store, check_call(fleet.context, job))
        receipt = fleet.submit(job)
        if not receipt.created:
            say(_was_there(fleet, job, receipt))
        if wait or wait_timeout is not None:
            _await(invocation, fleet, receipt.id, wait_timeout)
            return
    data = {"id": receipt.id, "created": receipt.created, "status": receipt.status}
    invocation.output.show(data=data, ids=[receipt.id], text=receipt.id)


def _was_there(fleet: Fleet, job: Job, receipt: Receipt) -> str:
    if split_id(receipt.id).suffix != job.suffix:
        return f"{receipt.id} holds the unique key; it is {receipt.status}."
    differs = _difference(fleet, job, receipt.id)
    return f"{receipt.id} exists already." + (f" {differs} Nothing was enqueued." if differs else "")


def _difference(fleet: Fleet, job: Job, job_id: str) -> str:
    """How the call of an existing job differs, as far as it is still stored; empty if it does not."""
    try:
        found = fleet.details(job_id)
    except JobfleetError:  # the id is remembered, and nothing else; or the record is sealed with another key
        return ""
    function = found.job.function
    parts = [f"function is {function!r}"] if function and function != job.function else []
    if found.args is not None and found.kwargs is not None:
        given = (*job.args,), {**job.kwargs}
        parts += ["arguments differ"] if given != (found.args, {**found.kwargs}) else []
    return f"Its {', and its '.join(parts)}." if parts else ""


def _await(invocation: Invocation, fleet: Fleet, job_id: str, timeout: float | None) -> None:
    """Wait for a job, with a progress bar on a terminal, and print its result.

    Raises:
        JobFailed: The job failed; JobCancelled and JobExpired likewise.
        WaitTimeout: The job did not end in time.
    """
    from jobfleet.handle.base import outcome_of

    fleet.store.patience = invocation.config.patience
    output = invocation.output
    view = while_waiting(output)
    tells = threading.Timer(TELL_AFTER, say, (f"{job_id} is enqueued; this waits for its end.",))
    tells.daemon = True
    if view is None:  # the bars show the job
        tells.start()
    try:
        (result,) = waited(fleet, [job_id], view, timeout=timeout)
    finally:
        tells.cancel()
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
