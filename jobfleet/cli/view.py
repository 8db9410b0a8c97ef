"""Jobs as text: rows of a table, and all fields of one job. And the form of all JSON output."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from jobfleet.cli.invocation import REDACTION
from jobfleet.cli.output import (
    Cell,
    Column,
    Output,
    age,
    both,
    clip,
    clock,
    from_now,
    plain_lines,
    shortly,
    since,
    to_json,
)
from jobfleet.client.json_form import JsonForm
from jobfleet.clock import span
from jobfleet.logs.formatters import bounded
from jobfleet.model import ErrorType, JobResult, JobStatus, split_id, suffix_time_us
from jobfleet.model.fields import TEXTS
from jobfleet.model.life import CANCELLED, EDITED, MOVED, REPLAYED, SIGNALLED, LifeEvent, event_of
from jobfleet.model.status import ShownState
from jobfleet.operations.jobs.parents import because
from jobfleet.secret import HIDDEN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jobfleet.model.result import JobDetails, JobWait


COLORS: dict[JobStatus, str] = {
    JobStatus.RUNNING: "cyan",
    JobStatus.RETRYING: "yellow",
    JobStatus.COMPLETED: "green",
    JobStatus.FAILED: "red",
    JobStatus.CANCELLED: "magenta",
    JobStatus.EXPIRED: "magenta",
}
CRASHES = "crashes are counted apart"
APART = "crashes and lost leases are counted apart"
NOTE_LENGTH = 100
NOTHING: Mapping[str, str] = MappingProxyType({})
SHORT_ID = 8
"""How many of its last digits stand for an id in a narrow table; all commands accept them."""
ARGUMENTS_LENGTH = 1000
"""Most characters of arguments in a table; JSON has all of them."""
PARENTS_SHOWN = 10
_LATER = (JobStatus.SCHEDULED, JobStatus.RETRYING)


def job_table(output: Output, jobs: Sequence[JobResult[Any]], hindered: Mapping[str, str] = NOTHING) -> str:
    """A table with one job per line; `hindered` has further notes by job id.

    A narrow terminal has no room for names and clock times. Names are shown if a job has one of its own.
    """
    has_names = not output.is_narrow and any(map(own_name, jobs))
    columns: list[Column | str] = ["ID", "STATUS", Column("FUNCTION", is_elastic=True)]
    columns += [Column("NAME", is_elastic=True, is_spare=True)] if has_names else []
    columns += [Column("DONE", True), Column("RUNS", True)]
    columns += [] if output.is_narrow else [Column("ENQUEUED", is_spare=True)]
    now = datetime.now(UTC)
    rows = [_row(output, job, now, hindered.get(job.id, ""), has_names=has_names) for job in jobs]
    return output.table([*columns, Column("AGE", True), "NOTE"], rows)


def own_name(job: JobResult[Any]) -> str:
    """The name of a job; empty if it has that of its function."""
    return "" if job.name == job.function else job.name


def shown_id(output: Output, job_id: str) -> str:
    """An id in a table: on a narrow terminal, the last digits of a generated id."""
    return short_id(job_id) if output.is_narrow else job_id


def short_id(job_id: str) -> str:
    """The last digits of a generated id; any other id as it is."""
    return job_id if suffix_time_us(split_id(job_id).suffix) is None else job_id[-SHORT_ID:]


def _row(output: Output, job: JobResult[Any], now: datetime, hindrance: str, *, has_names: bool) -> list[Cell | str]:
    return [
        shown_id(output, job.id),
        status_cell(job),
        job.function or "-",
        *([own_name(job) or "-"] if has_names else ()),
        percent(job),
        str(job.runs or "-"),
        *(() if output.is_narrow else (shortly(job.enqueued_at, now),)),
        since(job.enqueued_at, now),
        " · ".join(filter(None, (hindrance, note_of(job, when=partial(from_now, now) if output.is_narrow else both)))),
    ]


def status_cell(job: JobResult[Any]) -> Cell:
    """A job's state in its colour: why it is not due, if it is parked or waits in a run."""
    color = "yellow" if job.state is ShownState.PARKED else "cyan" if job.wait else COLORS.get(job.status)
    return Cell(job.state.value, color)


def percent(job: JobResult[Any]) -> str:
    """A job's progress in percent; a dash if it has not reported any."""
    return f"{job.progress:.0%}".replace("%", " %") if job.progress else "-"


def note_of(job: JobResult[Any], *, when: Callable[[datetime | None], str] = both) -> str:
    """The most important fact about a job besides its status, in one line; `when` writes times."""
    if job.status is JobStatus.COMPLETED:
        return "" if job.result is None else f"→ {clip(value_text(job.result), NOTE_LENGTH)}"
    if job.status is JobStatus.FAILED:
        return job.error_text
    if job.status is JobStatus.RUNNING and job.cancel_requested_by:
        return f"asked to stop by {job.cancel_requested_by}" + (f": {job.stop_stage}" if job.stop_stage else "")
    key = f"unique {job.unique}" if job.unique and not job.status.is_final else ""
    error = f"parked: {job.error}" if job.error and job.parked_since else job.error
    if job.is_aside:
        return aside_of(job)
    if job.wait is not None:
        return " · ".join(filter(None, (waits_for(job.wait), f"until {when(job.scheduled_at)}", key)))
    if job.status in _LATER:
        return " · ".join(filter(None, (error, f"due {when(job.scheduled_at)}", key)))
    return " · ".join(filter(None, (job.progress_message or error, key)))


def aside_of(job: JobResult[Any]) -> str:
    """Which job a callback that has not run, or an undo, belongs to."""
    of = f" of {job.callback_of}" if job.callback_of else ""
    return f"└ {job.callback}{of}" + (", not needed" if job.is_unneeded else "")


def waits_for(wait: JobWait) -> str:
    """What a job waits for in a run, in words."""
    what = f"waits for {'a token of ' if wait.only_token else ''}signal {wait.signal}" if wait.signal else "sleeps"
    return f"{what} since {both(wait.since)}" if wait.since else what


def history_of(history: Iterable[str]) -> Iterator[str]:
    """The life of a job, one line per run and per thing that was done to it, oldest first."""
    for one in map(event_of, history):
        text = event_text(one)
        yield plain_lines(f"{clock(one.at)}  {text}" if one.at else text)


def event_text(one: LifeEvent) -> str:
    """What happened to a job, in words."""
    if one.kind == "run":
        where = f" on {one.worker}" if one.worker else ""
        took = f" after {span(one.duration.total_seconds())}" if one.duration is not None else ""
        return f"run {one.run}{where}{took}: {one.text}"
    if one.kind == "other":
        return one.text
    if one.kind == REPLAYED:
        rest = f" with other arguments{_names(one)}" if one.text else ""
    elif one.kind == SIGNALLED:
        return f"signal {one.text} sent{_by(one)}"
    elif one.kind in (EDITED, MOVED):
        rest = _names(one) if one.kind == EDITED else f" to {one.text}"
    else:
        rest = f": {one.text}" if one.text else ""
    kind = "cancel requested" if one.kind == CANCELLED and not one.text else one.kind  # its run may end otherwise
    return f"{kind}{_by(one)}{rest}"


def _by(one: LifeEvent) -> str:
    return f" by {one.by}" if one.by else ""


def _names(one: LifeEvent) -> str:
    return f": {', '.join(one.changed)}" if one.changed else ""


def value_text(value: object) -> str:
    """A value as text: a text as it is, any other value as JSON."""
    return value if isinstance(value, str) else to_json(jsonable(value))


def arguments_text(args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """The arguments of a job, as all commands show them."""
    given = [value_text(value) for value in args]
    return ", ".join([*given, *(f"{name}={_named(name, value)}" for name, value in kwargs.items())]) or "none"


def _named(name: str, value: object) -> str:
    return HIDDEN if REDACTION.hides(name) else value_text(value)


def job_details(output: Output, job: JobResult[Any], *, with_traceback: bool = False) -> str:
    """The state of a job, one field per line."""
    text = output.details(_pairs(job, job.error_text))
    return "\n\n".join([text, *_traceback(job)]) if with_traceback else text


def _traceback(job: JobResult[Any]) -> Iterable[str]:
    """The end of the traceback of a job, if it has one."""
    if job.traceback:
        yield plain_lines(bounded(job.traceback))


def full_details(output: Output, details: JobDetails[Any]) -> str:
    """A job in full: its state, what it was enqueued with, its past runs, and the traceback of its last error."""
    parts = [output.details([*_pairs(details.job, _error(details)), *_enqueued_with(details)])]
    if details.history:
        parts.append("\n".join(["history:", *(f"  {line}" for line in _timeline(details))]))
    return "\n\n".join([*parts, *_traceback(details.job)])


def _timeline(details: JobDetails[Any]) -> Iterator[str]:
    """The life of a job, from its enqueue to the run that it is in."""
    job = details.job
    if job.enqueued_at is not None:
        yield f"{clock(job.enqueued_at)}  enqueued"
    yield from history_of(details.history)
    if job.status is JobStatus.RUNNING and job.started_at is not None:
        yield plain_lines(f"{clock(job.started_at)}  run {job.runs} on {job.worker}: running")


def explained_details(output: Output, details: JobDetails[Any]) -> str:
    """What a job was enqueued with, and its tries, for a command that shows its state in its own words."""
    job = details.job
    due = _when(job.scheduled_at) if job.status.is_waiting else ""
    return output.details([*_enqueued_with(details), ("runs", _runs(job)), ("due", due)])


def _enqueued_with(details: JobDetails[Any]) -> Iterable[tuple[str, Cell | str]]:
    yield "priority", "" if details.priority is None else details.priority.name.lower()
    if details.args is not None and details.kwargs is not None:
        yield "arguments", clip(arguments_text(details.args, details.kwargs), ARGUMENTS_LENGTH)
    yield "options", ", ".join(f"{name} {_option(value)}" for name, value in details.options.items())
    is_open = not details.job.status.is_final
    yield "retries", _retries_left(details) if is_open else _last_retry(details)
    yield "crashes", _crashes(details)
    yield "expires", _when(details.expires_at) if is_open else ""
    yield "schema version", _versions(details)
    for option, job_id in details.callbacks.items():
        yield option.replace("_", " "), job_id
    yield "callback", f"{details.callback} of its parent" if details.callback else ""
    named = sorted(details.parents, key=lambda parent: parent.place)[:PARENTS_SHOWN]
    parents = [f"{parent.id} ({parent.status or 'open'})" for parent in named]
    more = len(details.parents) - len(parents)
    yield "parents", ", ".join(parents) + (f" and {more:,} more" if more else "")


def _versions(details: JobDetails[Any]) -> str:
    """The version of a job's arguments, and that of its function if it is another one."""
    needed, published = details.schema_version, details.function_version
    if published is None or needed == published:
        return "" if needed == 1 else f"{needed}"
    return f"{needed}; the workers have {published}" if not details.job.status.is_final or needed > 1 else ""


def _retries(details: JobDetails[Any]) -> str:
    """How many retries are used, and what bounds them."""
    used, most, bound = details.job.retry_count, details.max_retries, details.retry_for
    if bound is None:
        return "" if most is None else f"{used} of {most} used"
    return (
        f"{used}{'' if most is None else f' of {most}'} used, none due later than {_option(bound)} after the first run"
    )


def _crashes(details: JobDetails[Any]) -> str:
    """How many runs have crashed, against the number at which the job fails."""
    most = details.max_crashes
    return f"{details.crashes}{'' if most is None else f' of {most}'}" if details.crashes else ""


def _retries_left(details: JobDetails[Any]) -> str:
    """How many retries an open job has used; it says so if other runs have ended that used none."""
    job, used = details.job, _retries(details)
    over = job.attempt - 1 if job.status is JobStatus.RUNNING else job.attempt
    return f"{used}; {APART}" if used and over > job.retry_count else used


def _last_retry(details: JobDetails[Any]) -> str:
    """How many retries a failed job has used, and why none follows."""
    job = details.job
    if job.status is not JobStatus.FAILED:
        return ""
    used = _retries(details) or f"{job.retry_count} used"
    if job.error_type is ErrorType.PERMANENT:
        return f"{used}; the error is permanent"
    if details.max_retries is None:
        return used if details.retry_for else ""
    return used if job.retry_count >= details.max_retries or details.retry_for else f"{used}; {CRASHES}"


def _option(value: object) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_option, value)) + "]"
    return span(value.total_seconds()) if isinstance(value, timedelta) else str(value)


def _error(details: JobDetails[Any]) -> str:
    """The last error of a job; of one that was cancelled through a parent, the root cause with its id."""
    cause = details.root_cause
    if cause is None:
        return details.job.error_text
    return f"cancelled {because(cause, is_callback=details.callback is not None)} ({cause.id})"


def _pairs(job: JobResult[Any], error: str) -> Iterable[tuple[str, Cell | str]]:
    is_completed = job.status is JobStatus.COMPLETED
    yield "id", job.id
    yield "status", status_cell(job)
    yield "function", job.function
    yield "name", own_name(job)
    yield "result", value_text(job.result) if is_completed and job.result is not None else ""
    yield "error", Cell(error, "red" if job.status is JobStatus.FAILED else None) if job.error else ""
    yield "error type", job.error_type.value if job.error_type else ""
    yield "progress", " ".join(filter(None, (percent(job).strip("-"), job.progress_message)))
    yield "details", value_text(job.progress_details) if job.progress_details else ""
    yield "runs", _runs(job)
    yield "enqueued", _when(job.enqueued_at)
    yield "due", _when(job.scheduled_at) if job.status.is_waiting else ""
    yield "parked", _when(job.parked_since)
    yield "waits", waits_for(job.wait) if job.wait else ""
    yield "started", _when(job.started_at)
    yield "ended", _when(job.completed_at)
    yield "duration", span(job.duration.total_seconds()) if job.duration is not None else ""
    yield "worker", job.worker or ""
    yield "moved to", job.moved_to or ""
    yield "moved from", job.moved_from or ""
    yield "stop requested by", job.cancel_requested_by or "" if job.cancel_requested_at else ""
    yield "stop requested", _when(job.cancel_requested_at)
    yield "stopping", job.stop_stage or ""
    for field in TEXTS:
        yield field.title or field.noun, getattr(job, field.name) or ""
    yield "group", job.group or ""
    yield "unique", job.unique or ""
    yield "tags", ", ".join(job.tags)
    yield "metadata", value_text(job.metadata) if job.metadata else ""


def _runs(job: JobResult[Any]) -> str:
    if not job.runs:
        return ""
    retries = "1 retry" if job.retry_count == 1 else f"{job.retry_count:,} retries"
    return f"{job.runs}, {retries} used" if job.retry_count else f"{job.runs}"


def _when(moment: datetime | None) -> str:
    if moment is None:
        return ""
    gone = (datetime.now(UTC) - moment).total_seconds()
    return f"{clock(moment)}  ({f'in {span(-gone)}' if gone < 0 else f'{age(gone)} ago'})"


FORM = JsonForm(REDACTION)

job_data = FORM.job
details_data = FORM.details
letter_data = FORM.letter
queue_data = FORM.queue
history_data = FORM.history
scale_data = FORM.scale
limit_data = FORM.limit
sequence_data = FORM.sequence
named_limit_data = FORM.named_limit
breaker_data = FORM.breaker
worker_data = FORM.worker
function_data = FORM.function
explanation_data = FORM.explanation
diagnosis_data = FORM.diagnosis
group_data = FORM.group
rescue_data = FORM.rescue
repair_data = FORM.repair
confirmation_data = FORM.confirmation
cron_data = FORM.cron
fire_data = FORM.fire
audit_data = FORM.audit
chunk_data = FORM.chunk
stacks_data = FORM.stacks
jsonable = FORM.value
option_text = _option
