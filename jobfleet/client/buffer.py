"""The local buffer of a producer: it keeps jobs in memory while Redis is unavailable, and a thread flushes them.

The thread is the same for both clients, so a job outlives the event loop that enqueued it. It runs only while there are
jobs in the buffer. A forked process starts with an empty buffer: the jobs belong to the process that enqueued them.
"""

from __future__ import annotations

import atexit
import logging
import os
import random
import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import Any
from weakref import WeakSet

from jobfleet.clock import boottime, monotonic, span
from jobfleet.errors import BufferFull, ConfigError, FleetFull, JobfleetError, JobNotFound, StoreUnavailable
from jobfleet.logs import contain_handler_errors
from jobfleet.model import JobResult, JobStatus, Receipt
from jobfleet.operations.buffer import UNCONFIRMED, Kept, NotBuffered, Refusals, flush
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.prepare import Submission
from jobfleet.operations.operation import drive_blocking
from jobfleet.operations.results import waiting_result
from jobfleet.store.records import Waiting
from jobfleet.store.sync import Store

log: logging.Logger = logging.getLogger("jobfleet.client")
CHUNK = 1000
"""Jobs that are flushed and confirmed together."""
FIRST_WAIT, LONGEST_WAIT = 0.05, 1.0
EXITING = 5.0
"""Seconds of the last attempt to flush when the program ends, for all clients together."""


class JobBuffer:
    """The local buffer of a client; safe for threads and after a fork.

    Args:
        context: The context of the fleet; its settings have the size, and what happens when the buffer is full.
        open_store: Opens a connection for the thread that flushes.
        counted: Counts jobs by operation: ``buffered``, ``enqueued``, ``refused`` and ``dropped``.

    Attributes:
        is_draining: Whether Redis has taken jobs from the buffer, and others are left.
        reason: Why Redis was unavailable last.
    """

    def __init__(
        self, context: FleetContext, open_store: Callable[[], Store], counted: Callable[[str, int], None]
    ) -> None:
        self._context = context
        self._open_store = open_store
        self._counted = counted
        self.reason: StoreUnavailable = StoreUnavailable()
        self._set_up()
        _OPEN.add(self)

    def _set_up(self) -> None:
        self._changed = threading.Condition()
        self._hurried = threading.Event()
        self._kept: dict[str, Kept] = {}
        self._refused: dict[str, JobNotFound] = {}
        self._thread: threading.Thread | None = None
        self.is_draining: bool = False
        self._begun_at = 0.0
        self._flushed = self._refusals = self._dropped = 0

    def forget(self) -> None:
        """Become empty, in a forked process."""
        self._set_up()

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, sent: Submission, at: float, reason: StoreUnavailable) -> Receipt:
        """Keep a job until it is flushed; return its receipt.

        Args:
            sent: The job as it was prepared, because it may be in Redis already.
            at: When it was enqueued, in seconds since boot.
            reason: Why Redis is unavailable.

        Raises:
            BufferFull: There is no room, and ``on_full`` is ``raise``.
            NotBuffered: The server must confirm the job.
        """
        job_id = sent.entry.id
        with self._changed:
            self.reason = reason
            answer = self.unkept(sent, reason)
            if answer is not None:
                return answer
            self._refused.pop(job_id, None)
            self._kept[job_id] = Kept(sent, at)
            if self._thread is None:
                self._start()
        self._counted("buffered", 1)
        return Receipt(job_id, created=True, status=JobStatus.BUFFERED)

    def unkept(self, sent: Submission, reason: StoreUnavailable) -> Receipt | None:
        """Return the receipt of a job that is not kept now: it is in the buffer already, or is dropped; else None.

        Raises as `keep`.
        """
        job_id = sent.entry.id
        if sent.level:
            raise NotBuffered(f"{reason} {job_id} was not kept in the local buffer, because {UNCONFIRMED}.")
        with self._changed:
            if job_id in self._kept:
                return Receipt(job_id, created=False, status=JobStatus.BUFFERED)
            return self._no_room(job_id) if len(self._kept) >= self._context.config.buffer else None

    def _no_room(self, job_id: str) -> Receipt:
        error = BufferFull(job_id, self._context.config.buffer)
        if self._context.config.on_full == "raise":
            raise error
        if not self._dropped:
            log.warning("buffer.full jobs=%d: further jobs are dropped until Redis is back", len(self._kept))
        self._dropped += 1
        self._note(job_id, f"{job_id} was dropped, because the local buffer was full while Redis was unavailable.")
        self._counted("dropped", 1)
        return Receipt(job_id, created=False, status=JobStatus.BUFFERED, error=error)

    def look(self, job_id: str) -> JobResult[Any] | None:
        """Return what is known here of a job; None if it is not in the buffer.

        Raises:
            JobNotFound: It was in the buffer, and was dropped, refused by Redis or lost.
        """
        kept = self._kept.get(job_id)
        if kept is not None:
            known: JobResult[Any] = waiting_result(Waiting(job_id, 0, "", kept.sent.entry.envelope), 0)
            return replace(known, status=JobStatus.BUFFERED)
        if job_id in self._refused:
            raise self._refused[job_id]
        return None

    def close(self, timeout: float) -> None:
        """Try to flush for at most `timeout` seconds; then log the jobs that are left, and forget them."""
        if not self._kept:
            return
        ends_at = monotonic() + timeout
        self._hurried.set()
        with self._changed:
            self._changed.wait_for(lambda: not self._kept, max(0.0, ends_at - monotonic()))
            lost, self._kept = list(self._kept), {}
            for job_id in lost:
                self._note(job_id, f"{job_id} was lost: its producer ended while Redis was unavailable.")
            self._changed.notify_all()
        if lost:
            log.error(
                "buffer.lost jobs=%d first=%s last=%s: this producer ends, and they were not enqueued. %s",
                len(lost), lost[0], lost[-1], self.reason,
            )  # fmt: skip
            self._counted("lost", len(lost))

    def _start(self) -> None:
        """Start the thread; called with the lock."""
        contain_handler_errors()  # one of the program's handlers that raises must not end the thread
        self._begun_at, self._flushed, self._refusals, self._dropped = monotonic(), 0, 0, 0
        self._hurried.clear()
        thread = threading.Thread(target=self._run, name="jobfleet-buffer", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the interpreter ends
            self._kept.clear()
            raise self.reason from None
        self._thread = thread
        most = self._context.config.buffer
        log.warning("buffer.started most=%d: jobs are kept in memory until Redis is back. %s", most, self.reason)

    def _run(self) -> None:
        """Flush until nothing is left."""
        store: Store | None = None
        wait = FIRST_WAIT
        try:
            while chunk := self._next():
                try:
                    store = store or self._open_store()
                    refusals = drive_blocking(store, flush(self._context, chunk, boottime()))
                except (StoreUnavailable, FleetFull, ConfigError) as error:
                    self._stumble(error)
                except Exception:
                    log.exception("buffer.failed jobs=%d", len(self))
                else:
                    if self._landed(chunk, refusals):
                        return
                    wait = FIRST_WAIT
                    continue
                self.is_draining = False
                if self._hurried.wait(wait * random.uniform(0.5, 1.0)):
                    self._hurried.clear()
                    wait = FIRST_WAIT
                wait = min(LONGEST_WAIT, wait * 2)
        finally:
            if store is not None:
                store.close()

    def _next(self) -> list[Kept]:
        """Return the first jobs; if there are none, end this thread."""
        with self._changed:
            chunk = list(islice(self._kept.values(), CHUNK))
            if not chunk:
                self._end()
            return chunk

    def _end(self) -> None:
        """End this thread; called with the lock."""
        self._thread, self.is_draining = None, False
        log.warning(
            "buffer.flushed jobs=%d refused=%d dropped=%d after=%s",
            self._flushed, self._refusals, self._dropped, span(monotonic() - self._begun_at),
        )  # fmt: skip

    def _stumble(self, error: JobfleetError) -> None:
        if isinstance(error, StoreUnavailable):
            self.reason = error
        else:
            reason = StoreUnavailable(str(error))
            if str(reason) != str(self.reason):
                log.warning("buffer.waiting jobs=%d: %s", len(self), error)
            self.reason = reason

    def _landed(self, chunk: list[Kept], refusals: Refusals) -> bool:
        """Remove jobs that were flushed; return whether they were the last ones, and this thread must end.

        They are counted and reported before they are removed: the numbers are final when the buffer is empty.
        """
        ids = [kept.sent.entry.id for kept in chunk]
        for place, error in refusals.items():
            log.warning("buffer.refused job=%s: %s", ids[place], error)
        self._counted("enqueued", len(ids) - len(refusals))
        if refusals:
            self._counted("refused", len(refusals))
        with self._changed:
            self._flushed += len(ids) - len(refusals)
            self._refusals += len(refusals)
            is_last = self._kept.keys() <= set(ids)
            if is_last:
                self._end()
            for place, job_id in enumerate(ids):
                if place in refusals and job_id in self._kept:
                    self._note(job_id, f"{job_id} was not enqueued from the local buffer: {refusals[place]}")
                    self._refused[job_id].__cause__ = refusals[place]
                self._kept.pop(job_id, None)
            self.is_draining = bool(self._kept)
            self._changed.notify_all()
        return is_last

    def _note(self, job_id: str, text: str) -> None:
        """Remember why a job is not in Redis, for `look`; the oldest notes are forgotten."""
        self._refused[job_id] = JobNotFound(job_id, text)
        while len(self._refused) > self._context.config.buffer:
            del self._refused[next(iter(self._refused))]


_OPEN: WeakSet[JobBuffer] = WeakSet()


def _at_exit() -> None:
    """Flush for the last time when the program ends."""
    ends_at = monotonic() + EXITING
    for buffer in list(_OPEN):
        buffer.close(max(0.0, ends_at - monotonic()))


def _after_fork() -> None:
    for buffer in list(_OPEN):
        buffer.forget()


atexit.register(_at_exit)
os.register_at_fork(after_in_child=_after_fork)
