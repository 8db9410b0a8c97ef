"""Wards: processes in which a child runs suspects, a few in each, so that a further death harms nobody else.

A ward runs functions as the child does, on a loop and in threads, with what stands around them. When its
process dies, those that ran in it have witnessed one more death; who was alone in it is the culprit.
Where its event loop does not turn for `hang_after`, that is shown, and with `hang_kill` the ward is killed.
Stages: `Stage.RAISED` interrupts, `Stage.KILLED` kills the ward, and gives the others in it back.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Sequence
from functools import partial
from typing import Any

from jobfleet.config import JobConfig
from jobfleet.errors import JobCancelled
from jobfleet.exit_codes import how_it_died
from jobfleet.outcome import Crashed, Interrupted, Witnessed
from jobfleet.suspicion import Suspicion, seat
from jobfleet.worker.executors.isolated.isolated_process import IsolatedProcess
from jobfleet.worker.executors.isolated.pool import LEAVING, dismiss_all, greeting
from jobfleet.worker.executors.isolated.pulse import Pulse
from jobfleet.worker.executors.isolated.remote_error import Told
from jobfleet.worker.executors.remote import LOOK_EVERY, Remote, Stay
from jobfleet.worker.ipc.lease_board import LeaseBoard
from jobfleet.worker.run.executor import Died, OnEnd
from jobfleet.worker.run.handlers import Handler
from jobfleet.worker.run.run import Key, Run
from jobfleet.worker.run.stop_state import Stage

log = logging.getLogger("jobfleet.worker")
IDLE = 10.0
"""Seconds that a ward without a job is kept: a culprit that is run again needs another one."""


class _Patient(Stay):
    """One run in its ward."""

    is_killed = False


class _Ward:
    """One process, and who is in it.

    Attributes:
        seats: Those that it is kept for, by key.
        patients: Those of them that were sent there and have not ended, by number.
        cell: The process, once somebody was sent there.
        is_killed: Whether it was killed on purpose, which is nobody's doing.
        killed_for: What it did that it was killed for; empty otherwise.
        pulse: Whether its event loop turns.
    """

    def __init__(self, hang_after: float) -> None:
        self.seats: dict[Key, Suspicion] = {}
        self.patients: dict[int, _Patient] = {}
        self.job_process: IsolatedProcess | None = None
        self.is_killed = False
        self.killed_for = ""
        self.pulse = Pulse(hang_after)


class WardExecutor(Remote[_Patient]):
    """Runs suspects in wards.

    Args:
        child: The child they belong to.
        config: The settings.
        modules: What the processes load.
        board: The child's.
    """

    stages: tuple[Stage, ...] = (Stage.RAISED, Stage.KILLED)

    def __init__(self, child: str, config: JobConfig, modules: Sequence[str], board: LeaseBoard) -> None:
        super().__init__(config, board)
        self._child = child
        self._config = config
        self._modules = modules
        self._wards: list[_Ward] = []
        self._seats: dict[Key, _Ward] = {}
        self._not_found: set[str] = set()
        self._is_usable = True

    def takes(self, handler: Handler) -> bool:
        """Whether a function can run in a ward."""
        return self._is_usable and handler.where in ("async", "thread") and handler.function.name not in self._not_found

    def seat(self, run: Run) -> bool:
        """Keep a seat for a suspect; False where it has to wait for one."""
        number = seat([ward.seats.values() for ward in self._wards], run.suspicion, self._config.suspect_processes)
        if number is None:
            return False
        if number == len(self._wards):
            self._wards.append(_Ward(self._config.hang_after))
        self._wards[number].seats[run.key] = run.suspicion
        self._seats[run.key] = self._wards[number]
        return True

    def vacate(self, run: Run) -> None:
        """A suspect has ended, or does not start after all."""
        ward = self._seats.pop(run.key, None)
        if ward is None:
            return
        ward.seats.pop(run.key, None)
        if not ward.seats:
            self._loop.call_later(IDLE, self._dismiss, ward)

    def start(self, run: Run, handler: Handler, args: list[Any], kwargs: dict[str, Any], on_end: OnEnd) -> None:
        """Have the handler's function called in the run's ward; arguments go there as the envelope has them."""
        del args, kwargs
        ward = self._seats[run.key]
        try:
            job_process = ward.job_process or self._open(ward)
        except OSError as error:
            self._give_up(str(error))
            self._loop.call_soon(on_end, None, Died(Interrupted()))
            return
        patient = _Patient(next(self._numbers), run, job_process, on_end)
        ward.patients[patient.number] = patient
        self._enter(patient, handler)

    def stop(self, run: Run, stage: Stage) -> None:
        """Do what a stage does; nothing when the run has ended."""
        patient = self._stays.get(run.key)
        if patient is None:
            return
        match stage:
            case Stage.ASKED:
                self._flag(patient)
            case Stage.RAISED:
                self._interrupt(patient)
            case Stage.KILLED:
                patient.is_killed = self._seats[run.key].is_killed = True
                patient.job_process.kill()
            case _:
                pass

    def close(self) -> None:
        """End all wards, now; those without a job may leave by themselves, which takes a moment."""
        super().close()
        wards, self._wards = self._wards, []
        dismiss_all(ward.job_process for ward in wards if ward.job_process is not None and not ward.patients)
        for ward in wards:
            if ward.job_process is not None:
                ward.job_process.close()

    def _open(self, ward: _Ward) -> IsolatedProcess:
        hello = greeting("ward", self._child, self._config, self._modules)
        died = partial(self._died, ward)
        job_process = ward.job_process = IsolatedProcess(
            hello, max_payload=self._config.max_payload, environment={}, on_death=died
        )
        job_process.on_frame = partial(self._heard, ward)
        return job_process

    def _dismiss(self, ward: _Ward) -> None:
        if ward.seats or ward not in self._wards:
            return
        self._wards.remove(ward)
        if ward.job_process is not None:
            ward.job_process.dismiss()
            self._loop.call_later(LEAVING, ward.job_process.kill)

    def _heard(self, ward: _Ward, frame: list[Any]) -> None:
        word, number, *rest = frame
        patient = ward.patients.get(number)
        if patient is not None:
            self._told(patient, word, rest)
        elif word == "turn":
            self._turns(ward)
        elif type(number) is not int:  # of a run that has ended it may be
            raise ValueError(f"{frame!r:.80} is of no run")

    def _look(self) -> None:
        super()._look()
        for ward in self._wards:
            if ward.job_process is not None and ward.patients:
                self._see(ward, ward.job_process)

    def _see(self, ward: _Ward, job_process: IsolatedProcess) -> None:
        """See whether a ward hangs; it is killed one look later, when its stacks are shown."""
        was_hung, still = ward.pulse.is_hung, ward.pulse.still
        if ward.pulse.look(LOOK_EVERY):
            held = ", ".join(patient.run.id for patient in ward.patients.values())
            log.error(
                "ward.hung child=%s pid=%d for=%.1fs holds %s", self._child, job_process.pid, ward.pulse.still, held
            )
            job_process.signal(signal.SIGUSR1)
        elif was_hung and self._config.hang_kill and not ward.killed_for:
            log.error("ward.killed child=%s pid=%d it hung", self._child, job_process.pid)
            ward.killed_for = f"its process hung for {still:.1f} s and was killed"
            job_process.kill()

    def _turns(self, ward: _Ward) -> None:
        if ward.pulse.is_hung:
            log.warning("ward.turns again child=%s hung=%.1fs", self._child, ward.pulse.still)
        ward.pulse.turned()

    def _ended(self, stay: _Patient, told: Told, *, is_clean: bool) -> None:
        del is_clean  # a ward has one group after the other, whatever they leave behind
        self._seats[stay.run.key].patients.pop(stay.number)
        self._let_go(stay)
        if told["how"] == "missing":
            self._not_found.add(str(stay.run.header.get("function")))
            stay.on_end(None, Died(Interrupted()))  # it is to run in a process of the worker's
        else:
            self._hand_over(stay, told, is_stopping=stay.is_stopping)

    def _let_go(self, stay: _Patient) -> None:
        self.vacate(stay.run)
        self._leave(stay)

    def _died(self, ward: _Ward, job_process: IsolatedProcess, code: int) -> None:
        """Its process has died: say what that means for each who was in it."""
        patients = list(ward.patients.values())
        ward.patients.clear()
        if ward in self._wards:
            self._wards.remove(ward)
        if not job_process.is_ready:
            self._give_up(job_process.refusal or how_it_died(code))
        elif patients and not ward.is_killed:
            log.error("ward.died child=%s jobs=%d %s", self._child, len(patients), how_it_died(code))
        for patient in patients:
            self._let_go(patient)
            patient.on_end(None, self._death(ward, patient, code, len(patients)))

    @staticmethod
    def _death(ward: _Ward, patient: _Patient, code: int, count: int) -> BaseException:
        garbage = ward.job_process.garbage if ward.job_process is not None else None
        reason = ward.killed_for or how_it_died(code)
        if garbage is not None:
            reason = f"its process wrote garbage on its line ({garbage})"
        if patient.is_killed:
            return JobCancelled(f"{patient.run.id} was stopped: {reason}.", job_id=patient.run.id)
        if ward.is_killed or (ward.job_process is not None and not ward.job_process.is_ready):
            return Died(Interrupted())
        if count == 1:
            return Died(Crashed(reason))
        others = f"{count - 1} other job{'s' if count > 2 else ''}"
        return Died(Witnessed(f"{reason}; {others} ran in it", count))

    def _give_up(self, why: str) -> None:
        """A ward cannot be started: suspects run in the child's own process from now on, fewer at a time."""
        if self._is_usable:
            log.error("ward.not_started child=%s %s; suspects share the worker's process", self._child, why)
        self._is_usable = False
