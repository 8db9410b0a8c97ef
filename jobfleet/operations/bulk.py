"""Many jobs at once, a chunk at a time: what of it is written down, under way, answered.

A call goes out as soon as it is full, and the server works on it while the next is written down. Between chunks
nothing is under way: whoever holds a receipt knows that its job is in Redis.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from jobfleet.clock import monotonic
from jobfleet.errors import JobfleetError
from jobfleet.model import Job, JobStatus, Receipt
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs import conflicts
from jobfleet.operations.jobs.enqueue import prepare
from jobfleet.operations.jobs.prepare import Submission, quick
from jobfleet.operations.operation import BulkOperation, Operation, run_ahead
from jobfleet.operations.submit import operation_for
from jobfleet.store.call import Call
from jobfleet.store.calls.enqueue import CHUNK, enqueue, parted
from jobfleet.store.keys import Lane
from jobfleet.store.records import Answer, Entry, Holder
from jobfleet.store.trip import Making

Placed = tuple[int, Submission]
"""A job that is written down, and the place of its receipt."""
TOGETHER = 3
"""Full calls that are sent with one write: each write wakes the server, and the last ones' work is waited for."""
_TO_COME = Receipt(id="", created=False, status=JobStatus.QUEUED)


def submit_many(context: FleetContext, jobs: Sequence[Job]) -> BulkOperation[list[Receipt]]:
    """Enqueue some jobs, a receipt each; a job that is refused has its error in its receipt.

    Raises:
        InvalidJob: One of them is no job; then none is enqueued.
    """
    chunk = Chunk(context, jobs)
    while not chunk.is_written:
        chunk.take((yield Making(chunk.calls())))
        yield from chunk.asked()
    yield from chunk.settled()
    return chunk.receipts


class Chunk:
    """Jobs that are enqueued together.

    Args:
        space: The context of the client.
        jobs: The jobs. What stands around enqueues is given all of them before the first is sent.

    Attributes:
        receipts: One for each, as it becomes known.
        is_written: Whether all are written down.
    """

    def __init__(self, context: FleetContext, jobs: Sequence[Job]) -> None:
        self.receipts = [_TO_COME] * len(jobs)
        self.is_written = False
        self._context = context
        self._left = iter(self._through(jobs))
        self._gathered: dict[Lane, list[Placed]] = {}
        self._full: list[tuple[Lane, list[Placed]]] = []
        self._sent: list[Sequence[Placed]] = []
        self._asking: Operation[None] | None = None
        self._conflicts: dict[int, conflicts.Conflict] = {}

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
        """Write jobs down, until something has to be asked of one first; the calls, some at a time as they fill."""
        now = monotonic()
        for place, job in self._left:
            try:
                made = quick(self._context, job, now)
            except JobfleetError as error:
                self._refuse(place, job, error)
                continue
            if made is not None:
                self._keep(place, made)
            else:
                self._asking = run_ahead(self._slowly(place, job))
                if self._asking is not None:
                    return
            if len(self._full) >= TOGETHER:
                yield list(self._filled())
        self.is_written = True
        self._full.extend(self._gathered.items())
        if self._full:
            yield list(self._filled())

    def asked(self) -> Operation[None]:
        """Ask what `calls` has come upon, if anything."""
        if self._asking is not None:
            yield from self._asking
            self._asking = None

    def _slowly(self, place: int, job: Job) -> Operation[None]:
        """Write a job down of which not everything is known; or enqueue it, if it waits for others."""
        try:
            if job.depends_on is not None:
                self.receipts[place] = yield from operation_for(self._context, job)
            else:
                self._keep(place, (yield from prepare(self._context, job)))
        except JobfleetError as error:
            self._refuse(place, job, error)

    def _refuse(self, place: int, job: Job, error: JobfleetError) -> None:
        self.receipts[place] = Receipt(job.suffix, created=False, status=JobStatus.QUEUED, error=error)

    def _keep(self, place: int, made: Submission) -> None:
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

    def take(self, answers: list[Any]) -> None:
        """Take the answers to all calls that are under way."""
        for part, answer in zip(self._sent, answers, strict=True):
            if isinstance(answer, JobfleetError):
                for place, one in part:
                    self.receipts[place] = Receipt(one.entry.id, created=False, status=one.status, error=answer)
                continue
            for (place, one), new in zip(part, answer, strict=True):
                if isinstance(new, Holder):
                    self._conflicts[place] = (one, new)
                else:
                    self.receipts[place] = Receipt(one.entry.id, new, one.status)
        self._sent = []

    def settled(self) -> Operation[None]:
        """Settle the conflicts over unique keys."""
        places = sorted(self._conflicts)
        settled = yield from conflicts.settle([self._conflicts[place] for place in places])
        for place, came in zip(places, settled, strict=True):
            self.receipts[place] = came


def _entry_of(placed: Placed) -> Entry:
    return placed[1].entry
