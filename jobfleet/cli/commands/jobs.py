"""`jobfleet status`, `wait`, `watch`, `logs`, `stream`, `cancel` and `jobs`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from jobfleet.cli import fail
from jobfleet.cli.following import Bars, Lines, View, follow, waited, while_waiting
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import TIME, Command, yes_option
from jobfleet.cli.output import Cell, Hours, Output, agreed, count, harmless, plain, plain_lines, say, to_json
from jobfleet.cli.verbs import options_of, parameters_of
from jobfleet.cli.view import chunk_data, details_data, full_details, job_data, job_table, jsonable
from jobfleet.clock import iso
from jobfleet.errors import JobNotFound
from jobfleet.model import OPEN, STORED, JobResult, JobStatus, split_id
from jobfleet.model.fields import INDEXED, any_index
from jobfleet.model.result import Chunk, JobDetails, LogLine, ReasonCode
from jobfleet.model.status import ShownState, read_state
from jobfleet.operations.explain.hindrances import misplaced
from jobfleet.operations.jobs.listing import Page, beside_parents
from jobfleet.operations.jobs.matching import JobFilters, cancel_many
from jobfleet.operations.operation import drive_blocking
from jobfleet.operations.verb import fields_of

if TYPE_CHECKING:
    from jobfleet.fleet.sync import Fleet
    from jobfleet.operations.jobs.listing import Letter
    from jobfleet.operations.jobs.searching import Search


FILTERS = fields_of(JobFilters)


def status_words(states: Iterable[JobStatus]) -> list[str]:
    """The values of ``--status``."""
    return [*(str(status) for status in JobStatus if status in set(states)), *map(str, ShownState)]


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The filters that are given, as a client's methods take them."""
    found = {one.name: options[one.name] for one in FILTERS if options[one.name] not in (None, ())}
    if "status" in found:
        found["status"] = read_state(found["status"])
    return found


def chosen(ids: Sequence[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """The given filters of a command that takes ids or filters; empty if ids are given.

    Raises:
        click.UsageError: Neither ids nor filters are given, or both.
    """
    found = given(options)
    if bool(found) == bool(ids):
        raise click.UsageError("Give ids, or options that select jobs.")
    return found


ids_argument = click.argument("ids", nargs=-1, required=True, metavar="ID...")


def look_up(fleet: Fleet, ids: Sequence[str]) -> tuple[list[JobResult[Any]], bool]:
    """Poll jobs, each once, by their ids or parts of them. Unknown ids are printed.

    Returns:
        The known jobs, and whether all ids are known.
    """
    wanted, is_complete = [], True
    for job_id in dict.fromkeys(fleet.full_ids(ids)):
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


def full_id(fleet: Fleet, text: str) -> str:
    """Complete an id of which only a part is given.

    Raises:
        InvalidJob: The part fits several jobs.
    """
    (job_id,) = fleet.full_ids([text])
    return job_id


def show_jobs(invocation: Invocation, jobs: Sequence[JobResult[Any]]) -> None:
    """Print jobs as a table."""
    if not jobs and invocation.form == "table":
        return
    output = invocation.output
    text = job_table(output, jobs) if output.form == "table" else ""
    output.show(data=[job_data(job) for job in jobs], ids=[job.id for job in jobs], text=text)


@click.command(cls=Command)
@ids_argument
@click.pass_obj
def status(invocation: Invocation, ids: tuple[str, ...]) -> int:
    """Show jobs: several in a table, one in full, with its arguments and options.

    An ID may be cut to its beginning or its end, such as the last digits that logs show, if it fits one job only.
    """
    output = invocation.output
    with invocation.fleet() as fleet:
        jobs, is_complete = look_up(fleet, ids)
        is_table = output.form == "table" and len(ids) > 1
        found = [] if is_table or output.form == "ids" else _in_full(fleet, jobs)
    text = job_table(output, jobs) if is_table and jobs else "\n".join(full_details(output, each) for each in found)
    output.show(data=[details_data(each) for each in found], ids=[job.id for job in jobs], text=text)
    return fail.DONE if is_complete else fail.NOT_FOUND


STOPPED_MOST = 10
"""Replayed jobs whose flows are looked at."""


def say_stopped(fleet: Fleet, ids: Sequence[str]) -> None:
    """Print what continues the flows of replayed jobs, on stderr; a flow once."""
    lines: dict[object, str] = {}
    for job_id in ids[:STOPPED_MOST]:
        for reason in fleet.explain(job_id).reasons:
            if reason.code is ReasonCode.FLOW_STOPPED:
                lines.setdefault(reason.facts["flow"], f"{job_id}: {reason.text}")
    for text in lines.values():
        say(text)


def _in_full(fleet: Fleet, jobs: Sequence[JobResult[Any]]) -> list[JobDetails[Any]]:
    """Read jobs in full; one that was deleted meanwhile as it was."""
    found = []
    for job in jobs:
        try:
            found.append(fleet.details(job.id))
        except JobNotFound:
            found.append(JobDetails(job=job))
    return found


@click.command(cls=Command)
@ids_argument
@click.option("--timeout", type=TIME, help="Longest time to wait for all jobs together.")
@click.pass_obj
def wait(invocation: Invocation, ids: tuple[str, ...], timeout: float | None) -> int:
    """Wait for jobs to end. On a terminal, each job has a progress bar meanwhile.

    Exit code 1 unless all completed, 124 on a timeout.
    """
    with invocation.fleet() as fleet:
        jobs, is_complete = look_up(fleet, ids)
        if not is_complete:
            return fail.NOT_FOUND
        fleet.store.patience = invocation.config.patience
        jobs = waited(fleet, [job.id for job in jobs], while_waiting(invocation.output), timeout=timeout)
    show_jobs(invocation, jobs)
    return fail.DONE if all(job.status is JobStatus.COMPLETED for job in jobs) else fail.FAILED


@click.command(cls=Command)
@click.argument("ids", nargs=-1, metavar="[ID...]")
@options_of(cancel_many, status=status_words(OPEN))
@yes_option
@click.pass_obj
def cancel(invocation: Invocation, /, ids: tuple[str, ...], by: str | None, yes: bool, **options: Any) -> int:
    """Cancel jobs by id, or all open jobs that match the options.

    Waiting jobs end at once; running jobs are asked to stop. Exit code 1 if one had ended already, 3 if there is
    none.
    """
    wanted = chosen(ids, options)
    if wanted:
        return _cancel_many(invocation, wanted, by, yes)
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
    for job_id in states if output.form == "ids" else ():
        if not was_cancelled[job_id]:
            say(f"{job_id}  {_ended(states[job_id])}")
    if not is_complete:
        return fail.NOT_FOUND
    return fail.DONE if all(was_cancelled.values()) else fail.FAILED


def _cancel_many(invocation: Invocation, wanted: dict[str, Any], by: str | None, yes: bool) -> int:
    with invocation.fleet() as fleet:
        number = fleet.count_open(**wanted)
        if number and not agreed(f"Cancel {count(number, 'job')}?", yes=yes):
            return fail.FAILED
        cancelled = fleet.cancel_many(**wanted, by=by) if number else 0
    text = f"Cancelled, or asked to stop: {count(cancelled, 'job')}."
    invocation.output.show(data={"cancelled": cancelled}, ids=[], text=text)
    return fail.DONE if number else fail.NOT_FOUND


def _ended(state: JobStatus) -> str:
    return f"had ended already: {state}; nothing was done"


def _outcome(styled: Any, state: JobStatus, was_cancelled: bool) -> str:
    if not was_cancelled:
        cell = Cell(_ended(state), "yellow")
    elif state is JobStatus.RUNNING:
        cell = Cell("asked to stop", "cyan")
    else:
        cell = Cell("cancelled", "magenta")
    return str(styled(*cell))


@click.command(cls=Command)
@parameters_of(FILTERS, status=status_words(STORED))
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, metavar="N", help="Rows per page. [default 50]")
@click.option("--cursor", default="", metavar="TEXT", help="The start of the page, as printed with the page before.")
@click.option(
    "--order", type=click.Choice(("newest", "urgency")), default="newest", show_default=True,
    help="The newest jobs first; or running jobs, then waiting jobs by priority, then ended jobs.",
)  # fmt: skip
@click.option(
    "--where", multiple=True, metavar="NAME=VALUE",
    help="Only open jobs with this argument or metadata. About 10,000 open jobs are read. Repeatable.",
)  # fmt: skip
@click.pass_obj
def jobs(
    invocation: Invocation, /, limit: int, cursor: str, order: str, where: tuple[str, ...], **options: Any
) -> None:
    """List jobs of all queues, the newest first.

    With a tag, or a free text such as a user, all matching jobs are listed, one page at a time. Without, at most the
    newest 1,000 jobs of each kind (waiting per priority, running, ended) are read per queue; '--order urgency' lists
    every job, one page at a time. Parked jobs retry because no worker can run them; awaiting and sleeping jobs wait in
    a run, for a signal or for a time. '--status retrying' and '--status scheduled' list them, too.
    """
    wanted = given(options)
    is_indexed = not wanted.keys().isdisjoint(INDEXED)
    if is_indexed and order == "urgency":
        raise click.UsageError(f"Jobs of {any_index()} are listed newest first; leave --order urgency out.")
    with invocation.fleet() as fleet:
        if where:
            _show_search(invocation, fleet, fleet.search(where, limit=limit, **wanted))
            return
        if order == "newest" and not is_indexed and not cursor:
            page = Page(fleet.newest(**wanted, limit=limit))
        else:
            page = fleet.jobs(**wanted, limit=limit, cursor=cursor)
        page = Page(beside_parents(page.jobs), page.cursor)
        text = _listed(invocation, fleet, page.jobs)
    output = invocation.output
    output.show(
        data={"jobs": [job_data(job) for job in page.jobs], "cursor": page.cursor},
        ids=[job.id for job in page.jobs],
        text=text,
    )
    if output.form == "table" and not page.jobs:
        say("No jobs.")
    if page.cursor and output.form != "json":
        say(f"{count(len(page.jobs), 'job')}; there may be more: --cursor {page.cursor}")
    elif len(page.jobs) == limit and output.form == "table":
        say(f"The newest {count(limit, 'job')}; --limit shows more, and '--order urgency' lists all by pages.")


def _show_search(invocation: Invocation, fleet: Fleet, found: Search) -> None:
    """Print what a search by values has found, and whether there may be others."""
    output = invocation.output
    data = {"jobs": [job_data(job) for job in found.jobs], "read": found.read, "is_all": found.is_all}
    output.show(data=data, ids=[job.id for job in found.jobs], text=_listed(invocation, fleet, found.jobs))
    if output.form == "table" and not found.jobs:
        say("No jobs.")
    if not found.is_all:
        say(f"{count(found.read, 'open job')} read; there may be more. --tag, --user or --queue narrow the search.")


def _listed(invocation: Invocation, fleet: Fleet, jobs: Sequence[JobResult[Any]]) -> str:
    """A table of jobs; those that no worker can run where they wait have a note."""
    output = invocation.output
    if not jobs or output.form != "table":
        return ""
    return job_table(output, jobs, drive_blocking(fleet.store, misplaced(fleet.context, jobs)))


@click.command(cls=Command)
@ids_argument
@click.pass_obj
def watch(invocation: Invocation, ids: tuple[str, ...]) -> int:
    """Watch jobs until all have ended.

    On a terminal, each job has a progress bar, and the errors of failed jobs are printed at the end. Otherwise each
    change is printed as one line.

    Exit code 1 unless all completed.
    """
    output = invocation.output
    is_drawing = output.is_terminal and output.form == "table"
    view: View = Bars(has_color=output.has_color) if is_drawing else Lines(output)
    with invocation.fleet() as fleet:
        jobs, is_complete = look_up(fleet, ids)
        fleet.store.patience = invocation.config.patience
        ended = follow(fleet, jobs, view)
    for job in ended if is_drawing else ():
        if job.status is JobStatus.FAILED:
            output.line(f"{job.id} failed: {' '.join(job.error_text.split())}")
    if not is_complete:
        return fail.NOT_FOUND
    return fail.DONE if all(job.status is JobStatus.COMPLETED for job in ended) else fail.FAILED


COLORS = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red", "DEBUG": "dim"}


@click.command(cls=Command)
@click.argument("id", metavar="ID")
@click.option("--follow", "-f", is_flag=True, help="Follow the log until the job ends.")
@click.option("--tail", type=click.IntRange(0), metavar="N", help="Only the last N lines. [default all]")
@click.pass_obj
def logs(invocation: Invocation, id: str, follow: bool, tail: int | None) -> None:
    """Show the log of a job: lines of ctx.log and of the standard library's loggers."""
    output = invocation.output
    hours = Hours(output)
    is_silent = True
    with invocation.fleet() as fleet:
        if follow:
            fleet.store.patience = invocation.config.patience
        job_id = full_id(fleet, id)
        for line in fleet.logs(job_id, tail=tail, follow=follow):
            if output.form == "ids":
                if is_silent:
                    output.line(job_id)
            else:
                output.line(to_json(line_data(line)) if output.form == "json" else line_text(output, hours, line))
            is_silent = False
    if is_silent and output.form == "table":
        say(f"{plain(job_id)} has no log lines.")


def line_data(line: LogLine) -> dict[str, object]:
    """A line as data for JSON."""
    return {"at": iso(line.at), "level": line.level, "text": line.text, "token": line.token}


def line_text(output: Output, hours: Hours, line: LogLine) -> str:
    """A line as text: time, level, message; further lines of the message are indented."""
    head, *rest = plain_lines(line.text).split("\n")
    level = output.styled(f"{plain(line.level):<8}", COLORS.get(line.level))
    first = f"{hours.at(line.at)}  {level}  {head}".rstrip()
    return "\n".join([first, *(f"{'':<20}{each}" for each in rest)])


@click.command(cls=Command)
@click.argument("id", metavar="ID")
@click.option("--follow", "-f", is_flag=True, help="Follow the stream until the job ends.")
@click.option("--tail", type=click.IntRange(1), metavar="N", help="Begin with the last N chunks. [default all]")
@click.option("--after", metavar="POSITION", help="Begin after this position of a chunk; -o json shows positions.")
@click.pass_obj
def stream(invocation: Invocation, id: str, follow: bool, tail: int | None, after: str | None) -> None:
    """Print what a job emits with ctx.emit: text and bytes as they are, other data as a line of JSON each.

    A terminal gets control characters as escapes.
    """
    output, last = invocation.output, None
    with invocation.fleet() as fleet:
        if follow:
            fleet.store.patience = invocation.config.patience
        job_id = full_id(fleet, id)
        for chunk in fleet.stream(job_id, after, tail=tail, follow=follow):
            if output.form == "json":
                output.line(to_json(chunk_data(chunk)))
            elif output.form == "ids":
                if last is None:
                    output.line(job_id)
            else:
                _write(output, chunk)
            last = chunk
    if output.form != "table":
        return
    if last is None:
        say(f"{plain(job_id)} has no output.")
    elif output.is_terminal and isinstance(last.value, str | bytes):
        click.echo()


def _write(output: Output, chunk: Chunk) -> None:
    if chunk.dropped:
        say(f"… {count(chunk.dropped, 'chunk')} dropped")
    if chunk.is_restart:
        say("The job runs again; what follows is the output of another run.")
    value = chunk.value
    if not isinstance(value, str | bytes):
        output.line(to_json(jsonable(value)))
    elif not output.is_terminal:
        click.echo(value, nl=False)
    else:
        click.echo(harmless(value if isinstance(value, str) else value.decode("utf-8", "backslashreplace")), nl=False)
