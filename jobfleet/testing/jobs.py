"""What a test sees of the jobs that its code enqueues."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from jobfleet.fleet.default import set_default_fleet
from jobfleet.fleet.sync import Fleet
from jobfleet.model import Job, JobResult
from jobfleet.operations.jobs.prepare import resolve_in

PAGE = 500


class Jobs:
    """The jobs that were enqueued, and a worker for them.

    Attributes:
        fleet: The fleet they went to.
        enqueued: Each job that was enqueued, in order, those included that a unique key has kept out.
    """

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.enqueued: list[Job] = []

    def _seen(self, job: Job) -> Job:
        self.enqueued.append(job)
        return job

    @contextmanager
    def in_place(self) -> Iterator[Jobs]:
        """Have the module functions and ``@job`` functions use this fleet, and take note of what they enqueue."""
        around = self.fleet.context.registry.around_enqueue
        around.append(self._seen)
        before = set_default_fleet(self.fleet)
        try:
            yield self
        finally:
            set_default_fleet(before)
            around.remove(self._seen)

    def of(self, function: Callable[..., Any] | str) -> list[Job]:
        """The jobs of a function, or of what has this name on the wire."""
        name = self._name(Job("asked", function))
        return [job for job in self.enqueued if self._name(job) == name]

    def assert_enqueued(self, function: Callable[..., Any] | str, *args: object, **kwargs: object) -> Job:
        """See that a function was enqueued with these arguments; return the last such job.

        Raises:
            AssertionError: It was not; what was enqueued is told.
        """
        asked = Job("asked", function, args, kwargs)
        found = [job for job in self.of(function) if self._given(job) == self._given(asked)]
        if not found:
            raise AssertionError(f"{self._shown(asked)} was not enqueued; {self._told(self.enqueued)}")
        return found[-1]

    def assert_not_enqueued(self, function: Callable[..., Any] | str) -> None:
        """See that a function was not enqueued, whatever its arguments.

        Raises:
            AssertionError: It was.
        """
        found = self.of(function)
        if found:
            raise AssertionError(f"{self._name(found[0])} was enqueued; {self._told(found)}")

    def drain(self) -> list[JobResult[Any]]:
        """Run what is due, until nothing is; return all jobs that have ended so far, in the order of their enqueue.

        What is due later is left alone. A job that fails does not raise: look at its result.
        """
        queues = [queue.name for queue in self.fleet.queues()]
        if not queues:
            return []
        self.fleet.run_worker(queues=queues, burst=True)
        return sorted(self._ended(), key=lambda job: str(job.enqueued_at))

    def _ended(self) -> Iterator[JobResult[Any]]:
        cursor = ""
        while True:
            page = self.fleet.jobs(limit=PAGE, cursor=cursor)
            yield from (job for job in page.jobs if job.status.is_final)
            cursor = page.cursor
            if not cursor:
                return

    def _name(self, job: Job) -> str:
        known = resolve_in(self.fleet.context, job)
        return known.name if known is not None else str(job.function)

    def _given(self, job: Job) -> object:
        """A job's arguments by name, where its function is known: it does not matter how they were given."""
        known = resolve_in(self.fleet.context, job)
        if known is not None and known.parameters:
            try:
                bound = inspect.Signature(known.parameters).bind(*job.args, **job.kwargs)
            except TypeError:
                return job.args, dict(job.kwargs)
            bound.apply_defaults()
            return bound.arguments
        return job.args, dict(job.kwargs)

    def _shown(self, job: Job) -> str:
        parts = [*map(repr, job.args), *(f"{name}={value!r}" for name, value in job.kwargs.items())]
        return f"{self._name(job)}({', '.join(parts)})"

    def _told(self, jobs: list[Job]) -> str:
        return f"these were: {', '.join(map(self._shown, jobs))}." if jobs else "nothing was."
