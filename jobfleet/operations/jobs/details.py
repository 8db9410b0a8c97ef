"""Read a job in full: its state, its arguments and options, its parents and its past runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any, NamedTuple

from jobfleet.clock import moment, moment_us
from jobfleet.codec import Limits, header_or_empty, is_record, open_envelope, read_fields, zones_lost
from jobfleet.config import JobConfig
from jobfleet.errors import EncodingError
from jobfleet.functions.manifest import read_function, read_version
from jobfleet.model import JobResult, JobStatus, Priority
from jobfleet.model.audit import NOBODY, to_word
from jobfleet.model.life import CANCELLED, EDITED, EXPIRED, LIFE_LINES, MOVED, SIGNALLED, events_in, line_of, merged
from jobfleet.model.option_checks import CALLBACKS
from jobfleet.model.result import JobDetails, Parent
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.parents import parents_of, root_cause
from jobfleet.operations.jobs.poll import rebuilt_in
from jobfleet.operations.jobs.prepare import durations_in
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.payloads import readable, with_value
from jobfleet.operations.results import result_of, spent_in
from jobfleet.retry.decision import Policy, policy_of, with_header
from jobfleet.retry.tries import Begun, Tries, run_word
from jobfleet.store.calls import flow, inspect
from jobfleet.store.calls.flow import ParentState
from jobfleet.store.calls.inspect import Explained
from jobfleet.store.records import DeadLetter, Final, FleetSeen, InRun, InWait

PLAIN_OPTIONS = ("max_retries", "retry_backoff", "retry_jitter", "max_crashes")


class Call(NamedTuple):
    """The arguments of a job; None where they are not stored any more, or cannot be read."""

    args: tuple[Any, ...] | None = None
    kwargs: Mapping[str, Any] | None = None
    unknown_zones: tuple[str, ...] = ()


def details(context: FleetContext, job_id: str) -> Operation[JobDetails[Any]]:
    """Read a job in full.

    Raises:
        JobNotFound: The job is not known.
    """
    lane = context.keys.lane_of(job_id)
    answers = yield (
        inspect.explain(lane, job_id),
        inspect.letter(lane, job_id),
        flow.guarded(lane, job_id),
        context.fleet_call(),
    )
    seen: Explained = value(answers[:1])
    letter: DeadLetter | None = value(answers[1:2])
    _, parents = value(answers[2:3])
    fleet: FleetSeen = value(answers[3:])
    result = result_of(job_id, seen.found, seen.now, limits=context.limits, marks_stored=True)
    job = rebuilt_in(context, (yield from with_value(context, result)))
    envelope = yield from readable(context, envelope_of(seen, letter))
    family = yield from family_of(context, job, parents)
    return details_of(context, job, seen, letter, family, fleet, envelope=envelope)


class Family(NamedTuple):
    """The parents of a job, and the job because of which it was cancelled; see `JobDetails`."""

    parents: tuple[Parent, ...]
    root_cause: Parent | None


def family_of(context: FleetContext, job: JobResult[Any] | None, states: Sequence[ParentState]) -> Operation[Family]:
    """Read the parents of a job, and the job because of which it was cancelled; nothing is read of a job without."""
    parents = yield from parents_of(context, job, states)
    return Family(parents, (yield from root_cause(context, job)))


def details_of(
    context: FleetContext,
    job: JobResult[Any],
    seen: Explained,
    letter: DeadLetter | None,
    family: Family,
    fleet: FleetSeen,
    *,
    envelope: bytes,
) -> JobDetails[Any]:
    """Combine what Redis stores about a job.

    Args:
        context: The context of the fleet.
        job: Its state.
        seen: What its lane stores about it.
        letter: Its dead letter, if it has one.
        family: Its parents, and the job because of which it was cancelled.
        fleet: The published functions.
        envelope: Its envelope, with the arguments; empty if it is not stored any more.
    """
    header = header_or_empty(envelope)
    call = call_of(envelope, limits=context.limits)
    past = _past(job, seen, letter)
    policy = policy_in(context.config, header, fleet) if header else None
    meta = letter.meta if letter is not None else seen.meta
    record = fleet.functions.get(job.function)
    return JobDetails(
        job=job,
        priority=_priority(seen, letter),
        args=call.args,
        kwargs=call.kwargs,
        unknown_zones=call.unknown_zones,
        options=_options(header),
        max_retries=policy.most_retries if policy else None,
        retry_for=timedelta(seconds=policy.retry_for) if policy and policy.retry_for else None,
        crashes=past.crashes,
        max_crashes=policy.max_crashes if policy else None,
        expires_at=moment(expiry_in(meta)),
        parents=family.parents,
        root_cause=family.root_cause,
        callbacks={option: str(header[option]) for option in CALLBACKS if option in header},
        schema_version=header.get("schema", 1),
        function_version=None if record is None else read_version(record),
        callback=str(header["callback"]) if "callback" in header else None,
        flow=_flow(header, seen.found),
        history=past.history,
    )


def call_of(envelope: bytes, *, limits: Limits) -> Call:
    """Decode the arguments of an envelope."""
    if not envelope:
        return Call()
    try:
        opened = open_envelope(envelope, limits=limits)
        return Call(tuple(opened.args), opened.kwargs, zones_lost(envelope))
    except EncodingError:
        return Call()


def policy_in(config: JobConfig, header: Mapping[str, Any], fleet: FleetSeen) -> Policy:
    """The retry policy of a job: its own options, else those of its published function, else the settings here."""
    record = fleet.functions.get(str(header.get("function", "")))
    return with_header(policy_of(read_function(record) if record else {}, config), header)


def envelope_of(seen: Explained, letter: DeadLetter | None) -> bytes:
    """The envelope of a job; empty if it is not stored any more."""
    found = seen.found
    if isinstance(found, InWait | InRun):
        return found.envelope
    if letter is not None:
        return letter.envelope
    if not isinstance(found, Final):
        return b""
    # Of a job that was cancelled before it ran, the body is the envelope; a record may keep that of a completed one.
    return _record_of(found).get("envelope", b"") if is_record(found.body) else found.body


def _flow(header: Mapping[str, Any], found: object) -> str | None:
    """The id of the flow of a job: from its envelope, or from the record of a job that has completed."""
    kept = header or (_record_of(found) if isinstance(found, Final) else {})
    return str(kept["flow"]) if "flow" in kept else None


def _record_of(found: Final) -> Mapping[str, Any]:
    """The fields of a job's record; none if it has none, or if it cannot be read."""
    if is_record(found.body):
        with suppress(EncodingError):
            return read_fields(found.body)
    return {}


class _Past(NamedTuple):
    crashes: int = 0
    history: tuple[str, ...] = ()


def _past(job: JobResult[Any], seen: Explained, letter: DeadLetter | None) -> _Past:
    """The past of a job: its runs, and what was done to it.

    Redis keeps it beside an open job, then in its dead letter, or in its record and the line of its ending.
    """
    found = seen.found
    spent = found.tries if isinstance(found, InWait | InRun) else letter.tries if letter is not None else ""
    events = events_in(letter.meta if letter is not None else seen.meta)
    fields = _record_of(found) if isinstance(found, Final) else {}
    if spent or not isinstance(found, Final):
        tries = Tries.parse(spent)
        return _Past(tries.crashes, merged(tries.history, events))
    lines = fields.get("history") or ()
    runs = tuple(lines) if isinstance(lines, list | tuple) and all(isinstance(line, str) for line in lines) else ()
    return _Past(fields.get("crashes", 0) if runs else spent_in(found).crashes, with_end(job, merged(runs, found.past)))


def with_end(job: JobResult[Any], lines: Sequence[str]) -> tuple[str, ...]:
    """The lines of an ended job with those of its end, which follow from its state.

    Redis and the archive do not keep them. A job that completed in its first run, and to which nothing was done, has no
    lines at all.
    """
    if job.status is JobStatus.COMPLETED and not lines:
        return ()
    return merged(lines, _last_run(job), _ending(job, lines))


def lacks_lines(details: JobDetails[Any]) -> bool:
    """Whether Redis may have had more lines of a job's life than it has now."""
    runs = [one.run for one in details.life if one.kind == "run"]
    asked = sum(one.kind in (EDITED, SIGNALLED, CANCELLED) for one in details.life)
    is_full = max(asked, len(details.life) - asked) >= LIFE_LINES
    return is_full or (runs[0] != 1 if runs else details.job.runs > 1)


def completed(details: JobDetails[Any], lines: Sequence[str]) -> JobDetails[Any]:
    """The details of a job with further lines of its life, which the archive has."""
    whole = replace(details, history=with_end(details.job, merged(lines, details.history)))
    died = sum(one.outcome == "crashed" for one in whole.life)
    return replace(whole, crashes=details.crashes or died)  # the archive has no count


def _last_run(job: JobResult[Any]) -> Iterator[str]:
    """The run of a job that was completed or cancelled in it. That of a failed job is in its history."""
    was_cancelled = job.status is JobStatus.CANCELLED and job.duration is not None  # while it ran
    if (job.status is JobStatus.COMPLETED or was_cancelled) and job.started_at and job.completed_at and job.worker:
        begun = Begun(moment_us(job.started_at), job.worker)
        yield line_of(run_word(job.runs, begun), moment_us(job.completed_at), job.status.value)


def _ending(job: JobResult[Any], lines: Sequence[str]) -> Iterator[str]:
    if job.completed_at is None:
        return
    at, by = moment_us(job.completed_at), to_word(job.cancel_requested_by)
    if job.moved_to:
        yield line_of(MOVED, at, f"{by} {job.moved_to}")
    elif job.status is JobStatus.CANCELLED:
        asked = job.cancel_requested_at
        # The archive has a line of the request that ended a run, and its row does not have the time of that.
        is_of_run = asked is None and job.duration is not None
        is_known = any(line.startswith(f"{CANCELLED} ") and line.endswith(f" {by}") for line in lines)
        if not (is_of_run and is_known):
            why = f"{NOBODY} {job.error}" if (job.error or "").startswith("replaced by ") else by
            yield line_of(CANCELLED, at if asked is None else moment_us(asked), why)
    elif job.status is JobStatus.EXPIRED:
        yield line_of(EXPIRED, at, NOBODY)


def _priority(seen: Explained, letter: DeadLetter | None) -> Priority | None:
    found = seen.found
    if isinstance(found, InWait):
        band = found.band
    elif isinstance(found, InRun):
        band = found.run.band
    elif letter is not None:
        band = letter.band
    else:
        return None
    return next((priority for priority in Priority if priority.band == band), None)


def expiry_in(meta: str) -> int:
    """When a job expires, µs since 1970, from its clear record; 0 if it does not, or if that cannot be read."""
    text = next((line[2:] for line in meta.split("\n") if line.startswith("x ")), "")
    return int(text) if text.isdecimal() else 0


def _options(header: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a job itself, by the names that `Job` has."""
    options = {name: header[name] for name in PLAIN_OPTIONS if name in header}
    for name, us in durations_in(header):
        if isinstance(us, list):
            options[name] = [timedelta(microseconds=one) for one in us]
        else:
            options[name] = timedelta(microseconds=us)
    return options
