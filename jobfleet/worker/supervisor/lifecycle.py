"""The states of a worker: running, quiet and stopping. Signals and remote commands change them."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Mapping

from jobfleet.worker.supervisor.children import Children, Keep
from jobfleet.worker.supervisor.hang_detector import show_stacks
from jobfleet.worker.supervisor.signals import Signals

log = logging.getLogger("jobfleet.worker")


class Lifecycle:
    """Carries out the commands to a worker.

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
