"""`jobfleet status`, `wait`, `cancel` and `jobs`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from jobfleet.cli import fail
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import TIME, Command, by_option, yes_option
from jobfleet.cli.output import Cell, agreed, count, say
from jobfleet.cli.schema import job_data
from jobfleet.cli.view import job_details, job_table
from jobfleet.clock import monotonic
from jobfleet.errors import JobNotFound, WaitTimeout
from jobfleet.model import JobResult, JobStatus, split_id

if TYPE_CHECKING:
    from jobfleet.fleet.sync import Fleet
    from jobfleet.operations.jobs.listing import Letter

OPEN = [word.value for word in JobStatus if not word.is_final]
ids_argument = click.argument("ids", nargs=-1, required=True, metavar="ID...")


def look_up(fleet: Fleet, ids: Sequence[str]) -> tuple[list[JobResult[Any]], bool]:
    """Poll jobs, each once. Unknown ids are printed.

    Returns:
        The known jobs, and whether all ids are known.
    """
    wanted, is_complete = [], True
    for job_id in dict.fromkeys(ids):
        try:
            split_id(job_id)
            wanted.append(job_id)
        except JobNotFound as error:
            say(str(error))
            is_complete = False
    found = fleet.poll_many(wanted) if wanted else []
    for job_id, result in zip(wanted, found, strict=True):
        if result is None:
            say(str(JobNotFound(job_id)))
            is_complete = False
    return [result for result in found if result is not None], is_complete


def letter_of(fleet: Fleet, job_id: str) -> Letter:
    """Return the dead letter of a job.

    Raises:
        JobNotFound: The job is unknown or not a dead letter; the message has its status.
    """
    try:
        return fleet.letter(job_id)
    except JobNotFound as error:
        status = fleet.poll(job_id).status
        raise JobNotFound(job_id, f"No dead letter {job_id!r}: the job is {status}.") from error


def show_jobs(invocation: Invocation, jobs: Sequence[JobResult[Any]], *, as_details: bool = False) -> None:
    """Print jobs as a table; with `as_details`, a single job with all its fields."""
    if not jobs and invocation.form == "table":
        return
    output = invocation.output
    text = ""
    if output.form == "table":
        text = job_details(output, jobs[0]) if as_details and len(jobs) == 1 else job_table(output, jobs)
    output.show(data=[job_data(job) for job in jobs], ids=[job.id for job in jobs], text=text)


@click.command(cls=Command)
@ids_argument
@click.pass_obj
def status(invocation: Invocation, ids: tuple[str, ...]) -> int:
    """Show the state of jobs."""
    with invocation.fleet() as fleet:
        jobs, is_complete = look_up(fleet, ids)
    show_jobs(invocation, jobs, as_details=len(ids) == 1)
    return fail.DONE if is_complete else fail.NOT_FOUND


@click.command(cls=Command)
@ids_argument
@click.option("--timeout", type=TIME, help="Longest time to wait for all jobs together.")
@click.pass_obj
def wait(invocation: Invocation, ids: tuple[str, ...], timeout: float | None) -> int:
    """Wait for jobs to end.

    Exit code 1 unless all completed, 124 on a timeout.
    """
    deadline = None if timeout is None else monotonic() + timeout
    with invocation.fleet() as fleet:
        jobs, is_complete = look_up(fleet, ids)
        if not is_complete:
            return fail.NOT_FOUND
        fleet.store.patience = invocation.config.patience
        for index, job in enumerate(jobs):
            left = None if deadline is None else max(0.0, deadline - monotonic())
            try:
                jobs[index] = fleet.wait(job.id, timeout=left)
            except WaitTimeout:
                raise WaitTimeout(job.id, timeout or 0.0) from None
    show_jobs(invocation, jobs)
    return fail.DONE if all(job.status is JobStatus.COMPLETED for job in jobs) else fail.FAILED


@click.command(cls=Command)
@click.argument("ids", nargs=-1, metavar="[ID...]")
@click.option(
    "--tag", "tags", multiple=True, metavar="TAG", help="All open jobs with this tag; repeated: with all these tags."
)
@click.option("--queue", metavar="NAME", help="All open jobs of this queue.")
@click.option("--function", metavar="NAME", help="All open jobs of this function.")
@click.option("--user", metavar="WHO", help="All open jobs of this user.")
@click.option("--session", metavar="TEXT", help="All open jobs of this session.")
@click.option("--status", type=click.Choice(OPEN), help="Only jobs with this status.")
@by_option
@yes_option
@click.pass_obj
def cancel(invocation: Invocation, /, ids: tuple[str, ...], by: str | None, yes: bool, **chosen: Any) -> int:
    """Cancel jobs by id, or all open jobs that match the options.

    Waiting jobs end at once; running jobs are asked to stop. Exit code 1 if one had ended already, 3 if there is
    none.
    """
    if bool(ids) == any(value not in (None, ()) for value in chosen.values()):
        raise click.UsageError("Give ids, or options that select jobs.")
    if not ids:
        return _cancel_many(invocation, {**chosen, "status": chosen["status"] and JobStatus(chosen["status"])}, by, yes)
    with invocation.fleet() as fleet:
        jobs, is_complete = look_up(fleet, ids)
        was_cancelled = {job.id: fleet.cancel(job.id, by=by) for job in jobs}
        now = {job.id: job for job in fleet.poll_many([job.id for job in jobs]) if job} if jobs else {}
    states = {job.id: now.get(job.id, job).status for job in jobs}
    output = invocation.output
    rows = [(job_id, _outcome(output.styled, states[job_id], was_cancelled[job_id])) for job_id in states]
    output.show(
        data=[{"id": job_id, "cancelled": was_cancelled[job_id], "status": states[job_id]} for job_id in states],
        ids=[job_id for job_id in states if was_cancelled[job_id]],
        text="\n".join(f"{job_id}  {outcome}" for job_id, outcome in rows),
    )
    if not is_complete:
        return fail.NOT_FOUND
    return fail.DONE if all(was_cancelled.values()) else fail.FAILED


def _cancel_many(invocation: Invocation, chosen: dict[str, Any], by: str | None, yes: bool) -> int:
    with invocation.fleet() as fleet:
        number = fleet.count_open(**chosen)
        if number and not agreed(f"Cancel {count(number, 'job')}?", yes=yes):
            return fail.FAILED
        cancelled = fleet.cancel_many(**chosen, by=by) if number else 0
    text = f"Cancelled, or asked to stop: {count(cancelled, 'job')}."
    invocation.output.show(data={"cancelled": cancelled}, ids=[], text=text)
    return fail.DONE if number else fail.NOT_FOUND


def _outcome(styled: Any, state: JobStatus, was_cancelled: bool) -> str:
    if not was_cancelled:
        cell = Cell(f"had ended already: {state}", "yellow")
    elif state is JobStatus.RUNNING:
        cell = Cell("asked to stop", "cyan")
    else:
        cell = Cell("cancelled", "magenta")
    return str(styled(*cell))


@click.command(cls=Command)
@click.option(
    "--tag", "tags", multiple=True, metavar="TAG", help="Only jobs with this tag; repeated: with all these tags."
)
@click.option("--user", metavar="WHO", help="Only jobs of this user.")
@click.option("--session", metavar="TEXT", help="Only jobs of this session.")
@click.option("--function", metavar="NAME", help="Only jobs of this function.")
@click.option("--status", type=click.Choice([word.value for word in JobStatus]), help="Only jobs with this status.")
@click.option("--queue", metavar="NAME", help="Only jobs of this queue.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, metavar="N", help="Rows per page. [default 50]")
@click.option("--cursor", default="", metavar="TEXT", help="The start of the page, as printed with the page before.")
@click.pass_obj
def jobs(invocation: Invocation, /, status: str | None, limit: int, cursor: str, **chosen: Any) -> None:
    """List jobs, one page at a time.

    With a tag, user or session, the newest jobs come first. Otherwise the order is: running jobs, waiting jobs by
    priority, ended jobs from the newest on.
    """
    with invocation.fleet() as fleet:
        page = fleet.jobs(status=JobStatus(status) if status else None, limit=limit, cursor=cursor, **chosen)
    output = invocation.output
    text = job_table(output, page.jobs) if page.jobs and output.form == "table" else ""
    output.show(
        data={"jobs": [job_data(job) for job in page.jobs], "cursor": page.cursor},
        ids=[job.id for job in page.jobs],
        text=text,
    )
    if output.form == "table" and not page.jobs:
        say("No jobs.")
    if page.cursor and output.form != "json":
        say(f"{count(len(page.jobs), 'job')}; there may be more: --cursor {page.cursor}")
