"""Read jobs by id, with their logs and output streams, and rebuild their results."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from jobfleet.codec import decode
from jobfleet.errors import EncodingError, InvalidJob, JobfleetError, JobNotFound, TypeMismatch
from jobfleet.functions.registry import JobFunction
from jobfleet.model import JobResult
from jobfleet.model.result import Chunk, LogLine
from jobfleet.model.status import check_number
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import Operation, by_lane, value
from jobfleet.operations.payloads import with_value, with_values
from jobfleet.operations.results import result_of
from jobfleet.store.calls import control, inspect
from jobfleet.store.calls.run import PAGE, StoredChunk, chunks, lines
from jobfleet.store.keys import Lane
from jobfleet.store.records import Found, InRun, InWait, Line, Unknown
from jobfleet.store.rows import report


def poll(context: FleetContext, job_id: str) -> Operation[JobResult[Any]]:
    """Read a job.

    Raises:
        JobNotFound: The job is not known.
        BadSignature, UnknownKey: Its record is sealed, and is not accepted or cannot be opened here.
    """
    lane = context.keys.lane_of(job_id)
    found = value((yield (inspect.status(lane, (job_id,)),)))
    result = result_of(job_id, found[1][0], found[0], limits=context.limits, is_checked=True, marks_stored=True)
    return rebuilt_in(context, (yield from with_value(context, result)))


def poll_many(
    context: FleetContext, ids: Sequence[str], *, has_values: bool = True
) -> Operation[list[JobResult[Any] | None]]:
    """Read jobs; None for each unknown job.

    Args:
        context: The names and settings of the fleet.
        ids: The jobs.
        has_values: Whether results that are in the payload store are read there.

    Raises:
        InvalidJob: `ids` is a text, or holds something that is not a text.
    """
    if isinstance(ids, str):
        raise InvalidJob(f"ids is {ids!r:.100}; give a list of ids.", field="ids")
    jobs: list[tuple[Lane, str]] = []
    for job_id in ids:
        with suppress(JobNotFound):  # a text that is not an id names no job
            jobs.append((context.keys.lane_of(job_id), job_id))
    known: dict[str, JobResult[Any]] = {}
    for job_id, now, found in (yield from _states(jobs)):
        with suppress(JobNotFound):
            known[job_id] = result_of(job_id, value([found]), now, limits=context.limits, marks_stored=True)
    if has_values:
        values = yield from with_values(context, list(known.values()))
        known = {job_id: rebuilt_in(context, one) for job_id, one in zip(known, values, strict=True)}
    return [known.get(job_id) for job_id in ids]


def poll_ended(
    context: FleetContext, jobs: Iterable[tuple[Lane, str]], *, marks: Iterable[Lane] = ()
) -> Operation[dict[str, JobResult[Any] | Exception]]:
    """Read those of some jobs that have ended; for an unknown or unreadable job the error.

    Args:
        context: The names and settings of the fleet.
        jobs: The jobs, each with its lane.
        marks: Lanes that publish their events for the next minute.
    """
    ended: dict[str, JobResult[Any] | Exception] = {}
    for job_id, now, found in (yield from _states(jobs, marks=marks, bare=True)):
        if isinstance(found, JobfleetError):
            ended[job_id] = found
        elif not isinstance(found, InRun | InWait):
            ended[job_id] = _result_or_error(context, job_id, found, now)
    values = yield from with_values(context, list(ended.values()))
    return {
        job_id: rebuilt_in(context, one) if isinstance(one, JobResult) else one
        for job_id, one in zip(ended, values, strict=True)
    }


def _states(
    jobs: Iterable[tuple[Lane, str]], *, marks: Iterable[Lane] = (), bare: bool = False
) -> Operation[list[tuple[str, int, Found | JobfleetError]]]:
    """Read the states of jobs, each with Redis's time. Jobs that are too large for one reply take several trips."""
    states: list[tuple[str, int, Found | JobfleetError]] = []
    before = [control.listen(lane) for lane in marks]
    left = by_lane(jobs, inspect.CHUNK)
    while left or before:
        answers = yield [*before, *(inspect.first_states(lane, part, bare=bare) for lane, part in left)]
        rest: list[tuple[Lane, list[str]]] = []
        for (lane, part), answer in zip(left, answers[len(before) :], strict=True):
            if isinstance(answer, JobfleetError):
                states += ((job_id, 0, answer) for job_id in part)
                continue
            now, found = answer
            states += ((job_id, now, one) for job_id, one in zip(part, found, strict=False))
            if part[len(found) :]:
                rest.append((lane, part[len(found) :]))
        left, before = rest, []
    return states


def _result_or_error(context: FleetContext, job_id: str, found: Found, now: int) -> JobResult[Any] | Exception:
    try:
        return result_of(job_id, found, now, limits=context.limits, is_checked=True, marks_stored=True)
    except Exception as error:  # noqa: BLE001 - one job that cannot be read must not cost the others
        return error


def listen(context: FleetContext, job_id: str) -> Operation[None]:
    """Have the lane of a job publish its events for the next minute."""
    value((yield (control.listen(context.keys.lane_of(job_id)),)))


Functions = Mapping[str, JobFunction[..., Any, Any]]

_leaves_plain: ContextVar[bool] = ContextVar("jobfleet_plain_results", default=False)


@contextmanager
def plain_results() -> Iterator[None]:
    """Leave the results of jobs that this task or thread reads as plain data, even of functions that it has imported.

    An answer to a browser must not depend on the modules that the process has imported.
    """
    token = _leaves_plain.set(True)
    try:
        yield
    finally:
        _leaves_plain.reset(token)


def rebuilt(functions: Functions, result: JobResult[Any]) -> JobResult[Any]:
    """Return a job with its result as its function has returned it.

    A result that does not fit the annotation, or whose class raises, leaves an error: it must not keep a reader from
    other results, nor a job from those of its parents. So does one of a payload store that is away.

    Args:
        functions: The functions that this process knows, by name. The result of another one stays plain data.
        result: The job.
    """
    if result.result is None:
        return result
    function = functions.get(result.function)
    if function is None or function.typed is None:
        return result
    try:
        return replace(result, result=function.typed.load_result(result.result))
    except TypeMismatch as error:
        text = str(error)
    except Exception as error:  # noqa: BLE001 - the class is the user's
        from jobfleet.retry.decision import describe  # imported here, because such a class is rare

        text = f"the stored result of {function.name} does not fit the return annotation: {describe(error)}."
    return replace(result, result=None, error=text, error_class=TypeMismatch.__name__)


def rebuilt_in(context: FleetContext, result: JobResult[Any]) -> JobResult[Any]:
    """Return a job as a Python program gets it. The command line and the web show plain data."""
    is_plain = context.source != "python" or _leaves_plain.get()
    return result if is_plain else rebuilt(context.registry.functions, result)


EVERYTHING = 1_000_000


@dataclass(slots=True)
class LogReading:
    """How far a log has been read.

    Attributes:
        job_id: The job.
        tail: The most stored lines to return by the first read; None for all, and after the first read.
        after: The fencing token and the number of the last line that was read.
        is_over: Whether the job has ended, so that no more lines will come.
        is_more: Whether more lines are stored already.
    """

    job_id: str
    tail: int | None = None
    after: tuple[int, int] = (0, 0)
    is_over: bool = False
    is_more: bool = False

    def take(self, found: Sequence[Line]) -> list[LogLine]:
        """Convert the next lines; where lines were dropped, a line states how many."""
        only_new, is_first = self.tail == 0, self.tail is not None
        rows: list[LogLine] = []
        for line in found:
            token, n = self.after
            gap = line.n - (n if line.token == token else 0) - 1
            if gap > 0 and (token or not is_first):
                words = f"… {gap:,} {'line' if gap == 1 else 'lines'} dropped"
                rows.append(LogLine(_moment(line.at), "WARNING", words, line.token))
            rows.append(LogLine(_moment(line.at), logging.getLevelName(line.level), line.text, line.token))
            self.after = (line.token, line.n)
        self.is_more = len(found) == PAGE
        self.tail = None
        return [] if only_new else rows


def _moment(us: int) -> datetime:
    return datetime.fromtimestamp(us / 1_000_000, UTC)


def read_log(context: FleetContext, reading: LogReading) -> Operation[list[LogLine]]:
    """Read the next page of the log of a job, and note in `reading` whether the job has ended.

    Raises:
        JobNotFound: Neither the job nor its log is known.
    """
    lane = context.keys.lane_of(reading.job_id)
    # With a tail of 0, the last stored line is read too: it marks where the new lines begin.
    tail = EVERYTHING if reading.tail is None else max(1, reading.tail)
    # The status is read first, because a job writes its lines before its end.
    calls: list[Any] = [
        inspect.status(lane, (reading.job_id,)),
        lines(lane, reading.job_id, after=reading.after, tail=tail),
    ]
    answers = yield calls
    (now, found), page = value(answers[:1]), value(answers[1:])
    rows = reading.take(page)
    try:
        reading.is_over = result_of(reading.job_id, found[0], now, limits=context.limits).status.is_final
    except JobNotFound:
        if not reading.after[0]:
            raise
        reading.is_over = True
    return rows


_POSITION = re.compile(r"(\d{1,19})-(\d{1,19})-(\d{1,19})", re.ASCII)
HINT = "+"
"""The message on the channel of a stream that it has new chunks."""


@dataclass(slots=True)
class StreamReading:
    """How far an output stream has been read.

    Attributes:
        job_id: The job.
        token: The fencing token of the last chunk that was read; 0 for none.
        n: Its number in its run.
        number: Its number in the whole stream.
        tail: The most stored chunks that the first read returns; 0 for all, and after the first read.
        asks_state: Whether the next read looks whether the job has ended.
        is_known: Whether the job, or a chunk of it, was found.
        is_over: Whether the job has ended, so that no more chunks will come.
        is_more: Whether more chunks are stored already.
    """

    job_id: str
    token: int = 0
    n: int = 0
    number: int = 0
    tail: int = 0
    asks_state: bool = True
    is_known: bool = False
    is_over: bool = False
    is_more: bool = False

    @classmethod
    def after(cls, job_id: str, position: str | None, tail: int | None) -> StreamReading:
        """Begin to read a stream.

        Args:
            job_id: The job.
            position: The `Chunk.position` of the last chunk that was read; None to begin with the oldest.
            tail: The most stored chunks to begin with, from the end; None for all.

        Raises:
            InvalidJob: `position` is not one, or `tail` is not a positive whole number.
        """
        if tail is not None:
            check_number(tail, field="tail", least=1)
        found = _POSITION.fullmatch(position) if isinstance(position, str) else None
        if found is None and position is not None:
            raise InvalidJob(f"after is {position!r:.100}; give the position of a Chunk, or None.", field="after")
        token, n, number = map(int, found.groups()) if found else (0, 0, 0)
        return cls(job_id, token, n, number, tail or 0)

    def heard(self, texts: Sequence[str]) -> None:
        """Note what was announced: the state of the job is of interest after anything but new chunks."""
        self.asks_state = not texts or any(text != HINT for text in texts)

    def take(self, found: Sequence[StoredChunk], *, is_more: bool) -> list[Chunk]:
        """Convert the next chunks. One that cannot be read is reported, and counts as a gap before the next one."""
        rows: list[Chunk] = []
        for one in found:
            try:
                value = decode(one.record, what="chunk")
            except EncodingError as error:
                report([f"chunks:{self.job_id} has {one.token}-{one.n}: {error}"])
                continue
            # A failover may lose chunks; the next ones continue the numbers of their run, but not those of the stream.
            in_run = one.n - 1 - (self.n if one.token == self.token else 0)
            gap = 0 if self.tail and not rows else max(0, one.number - self.number - 1, in_run)
            is_restart = self.token not in (0, one.token)
            position = f"{one.token}-{one.n}-{one.number}"
            rows.append(Chunk(value, position, one.token, one.n, is_restart, gap))
            self.token, self.n, self.number = one.token, one.n, one.number
        self.is_more, self.tail = is_more, 0
        return rows


def read_stream(context: FleetContext, reading: StreamReading) -> Operation[list[Chunk]]:
    """Read the next page of the output stream of a job, and note in `reading` whether the job has ended.

    Raises:
        JobNotFound: Neither the job nor its output is known.
    """
    lane = context.keys.lane_of(reading.job_id)
    calls: list[Any] = [chunks(lane, reading.job_id, after=(reading.token, reading.n), tail=reading.tail)]
    if reading.asks_state:  # the state is read first, because a job writes its chunks before its end
        calls.insert(0, inspect.status(lane, (reading.job_id,)))
    answers = yield calls
    found, is_more = value(answers[-1:])
    rows = reading.take(found, is_more=is_more)
    if reading.asks_state:
        _, (state,) = value(answers[:1])
        reading.is_known |= bool(rows) or not isinstance(state, Unknown)
        if not reading.is_known:
            raise JobNotFound(reading.job_id)
        reading.is_over = not isinstance(state, InRun | InWait)
    return rows
