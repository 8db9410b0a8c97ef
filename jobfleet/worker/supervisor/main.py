"""The supervisor: a small parent process that never imports user code.

It starts children, renews their leases, recovers from their deaths, sends heartbeats, ticks lanes and forwards signals.
User code cannot stop this process.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from jobfleet.clock import boottime
from jobfleet.config import JobConfig
from jobfleet.errors import EXIT_OK, EXIT_USAGE, JobfleetError
from jobfleet.logs import is_for_terminal, set_up_logs
from jobfleet.metrics.tally import tally_for
from jobfleet.services.duties.cron_standin import CronStandin
from jobfleet.services.duties.leases import Leases, shared_spacing
from jobfleet.services.duties.relay import Relay
from jobfleet.services.duties.run_settler import RunSettler, Unreadables
from jobfleet.services.long_lived import for_each, start
from jobfleet.store.aio import AsyncStore
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.target import Target, target_of
from jobfleet.worker.ipc.protocol import new_worker_id
from jobfleet.worker.supervisor.child_handle import ChildHandle
from jobfleet.worker.supervisor.children import AFTER_GRACE, Children, CrashRecovery, Keep, Recycling
from jobfleet.worker.supervisor.heartbeat import Heartbeat, RunTotals
from jobfleet.worker.supervisor.leases import MOST, Connection, LeaseRenewer, Renewals
from jobfleet.worker.supervisor.metrics import WorkerMetrics
from jobfleet.worker.supervisor.remote_commands import RemoteCommands
from jobfleet.worker.supervisor.start_report import StartReport
from jobfleet.worker.supervisor.watchdog import HangDetector, HardLimits, show_stacks

if TYPE_CHECKING:
    from jobfleet.services.main import HostedReaper
    from jobfleet.services.service import Service


log = logging.getLogger("jobfleet.worker")

RELAY_SHARE = 5
"""How many times less often than leases a supervisor checks for dependants, because children notify them at once."""


class Supervisor:
    """A worker.

    Args:
        modules: The modules that its children load.
        config: The settings.
        at: The server.
    """

    def __init__(self, modules: Sequence[str], config: JobConfig, at: Target) -> None:
        self._config = config
        self._worker = new_worker_id()
        self._keys = Keyspace.of(config)
        self._at = at
        self._store = self._connect(config.socket_timeout)
        self._renewing_store = self._connect(config.renewal_timeout * MOST)
        self._tally = tally_for(config.metrics_port)
        if self._keys.seals is not None:
            self._tally.count_keys(self._keys.seals.sealer.counted)
        self._connection = Connection(at.shown, log, self._tally, held=self._held, is_examined=self._is_examined)
        self._start_report = StartReport(config, self._worker, modules, at.shown)
        runs = RunTotals()
        self._heartbeat = Heartbeat(
            self._store,
            self._keys,
            config,
            self._worker,
            on_forgotten=lambda: self._child_processes.tell("forgotten"),
            runs=runs,
        )
        self._leases = Leases(
            self._store,
            self._keys,
            config,
            self._tally,
            spacing=lambda: shared_spacing(self._heartbeat.workers, self._config.lease),
        )
        self._relay = Relay(
            self._store,
            self._keys,
            config,
            self._tally,
            spacing=lambda: RELAY_SHARE * shared_spacing(self._heartbeat.workers, self._config.lease),
        )
        self._renewer = LeaseRenewer(
            self._renewing_store, self._keys, lease=config.lease, timeout=config.renewal_timeout
        )
        self._renewals = Renewals(
            self._renewer,
            self._connection,
            children=lambda: list(self._by_pid.values()),
            every=config.renewal,
        )
        self._functions: dict[str, bytes] = {}
        self._scale_max = max(config.scale_max or 0, config.processes)
        self._standin = CronStandin(
            self._store, config, self._tally, log, process=self._worker, functions=lambda: self._functions
        )
        self._undecorated = [name.partition(":")[0] for name in modules] if config.allow_undecorated else []
        tell = self._leases.teller.tell
        run_settler = RunSettler(
            self._store, config, functions=lambda: self._functions, tally=self._tally, on_watched=tell
        )
        self._metrics = WorkerMetrics(config, self._worker, self._tally)
        self._recovery = CrashRecovery(
            self._store, self._keys, run_settler, Unreadables(self._store, config, self._tally)
        )
        self._child_processes = Children(
            self._worker,
            modules,
            config,
            at,
            recovery=self._recovery,
            metrics=self._metrics,
            lanes=self._lanes,
            keep=self._keep,
            on_ready=self._on_ready,
            on_retire=self._retire,
            on_empty=self._check_all_gone,
            connection=self._connection,
            start_report=self._start_report,
            runs=runs,
        )
        self._recycling = Recycling(self._child_processes, grace=config.grace, metrics=self._metrics)
        self._by_pid = self._child_processes.by_pid
        self._hangs = HangDetector(self._by_pid, after=config.hang_after, kill=config.hang_kill, metrics=self._metrics)
        self._lifecycle = Lifecycle(
            self._child_processes,
            grace=config.grace,
            keep=self._keep,
            on_change=lambda: self._keep(self._beat()),
            on_stopping=self._check_all_gone,
        )
        self._remote_commands = RemoteCommands(
            at,
            self._keys,
            self._worker,
            self._by_pid,
            commanded=self._lifecycle,
            confirm=self._beat,
            scale_max=self._scale_max,
        )
        self._hard_limits = HardLimits(self._child_processes, self._store, self._keys, config)
        self._tasks: set[asyncio.Task[None]] = set()
        self._all_gone = asyncio.Event()

    def _connect(self, socket_timeout: float) -> AsyncStore:
        return AsyncStore(
            self._at,
            patience=None,
            connect_timeout=self._config.connect_timeout,
            socket_timeout=socket_timeout,
            needs_primary=True,
        )

    @property
    def is_restarting(self) -> bool:
        """Whether the process will restart after the worker has ended."""
        return self._lifecycle.is_restarting and self._child_processes.refusal is None

    def hear_reaper(self, report: object) -> None:
        """Process a report of the hosted reaper; may be called from any thread."""
        self._metrics.hear_reaper(report)

    async def run(self, signals: Signals) -> int:
        """Run until stopped; return the exit code."""
        self._metrics.start(self._store, self._child_processes, self._duties, self._connection.outage)
        if is_for_terminal(self._config):
            from jobfleet.logs.lines import announce_days  # most supervisors have no terminal

            self._keep(announce_days())
        self._start_report.connecting()
        try:
            await self._beat(patience=self._config.patience)
        finally:
            self._start_report.stop_waiting()
        # Only now, because an outage at the start is an error.
        self._store.recorder = self._renewing_store.recorder = self._connection.outage
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self._child_processes.look_for_deaths)
        signals.install(self._lifecycle.handlers(signals))
        self._start_report.starting()
        self._child_processes.scale(self._config.processes)
        self._recovery.prepare()  # the children load their modules meanwhile
        self.start_duties()
        await self._all_gone.wait()
        return await self._leave()

    def start_duties(self) -> None:
        """Start all duties. No error ends one of them."""
        self._leases.start()
        self._relay.start()
        duties: dict[str, Callable[[], Awaitable[None]]] = {
            "heartbeat": self._beat_on,
            "renewal": self._renewals.keep_on,
            "freeze": self._watch_frozen,
            "limits": self._hard_limits.watch,
            "hangs": self._hangs.watch,
            "commands": self._remote_commands.listen,
        }
        if not self._config.burst:
            duties["cron"] = self._standin.watch
        if self._config.reload:
            from jobfleet.worker.supervisor.reload import Reload  # only for development

            duties["reload"] = Reload(self._config.app_dir, self._child_processes, grace=self._config.grace).watch
        for name, duty in duties.items():
            self._watched(start(duty, log, name))

    def _duties(self) -> Sequence[Service]:
        return (self._leases, self._relay, *self._standin.duties)

    async def _leave(self) -> int:
        await self._leases.stop()
        await self._relay.stop()
        for task in list(self._tasks):
            task.cancel()
        await self._standin.stop()
        if self._child_processes.chaos is not None:
            await self._child_processes.chaos.end(self._store)
        with suppress(JobfleetError):
            await self._heartbeat.leave()
        await self._store.close()
        await self._renewing_store.close()
        self._metrics.close()
        self._start_report.stop_waiting()
        if self._child_processes.refusal is not None:
            return EXIT_USAGE
        log.info("worker.stopped worker=%s", self._worker, extra={"_shown": "Worker has stopped."})
        return EXIT_OK

    def _keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return self._watched(asyncio.get_running_loop().create_task(work))

    def _watched(self, task: asyncio.Task[None]) -> asyncio.Task[None]:
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        return task

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("worker.stumbled %s", task.get_name(), exc_info=error)

    # --- children -------------------------------------------------------------------------------

    async def _on_ready(self, functions: dict[str, bytes], queues: list[str]) -> None:
        await self._heartbeat.open(queues, self._config)
        self._child_processes.queues = list(dict.fromkeys([*self._child_processes.queues, *queues]))
        self._functions.update(functions)
        self._heartbeat.publish(functions)
        await self._beat()
        if self._child_processes.state != "stopping":
            await self._start_report.ready(functions, self._child_processes.queues, self._store)

    def _retire(self, handle: ChildHandle, reason: str) -> None:
        self._recycling.retire(handle, reason)

    def _check_all_gone(self) -> None:
        if self._child_processes.refusal is not None and self._child_processes.state != "stopping":
            self._lifecycle.stop()
        elif self._child_processes.is_deserted:
            self._keep(self._set_gone())

    async def _set_gone(self) -> None:
        await self._child_processes.burials(AFTER_GRACE)
        if self._child_processes.is_deserted:
            self._all_gone.set()

    def _held(self) -> list[tuple[str, int]]:
        return [(one.id, one.token) for handle in self._by_pid.values() for one in handle.posted()]

    def _is_examined(self) -> bool:
        return not any(handle.examining for handle in self._by_pid.values())

    def _lanes(self, queues: Sequence[str]) -> list[Lane]:
        known = self._heartbeat.queues
        return [self._keys.lane(queue, index) for queue in queues for index in range(known.get(queue, (1, 1))[1])]

    async def _beat(self, patience: float | None = None) -> None:
        processes = self._hangs.processes(self._config.slots)
        work = self._report(
            queues=self._child_processes.queues,
            slots=self._config.slots * self._child_processes.size,
            running=sum(one.running for one in processes),
            children=sum(1 for handle in self._by_pid.values() if handle.is_ready and not handle.is_draining),
            leaving=len(self._child_processes.draining),
            hung=self._hangs.count,
            state=self._child_processes.state,
            state_by=self._lifecycle.state_by,
            obeyed=self._remote_commands.obeyed,
            undecorated=self._undecorated,
            kinds=[kind.id for kind in self._child_processes.kinds],
            scale_max=self._scale_max,
            processes=processes,
        )
        if patience is None:
            try:
                await work
                self._metrics.beaten()
            except JobfleetError as error:
                log.error("worker.not_heard %s", error)
            return
        self._store.patience = patience
        try:
            await work
        finally:
            self._store.patience = None

    async def _report(self, **account: Any) -> None:
        self._child_processes.tell("kinds", await self._heartbeat.know(self._child_processes.kinds))
        await self._heartbeat.beat(**account)

    async def _beat_on(self) -> None:
        while True:
            await self._beat()
            counts = {queue: count for queue, (_, count) in self._heartbeat.queues.items()}
            if any(counts.get(queue, 1) > 1 for queue in self._child_processes.queues):
                for handle in self._by_pid.values():
                    handle.tell("lanes", counts)
            await asyncio.sleep(self._config.beat)
            await self._look_again()

    async def _look_again(self) -> None:
        """Check whether the address leads to another server, because the old primary may stay up after a failover."""
        if await self._store.look_again():
            log.warning("redis.moved url=%s: another server, or a restarted one, replies there now", self._at.shown)
            self._remote_commands.reconnect()
        server = self._store.server
        if self._renewing_store.server != server:
            await self._renewing_store.look_again()
        for handle in self._by_pid.values():
            handle.tell("server", server)

    async def _watch_frozen(self) -> None:
        """Show the children that this process is alive; kill one that is frozen for a lease, as its jobs are lost."""
        while True:
            await asyncio.sleep(self._config.alive_every)
            for_each(list(self._by_pid.values()), self._look_at_frozen)

    def _look_at_frozen(self, handle: ChildHandle) -> None:
        if handle.stopped_at is None:
            handle.tell("alive")
        elif boottime() - handle.stopped_at >= self._renewer.longest:
            log.error("child.killed child=%s frozen for a lease", handle.child)
            handle.kill(signal.SIGKILL)
            handle.stopped_at = None


def main(modules: Sequence[str], config: JobConfig) -> int:
    """Run a worker in this process; return its exit code.

    Raises:
        StoreUnavailable: Redis was not available at the start.
    """
    set_up_logs(config)
    if config.reload:
        from jobfleet.worker.supervisor.reload import check_reload  # only for development

        check_reload()
    signals = Signals()
    at = target_of(config)
    hosted: HostedReaper | None = None
    if config.with_reaper:
        from jobfleet.services.main import hosted_reaper

        hosted = hosted_reaper(modules, config, at.url)
    try:
        code, is_restarting = asyncio.run(_supervise(modules, config, at, signals, hosted))
    finally:
        if hosted is not None:
            hosted.close()
        at.close()
    return signals.restart() if is_restarting else code


async def _supervise(
    modules: Sequence[str], config: JobConfig, at: Target, signals: Signals, hosted: HostedReaper | None
) -> tuple[int, bool]:
    supervisor = Supervisor(modules, config, at)
    if hosted is not None:
        hosted.tell(supervisor.hear_reaper)
    return await supervisor.run(signals), supervisor.is_restarting


class Lifecycle:
    """Carries out the commands to a worker, which change its state: running, quiet and stopping.

    Args:
        child_processes: The worker's children.
        grace: Seconds that running jobs may take when the worker stops.
        keep: Runs a coroutine as a task of the worker.
        on_change: Called to publish a new state.
        on_stopping: Called when the worker stops, because there may be nothing to wait for.

    Attributes:
        state_by: Who requested the current state by a remote command; otherwise empty.
        is_restarting: Whether the process will restart after all children have ended.
    """

    def __init__(
        self,
        child_processes: Children,
        *,
        grace: float,
        keep: Keep,
        on_change: Callable[[], object],
        on_stopping: Callable[[], None],
    ) -> None:
        self._child_processes = child_processes
        self._grace = grace
        self._keep = keep
        self._on_change = on_change
        self._on_stopping = on_stopping
        self.state_by = ""
        self.is_restarting = False

    def handlers(self, signals: Signals) -> Mapping[signal.Signals, Callable[[], None]]:
        """Return the handler of each signal."""
        return {
            signal.SIGTERM: self._end,
            signal.SIGINT: self._end,
            signal.SIGQUIT: self._end_now,
            signal.SIGHUP: self._end if signals.has_terminal() else self._restart,
            signal.SIGTSTP: self.quiet,
            signal.SIGCONT: self.resume,
            signal.SIGUSR1: self.dump,
        }

    def _end(self) -> None:
        """Drain; on a second signal, stop at once. If a restart is pending, the first signal only cancels it."""
        if self._child_processes.state == "stopping" and not self.is_restarting:
            self._hurry()
        else:
            self.stop()

    def _end_now(self) -> None:
        self.stop(grace=0.0)
        self._hurry()

    def _restart(self) -> None:
        if self._child_processes.state == "stopping":
            self._hurry()
        else:
            self.stop()
            self.is_restarting = True

    def _hurry(self) -> None:
        log.warning("worker.hurrying releases its running jobs at once")
        self._child_processes.hurry()

    def stop(self, by: str = "", grace: float | None = None) -> None:
        """Drain and leave. If the worker is already stopping, only a new grace has an effect.

        Args:
            by: Who requested it by a remote command; otherwise empty.
            grace: Seconds that running jobs may take; default as in the settings.
        """
        self.is_restarting = False
        if self._child_processes.state == "stopping" and grace is None:
            return
        grace = self._grace if grace is None else grace
        self._enter("stopping", by)
        if self._child_processes.refusal is None:
            shown = f"Stopping: running jobs have {grace:g} s to end. Signal again (Ctrl-C) to stop at once."
            log.info("worker.stopping grace=%gs (signal again to stop at once)", grace, extra={"_shown": shown})
        for handle in self._child_processes.by_pid.values():
            self._child_processes.drain(handle, grace)
        self._on_stopping()

    def quiet(self, by: str = "") -> None:
        """Claim nothing more, and finish the running jobs."""
        if self._child_processes.state != "stopping":
            self._enter("quiet", by)
            log.info("worker.quiet claims no more")
            self._child_processes.tell("quiet")

    def resume(self, by: str = "") -> None:
        """Claim again."""
        if self._child_processes.state == "quiet":
            self._enter("running", by)
            log.info("worker.resumed claims again")
            self._child_processes.tell("resume")

    def scale(self, by: str, size: int) -> None:
        """Set the number of children."""
        if self._child_processes.state != "stopping":
            log.info("worker.scaled children=%d by=%s", size, by)
            self._child_processes.scale(size)
            self._on_change()

    def dump(self) -> None:
        """Log the jobs that the children hold, and the stacks of their threads."""
        for handle in self._child_processes.by_pid.values():
            held = ", ".join(f"{one.id}:{one.phase.name.lower()}" for one in handle.posted()) or "nothing"
            log.warning("child.dump child=%s pid=%d holds %s", handle.child, handle.pid, held)
            self._keep(show_stacks(handle))

    def _enter(self, state: str, by: str) -> None:
        self._child_processes.state, self.state_by = state, by
        self._on_change()


# A supervisor's signals: their effects, and how none is lost during a restart.
#
# ======  ======================================================================================
# signal  effect
# ======  ======================================================================================
# TERM    drain within the grace, release the rest, exit with 0; a second one: stop at once
# INT     the same
# QUIT    release everything at once, and exit
# HUP     drain as for TERM, then restart: same pid, arguments and environment, new code
# TSTP    claim nothing more
# CONT    claim again
# USR1    log the jobs that the children hold, and the stacks of their threads
# ======  ======================================================================================


HANDLED = (
    signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTSTP, signal.SIGCONT, signal.SIGUSR1,
)  # fmt: skip
LATER = (signal.SIGHUP, signal.SIGUSR1)
"""Signals whose default action ends the process; a worker that has not started yet ignores them."""
ALWAYS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})
"""Signals that end a worker even if they were ignored when the process began.

A shell without job control starts a background job (`jobfleet worker … &` in a script) with INT and QUIT ignored. That
is not intended, and the worker could only be killed.
"""


class Signals:
    """The signal handlers of this process, from before its first child to its last.

    Except for those in `ALWAYS`, a signal that was ignored when the process began stays ignored, as `nohup` intends. A
    worker with a terminal handles HUP like TERM, because its terminal is gone.
    """

    def __init__(self) -> None:
        self._ignored = {number for number in HANDLED if signal.getsignal(number) is signal.SIG_IGN} - ALWAYS
        for number in LATER:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)  # `restart` blocked them

    def install(self, handlers: Mapping[signal.Signals, Callable[[], None]]) -> None:
        """Install handlers on the running loop."""
        loop = asyncio.get_running_loop()
        for number, handler in handlers.items():
            if number not in self._ignored:
                loop.add_signal_handler(number, handler)

    @staticmethod
    def has_terminal() -> bool:
        """Whether a user's terminal is attached to this process."""
        return any(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))

    def restart(self) -> int:
        """Replace this process by a new one with the same pid, arguments and environment; return 1 if that fails.

        Signals that arrive in between are delivered to the new process.
        """
        log.info("worker.restarting pid=%d", os.getpid())
        logging.shutdown()
        sys.stdout.flush()
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        for number in set(LATER) - self._ignored:
            signal.signal(number, signal.SIG_DFL)
        try:
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - there is no shell
        except OSError as error:
            log.error("worker.not_restarted %s", error)
            return 1
