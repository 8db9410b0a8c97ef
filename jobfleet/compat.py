"""The manager that the user's document works with: a facade over a fleet, and a worker beside the calling program.

Nothing starts by itself: the fleet's workers are elsewhere, and a web page that asks for the manager must not
take jobs from them.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from jobfleet.clock import from_timedelta
from jobfleet.config import JobConfig
from jobfleet.errors import ConfigError
from jobfleet.fleet.default import default_fleet
from jobfleet.fleet.sync import Fleet
from jobfleet.model import Job, JobResult
from jobfleet.model.option_types import Seconds

if TYPE_CHECKING:
    from jobfleet.worker.interruption import ProgramInterruption, Stop

log: logging.Logger = logging.getLogger("jobfleet.worker")
DAY = 86_400.0
SAMPLE = 1000
"""How many ended jobs `statistics` looks at, by function and by user."""
STOPPING = 30.0
"""Seconds that a worker may take beyond its grace to give back what it runs and to say goodbye."""
READY = 10.0


class JobManager:
    """One object for everything: enqueue, poll, cancel, statistics, dead letters, and a worker in this program.

    Args:
        config: Settings of a fleet of its own.
        fleet: The fleet it manages; by default the default one, whichever that is when it is used.

    Raises:
        ConfigError: Both are given.
    """

    def __init__(self, config: JobConfig | None = None, *, fleet: Fleet | None = None) -> None:
        if config is not None and fleet is not None:
            raise ConfigError("config and fleet are both given; give one: a fleet has its settings.")
        self._fleet = Fleet.of(config) if config is not None else fleet
        self._lock = threading.Lock()
        self._stop: Stop | None = None
        self._thread: threading.Thread | None = None
        self._slots = 0
        self._interruption: ProgramInterruption | None = None

    def __repr__(self) -> str:
        return f"<JobManager of {self.fleet!r}{', started' if self.is_running else ''}>"

    @property
    def fleet(self) -> Fleet:
        """The fleet it manages."""
        return self._fleet if self._fleet is not None else default_fleet()

    @property
    def is_running(self) -> bool:
        """Whether a worker runs in this program."""
        return self._thread is not None and self._thread.is_alive()

    def enqueue(self, job: Job) -> str:
        """Put a job into the fleet; return its id. See `Fleet.enqueue`."""
        return self.fleet.enqueue(job)

    def poll(self, job_id: str) -> JobResult[Any]:
        """What is known of a job. See `Fleet.poll`."""
        return self.fleet.poll(job_id)

    def wait(self, job_id: str, timeout: Seconds | None = None) -> JobResult[Any]:
        """Wait for a job's end. See `Fleet.wait`."""
        return self.fleet.wait(job_id, timeout=timeout)

    def cancel(self, job_id: str, *, by: str | None = None) -> bool:
        """Cancel a job; False when it has ended already. See `Fleet.cancel`."""
        return self.fleet.cancel(job_id, by=by)

    def statistics(self) -> dict[str, Any]:
        """Counts of the whole fleet: total, one of each status, by priority, queue, function and user.

        ``by_function`` and ``by_user`` are about the jobs that ended last, at most 1,000 of those whose results are
        still kept; ``sampled`` says how many that was. All other figures are exact.
        """
        return self.fleet.statistics(sample=SAMPLE)

    def get_pending_jobs(self, queue: str | None = None, *, limit: int = 100) -> list[JobResult[Any]]:
        """Jobs that wait, the most urgent first.

        Args:
            queue: Only of this queue.
            limit: How many at most.
        """
        return self.fleet.pending(queue, limit=limit)

    def cleanup_old_results(self, days: float = 7.0) -> int:
        """Delete the results of jobs that ended more than `days` days ago, and return how many. See `Fleet.clean`.

        Raises:
            ConfigError: `days` is not a number of days.
        """
        if isinstance(days, bool) or not isinstance(days, int | float) or not 0 <= days <= 36_500:
            raise ConfigError(f"days is {days!r}; give a number of days, 0 or more.")
        return self.fleet.clean(days * DAY)

    def dead_letters(self, queue: str | None = None, *, limit: int = 50) -> list[JobResult[Any]]:
        """The newest dead letters: jobs that have failed for good. See `Fleet.dead`."""
        return self.fleet.dead(queue, limit=limit)

    def retry_dead_letter(self, job_id: str, *, by: str | None = None) -> bool:
        """Put a dead job back into its queue. Return False if it is already open again. See `Fleet.replay`."""
        return self.fleet.replay(job_id, by=by)

    def start(self, workers: int | None = None) -> None:
        """Run a worker inside this program, with the reaper's duties: recurring jobs, flows, retention.

        It runs the functions that are registered here, also those of ``__main__`` and lambdas, and recovers the jobs
        of an earlier run. If this program does not know the function of a job, the job is parked for a worker that
        does. Starting it twice changes nothing. It ends with `shutdown`, or drains when the program ends.

        Args:
            workers: How many jobs run at once; default the setting ``slots``.

        Raises:
            ConfigError: `workers` is not a number of jobs, or the worker already runs with another number.
            StoreUnavailable: Redis does not answer.
        """
        slots = self.fleet.config.slots if workers is None else workers
        if isinstance(slots, bool) or not isinstance(slots, int) or not 1 <= slots <= 10_000:
            raise ConfigError(f"workers is {workers!r}; give a whole number from 1 to 10,000.")
        with self._lock:
            if self.is_running:
                if slots != self._slots:
                    raise ConfigError(f"It runs already, with workers={self._slots}; call shutdown() first.")
                return
            from jobfleet.worker.interruption import ProgramInterruption, Stop  # for those who run one

            fleet = self.fleet
            fleet.workers()  # raises here, at the start, if Redis does not answer
            self._slots, self._stop = slots, Stop()
            self._interruption = ProgramInterruption(self._stop)
            self._interruption.install()
            failed: list[Exception] = []
            self._thread = threading.Thread(
                target=_run, args=(fleet, slots, self._stop, failed), name="jobfleet-manager", daemon=False
            )
            self._thread.start()
            threading.Thread(
                target=_follow_program,
                args=(self._stop, self._interruption, fleet.config.grace),
                name="jobfleet-manager-end",
                daemon=True,
            ).start()
            self._stop.ready.wait(READY)
            if failed:
                self._thread = self._stop = None
                self._interruption.remove()
                raise failed[0]

    def shutdown(self, timeout: Seconds | None = None) -> None:
        """Stop the worker in this program. Without a worker, nothing happens.

        Running jobs may continue for `timeout` seconds. Jobs that have not ended by then are interrupted and
        released, and another worker runs them. Waiting jobs stay in their queues.

        Args:
            timeout: Seconds; default the setting ``grace``.

        Raises:
            ConfigError: `timeout` is not a number of seconds.
        """
        timeout = from_timedelta(timeout)
        if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, int | float) or timeout < 0):
            raise ConfigError(f"timeout is {timeout!r}; give seconds, 0 or more.")
        with self._lock:
            thread, stop = self._thread, self._stop
            if thread is None or stop is None:
                return
            grace = self.fleet.config.grace if timeout is None else float(timeout)
            stop.grace = grace
            if self._interruption is not None:
                self._interruption.listen()
            stop.set()  # before the announcement, which offers that Ctrl-C stops it now
            if self._interruption is not None and self._interruption.was_interrupted:
                from jobfleet.worker.interruption import announce

                announce(grace)
            thread.join(grace + STOPPING)
            if thread.is_alive():
                log.error("worker.stuck it has not ended %.0f s after its grace", STOPPING)
            self._thread = self._stop = None
            if self._interruption is not None:
                self._interruption.remove()


def _run(fleet: Fleet, slots: int, stop: Stop, failed: list[Exception]) -> None:
    try:
        fleet.run_worker(slots=slots, stop=stop, with_reaper=True, allow_undecorated=True)
    except Exception as error:
        if stop.ready.is_set():
            log.exception("worker.died")
        else:
            failed.append(error)
    finally:
        stop.ready.set()


def _follow_program(stop: Stop, interruption: ProgramInterruption, grace: float) -> None:
    """End the worker when the program comes to its end; the interpreter waits for its thread."""
    from jobfleet.worker.interruption import announce

    program = threading.main_thread()
    while program.is_alive() and not stop.is_set():
        program.join(1.0)
    is_first = not stop.is_set()
    if is_first:
        interruption.listen()
    stop.set()  # before the announcement, which offers that Ctrl-C stops it now
    if interruption.was_interrupted and is_first:
        announce(grace)
    interruption.hurry()


_manager = JobManager()


def get_job_manager() -> JobManager:
    """The manager of the default fleet; the same at each call. Nothing starts by it."""
    return _manager


__all__ = ["JobManager", "get_job_manager"]
