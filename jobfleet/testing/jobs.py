"""`Jobs`: records the jobs that the code under test enqueues, and runs them."""

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
    """Records the enqueued jobs and runs them on request. The fixture `jobs` returns one.

    Args:
        fleet: The fleet to enqueue to and to run jobs of.

    Attributes:
        fleet: The fleet that the jobs were enqueued to.
        enqueued: Each enqueued job, in order; jobs that a unique key rejected are included.

    Example:
        >>> def test_signup(jobs):
        ...     signup("ann@example.org")
        ...     jobs.assert_enqueued(send_mail, "ann@example.org")
        ...     jobs.drain()
    """

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        if fleet.config.url.startswith("memory:"):  # no replica and no disk, and nothing outlives a test
            fleet.context.ignores_levels = True
        self.enqueued: list[Job] = []

    def _seen(self, job: Job) -> Job:
        self.enqueued.append(job)
        return job

    @contextmanager
    def in_place(self) -> Iterator[Jobs]:
        """Make this fleet the default fleet within the block, and record each job that is enqueued to it."""
        around = self.fleet.context.registry.around_enqueue
        around.append(self._seen)
        before = set_default_fleet(self.fleet)
        try:
            yield self
        finally:
            set_default_fleet(before)
            around.remove(self._seen)

    @contextmanager
    def inline(self, *, raises: bool = True) -> Iterator[Jobs]:
        """Run each job at once, before its enqueue returns, within the block.

        A worker in this process runs the job, so arguments and results are encoded and decoded, and hooks, resources
        and options apply. A ``def`` job runs in the thread that has enqueued it. Jobs that are not due, and those of
        `enqueue_many` and of flows, wait for `drain`.

        Args:
            raises: Whether the enqueue raises the error of its job, also if the job would be retried later.
        """
        from jobfleet.testing.inline import Inline, InlineFleet

        with InlineFleet.over(self.fleet, Inline(self.fleet, raises=raises)) as fleet:
            before = set_default_fleet(fleet)
            try:
                yield self
            finally:
                set_default_fleet(before)

    def of(self, function: Callable[..., Any] | str) -> list[Job]:
        """Return the recorded jobs of a function.

        Args:
            function: The function, or its name on the wire.
        """
        name = self._name(Job("asked", function))
        return [job for job in self.enqueued if self._name(job) == name]

    def assert_enqueued(self, function: Callable[..., Any] | str, /, *args: object, **kwargs: object) -> Job:
        """Assert that a function was enqueued with these arguments; return the last such job.

        Args:
            function: The function, or its name on the wire.
            *args: The positional arguments. If the function is known, it does not matter whether an argument
                is passed by position or by name.
            **kwargs: The keyword arguments.

        Raises:
            AssertionError: No such job was enqueued; the message lists the jobs that were.
        """
        asked = Job("asked", function, args, kwargs)
        found = [job for job in self.of(function) if self._given(job) == self._given(asked)]
        if not found:
            raise AssertionError(f"{self._shown(asked)} was not enqueued; {self._listed(self.enqueued)}")
        return found[-1]

    def assert_not_enqueued(self, function: Callable[..., Any] | str) -> None:
        """Assert that a function was not enqueued with any arguments.

        Args:
            function: The function, or its name on the wire.

        Raises:
            AssertionError: The function was enqueued; the message lists its jobs.
        """
        found = self.of(function)
        if found:
            raise AssertionError(f"{self._name(found[0])} was enqueued; {self._listed(found)}")

    def drain(self) -> list[JobResult[Any]]:
        """Run the due jobs, and the jobs that they make due, until none is left.

        Jobs that are due later do not run. A job that fails does not raise: check its result.

        Returns:
            All jobs that have ended so far, in the order in which they were enqueued.
        """
        served: list[str] = []
        while len(queues := [queue.name for queue in self.fleet.queues()]) > len(served):  # a job may create a queue
            self.fleet.run_worker(queues=queues, burst=True)
            served = queues
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
        """The arguments by name if the function is known, so that position or keyword makes no difference."""
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

    def _listed(self, jobs: list[Job]) -> str:
        return f"these were: {', '.join(map(self._shown, jobs))}." if jobs else "nothing was."
