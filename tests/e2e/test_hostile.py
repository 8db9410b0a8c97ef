"""The worst citizens of `workers/hostile.py`, in coroutines and threads: the worker and its other jobs stay well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from jobfleet import ErrorType, Fleet, Job, JobResult, JobStatus
from tests.support.fleet import LONG, Programs, is_running, settle_all
from tests.support.trial import Trial
from tests.support.waiting import wait_until
from workers.hostile import RESULTS

COMPLETED, FAILED = JobStatus.COMPLETED, JobStatus.FAILED
PLAIN_ENDINGS = {
    "bound": "Bound", "mute": "Mute", "endless": "RuntimeError", "group": "BaseExceptionGroup",
    **{kind: kind for kind in ("SystemExit", "KeyboardInterrupt", "GeneratorExit", "CancelledError", "StopIteration")},
}  # fmt: skip
"""Ways to end, with the class that is recorded."""


@pytest.fixture(scope="module")
def open_trial(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Trial]:
    """What the tests of this module are tried on."""
    return lambda: Trial(tmp_path_factory.mktemp("hostile"), "histories", "workers.hostile", "workers.demo")


# --- what holds on --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "seconds"),
    [
        ("power", 8.0),
        pytest.param("power", 20.0, marks=pytest.mark.slow),
        pytest.param("search", 20.0, marks=pytest.mark.slow),
    ],
)
def test_a_job_that_holds_the_gil_far_beyond_its_lease_runs_once(
    programs: Programs, fleet: Fleet, tmp_path: Path, call: str, seconds: float
) -> None:
    lease, diary = 3.0, tmp_path / "diary"
    first = programs.ready("histories", "workers.hostile", lease=lease)
    neighbours = [fleet.enqueue(Job("rest", "hist.rest", (1.0,), max_retries=0)) for _ in range(2)]
    for job_id in neighbours:
        programs.history.await_start(job_id)
    held = fleet.enqueue(Job("hold", "hostile.hold_gil", (seconds, call, str(diary))))
    wait_until(diary.exists, timeout=LONG, why="the GIL is held")
    programs.ready("histories", "workers.hostile", lease=lease, queues="other,default")  # would take them over

    results = settle_all(fleet, [held, *neighbours])

    assert {result.status for result in results.values()} == {COMPLETED}
    assert {(result.retry_count, result.attempt) for result in results.values()} == {(0, 1)}
    longest = results[held].result
    assert isinstance(longest, float)
    assert longest > lease, "else nothing is shown"
    assert [int(pid) for pid in diary.read_text().split()] == first.children()
    assert set(programs.history.starts().values()) == {1}
    assert "job.reaped" not in programs.logs()
    assert "job.lost" not in programs.logs()


def test_a_coroutine_that_sleeps_without_awaiting_only_delays_its_neighbours(trial: Trial) -> None:
    with trial.neighbours():
        result = trial.run("hostile.block_loop", 2.0)

    assert (result.status, result.result) == (COMPLETED, 2.0)
    trial.check_calm()


@pytest.mark.parametrize("function", ["swallow_cancellation", "swallow_exceptions"])
def test_a_job_that_hears_no_cancellation_is_not_called_cancelled_while_it_runs(
    trial: Trial, tmp_path: Path, function: str
) -> None:
    gate = tmp_path / "gate"
    with trial.neighbours():
        job_id = trial.enqueue(f"hostile.{function}", str(gate))
        wait_until(lambda: trial.fleet.poll(job_id).status is JobStatus.RUNNING, timeout=LONG, why="it runs")

        assert trial.fleet.cancel(job_id, by="ann")

        asked = trial.fleet.poll(job_id)
        gate.touch()
        ended = trial.fleet.wait(job_id, timeout=LONG)
    assert (asked.status, asked.cancel_requested_by) == (JobStatus.RUNNING, "ann")
    assert ended.status in {COMPLETED, JobStatus.CANCELLED}
    trial.check_calm()


# --- what dies ------------------------------------------------------------------------------------


BY_A_CULPRIT = range(1, 3)
"""Children that a culprit takes along: two beside neighbours, one where these have ended before it starts."""


def dies(trial: Trial, function: str, *args: object) -> JobResult[object]:
    """Run a job beside neighbours until it is found out: twice among them, then in a ward beside one, then alone."""
    with trial.neighbours(runs=4):
        return trial.run(f"hostile.{function}", *args, max_crashes=1)


@pytest.mark.first(1)
@pytest.mark.parametrize(
    ("function", "args", "words"),
    [
        ("segfault", (), "its process died of SIGSEGV"),
        ("leave", (0,), "its process exited with code 0"),
        ("leave", (5,), "its process exited with code 5"),
        ("close_descriptors", (), "its process "),
    ],
)
def test_a_job_that_ends_its_process_is_found_among_its_neighbours(
    trial: Trial, function: str, args: tuple[object, ...], words: str
) -> None:
    result = dies(trial, function, *args)

    assert (result.status, result.error_class) == (FAILED, "crashed")
    assert (result.error or "").startswith(words)
    trial.check_calm(crashes=BY_A_CULPRIT)


def test_a_job_that_stops_the_loop_is_found_among_its_neighbours(trial: Trial) -> None:
    result = dies(trial, "stop_loop")

    assert (result.status, result.error_class) == (FAILED, "crashed")
    trial.check_calm(crashes=BY_A_CULPRIT)


def test_a_neighbour_that_has_ended_is_not_run_again_when_a_suspect_dies_next(trial: Trial) -> None:
    with trial.neighbours(runs=4):
        result = trial.run("hostile.leave", 5, max_crashes=1)

    assert result.error_class == "crashed"
    trial.check_calm(crashes=BY_A_CULPRIT)


def test_endless_recursion_is_an_error_like_any_other(trial: Trial) -> None:
    with trial.neighbours():
        result = trial.run("hostile.exhaust_recursion")

    assert (result.status, result.error_class, result.error_type) == (FAILED, "RecursionError", ErrorType.TRANSIENT)
    trial.check_calm()


# --- what hoards ----------------------------------------------------------------------------------


def test_memory_that_a_job_takes_goes_with_it(trial: Trial) -> None:
    with trial.neighbours():
        result = trial.run("hostile.balloon", 256)

    assert (result.status, result.result) == (COMPLETED, 256)
    trial.check_calm()


def test_a_job_that_prints_without_end_is_heard_out(trial: Trial) -> None:
    with trial.neighbours():
        result = trial.run("hostile.shout", 100)

    assert (result.status, result.result) == (COMPLETED, 100)
    assert trial.worker.log.stat().st_size >= 100 * 1024**2
    trial.check_calm()


def test_a_job_that_takes_every_descriptor_harms_none_that_needs_no_more(trial: Trial, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    trial.is_calm = False
    beside = [trial.enqueue("demo.sleep", 0.3) for _ in range(3)]
    hoarder = trial.enqueue("hostile.open_descriptors", str(gate))

    beside += [trial.enqueue("demo.sleep", 0.1) for _ in range(3)]
    results = settle_all(trial.fleet, beside)
    held = trial.fleet.poll(hoarder).status
    gate.touch()
    hoarded = trial.fleet.wait(hoarder, timeout=LONG)

    assert {(result.status, result.attempt) for result in results.values()} == {(COMPLETED, 1)}
    assert (held, hoarded.status) == (JobStatus.RUNNING, COMPLETED)
    assert isinstance(hoarded.result, int)
    assert hoarded.result > 100
    trial.check_calm()


def test_threads_that_stay_harm_nobody(trial: Trial) -> None:
    with trial.neighbours():
        result = trial.run("hostile.leave_threads", 20, 1.0)

    assert (result.status, result.result) == (COMPLETED, 20)
    trial.check_calm()


@pytest.mark.parametrize("function", ["leave_grandchild", "fork"])
def test_a_process_left_behind_is_the_users_and_keeps_nothing_of_ours(trial: Trial, function: str) -> None:
    with trial.neighbours():
        result = trial.run(f"hostile.{function}", 1.0)

    assert result.status is COMPLETED
    assert isinstance(result.result, int)
    trial.check_calm()
    assert not is_running(result.result)


# --- what cannot be handed on ---------------------------------------------------------------------


@pytest.mark.parametrize("where", ["thread", "coroutine"])
def test_odd_endings_fail_their_job_and_nothing_else(trial: Trial, where: str) -> None:
    with trial.neighbours():
        ids = {what: trial.enqueue(f"hostile.raise_in_{where}", what) for what in PLAIN_ENDINGS}
        results = settle_all(trial.fleet, ids.values())

    endings = {what: results[job_id] for what, job_id in ids.items()}
    assert {(result.status, result.retry_count) for result in endings.values()} == {(FAILED, 0)}
    classes = {what: result.error_class for what, result in endings.items()}
    in_coroutine = {"StopIteration": "RuntimeError"} if where == "coroutine" else {}  # PEP 479
    assert classes == {**PLAIN_ENDINGS, **in_coroutine}
    assert all(len(result.error or "") <= 400 for result in endings.values())
    trial.check_calm()


@pytest.mark.parametrize("where", ["thread", "coroutine"])
@pytest.mark.parametrize(
    "what",
    [
        "mute-exit",
        "nameless",
    ],
)
def test_an_ending_that_strikes_while_it_is_described_fails_its_job(trial: Trial, where: str, what: str) -> None:
    with trial.neighbours():
        job_id = trial.enqueue(f"hostile.raise_in_{where}", what)
        result = trial.fleet.wait(job_id, timeout=LONG)

    assert result.status is FAILED
    trial.check_calm()


def test_results_that_cannot_be_encoded_fail_their_job_at_once(trial: Trial) -> None:
    with trial.neighbours():
        ids = {what: trial.enqueue("hostile.return_odd", what) for what in RESULTS}
        results = settle_all(trial.fleet, ids.values())

    def shown(result: JobResult[object]) -> tuple[object, ...]:
        return result.status, result.error_class, result.error_type, result.attempt

    assert {what: shown(results[job_id]) for what, job_id in ids.items()} == dict.fromkeys(
        RESULTS, (FAILED, "EncodingError", ErrorType.PERMANENT, 1)
    )
    trial.check_calm()
