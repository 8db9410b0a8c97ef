"""Faults of processes: producers, children, supervisors and reapers are killed, frozen and stopped."""

from __future__ import annotations

import shutil
import signal

from jobfleet import Fleet, Job
from tests.support.chaos.fault import fault
from tests.support.chaos.faults.clock import MovableClock, NoCompiler
from tests.support.chaos.stage import LEASE, Stage
from tests.support.fleet import Program
from tests.support.waiting import wait_until


@fault("none", "does nothing: the load alone", times=0)
def nothing(stage: Stage) -> None:
    """Do nothing."""


@fault("kill-producer", "SIGKILL to a producer; another one continues", times=4)
def kill_producer(stage: Stage) -> None:
    """Kill one, and give the rest of its work to another."""
    source = stage.dice.choice([one for one in stage.sources if one.poll() is None] or stage.sources)
    source.kill()
    source.wait()
    left = stage.left_of(source)
    if left > 0:
        stage.produce(left, source.seconds * left / source.jobs)


@fault("kill-child", "SIGKILL to the process that runs jobs", times=4)
def kill_child(stage: Stage) -> None:
    """Kill one."""
    stage.signal_child(signal.SIGKILL)


@fault("freeze-child", "SIGSTOP to the process that runs jobs, for longer than a lease")
def freeze_child(stage: Stage) -> None:
    """Freeze one; its supervisor kills it."""
    stage.signal_child(signal.SIGSTOP)


@fault("kill-supervisor", "SIGKILL to a supervisor; its children end by themselves")
def kill_supervisor(stage: Stage) -> None:
    """Kill one, and start another worker."""
    worker = stage.dice.choice(stage.workers)
    worker.send(signal.SIGKILL)
    stage.replace_worker(worker)


@fault("kill-worker", "SIGKILL to a supervisor and its children: a machine is lost")
def kill_worker(stage: Stage) -> None:
    """Kill all of one, and start another worker."""
    worker = stage.dice.choice(stage.workers)
    worker.send_all(signal.SIGKILL)
    stage.replace_worker(worker)


@fault("stop-worker", "SIGTERM to a worker under load: a deployment", times=3)
def stop_worker(stage: Stage) -> None:
    """Stop one, and start another."""
    worker = stage.dice.choice(stage.workers)
    worker.send(signal.SIGTERM)
    stage.replace_worker(worker)


ZOMBIES = 16
"""So many long jobs that each worker runs some of them."""


def _freeze(stage: Stage, program: Program, seconds: float) -> None:
    program.freeze_all()
    stage.mend_at_end(lambda: program.send_all(signal.SIGCONT))
    stage.is_over.wait(seconds)
    program.send_all(signal.SIGCONT)


@fault("freeze-worker", "SIGSTOP to a whole worker; SIGCONT once its jobs run elsewhere: a zombie comes back", times=1)
def freeze_worker(stage: Stage) -> None:
    """Freeze one that runs long jobs, and let it go on while another run of such a job continues."""
    frozen = stage.workers[0]
    with Fleet(stage.url, patience=60) as fleet:
        ids = [stage.enqueue(fleet, "chaos.work", 4.0) for _ in range(ZOMBIES)]
    wait_until(lambda: all(stage.runs(job_id) for job_id in ids), why="the jobs run")
    stage.mend_at_end(lambda: frozen.send_all(signal.SIGCONT))
    frozen.freeze_all()
    wait_until(lambda: any(len(stage.runs(job_id)) > 1 for job_id in ids), timeout=30, why="a job runs elsewhere")
    frozen.send_all(signal.SIGCONT)


@fault("freeze-worker-briefly", "SIGSTOP to a whole worker for less than a lease", times=2)
def freeze_briefly(stage: Stage) -> None:
    """Freeze one for a moment."""
    _freeze(stage, stage.dice.choice(stage.workers), LEASE / 2)


@fault("kill-reaper", "SIGKILL to a reaper; another one is there", times=3)
def kill_reaper(stage: Stage) -> None:
    """Kill one, and start another."""
    reaper = stage.dice.choice(stage.reapers)
    reaper.send_all(signal.SIGKILL)
    stage.reapers[stage.reapers.index(reaper)] = stage.start_reaper()


@fault("freeze-reaper", "SIGSTOP to a reaper for longer than a lease, while a worker is killed", times=1)
def freeze_reaper(stage: Stage) -> None:
    """Freeze one with work to do."""
    kill_worker(stage)
    _freeze(stage, stage.reapers[0], LEASE * 1.5)


def _more_reapers(stage: Stage) -> None:
    for _ in range(3):
        stage.reapers.append(stage.start_reaper())


@fault("many-reapers", "five reapers at once, while a worker is killed", times=2, prepare=_more_reapers)
def many_reapers(stage: Stage) -> None:
    """Give them work."""
    kill_worker(stage)


@fault("hostile-job", "a job that ends its process, and a job whose bytes cannot be read", times=3)
def hostile_job(stage: Stage) -> None:
    """Enqueue one of each."""
    stage.facts["hostile"] = True
    with Fleet(stage.url, patience=60) as fleet:
        number = -1 - len(stage.facts.setdefault("strangers", []))
        crash = fleet.enqueue(Job("crash", "chaos.crash", (number,)))
        later = fleet.enqueue(Job("garbage", "chaos.work", (number - 1, 0.0), delay=1.0))
    stage.facts["strangers"] += [crash, later]
    stage.raw().set(f"{{jobfleet:default:0}}:job:{later}", b"\x01\0\0\0no envelope")


def no_clock() -> str:
    """Say why no clock can be moved."""
    return "" if shutil.which("cc") else str(NoCompiler("no C compiler builds the library that moves a clock"))


def _skewed(stage: Stage) -> None:
    clock = MovableClock(stage.folder, "worker")
    stage.programs.environment = clock.environment
    clock.move(-3600)
    stage.mend_at_end(lambda: clock.move(0))


@fault("skewed-workers", "the clocks of workers and reapers are an hour behind, then an hour ahead", prepare=_skewed,
       times=1, why_not=no_clock)  # fmt: skip
def skew(stage: Stage) -> None:
    """Move their clocks by two hours."""
    file = stage.folder / "worker.clock"
    wait_until(file.exists, why="the clock is there")
    file.write_text("3600\n")
