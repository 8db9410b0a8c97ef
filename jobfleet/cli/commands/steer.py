"""`jobfleet explain`, `reschedule`, `signal`, `move` and `forget`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from jobfleet.cli import fail
from jobfleet.cli.commands.enqueue import read_argument
from jobfleet.cli.commands.jobs import chosen, full_id, status_words
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Command, by_option, settings, yes_option
from jobfleet.cli.output import Cell, agreed, count, plain, say
from jobfleet.cli.verbs import each, options_of
from jobfleet.cli.view import explained_details, explanation_data
from jobfleet.errors import InvalidJob, JobNotFound
from jobfleet.model import WAITING, JobStatus, Priority, check_queue
from jobfleet.model.result import ReasonCode
from jobfleet.model.status import ShownState
from jobfleet.operations.jobs import steer

if TYPE_CHECKING:
    from jobfleet.fleet.sync import Fleet


some_ids = click.argument("ids", nargs=-1, metavar="[ID]...")


@click.command(cls=Command)
@click.argument("id", metavar="ID")
@click.pass_obj
def explain(invocation: Invocation, id: str) -> int:
    """Explain why a job is not running, or how it ended.

    Reasons that block the job come first.
    """
    with invocation.fleet() as fleet:
        explanation = fleet.explain(full_id(fleet, id))
    output = invocation.output
    lines = [output.wrapped(plain(reason.text), indent=2) for reason in explanation.reasons]
    if explanation.status is not None:
        is_parked = any(reason.code is ReasonCode.PARKED for reason in explanation.reasons)
        status = str(ShownState.PARKED) if is_parked else explanation.status
        head = "  ".join((explanation.id, status, plain(explanation.function)))
        details = explained_details(output, explanation.details) if explanation.details is not None else ""
        lines = [head.rstrip(), *lines, *details.splitlines()]
        lines = [output.styled(lines[0], "dim"), *(f"  {line}" for line in lines[1:])]
    elif output.form == "table":
        say(explanation.reasons[0].text)
        return fail.NOT_FOUND
    output.show(data=explanation_data(explanation), ids=[explanation.id], text="\n".join(lines))
    return fail.DONE if explanation.status is not None else fail.NOT_FOUND


@click.command(cls=Command)
@some_ids
@options_of(steer.reschedule_many, status=status_words(WAITING))
@yes_option
@click.pass_obj
def reschedule(
    invocation: Invocation,
    /,
    ids: tuple[str, ...],
    at: datetime | None,
    delay: float | None,
    priority: Priority | None,
    by: str | None,
    yes: bool,
    **options: Any,
) -> int:
    """Give waiting jobs another due time, another priority, or both.

    Select jobs by id or by options. With options, the command shows the number of jobs and asks for confirmation.
    Exit code 1 if a job runs or has ended, 3 if there is none.
    """
    wanted = chosen(ids, options)
    steer.change_of(at, delay, priority)  # report an invalid change once, not for each job
    change: dict[str, Any] = {"at": at, "delay": delay, "priority": priority, "by": by}
    with invocation.fleet() as fleet:
        if not wanted:
            return _each(invocation, fleet, ids, "rescheduled", lambda job_id: fleet.reschedule(job_id, **change))
        number = fleet.reschedule_many(**wanted, **change, dry_run=True)
        if number and not agreed(f"Reschedule {count(number, 'waiting job')}?", yes=yes):
            return fail.FAILED
        number = fleet.reschedule_many(**wanted, **change) if number else 0
    return _counted(invocation, "rescheduled", number)


@click.command(cls=Command)
@some_ids
@options_of(steer.move_many, status=status_words(WAITING - {JobStatus.BLOCKED}))
@yes_option
@click.pass_obj
def move(invocation: Invocation, /, ids: tuple[str, ...], to: str, by: str | None, yes: bool, **options: Any) -> int:
    """Move waiting jobs to another queue, as new jobs, and print their ids.

    Select jobs by id or by options. With options, the command shows the number of jobs and asks for confirmation. The
    old jobs end as cancelled and refer to the new ones. Repeat an interrupted move to complete it.
    """
    wanted = chosen(ids, options)
    check_queue(to)
    with invocation.fleet() as fleet:
        if not wanted:
            return _each(invocation, fleet, ids, "moved", lambda job_id: fleet.move(job_id, to, by=by))
        number = fleet.move_many(to, **wanted, by=by, dry_run=True)
        if number and not agreed(f"Move {count(number, 'waiting job')} to {to}?", yes=yes):
            return fail.FAILED
        number = fleet.move_many(to, **wanted, by=by) if number else 0
    return _counted(invocation, "moved", number)


def _each(
    invocation: Invocation, fleet: Fleet, ids: tuple[str, ...], verb: str, act: Callable[[str], bool | str]
) -> int:
    """Apply an act to each job."""
    done, left, code = each(
        dict.fromkeys(fleet.full_ids(ids)), act, lambda job_id: (
            f"{job_id} is {fleet.poll(job_id).status}; only a scheduled, queued or retrying job can be {verb}."
        ),
    )  # fmt: skip
    output = invocation.output
    pairs = [(job_id, answer if isinstance(answer, str) else job_id) for job_id, answer in done.items()]
    output.show(
        data={verb: [{"id": old, "now": new} if verb == "moved" else old for old, new in pairs], "left": left},
        ids=[new for _, new in pairs],
        text="\n".join(
            f"{old}  {output.styled(*Cell(verb, 'green'))}{f' → {new}' if verb == 'moved' else ''}"
            for old, new in pairs
        ),
    )
    return code


def _counted(invocation: Invocation, verb: str, number: int) -> int:
    text = f"{verb.capitalize()} {count(number, 'job')}."
    invocation.output.show(data={verb: number}, ids=(), text=text)
    return fail.DONE if number else fail.NOT_FOUND


@click.command(cls=Command)
@click.argument("id", metavar="ID")
@by_option
@yes_option
@settings("archive_url")
@click.pass_obj
def forget(invocation: Invocation, id: str, by: str | None, yes: bool) -> int:
    """Erase an ended job: its result, call, log, dead letter, indexes and archived rows.

    Asks first. The journal keeps the id, the time and the author. Exit code 1 if the job has not ended, or if other
    jobs wait for it; 3 if nothing is known about it; 4 if Redis or the archive does not answer: then repeat the
    command.
    """
    with invocation.fleet() as fleet:
        job_id = full_id(fleet, id)
        if not agreed(f"Erase {job_id} permanently?", yes=yes):
            return fail.FAILED
        try:
            was_known = fleet.forget(job_id, by=by)
        except InvalidJob as error:
            say(str(error))
            return fail.FAILED
    if not was_known:
        say(str(JobNotFound(job_id)))
    done = [job_id] if was_known else []
    invocation.output.show(data={"forgotten": done}, ids=done, text=f"Erased {job_id}." if was_known else "")
    return fail.DONE if was_known else fail.NOT_FOUND


@click.command(cls=Command)
@click.argument("id", metavar="ID")
@click.argument("name", metavar="NAME")
@click.argument("value", metavar="[JSON]", required=False)
@by_option
@click.pass_obj
def signal(invocation: Invocation, id: str, name: str, value: str | None, by: str | None) -> int:
    """Send a signal to a job that waits for it, or will: ctx.wait_for(NAME) returns the value.

    A value that is not JSON is a text; without a value it is null. The first signal of a name wins. Exit code 1 if
    the job has ended or another such signal came first, 3 if there is no such job.
    """
    with invocation.fleet() as fleet:
        job_id = full_id(fleet, id)
        was_sent = fleet.signal(job_id, name, None if value is None else read_argument(value), by=by)
    if not was_sent:
        say(f"{job_id} has ended, or another signal {plain(name)!r} came first.")
    invocation.output.show(
        data={"id": job_id, "signal": name, "sent": was_sent},
        ids=[job_id] if was_sent else [],
        text=f"{job_id}  {invocation.output.styled(*Cell('signalled', 'green'))}  {plain(name)}" if was_sent else "",
    )
    return fail.DONE if was_sent else fail.FAILED
