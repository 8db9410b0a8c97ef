"""Enqueue jobs as they ask for it, one or many at a time: choose the operation, and make a span."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from jobfleet.clock import monotonic
from jobfleet.errors import InvalidJob, JobfleetError
from jobfleet.functions.port import EnqueueFacts, SendSpan
from jobfleet.model import Job, JobStatus, Receipt
from jobfleet.model.option_types import FAST
from jobfleet.operations.durability import durably, note, uncertain
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs import enqueue as conflicts
from jobfleet.operations.jobs.enqueue import prepare, stored, submit
from jobfleet.operations.jobs.prepare import Resolved, Submission, asks_for_callbacks, queue_of, quick, resolve_in
from jobfleet.operations.operation import BulkOperation, Operation, run_ahead
from jobfleet.store.call import Barrier, Call
from jobfleet.store.calls.enqueue import CHUNK, enqueue, parted
from jobfleet.store.keys import Lane
from jobfleet.store.records import Answer, Entry, Holder
from jobfleet.store.trip import LazyCalls


def operation_for(context: FleetContext, job: Job) -> Operation[Receipt]:
    """The operation for a job: add a recurring entry, enqueue it behind other jobs, or enqueue it plainly."""
    if job.cron_expression is None and asks_for_callbacks(context, job):
        from jobfleet.operations.flows import flow

        return flow.submit_with_callbacks(context, job)
    if job.depends_on is not None:
        from jobfleet.operations.flows import dependencies

        return dependencies.submit(context, job)
    if job.cron_expression is None:
        return submit(context, job)
    from jobfleet.operations import cron  # croniter is for those who use it

    return cron.submit(context, job)


class _NoSpan:
    """The span of an enqueue without a tracer."""

    def answered(self, receipts: Sequence[Receipt]) -> None:
        """Nobody asks."""


_NONE = nullcontext[SendSpan](_NoSpan())


def enqueue_span(context: FleetContext, jobs: Sequence[Job], flow: str = "") -> AbstractContextManager[SendSpan]:
    """Return the span of an enqueue of these jobs; it is current within its block.

    Args:
        context: The context of the fleet.
        jobs: The jobs.
        flow: The id of their flow; empty if they are not of one.
    """
    tracer = context.registry.hooks.tracer
    if tracer is None:
        return _NONE
    places = {_place(context, job) for job in jobs}
    queues, functions = {queue for queue, _ in places}, {function for _, function in places}
    return tracer.sending(
        EnqueueFacts(
            queue=queues.pop() if len(queues) == 1 else "",
            function=functions.pop() if len(functions) == 1 else "",
            jobs=len(jobs),
            flow=flow,
        )
    )


def _place(context: FleetContext, job: object) -> tuple[str, str]:
    """The queue and the function of a job; both are empty for what the enqueue is about to refuse."""
    if not isinstance(job, Job):
        return "", ""
    try:
        function = resolve_in(context, job) or Resolved(str(job.function), {})
    except InvalidJob:
        return "", ""
    return queue_of(job, function), function.name


# Enqueue many jobs, a chunk at a time.
#
# A call is sent as soon as it is full, and the server works on it while the next call is prepared. No call is in
# flight between chunks, so a receipt proves that its job is in Redis.


Placed = tuple[int, Submission]
"""The place of the receipt of a job, and the prepared job."""
TOGETHER = 3
"""Full calls per write to the socket. Each write wakes the server, and the client waits for the last calls."""
_TO_COME = Receipt(id="", created=False, status=JobStatus.QUEUED)


def submit_many(context: FleetContext, jobs: Sequence[Job]) -> BulkOperation[list[Receipt]]:
    """Enqueue jobs; return one receipt per job. The receipt of a refused job has the error.

    Raises:
        InvalidJob: An item is not a `Job`; then no job is enqueued.
    """
    return (yield from submit_chunk(Chunk(context, jobs)))


def submit_chunk(chunk: Chunk) -> BulkOperation[list[Receipt]]:
    """Enqueue the jobs of a chunk; return one receipt per job."""
    while not chunk.is_written:
        made = LazyCalls(chunk.calls(), chunk.barrier)
        chunk.take((yield made), made)
        yield from chunk.asked()
    yield from chunk.settled()
    return chunk.receipts


class Chunk:
    """Jobs that are enqueued together.

    Args:
        context: The context of the fleet.
        jobs: The jobs. The `around_enqueue` hooks run on all of them before the first call is sent.

    Attributes:
        receipts: One receipt per job, filled as answers come.
        is_written: Whether all jobs are prepared.
    """

    def __init__(self, context: FleetContext, jobs: Sequence[Job]) -> None:
        self.receipts: list[Receipt] = [_TO_COME] * len(jobs)
        self.is_written: bool = False
        self._context = context
        self._passed = self._through(jobs)
        self._left = iter(self._passed)
        self._gathered: dict[Lane, list[Placed]] = {}
        self._full: list[tuple[Lane, list[Placed]]] = []
        self._sent: list[Sequence[Placed]] = []
        self._asking: Operation[None] | None = None
        self._conflicts: dict[int, conflicts.Conflict] = {}
        self._levels: set[str] = set()

    def _through(self, jobs: Sequence[Job]) -> list[tuple[int, Job]]:
        passed = []
        for place, given in enumerate(jobs):
            try:
                passed.append((place, self._context.apply_hooks(given)))
            except JobfleetError as error:
                if not isinstance(given, Job):  # a receipt is for a job
                    raise
                self._refuse(place, given, error)
        return passed

    def calls(self) -> Iterator[list[Call[Any]]]:
        """Prepare jobs until one of them needs a read from Redis; yield full calls, `TOGETHER` at a time."""
        now = monotonic()
        for place, job in self._left:
            try:
                made = quick(self._context, job, now)
            except JobfleetError as error:
                self._refuse(place, job, error)
                continue
            if made is not None and len(made.entry.envelope) <= self._context.inline_max:
                self._gather(place, made)
            else:
                self._asking = run_ahead(self._slowly(place, job, made))
                if self._asking is not None:
                    if self._is_linked(job):  # the jobs that it waits for may be gathered, and not sent yet
                        self._full.extend(self._gathered.items())
                        self._gathered = {}
                        if self._full:
                            yield list(self._filled())
                    return
            if len(self._full) >= TOGETHER:
                yield list(self._filled())
        self.is_written = True
        self._full.extend(self._gathered.items())
        if self._full:
            yield list(self._filled())

    def asked(self) -> Operation[None]:
        """Run the read that the last job of `calls` needs, if there is one."""
        if self._asking is not None:
            yield from self._asking
            self._asking = None

    def _slowly(self, place: int, job: Job, made: Submission | None) -> Operation[None]:
        """Prepare a job whose function or queue is not known yet; enqueue it at once if it waits for other jobs.

        Large arguments of a prepared job go to the payload store.
        """
        try:
            if made is not None:
                self._gather(place, (yield from stored(self._context, made)))
            elif self._is_linked(job):
                self.receipts[place] = yield from operation_for(self._context, job)
            else:
                self._gather(place, (yield from prepare(self._context, job)))
        except JobfleetError as error:
            self._refuse(place, job, error)

    def unanswered(self) -> Iterator[tuple[int, Job | Submission]]:
        """The jobs without a receipt, in order; those that are prepared, and may be in Redis, as they were prepared."""
        gathered = [*self._sent, *(part for _, part in self._full), *self._gathered.values()]
        prepared = {place: one for part in gathered for place, one in part}
        prepared |= {place: conflict.sent for place, conflict in self._conflicts.items()}
        for place, job in self._passed:
            if self.receipts[place] is _TO_COME:
                yield place, prepared.get(place, job)

    def _is_linked(self, job: Job) -> bool:
        """Whether a job waits for others, or others wait for it."""
        return job.depends_on is not None or asks_for_callbacks(self._context, job)

    def _refuse(self, place: int, job: Job, error: JobfleetError) -> None:
        self.receipts[place] = Receipt(job.suffix, created=False, status=JobStatus.QUEUED, error=error)

    def barrier(self) -> Barrier | None:
        """The barrier that must follow the calls; None if all jobs are ``fast``."""
        return self._context.barrier(self._sent[0][0][1].lane, self._levels) if self._levels else None

    def _gather(self, place: int, made: Submission) -> None:
        if made.level:
            self._levels.add(made.level)
        lane = made.lane
        gathered = self._gathered.get(lane)
        if gathered is None:
            gathered = self._gathered[lane] = []
        gathered.append((place, made))
        if len(gathered) == CHUNK:
            self._full.append((lane, self._gathered.pop(lane)))

    def _filled(self) -> Iterator[Call[list[Answer]]]:
        for lane, gathered in self._full:
            for part in parted(gathered, _entry_of):
                self._sent.append(part)
                yield enqueue(lane, [one.entry for _, one in part])
        self._full = []

    def take(self, answers: list[Any], made: LazyCalls) -> None:
        """Record the answers of all calls in flight, and whether their barrier was reached."""
        if made.barrier is not None:
            note(self._context, made.barrier.levels, is_reached=made.is_reached, took=made.took)
        for part, answer in zip(self._sent, answers, strict=True):
            if isinstance(answer, JobfleetError):
                for place, one in part:
                    self.receipts[place] = Receipt(one.entry.id, created=False, status=one.status, error=answer)
                continue
            for (place, one), new in zip(part, answer, strict=True):
                if isinstance(new, Holder):
                    self._conflicts[place] = conflicts.Conflict(one, new)
                else:
                    self.receipts[place] = Receipt(one.entry.id, new, one.status)
            if self._levels:
                self._confirm(part, is_reached=made.is_reached)
        self._sent = []

    def _confirm(self, part: Sequence[Placed], *, is_reached: bool) -> None:
        """Record the level that jobs have reached."""
        for place, one in part:
            if one.level and place not in self._conflicts:
                self.receipts[place] = self._confirmed(self.receipts[place], one.level, is_reached=is_reached)

    def _confirmed(self, receipt: Receipt, level: str, *, is_reached: bool) -> Receipt:
        if is_reached or receipt.error is not None:
            return receipt._replace(durability=FAST if receipt.error else level)
        return receipt._replace(error=uncertain(self._context, level, receipt.id))

    def settled(self) -> Operation[None]:
        """Settle the conflicts over unique keys."""
        places = sorted(self._conflicts)
        found = [self._conflicts[place] for place in places]
        is_reached, settling = True, conflicts.settle(found)
        if places and self._levels:
            settled, is_reached = yield from durably(self._context, found[0].sent.lane, self._levels, settling)
        else:
            settled = yield from settling
        for place, conflict, came in zip(places, found, settled, strict=True):
            level = conflict.sent.level
            self.receipts[place] = self._confirmed(came, level, is_reached=is_reached) if level else came


def _entry_of(placed: Placed) -> Entry:
    return placed[1].entry
