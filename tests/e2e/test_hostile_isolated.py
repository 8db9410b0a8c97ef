"""The worst citizens of `workers/hostile.py` in processes of their own: nothing but that process ends."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from jobfleet import ErrorType, Fleet, Job, JobStatus
from tests.support.fleet import LONG, Programs, is_running, settle_all
from tests.support.trial import Trial
from tests.support.waiting import wait_until
from workers.hostile import ENDINGS, RESULTS

COMPLETED, FAILED, CANCELLED = JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED
STRIKING = {"mute-exit", "nameless", "endless"}
GRACES = {"cancel_grace": 0.2, "stop_grace": 0.3}


@pytest.fixture(scope="module")
def open_trial(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Trial]:
    """What the tests of this module are tried on."""
    warm = (("isolated.shout", 0), ("isolated.balloon_bound", 16))
    modules = ("histories", "workers.hostile_isolated")
    return lambda: Trial(tmp_path_factory.mktemp("isolated"), *modules, warm=warm, **GRACES)


def await_running(trial: Trial, job_id: str) -> None:
    """Wait until a job runs."""
    wait_until(lambda: trial.fleet.poll(job_id).status is JobStatus.RUNNING, timeout=LONG, why=f"{job_id} runs")


@pytest.mark.first(1)
@pytest.mark.parametrize(
    ("function", "args", "words"),
    [
        ("segfault", (), "SIGSEGV"),
        ("leave", (0,), "code 0"),
        ("leave", (5,), "code 5"),
        ("close_descriptors", (), ""),
        ("stop_loop", (), ""),
    ],
)
def test_a_job_that_ends_its_process_ends_nothing_else(
    trial: Trial, function: str, args: tuple[object, ...], words: str
) -> None:
    with trial.neighbours():
        result = trial.run(f"isolated.{function}", *args, max_crashes=1, max_retries=0)

    assert (result.status, result.attempt) == (FAILED, 1)
    if words:
        assert result.error_class == "crashed"
        assert words in (result.error or "")
    trial.check_calm()


def test_a_job_that_holds_the_gil_delays_nobody(trial: Trial) -> None:
    held = trial.enqueue("isolated.hold_gil", 4.0)
    await_running(trial, held)

    with trial.neighbours():
        pass

    assert trial.fleet.poll(held).status is JobStatus.RUNNING, "the neighbours were first"
    assert trial.fleet.wait(held, timeout=LONG).status is COMPLETED
    trial.check_calm()


@pytest.mark.first(2)
@pytest.mark.parametrize("function", ["swallow_cancellation", "swallow_exceptions", "block_signals"])
@pytest.mark.parametrize("how", ["cancelled", "timed out"])
def test_a_job_that_hears_nothing_is_killed(trial: Trial, tmp_path: Path, function: str, how: str) -> None:
    never = str(tmp_path / "never")
    with trial.neighbours():
        limits = {"timeout": 0.3, "hard_timeout": 0.8, "max_retries": 0} if how == "timed out" else {}
        job_id = trial.enqueue(f"isolated.{function}", never, **limits)
        await_running(trial, job_id)
        if how == "cancelled":
            assert trial.fleet.cancel(job_id, by="ann")
        result = trial.fleet.wait(job_id, timeout=LONG)

    if how == "cancelled":
        assert (result.status, result.cancel_requested_by) in {(CANCELLED, "ann"), (CANCELLED, None)}
    else:
        assert (result.status, result.error_class) == (FAILED, "timeout")
        assert result.error_type is ErrorType.TRANSIENT
    trial.check_calm()


def test_a_job_that_outgrows_its_memory_is_told_apart_from_a_crash(trial: Trial) -> None:
    with trial.neighbours():
        result = trial.run("isolated.balloon_bound", 1024, max_crashes=1, max_retries=0)
        fits = trial.run("isolated.balloon_bound", 32)

    assert (result.status, result.error_class) == (FAILED, "oom")
    assert (fits.status, fits.result) == (COMPLETED, 32)
    trial.check_calm()


@pytest.mark.first(2)
@pytest.mark.parametrize(
    ("function", "args", "value"),
    [
        ("balloon", (256,), 256),
        ("shout", (100,), 100),
        ("close_stdout", (), None),
        ("leave_threads", (3, 600.0), 3),
        ("occupy_executor", (600.0,), None),
        ("block_signals", (), ...),
        ("open_descriptors", ("/",), ...),
    ],
)
def test_what_a_job_leaves_in_its_process_harms_no_later_one(
    trial: Trial, function: str, args: tuple[object, ...], value: object
) -> None:
    with trial.neighbours():
        results = [trial.run(f"isolated.{function}", *args) for _ in range(2)]

    for result in results:
        assert result.status is COMPLETED, result
        assert value is ... or result.result == value
    trial.check_calm()


@pytest.mark.parametrize("function", ["leave_grandchild", "fork"])
def test_a_process_that_a_job_leaves_behind_ends_with_the_process_of_the_job(trial: Trial, function: str) -> None:
    with trial.neighbours():
        result = trial.run(f"isolated.{function}", 600.0)

    left = result.result
    assert result.status is COMPLETED
    assert isinstance(left, int)
    wait_until(lambda: not is_running(left), timeout=LONG, why="it has ended")
    trial.check_calm()


@pytest.mark.parametrize("where", ["thread", "coroutine"])
def test_odd_endings_fail_their_job_and_nothing_else(trial: Trial, where: str) -> None:
    leaving = {"SystemExit", "KeyboardInterrupt"} if where == "coroutine" else set()  # see below
    plain = sorted(ENDINGS.keys() - STRIKING - leaving)
    with trial.neighbours():
        ids = {what: trial.enqueue(f"isolated.raise_in_{where}", what, max_retries=0) for what in plain}
        results = settle_all(trial.fleet, ids.values())

    assert {what: results[job_id].status for what, job_id in ids.items()} == dict.fromkeys(plain, FAILED)
    assert {"Bound", "Mute"} <= {result.error_class for result in results.values()}
    trial.check_calm()


@pytest.mark.parametrize(
    "what",
    [
        "mute-exit",
        "nameless",
        "endless",
    ],
)
def test_an_ending_that_strikes_while_it_is_described_fails_its_job(trial: Trial, what: str) -> None:
    with trial.neighbours():
        job_id = trial.enqueue("isolated.raise_in_thread", what, max_retries=0, max_crashes=1)
        result = trial.fleet.wait(job_id, timeout=LONG)

    assert result.status is FAILED
    trial.check_calm()


@pytest.mark.parametrize("what", ["SystemExit", "KeyboardInterrupt"])
def test_a_coroutine_that_leaves_the_loop_harms_no_later_one_of_its_process(trial: Trial, what: str) -> None:
    with trial.neighbours():
        for _ in range(3):
            assert trial.run("isolated.raise_in_coroutine", what, max_retries=0).error_class == what
            assert trial.run("isolated.occupy_executor", 0.0).status is COMPLETED
    trial.check_calm()


def test_results_that_cannot_be_encoded_fail_their_job_at_once(trial: Trial) -> None:
    with trial.neighbours():
        ids = {what: trial.enqueue("isolated.return_odd", what) for what in RESULTS}
        results = settle_all(trial.fleet, ids.values())

    shown = {what: (results[job_id].status, results[job_id].error_class) for what, job_id in ids.items()}
    assert shown == dict.fromkeys(RESULTS, (FAILED, "EncodingError"))
    trial.check_calm()


@pytest.mark.parametrize("function", ["swallow_exceptions", "block_signals"])
def test_a_worker_that_ends_leaves_no_process_behind(
    programs: Programs, fleet: Fleet, tmp_path: Path, function: str
) -> None:
    worker = programs.ready("workers.hostile_isolated", grace=0.5, **GRACES)
    job_id = fleet.enqueue(Job("deaf", f"isolated.{function}", (str(tmp_path / "never"),)))
    wait_until(lambda: fleet.poll(job_id).status is JobStatus.RUNNING, timeout=LONG, why="it runs")

    worker.send(signal.SIGTERM)

    assert worker.exit_code() == 0
    assert worker.family() == []
    found = fleet.poll(job_id)
    assert (found.status, found.retry_count) == (JobStatus.QUEUED, 0)


def test_a_worker_that_is_killed_takes_its_isolated_processes_along(
    programs: Programs, fleet: Fleet, tmp_path: Path
) -> None:
    worker = programs.ready("workers.hostile_isolated")
    job_id = fleet.enqueue(Job("deaf", "isolated.block_signals", (str(tmp_path / "never"),)))
    wait_until(lambda: fleet.poll(job_id).status is JobStatus.RUNNING, timeout=LONG, why="it runs")
    family = [pid for pid in worker.family() if pid != worker.pid]

    worker.send_all(signal.SIGKILL)  # which need not reach processes of other groups

    wait_until(lambda: not any(map(is_running, family)), timeout=LONG, why="all have ended")
