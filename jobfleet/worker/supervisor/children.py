"""The children of a worker: starts them, reads their reports, and replaces them when they die."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from jobfleet.clock import boottime
from jobfleet.config import JobConfig, processors
from jobfleet.errors import EXIT_OK, EXIT_RECYCLED, EXIT_USAGE, JobfleetError, JobNotFound, how_it_died
from jobfleet.outcome import Cancelled, Crashed, Interrupted, Outcome, TimedOut, Witnessed
from jobfleet.retry.tries import Tries, suspects
from jobfleet.services.duties.run_settler import RunSettler, Unreadables, listed
from jobfleet.services.long_lived import start
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import settle
from jobfleet.store.calls.lease import CHUNK, bury
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.records import Held
from jobfleet.store.script import load
from jobfleet.store.target import Target
from jobfleet.worker.ipc.lease_board import Phase, Posted, board_capacity
from jobfleet.worker.ipc.protocol import Kind, frames
from jobfleet.worker.supervisor.child_handle import ChildHandle
from jobfleet.worker.supervisor.heartbeat import RunTotals
from jobfleet.worker.supervisor.leases import LEASE_REPORTS, Connection
from jobfleet.worker.supervisor.metrics import WorkerMetrics
from jobfleet.worker.supervisor.start_report import IMPORTS, StartReport

if TYPE_CHECKING:
    from jobfleet.worker.ipc.chaos import ChaosReport


log = logging.getLogger("jobfleet.worker")
AFTER_GRACE = 5.0
"""Seconds after its grace at which a child that does not end is killed."""
BACK_OFF = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0)
LAST_WORDS = 1.0
"""Seconds for which the remaining reports of a dead child are read from its pipe."""
TRY_AGAIN = 30.0
"""Seconds after which a child that could not start is started again, while other children serve."""
LEAST_AT_ONCE = 4
"""Minimum number of children that may load modules concurrently; the number of processors, if higher."""
LOADING = 30.0
"""Seconds after which a child that still loads its modules no longer delays the start of others."""
GROW_EVERY = 0.5
"""Seconds between checks whether more children can start, besides the checks whenever a child is ready."""
STEADY = 10.0
"""Seconds of uptime after which the death of a child does not count towards a crash loop."""
Keep = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]


class Children:
    """The children of one worker.

    Args:
        worker: The worker's id.
        modules: The modules that the children load.
        config: The settings.
        at: The server.
        recovery: Settles the runs of a dead child.
        metrics: Counts deaths and collects the children's counts.
        lanes: Returns the lanes of some queues.
        keep: Runs a coroutine as a task of the worker.
        on_ready: Called with the published functions of a new child, by name, and the queues that it serves.
        on_retire: Called when a child requests a successor, with the reason.
        on_empty: Called when a child is gone and has no immediate successor.
        connection: Learns which leases the children have lost.
        start_report: Learns what the children import.
        runs: Collects the children's counts of runs.

    Attributes:
        by_pid: The children by process id.
        size: Target number of children.
        queues: The queues that they serve.
        state: running, quiet or stopping.
        refusal: The reason why no child can start; None if children can start.
        awaited: The numbers of children whose successors are about to start.
        chaos: Learns of the faults that the children inject; None without ``--chaos``.
    """

    def __init__(
        self,
        worker: str,
        modules: Sequence[str],
        config: JobConfig,
        at: Target,
        *,
        recovery: CrashRecovery,
        metrics: WorkerMetrics,
        lanes: Callable[[Sequence[str]], list[Lane]],
        keep: Keep,
        on_ready: Callable[[dict[str, bytes], list[str]], Awaitable[None]],
        on_retire: Callable[[ChildHandle, str], None],
        on_empty: Callable[[], None],
        connection: Connection,
        start_report: StartReport,
        runs: RunTotals,
    ) -> None:
        self._worker = worker
        self._modules = list(modules)
        self._config = config
        self._at = at
        self._recovery = recovery
        self._metrics = metrics
        self._lanes = lanes
        self._keep = keep
        self._on_ready = on_ready
        self._on_retire = on_retire
        self._on_empty = on_empty
        self._connection = connection
        self._start_report = start_report
        self._runs = runs
        self._count = 0
        self._deaths = 0
        self._burials: set[asyncio.Task[None]] = set()
        self.by_pid: dict[int, ChildHandle] = {}
        self.size = config.processes
        self.queues: list[str] = []
        self.state = "running"
        self.refusal: str | None = None
        self.awaited: set[int] = set()
        self.chaos: ChaosReport | None = None
        if config.chaos:
            from jobfleet.worker.ipc.chaos import ChaosReport  # for staging

            self.chaos = ChaosReport(config, metrics.merge)
        self._at_once = max(LEAST_AT_ONCE, processors())
        self._unborn: list[int] = []
        self._growing: asyncio.TimerHandle | None = None

    @property
    def is_deserted(self) -> bool:
        """Whether there is no child, and none will start."""
        return not self.by_pid and (
            self.state == "stopping" or (self._config.burst and not self.awaited and not self._unborn)
        )

    @property
    def standing(self) -> list[ChildHandle]:
        """The children that stay, by their numbers."""
        return sorted(
            (handle for handle in self.by_pid.values() if not handle.is_replaced), key=lambda handle: handle.number
        )

    @property
    def kinds(self) -> list[Kind]:
        """The kinds of the claiming children."""
        claiming = (handle for handle in self.by_pid.values() if handle.kind is not None and not handle.is_draining)
        return list({handle.kind.id: handle.kind for handle in claiming if handle.kind is not None}.values())

    @property
    def draining(self) -> list[ChildHandle]:
        """The draining children, oldest first."""
        return sorted((handle for handle in self.by_pid.values() if handle.is_draining), key=lambda handle: handle.born)

    def scale(self, size: int) -> None:
        """Set the number of children: start missing ones, and drain excess ones."""
        self.size = size
        taken = self.awaited | {handle.number for handle in self.standing}
        self._unborn = sorted(set(range(size)) - taken, reverse=True)
        self._grow()
        for handle in self.standing:
            if handle.number >= size:
                handle.is_replaced = True
                self.drain(handle, None)

    def _grow(self) -> None:
        """Start missing children, a few at a time.

        A child that loads its modules uses a whole processor and much memory. Hundreds at once would overload the
        machine and delay this worker's heartbeats.
        """
        if self.state == "stopping":
            self._unborn.clear()
        now = boottime()
        loading = sum(1 for handle in self.by_pid.values() if not handle.is_ready and now - handle.born < LOADING)
        while self._unborn and loading < self._at_once:
            self.spawn(self._unborn.pop())
            loading += 1
        if self._unborn and (self._growing is None or self._growing.when() <= asyncio.get_running_loop().time()):
            self._growing = asyncio.get_running_loop().call_later(GROW_EVERY, self._grow)

    def spawn(self, number: int, *, follows: tuple[ChildHandle, float | None] | None = None) -> None:
        """Start a child.

        Args:
            number: Its number.
            follows: The child that it replaces when it serves, and the grace of that child.
        """
        self._count += 1
        handle = ChildHandle(f"{self._worker}.{self._count}", number, board_capacity(self._config.slots))
        self.by_pid[handle.pid] = handle
        handle.follows = follows
        settings = self._config.plain(url=self._at.url, processes=1)
        handle.hello(settings, self._modules, str(self._config.app_dir), quiet=self.state == "quiet")
        reports = frames(handle.reports)
        if self.chaos is not None:
            reports = self.chaos.heard(handle.child, reports)
        handle.hearing = start(partial(self._hear, handle, reports), log, "reports")

    async def _hear(self, handle: ChildHandle, reports: AsyncIterator[list[Any]]) -> None:
        async for word, *rest in reports:
            handle.has_reported = True
            if word == "ready":
                functions, handle.queues, *kind = rest
                handle.kind = Kind(*kind)
                handle.is_ready, handle.ready_at = True, boottime()
                self._grow()
                await self._on_ready(functions, handle.queues)
            elif word in IMPORTS:
                self._start_report.hear(word, rest[0])
            elif word == "serving":
                self._relieve(handle)
            elif word == "state":
                handle.running, delta, counts = rest
                self._metrics.merge(delta)
                self._runs.add(counts)
            elif word == "pulse":
                handle.pulsed_at = rest[0]
                self._metrics.pulsed(rest[0])
            elif word in LEASE_REPORTS:
                self._connection.hear(word, rest)
            elif word == "examined":
                handle.examining -= 1
                self._connection.examined()
            elif word == "retire":
                self._on_retire(handle, rest[0])
            elif word == "refused":
                handle.refusal = (rest[0], rest[1])
            elif word == "condemned":
                job_id, token, what, why = rest
                handle.verdicts.setdefault((job_id, token), TimedOut(why) if what == "timeout" else Cancelled(why))

    def _relieve(self, handle: ChildHandle) -> None:
        """Drain the child that this one follows, because this one serves or will not come."""
        follows, handle.follows = handle.follows, None
        if follows is not None and self.state != "stopping":
            self.drain(*follows)

    def drain(self, handle: ChildHandle, grace: float | None) -> None:
        """Stop a child's claims and let it end; if it does not end, it is killed and its jobs are not charged.

        Args:
            handle: The child.
            grace: Seconds that its jobs may take; then the remaining ones are released, uncounted. None for no limit.
        """
        handle.drain(grace)
        if grace is not None:
            self._keep(self._end_straggler(handle, grace))

    def hurry(self) -> None:
        """Let all children release their running jobs at once."""
        for handle in self.by_pid.values():
            handle.tell("hurry")
            self._keep(self._end_straggler(handle, 0.0))

    async def _end_straggler(self, handle: ChildHandle, grace: float) -> None:
        await asyncio.sleep(grace + AFTER_GRACE)
        if self.by_pid.get(handle.pid) is handle:
            log.error("child.killed child=%s did not end within its grace", handle.child)
            handle.is_leaving = True
            handle.kill(signal.SIGKILL)

    def _bequeath(self, handle: ChildHandle) -> None:
        """Hand on the predecessor of a child that left: it waits for the child's own successor, if there is one."""
        heir = next((one for one in self.by_pid.values() if one.follows is not None and one.follows[0] is handle), None)
        if heir is not None and handle.follows is not None:
            heir.follows, handle.follows = handle.follows, None
        self._relieve(handle)

    def look_for_deaths(self) -> None:
        """Check which children have ended, were frozen or were resumed."""
        for handle in list(self.by_pid.values()):
            try:
                pid, status = os.waitpid(handle.pid, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
            except ChildProcessError:
                continue
            if pid == 0:
                continue
            if os.WIFSTOPPED(status):
                handle.stopped_at = boottime()
                log.warning("child.frozen child=%s", handle.child)
            elif os.WIFCONTINUED(status):
                handle.stopped_at = None
            else:
                self._died(handle, status)

    def _died(self, handle: ChildHandle, status: int) -> None:
        del self.by_pid[handle.pid]
        handle.reaped(status)
        code = handle.exit_code or 0
        # A child that leaves by itself has cleared its board; otherwise a job ended the process.
        was_meant = self.chaos is not None and code == -signal.SIGKILL
        planned = handle.is_leaving or was_meant or (code in (EXIT_OK, EXIT_RECYCLED) and not handle.posted())
        could_not_start = code == EXIT_USAGE and not handle.is_ready  # it reports the reason itself
        if not planned and not could_not_start:
            log.error("child.died child=%s %s", handle.child, how_it_died(code))
            self._metrics.crashed(code)
        burial = self._keep(self._bury(handle, handle.killed_for or how_it_died(code), planned=planned))
        self._burials.add(burial)
        burial.add_done_callback(self._burials.discard)
        if self.state == "stopping" or handle.is_replaced or (self._config.burst and code == EXIT_OK):
            self._bequeath(handle)
            self._on_empty()
        else:
            steady = boottime() - handle.born > STEADY or code == EXIT_RECYCLED or was_meant
            self._deaths = 0 if steady else self._deaths + 1
            self.awaited.add(handle.number)
            self._keep(self._follow(handle, BACK_OFF[min(self._deaths, len(BACK_OFF) - 1)]))

    async def _bury(self, handle: ChildHandle, reason: str, *, planned: bool) -> None:
        posted, lanes = handle.posted(), self._lanes(handle.queues or self.queues)
        handle.close()
        try:
            # Also for a child that left in order, because a claim whose reply it did not await may have run.
            settled = await self._recovery.bury(
                handle.child, posted, lanes, reason, planned=planned, verdicts=handle.verdicts
            )
            if settled:
                text = "child.buried child=%s %s these jobs run again, except those that have failed"
                log.warning(text, handle.child, listed(settled))
        except JobfleetError as error:
            log.error("child.not_buried child=%s %s", handle.child, error)
        finally:
            self._on_empty()
        if handle.hearing is not None:
            await asyncio.wait((handle.hearing,), timeout=LAST_WORDS)
            handle.hearing.cancel()  # another process still holds its pipe, but has nothing to report

    async def burials(self, timeout: float) -> None:
        """Wait up to `timeout` seconds until the runs of all dead children are recovered."""
        if self._burials:
            await asyncio.wait(set(self._burials), timeout=timeout)

    async def _follow(self, handle: ChildHandle, after: float) -> None:
        """Start the successor of a dead child, unless the child could not even start."""
        if handle.exit_code == EXIT_USAGE and handle.hearing is not None:
            await asyncio.wait((handle.hearing,), timeout=LAST_WORDS)
            if not handle.is_ready:
                self.awaited.discard(handle.number)
                self._refuse(handle, *(handle.refusal or ("The child could not start.", "")))
                return
            # Its modules are loaded, so another try may succeed.
            why, shown = handle.refusal or ("It reported no reason.", "")
            log.error(
                "child.refused child=%s trying again in %gs. %s%s", handle.child, after, why, f"\n{shown}" * bool(shown)
            )
        await self._start_later(handle, after)

    async def _start_later(self, handle: ChildHandle, after: float) -> None:
        await asyncio.sleep(after)
        self.awaited.discard(handle.number)
        if self.state != "stopping" and handle.number < self.size:
            self.spawn(handle.number, follows=handle.follows)
        else:
            self._relieve(handle)

    def replace(self, handle: ChildHandle, grace: float | None, *, is_fit: bool = False) -> None:
        """Start a child's successor, and drain the child.

        Args:
            handle: The child.
            grace: Seconds that its jobs may take; then the remaining ones are released, uncounted. None for no limit.
            is_fit: Whether it may claim until its successor serves, so that no slot is missing meanwhile. It even stays
                if the successor cannot start because the modules are broken. Otherwise it claims nothing more.
        """
        if self.state == "stopping":
            return
        if not handle.is_replaced:
            handle.is_replaced = True
            self.spawn(handle.number, follows=(handle, grace) if is_fit else None)
        if not is_fit and not handle.is_draining:
            self.drain(handle, grace)

    def _refuse(self, handle: ChildHandle, why: str, shown: str) -> None:
        old = handle.follows[0] if handle.follows is not None else None
        if old is not None and old.pid in self.by_pid and old.number < self.size:
            old.is_replaced, old.kept_at = False, boottime()
            log.error("child.refused child=%s stays, because its successor cannot start. %s\n%s", old.child, why, shown)
        elif self._config.reload and self.queues:
            log.error("child.refused waiting for the next change of code. %s\n%s", why, shown)
        elif any(one.is_ready for one in self.standing):  # the others continue
            log.error("child.refused trying again in %gs. %s\n%s", TRY_AGAIN, why, shown)
            self.awaited.add(handle.number)
            self._keep(self._start_later(handle, TRY_AGAIN))
        elif self.refusal is None:
            sys.stderr.write(f"{why}\n{shown}")
            self.refusal = why
        self._on_empty()

    def tell(self, *frame: Any) -> None:
        """Send a frame to every child."""
        for handle in self.by_pid.values():
            handle.tell(*frame)


NODE_PATIENCE = 1.0
"""Seconds to wait for a node of a cluster before the runs on other nodes are settled."""


class CrashRecovery:
    """Settles the runs of a worker's dead children, at once.

    A job is charged with the death only if its code ran alone in the process. If several jobs ran, each has witnessed
    the death and runs again at once, uncounted (`jobfleet/retry/tries.py`). A job that was only claimed, had returned,
    or ran in another process is released. If the process was ended because of a run that nothing else could end, that
    run gets the outcome for which it was condemned.

    Args:
        store: The connection to Redis, with unlimited patience.
        keys: The fleet's keys.
        overdue: Decides about runs and settles them.
        unreadables: Removes rows that cannot be read.
    """

    def __init__(self, store: AsyncStore, keys: Keyspace, overdue: RunSettler, unreadables: Unreadables) -> None:
        self._store = store
        self._keys = keys
        self._overdue = overdue
        self._unreadables = unreadables

    def prepare(self) -> None:
        """Read the scripts that a death needs, so that the jobs of the first dead child do not wait for their files."""
        for name in ("bury", "settle"):
            load(name)

    async def bury(
        self,
        child: str,
        posted: Sequence[Posted],
        lanes: Sequence[Lane],
        reason: str,
        *,
        planned: bool = False,
        verdicts: Mapping[tuple[str, int], Outcome] | None = None,
    ) -> list[Held]:
        """Settle the runs of a child.

        Args:
            child: The child's id.
            posted: The jobs on its board.
            lanes: The lanes from which it may have claimed.
            reason: A description of its death.
            planned: Whether it was killed on purpose after a grace, so that no job is charged.
            verdicts: The outcomes of runs that only its end could end.

        Returns:
            The settled runs.
        """
        guilty = _may_have_ended_it(posted)
        by_lane: dict[Lane, list[tuple[str, int]]] = {lane: [] for lane in lanes}
        for one in posted:
            with suppress(JobNotFound):  # not a valid id; a tick of the lane finds the row
                by_lane.setdefault(self._keys.lane_of(one.id), []).append(one.key)
        there = await self._store.reachable(list(by_lane), within=NODE_PATIENCE)
        away = [lane for lane in by_lane if lane not in there]
        settled: list[Held] = []
        for part in (there, away):  # a node of a cluster may be away for long
            found = [
                (lane, await self._store.run(bury(lane, child, by_lane[lane][at : at + CHUNK])))
                for lane in part
                for at in range(0, max(len(by_lane[lane]), 1), CHUNK)
            ]
            held = [one for _, buried in found for one in buried.held]
            outcome = _outcomes(held, guilty, reason, {} if verdicts is None else verdicts, planned=planned)
            for lane, buried in found:
                guard = settle.TOKEN_VALID
                settled += await self._overdue.settle(lane, buried.held, buried.now, outcome, guard=guard)
                await self._unreadables.set_aside(lane, buried.unreadable)
        return settled


def _may_have_ended_it(posted: Sequence[Posted]) -> set[tuple[str, int]]:
    """Return the runs whose code or hooks were in the process, or else those in processes that it had started."""
    for phases in ((Phase.STARTED, Phase.ENDED), (Phase.APART,)):
        if runs := {one.key for one in posted if one.phase in phases}:
            return runs
    return set()


def _outcomes(
    held: Sequence[Held],
    guilty: set[tuple[str, int]],
    reason: str,
    verdicts: Mapping[tuple[str, int], Outcome],
    *,
    planned: bool,
) -> Callable[[Held], Outcome]:
    """Return a function from each run of the child to the outcome that the death has for it."""
    deaths = {(one.id, one.token): Tries.parse(one.tries).deaths for one in held if (one.id, one.token) in guilty}
    among = suspects(deaths.values(), len(guilty) - len(deaths))
    others = len(guilty) - 1

    def outcome(one: Held) -> Outcome:
        key = (one.id, one.token)
        if key in verdicts:
            return verdicts[key]
        if planned or key not in guilty:
            return Interrupted()
        if not others:
            return Crashed(reason)
        return Witnessed(f"{reason}; {others} other job{'s' if others > 1 else ''} ran in it", among[deaths[key]])

    return outcome


KEPT = 60.0
"""Seconds after which a child whose successor could not start may request one again."""
YOUNG = 3.0
"""Seconds after it became ready in which a child may not request a successor because of its size, as the successor
would be equally large."""


class Recycling:
    """Replaces children of a worker on their request, each by a successor.

    The old child claims until the successor serves, so that no slot is missing meanwhile.

    Args:
        child_processes: The children.
        grace: Seconds that a child's last jobs may take if too many children are retiring.
        metrics: Counts the replacements.
    """

    def __init__(self, child_processes: Children, *, grace: float, metrics: WorkerMetrics) -> None:
        self._child_processes = child_processes
        self._grace = grace
        self._metrics = metrics
        self._has_warned = False

    def retire(self, handle: ChildHandle, reason: str) -> None:
        """Replace a child on its request, which it repeats every second until it may leave.

        Its jobs have no time limit. But if more children are retiring than there are regular ones, the oldest must end
        within the grace.
        """
        now = boottime()
        if handle.is_replaced or self._child_processes.state == "stopping" or now - handle.kept_at < KEPT:
            return
        if reason == "memory" and now - handle.ready_at < YOUNG:
            if not self._has_warned:
                log.warning(
                    "child.too_large child=%s exceeds max_memory from its start: raise max_memory", handle.child
                )
            self._has_warned = True
            return
        draining = self._child_processes.draining
        if len(draining) >= self._child_processes.size and not draining[0].is_hurried:
            draining[0].is_hurried = True
            self._child_processes.drain(draining[0], self._grace)
        log.info("child.recycled child=%s reason=%s", handle.child, reason)
        self._metrics.recycled(reason)
        self._child_processes.replace(handle, None, is_fit=True)
