"""Quarantine processes: a child runs a few suspects in each, so that a further death harms no other job.

A quarantine process runs functions as the child does: on an event loop and in threads, with middleware, hooks and
resources. When it dies, each run in it has one more death to its record. The only run in it is the culprit. If its
event loop blocks for `hang_after`, that is logged, and with `hang_kill` the process is killed.
Stages: `Stage.RAISED` interrupts. `Stage.KILLED` kills the process, and the other jobs in it go back.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Sequence
from functools import partial
from typing import Any

from jobfleet.codec.values import limits_of
from jobfleet.config import JobConfig
from jobfleet.errors import JobCancelled, how_it_died
from jobfleet.outcome import Crashed, Interrupted, Witnessed
from jobfleet.retry.tries import Suspicion, seat
from jobfleet.worker.executors.isolated.channel import EndReport
from jobfleet.worker.executors.isolated.processes import LEAVING, IsolatedProcess, dismiss_all, greeting
from jobfleet.worker.executors.process import LOOK_EVERY, RemoteExecutor, RemoteRun
from jobfleet.worker.ipc.lease_board import LeaseBoard
from jobfleet.worker.run.handlers import HERE, Handler
from jobfleet.worker.run.interfaces import Died, OnEnd
from jobfleet.worker.run.run import Key, Run, Stage

log = logging.getLogger("jobfleet.worker")
IDLE = 10.0
"""Seconds that an idle quarantine process is kept, because a culprit that runs again needs another one."""


class _Suspect(RemoteRun):
    """One run in its quarantine process.

    Attributes:
        is_killed: Whether the process was killed to end this run.
    """

    is_killed = False


class _Quarantine:
    """One quarantine process and the runs in it.

    Attributes:
        reserved: The suspicions of the runs that have a place in it, by key.
        suspects: The runs that were sent there and have not ended, by number.
        job_process: The process; None before the first run was sent there.
        is_killed: Whether it was killed on purpose. Then its death is not evidence against its jobs.
        killed_for: Why it was killed although no run was to be ended; empty if it was not.
        pulse: Whether its event loop is alive.
    """

    def __init__(self, hang_after: float) -> None:
        self.reserved: dict[Key, Suspicion] = {}
        self.suspects: dict[int, _Suspect] = {}
        self.job_process: IsolatedProcess | None = None
        self.is_killed = False
        self.killed_for = ""
        self.pulse = Pulse(hang_after)


class QuarantineExecutor(RemoteExecutor[_Suspect]):
    """Runs suspects in quarantine processes.

    Args:
        child: The child they belong to.
        config: The settings.
        modules: What the processes load.
        board: The child's lease board.
    """

    stages: tuple[Stage, ...] = (Stage.RAISED, Stage.KILLED)

    def __init__(self, child: str, config: JobConfig, modules: Sequence[str], board: LeaseBoard) -> None:
        super().__init__(config, board)
        self._child = child
        self._config = config
        self._modules = modules
        self._quarantines: list[_Quarantine] = []
        self._reserved_in: dict[Key, _Quarantine] = {}
        self._not_found: set[str] = set()
        self._is_usable = True

    def takes(self, handler: Handler) -> bool:
        """Whether a function can run in a quarantine process."""
        return self._is_usable and handler.where in HERE and handler.function.name not in self._not_found

    def reserve(self, run: Run) -> bool:
        """Reserve a place for a suspect. Returns False if it has to wait for one."""
        number = seat(
            [quarantine.reserved.values() for quarantine in self._quarantines],
            run.suspicion,
            self._config.suspect_processes,
        )
        if number is None:
            return False
        if number == len(self._quarantines):
            self._quarantines.append(_Quarantine(self._config.hang_after))
        self._quarantines[number].reserved[run.key] = run.suspicion
        self._reserved_in[run.key] = self._quarantines[number]
        return True

    def free(self, run: Run) -> None:
        """Free the place of a suspect that has ended, or that does not start."""
        quarantine = self._reserved_in.pop(run.key, None)
        if quarantine is None:
            return
        quarantine.reserved.pop(run.key, None)
        if not quarantine.reserved:
            self._loop.call_later(IDLE, self._dismiss, quarantine)

    def start(self, run: Run, handler: Handler, args: list[Any], kwargs: dict[str, Any], on_end: OnEnd) -> None:
        """Call the handler's function in the run's quarantine process, which opens the envelope itself."""
        del args, kwargs
        quarantine = self._reserved_in[run.key]
        try:
            job_process = quarantine.job_process or self._open(quarantine)
        except OSError as error:
            self._give_up(str(error))
            self._loop.call_soon(on_end, None, Died(Interrupted()))
            return
        suspect = _Suspect(next(self._numbers), run, job_process, on_end)
        quarantine.suspects[suspect.number] = suspect
        self._send_run(suspect, handler)

    def stop(self, run: Run, stage: Stage) -> None:
        """Take one stage to stop a run; nothing happens when the run has ended."""
        suspect = self._remotes.get(run.key)
        if suspect is None:
            return
        match stage:
            case Stage.ASKED:
                self._flag(suspect)
            case Stage.RAISED:
                self._interrupt(suspect)
            case Stage.KILLED:
                suspect.is_killed = self._reserved_in[run.key].is_killed = True
                suspect.job_process.kill()
            case _:
                pass

    def close(self) -> None:
        """End all quarantine processes. Idle ones may leave by themselves, which takes a moment."""
        super().close()
        quarantines, self._quarantines = self._quarantines, []
        dismiss_all(
            quarantine.job_process
            for quarantine in quarantines
            if quarantine.job_process is not None and not quarantine.suspects
        )
        for quarantine in quarantines:
            if quarantine.job_process is not None:
                quarantine.job_process.close()

    def _open(self, quarantine: _Quarantine) -> IsolatedProcess:
        hello = greeting("ward", self._child, self._config, self._modules)
        died = partial(self._died, quarantine)
        job_process = quarantine.job_process = IsolatedProcess(
            hello, max_payload=limits_of(self._config).max_bytes, environment={}, on_death=died
        )
        job_process.on_frame = partial(self._on_frame, quarantine)
        return job_process

    def _dismiss(self, quarantine: _Quarantine) -> None:
        if quarantine.reserved or quarantine not in self._quarantines:
            return
        self._quarantines.remove(quarantine)
        if quarantine.job_process is not None:
            quarantine.job_process.dismiss()
            self._loop.call_later(LEAVING, quarantine.job_process.kill)

    def _on_frame(self, quarantine: _Quarantine, frame: list[Any]) -> None:
        word, number, *rest = frame
        suspect = quarantine.suspects.get(number)
        if suspect is not None:
            self._received(suspect, word, rest)
        elif word == "turn":
            self._turned(quarantine)
        elif type(number) is not int:  # a frame of a run that has ended is fine
            raise ValueError(f"{frame!r:.80} does not name a run")

    def _look(self) -> None:
        super()._look()
        for quarantine in self._quarantines:
            if quarantine.job_process is not None and quarantine.suspects:
                self._check(quarantine, quarantine.job_process)

    def _check(self, quarantine: _Quarantine, job_process: IsolatedProcess) -> None:
        """Check whether a quarantine process hangs. It is killed one check later, after its stacks were logged."""
        was_hung, still = quarantine.pulse.is_hung, quarantine.pulse.still
        if quarantine.pulse.look(LOOK_EVERY):
            held = ", ".join(suspect.run.id for suspect in quarantine.suspects.values())
            log.error(
                "ward.hung child=%s pid=%d for=%.1fs holds %s",
                self._child,
                job_process.pid,
                quarantine.pulse.still,
                held,
            )
            job_process.signal(signal.SIGUSR1)
        elif was_hung and self._config.hang_kill and not quarantine.killed_for:
            log.error("ward.killed child=%s pid=%d it hung", self._child, job_process.pid)
            quarantine.killed_for = f"its process hung for {still:.1f} s and was killed"
            job_process.kill()

    def _turned(self, quarantine: _Quarantine) -> None:
        if quarantine.pulse.is_hung:
            log.warning("ward.turns again child=%s hung=%.1fs", self._child, quarantine.pulse.still)
        quarantine.pulse.turned()

    def _ended(self, remote: _Suspect, report: EndReport, *, is_clean: bool) -> None:
        del is_clean  # this process is used again, whatever the job has left behind
        self._reserved_in[remote.run.key].suspects.pop(remote.number)
        self._release(remote)
        if report["how"] == "missing":
            self._not_found.add(str(remote.run.header.get("function")))
            remote.on_end(None, Died(Interrupted()))  # it has to run in the child itself
        else:
            self._hand_over(remote, report, is_stopping=remote.is_stopping)

    def _release(self, remote: _Suspect) -> None:
        self.free(remote.run)
        self._take_back(remote)

    def _died(self, quarantine: _Quarantine, job_process: IsolatedProcess, code: int) -> None:
        """A quarantine process has died: name the outcome of each run in it."""
        suspects = list(quarantine.suspects.values())
        quarantine.suspects.clear()
        if quarantine in self._quarantines:
            self._quarantines.remove(quarantine)
        if not job_process.is_ready:
            self._give_up(job_process.refusal or how_it_died(code))
        elif suspects and not quarantine.is_killed:
            log.error("ward.died child=%s jobs=%d %s", self._child, len(suspects), how_it_died(code))
        for suspect in suspects:
            self._release(suspect)
            suspect.on_end(None, self._death(quarantine, suspect, code, len(suspects)))

    @staticmethod
    def _death(quarantine: _Quarantine, suspect: _Suspect, code: int, count: int) -> BaseException:
        garbage = quarantine.job_process.garbage if quarantine.job_process is not None else None
        reason = quarantine.killed_for or how_it_died(code)
        if garbage is not None:
            reason = f"its process wrote garbage on its line ({garbage})"
        if suspect.is_killed:
            return JobCancelled(f"{suspect.run.id} was stopped: {reason}.", job_id=suspect.run.id)
        if quarantine.is_killed or (quarantine.job_process is not None and not quarantine.job_process.is_ready):
            return Died(Interrupted())
        if count == 1:
            return Died(Crashed(reason))
        others = f"{count - 1} other job{'s' if count > 2 else ''}"
        return Died(Witnessed(f"{reason}; {others} ran in it", count))

    def _give_up(self, why: str) -> None:
        """Quarantine processes cannot be started. Suspects run in the child itself from now on, fewer at a time."""
        if self._is_usable:
            log.error("ward.not_started child=%s %s; suspects share the worker's process", self._child, why)
        self._is_usable = False


class Pulse:
    """Counts for how long no sign of life has arrived from the event loop of a quarantine process.

    Time is counted in looks: a child that was itself frozen or blocked accuses nobody.

    Args:
        after: Seconds without a turn of the loop after which a process hangs.

    Attributes:
        still: Seconds since the loop turned last.
        is_hung: Whether it hangs.
    """

    def __init__(self, after: float) -> None:
        self._after = after
        self._has_begun = False
        self.still = 0.0
        self.is_hung = False

    def turned(self) -> None:
        """A sign of life has arrived. Before the first one the process loads modules, which may take any time."""
        self._has_begun = True
        self.still = 0.0
        self.is_hung = False

    def look(self, passed: float) -> bool:
        """Check again, so many seconds after the last check. Returns whether the process hangs since this check."""
        if self._has_begun:
            self.still += passed
        was_hung, self.is_hung = self.is_hung, self.still >= self._after
        return self.is_hung and not was_hung
