"""`Jobs`: records the jobs that the code under test enqueues, and runs them."""

from __future__ import annotations

import inspect
import os
import traceback
import warnings
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, NamedTuple

from jobfleet.clock import seconds_or_text
from jobfleet.cron import from_us
from jobfleet.fleet.default import set_default_fleet
from jobfleet.fleet.sync import Fleet
from jobfleet.functions.context import JobContext
from jobfleet.functions.registry import JobFunction
from jobfleet.functions.steps import STEP, Steps
from jobfleet.model import Job, JobResult
from jobfleet.operations.jobs.prepare import resolve_in
from jobfleet.store.link.watched import WatchedLink
from jobfleet.testing.faults import Effects, Faults
from jobfleet.testing.shifted import ShiftedClock

if TYPE_CHECKING:
    from jobfleet.testing.advance import Advance


PAGE = 500


class Jobs:
    """Records the enqueued jobs and runs them on request. The fixture `jobs` returns one.

    Args:
        fleet: The fleet to enqueue to and to run jobs of.

    Attributes:
        fleet: The fleet that the jobs were enqueued to.
        enqueued: Each enqueued job, in order; jobs that a unique key rejected are included.
        kit: The clock, the faults and the effects of this fleet.

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
        self.kit: Kit = Kit(fleet)
        self._advance: Advance | None = None

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
            self.kit.close()

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
            function: The function, or its name on the wire. ``function.options(queue="mail", delay=60)`` also asserts
                these options.
            *args: The positional arguments. If the function is known, it does not matter whether an argument
                is passed by position or by name.
            **kwargs: The keyword arguments.

        Raises:
            AssertionError: No such job was enqueued; the message lists the closest jobs with the fields that differ.
        """
        options: dict[str, object] = {}
        if isinstance(function, JobFunction):
            known = self.fleet.context.registry.functions.get(function.name, function)
            options = {name: value for name, value in function.given.items() if known.given.get(name) != value}
        asked = Job("asked", function, args, kwargs)
        expected = self._seen_as(asked, options)._replace(options=options)
        found = [job for job in self.enqueued if self._seen_as(job, options) == expected]
        if not found:
            closest = near_misses(expected, [(self._shown(job), self._seen_as(job, options)) for job in self.enqueued])
            shown = ", ".join(f"{name}={value!r}" for name, value in options.items())
            with_options = f" with {shown}" if options else ""
            raise AssertionError(
                f"{self._shown(asked)} was not enqueued{with_options}; {self._listed(self.enqueued)}{closest}"
            )
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

    def drain(self, *, process: bool = False) -> list[JobResult[Any]]:
        """Run the due jobs, and the jobs that they make due, until none is left.

        Jobs that are due later do not run. A job that fails does not raise: check its result.

        Args:
            process: Run the worker in a process of its own, a fork of this one, which `kill_at` ends with SIGKILL. What
                its jobs change in memory is lost, and so are the effects of `effect` and `watch`.

        Returns:
            All jobs that have ended so far, in the order in which they were enqueued.

        Raises:
            RuntimeError: The worker in a process of its own has failed.
        """
        self._clock.publish()
        self._work(process=process)
        while self.kit.explores and self.kit.faults.killed_at:  # a fleet starts its workers again
            self.advance(self.fleet.config.lease + self.fleet.config.gone_after)
        return sorted(self._ended(), key=lambda job: str(job.enqueued_at))

    def _work(self, *, process: bool = False) -> None:
        served: list[str] = []
        self.kit.faults.killed_at = ""
        while len(queues := [queue.name for queue in self.fleet.queues()]) > len(served):  # a job may create a queue
            self.kit.work(queues, process=process)
            if self.kit.faults.killed_at:
                return
            served = queues

    # --- the clock -------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """The time of the test in UTC: that of Redis, moved by `advance`."""
        return from_us(self._clock.now_us())

    def advance(self, step: float | timedelta | str, *, outage: bool = False, cron: bool = True) -> None:
        """Move the clock, of Redis's scripts and of jobfleet in this process.

        By default the fleet lives meanwhile: the clock goes from one due time to the next, and at each the reaper's
        duties and the due jobs run. So delayed jobs, retries, fires of recurring jobs, leases and lifetimes come in
        their order. Your own code is not affected: it has the time from `now`.

        Args:
            step: Seconds, a timedelta, or a text such as ``"3d"``.
            outage: Let no worker and no reaper live meanwhile. Afterwards both are there again, and the misfire policy
                decides about the fires in between.
            cron: Whether recurring jobs fire: the entries of the fleet, and the functions with ``cron=``.

        Raises:
            InvalidJob: The step is not a duration, or more than 20,000 times are due within it.
            ConfigError: The fleet is on a cluster.
        """
        us = round(seconds_or_text(step, field="step") * 1e6)
        if outage:
            self._clock.outage(us, cron=cron)
        else:
            self._clock.through(us, cron=cron)

    @property
    def _clock(self) -> Advance:
        if self._advance is None:
            from jobfleet.testing.advance import Advance

            self._advance = Advance(self.fleet, self.kit.clock, self._work)
        return self._advance

    # --- faults and effects ----------------------------------------------------------------------

    def kill_at(self, point: str, occurrence: int = 1) -> None:
        """Kill the worker that reaches a point. `drain` and `advance` then return; its leases end as time passes.

        Args:
            point: ``after-claim``, ``before-settle``, ``after-settle``, ``before-enqueue``, ``after-enqueue`` (of a
                job); ``before-step:NAME``, ``step:NAME`` (its function has run, its result is not stored),
                ``after-step:NAME``; ``checkpoint:NAME``, ``after-checkpoint:NAME``; ``effect:NAME``.
            occurrence: At which time that it is reached, counted from now.

        Raises:
            InvalidJob: No such point exists.
        """
        self.kit.faults.kill_at(point, occurrence)

    def lose_reply(self, verb: str, times: int = 1, *, gives_up: bool = False) -> None:
        """Lose the next replies to a call: the server executes it, and the connection breaks.

        Args:
            verb: ``enqueue``, ``claim``, ``settle`` or ``keep`` (of steps).
            times: How many.
            gives_up: Let the caller get `StoreUnavailable` at once, as after the end of its patience. Otherwise
                jobfleet sends the call again, which has no second effect.

        Raises:
            InvalidJob: No such call exists.
        """
        self.kit.faults.lose_reply(verb, times, gives_up=gives_up)

    def effect(self, name: str, *, key: object = None) -> None:
        """Record that something happened outside of Redis; also a kill point. See `jobfleet_crashes`.

        Args:
            name: What has happened.
            key: The idempotency key that the receiver was given; repetitions with the same key count once.
        """
        self.kit.effects.add(name, key)

    def watch(self, owner: object, name: str, *, key: str | None = None) -> AbstractContextManager[None]:
        """Record each call of a function as an effect, within the block: ``with jobs.watch(bank, "charge"):``.

        Args:
            owner: The module, class or object that has the function.
            name: The name of the function in it, and of the effect.
            key: The name of its argument that is an idempotency key.

        Raises:
            InvalidJob: The function has no such parameter.
        """
        return self.kit.effects.watched(owner, name, key)

    def effects(self) -> dict[str, int]:
        """How often each effect happened so far; those with the same key count once."""
        return self.kit.effects.counts()

    def context(self, function: Callable[..., Any] | str, /, *args: object, **overrides: Any) -> JobContext:
        """Make a context for a call of a function by hand, as its first run now; see `JobContext.for_test`.

        Args:
            function: The function, or its name on the wire.
            *args: The arguments of its job.
            **overrides: Attributes of the context that differ.
        """
        known = resolve_in(self.fleet.context, Job("asked", function))
        name, queue = (known.name, known.options.get("queue")) if known is not None else (str(function), None)
        job = Job(name, name, args)
        return JobContext.for_test(
            **{"job": job, "job_id": f"{queue or 'default'}.0.{job.suffix}", "fence": 1} | overrides
        )

    # --- what was enqueued -----------------------------------------------------------------------

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

    def _given(self, job: Job) -> dict[str, Any] | tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments by name if the function is known, so that position or keyword makes no difference."""
        known = resolve_in(self.fleet.context, job)
        if known is not None and known.parameters:
            try:
                bound = inspect.Signature(known.parameters).bind(*job.args, **job.kwargs)
            except TypeError:
                return tuple(job.args), dict(job.kwargs)
            bound.apply_defaults()
            return bound.arguments
        return tuple(job.args), dict(job.kwargs)

    def _seen_as(self, job: Job, options: dict[str, object]) -> Seen:
        given = self._given(job)
        arguments = (
            given if isinstance(given, dict) else {str(at): value for at, value in enumerate(given[0])} | given[1]
        )
        return Seen(self._name(job), arguments, {name: getattr(job, name) for name in options})

    def _shown(self, job: Job) -> str:
        parts = [*map(repr, job.args), *(f"{name}={value!r}" for name, value in job.kwargs.items())]
        return f"{self._name(job)}({', '.join(parts)})"

    def _listed(self, jobs: list[Job]) -> str:
        return f"these were: {', '.join(map(self._shown, jobs))}." if jobs else "nothing was."


SHOWN = 3
"""How many jobs a message shows."""


class Seen(NamedTuple):
    """A job as an assertion compares it.

    Attributes:
        function: The name of its function.
        arguments: Its arguments, by name if the function is known, otherwise by position.
        options: The options to compare.
    """

    function: str
    arguments: Mapping[str, Any]
    options: Mapping[str, Any]

    def differs_from(self, other: Seen) -> list[str]:
        """The fields in which this job differs from the expected one, each as ``name: value, not expected``."""
        found = [] if self.function == other.function else [f"function: {self.function}, not {other.function}"]
        for mine, theirs in ((self.arguments, other.arguments), (self.options, other.options)):
            for name in dict.fromkeys((*theirs, *mine)):
                if name not in mine or name not in theirs or mine[name] != theirs[name]:
                    has = f"{mine[name]!r}" if name in mine else "not given"
                    wants = f"{theirs[name]!r}" if name in theirs else "none"
                    found.append(f"{name}: {has}, not {wants}")
        return found


def near_misses(expected: Seen, jobs: list[tuple[str, Seen]]) -> str:
    """Describe the jobs that are closest to the expected one, the closest first, one per line; empty for no jobs.

    Args:
        expected: The job that was asserted.
        jobs: The enqueued jobs, each with its call as text.
    """
    ranked = sorted(jobs, key=lambda job: _distance(expected, job[1]))[:SHOWN]
    lines = [f"  {call} differs in {'; '.join(seen.differs_from(expected))}" for call, seen in ranked]
    return "\nThe closest:\n" + "\n".join(lines) if lines else ""


def _distance(expected: Seen, seen: Seen) -> tuple[int, float]:
    """Other functions come last; among jobs of one function, few differing fields and similar texts come first."""
    alike = SequenceMatcher(None, repr(expected), repr(seen), autojunk=False).ratio() if len(repr(seen)) < 2000 else 0.0
    is_other = seen.function != expected.function
    return (len(seen.differs_from(expected)) + 100 * is_other, -alike)


class WatchedSteps(Steps):
    """Steps before which a worker may be killed."""

    def __init__(self, ctx: JobContext, faults: Faults) -> None:
        super().__init__(ctx.port, ctx.job_id)
        self._faults = faults

    def _traced(self, key: str) -> AbstractContextManager[object]:
        """The span of a step, which is entered right before its function is called."""
        self._faults.reach(f"before-step:{key.removeprefix(STEP)}")
        return super()._traced(key)


class Kit:
    """What a test does to a fleet.

    Args:
        fleet: The fleet. From now on its connections are watched.

    Attributes:
        clock: The clock.
        faults: The kill points and lost replies.
        effects: The effects of jobs.
        explores: Whether every kill point is to be seen, not only those that are set.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.clock: ShiftedClock = ShiftedClock(f"{fleet.context.keys.tag}kit-clock")
        self.faults: Faults = Faults(self.clock)
        self.effects: Effects = Effects(self.faults)
        self.explores: bool = False
        store = fleet.store
        fleet.target = store.at = replace(store.at, watcher=self.faults)
        store.link = WatchedLink(store.link, self.faults)

    def work(self, queues: Sequence[str], *, process: bool) -> None:
        """Run a worker until no job is due, or until it is killed.

        Args:
            queues: The queues to serve.
            process: Whether it is a process of its own, which a kill point ends with SIGKILL.
        """
        with self._observed():
            if process:
                self._work_in_process(queues)
            else:
                with self.faults.working():
                    self._fleet.run_worker(queues=queues, burst=True, stop=self.faults.stop)

    def _work_in_process(self, queues: Sequence[str]) -> None:
        reports, report_to = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 and later warn if there are threads
            child = os.fork()
        if child == 0:
            code = 1
            try:
                self.faults.report_to = report_to
                with self.faults.working():
                    self._fleet.run_worker(queues=queues, burst=True)
                code = 0
            except BaseException:  # noqa: BLE001 - a fork must not go on with the test
                traceback.print_exc()
            finally:
                os._exit(code)
        os.close(report_to)
        with os.fdopen(reports, "rb") as report:
            point = report.read().decode()
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status):
            raise RuntimeError("the process of the worker has failed; its traceback is above")
        self.faults.killed(point)

    @contextmanager
    def _observed(self) -> Iterator[None]:
        """Let each run pass through this kit, if kill points or effects are asked for."""
        if not (self.explores or self.faults.is_armed):
            yield
            return
        around = self._fleet.context.registry.around_run
        around.append(self._around)
        try:
            yield
        finally:
            around.remove(self._around)

    async def _around(self, ctx: JobContext, call_next: Callable[[], Awaitable[Any]]) -> Any:
        self.effects.started(ctx.job_id, ctx.fence)
        ctx._held["steps"] = WatchedSteps(ctx, self.faults)  # noqa: SLF001 - the steps of a context have no other place
        return await call_next()

    def close(self) -> None:
        """Give this process its own clock back."""
        self.clock.forget()
