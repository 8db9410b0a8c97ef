# Made by scripts/unasync from jobfleet/client/_async/endings.py. Change that, and run scripts/unasync.
"""The ends of some jobs, one after the other, in the order in which they end."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from jobfleet.client._sync.connection import Connection
from jobfleet.client._sync.listener import Watch
from jobfleet.client.base import Deadline, still_buffered, still_running
from jobfleet.client.wait_list import Outcome
from jobfleet.clock import monotonic
from jobfleet.errors import JobfleetError, JobNotFound, StoreUnavailable, WaitTimeout, warn
from jobfleet.functions.default_fleet import check_not_loading
from jobfleet.handle.base import outcome_of
from jobfleet.model import JobResult
from jobfleet.operations.jobs.poll import poll_ended
from jobfleet.operations.operation import batches, drive_blocking
from jobfleet.store.keys import Lane

AT_ONCE = 1000
"""Jobs that are read in one pipeline."""


class Endings:
    """Waits for jobs, all over the one connection of the client's listener.

    Args:
        client: The client.
        deadline: The time limit, for all jobs together.

    Raises:
        ConfigError: A worker is importing the module that waits.
    """

    def __init__(self, client: Connection, deadline: Deadline) -> None:
        check_not_loading()
        self._client = client
        self._deadline = deadline
        self._open: dict[str, Lane] = {}
        self._ready: deque[tuple[str, Outcome]] = deque()
        self._watch: Watch | None = None

    def add(self, ids: Iterable[str], *, are_new: bool = False) -> None:
        """Wait for more jobs.

        Args:
            ids: The jobs; each is reported once.
            are_new: Whether they were enqueued just now, so that they need not be read first.
        """
        added: dict[str, Lane] = {}
        for job_id in ids if are_new or self._client.buffering is None else self._flushed(list(ids)):
            try:
                added[job_id] = self._client.context.keys.lane_of(job_id)
            except JobNotFound as error:
                self._ready.append((job_id, error))
        if not are_new:
            for job_id in self._look(added):
                del added[job_id]
        self._open |= added
        if self._watch is not None or are_new:
            self._listen(added)

    def _flushed(self, ids: list[str]) -> list[str]:
        """Wait until jobs have left the local buffer; return those that Redis was given."""
        if self._client.buffering is None:
            return ids
        try:
            refused = self._client.buffering.left(ids, self._deadline.timeout)
        except StoreUnavailable as error:
            raise still_buffered(error) from error
        self._ready.extend(refused.items())
        return [job_id for job_id in ids if job_id not in refused]

    def next(self) -> tuple[str, Outcome]:
        """Return the next job that has ended, and its result, or the error if the result cannot be read.

        Raises:
            WaitTimeout: The time was over first.
        """
        while True:
            if self._ready:
                return self._ready.popleft()
            if self._watch is None:
                self._listen(self._open)
            found = self._listener_watch().next(self._deadline.left)
            if found is not None:
                job_id, outcome = found
                if self._open.pop(job_id, None) is None:  # `_look_last` has reported it
                    continue
                if isinstance(outcome, JobNotFound):
                    outcome = self._archived(job_id, outcome)
                return job_id, outcome
            if self._deadline.should_warn:
                self._warn_of_hindrances()
            if self._deadline.is_over and not self._look_last():
                still = list(self._open)
                raise WaitTimeout(still[0], self._deadline.timeout or 0.0, job_ids=still, why=self._why(still[0]))

    @property
    def still_open(self) -> list[str]:
        """The jobs that have not ended."""
        return list(self._open)

    def close(self) -> None:
        """Wait no more."""
        if self._watch is not None:
            self._watch.close()

    def _listen(self, ids: Iterable[str]) -> None:
        self._listener_watch().add(list(ids))

    def _listener_watch(self) -> Watch:
        if self._watch is None:
            self._watch = Watch(self._client.listener)
        return self._watch

    def _look(self, jobs: dict[str, Lane]) -> list[str]:
        """Read jobs; return those that have ended, which are ready then."""
        ended: list[str] = []
        for part in batches([(lane, job_id) for job_id, lane in jobs.items()], AT_ONCE):
            began = monotonic()
            try:
                found = drive_blocking(self._client.store, poll_ended(self._client.context, part))
            except StoreUnavailable as error:
                raise still_running(error, began) from error
            for job_id, outcome in found.items():
                known = self._archived(job_id, outcome) if isinstance(outcome, JobNotFound) else outcome
                self._ready.append((job_id, known))
            ended += found
        return ended

    def _look_last(self) -> bool:
        """Read the open jobs once more when the time is over; return whether one of them has ended."""
        for job_id in self._look(self._open):
            del self._open[job_id]
        return bool(self._ready)

    def _archived(self, job_id: str, error: JobNotFound) -> Outcome:
        """Return the result of a job that Redis does not know any more."""
        try:
            return self._client.from_archive(job_id)
        except JobNotFound:
            return error

    def _why(self, job_id: str) -> str:
        """Return the first reason why a job has not ended; empty for a short wait, and for a part of a wait."""
        return why_open(self._client, job_id) if self._deadline.explains else ""

    def _warn_of_hindrances(self) -> None:
        from jobfleet.operations.explain.hindrances import hindrances  # for those who wait long

        try:
            found = drive_blocking(self._client.store, hindrances(self._client.context, list(self._open)))
        except JobfleetError:  # a wait does not end because its warnings cannot be read
            return
        for text in found:
            warn(text)


def why_open(client: Connection, job_id: str) -> str:
    """Return the first reason why a job has not ended; empty if it cannot be read."""
    from jobfleet.operations.explain import explain  # for those whose time is over

    try:
        reasons = (drive_blocking(client.store, explain.look(client.context, job_id))).reasons
    except JobfleetError:  # the time is over, whether or not this can be read
        return ""
    return reasons[0].text if reasons else ""


def checked(outcome: Outcome) -> JobResult[Any]:
    """Return the result of a job, or raise the error of reading it."""
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def value_of(outcome: Outcome, *, return_exceptions: bool) -> Any:
    """Return what the function of a job returned.

    Args:
        outcome: How the job ended.
        return_exceptions: Whether to return the error of a job that did not complete; else it is raised.
    """
    try:
        return outcome_of(checked(outcome))
    except Exception as error:
        if return_exceptions:
            return error
        raise
