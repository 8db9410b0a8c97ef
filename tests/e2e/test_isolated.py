"""Jobs in processes of their own: what crosses, what is bounded, and who dies. All share one worker."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobfleet import ErrorType, Fleet, Job, JobStatus
from tests.support.fleet import LONG, Program, Programs, settle_all
from tests.support.processes import cells, gone, pid_in
from tests.support.runs import Run
from tests.support.server import RedisServer
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    """Starts workers on a server of this module, which no test empties."""
    with RedisServer() as server:
        programs = Programs(server.url, tmp_path_factory.mktemp("isolated"), is_fresh=False)
        yield programs
        programs.close()


@pytest.fixture
def fleet(programs: Programs) -> Iterator[Fleet]:
    """A producer on that server."""
    with Fleet(programs.url) as fleet:
        yield fleet


@pytest.fixture(scope="module")
def workers() -> list[Program]:
    """The worker that all tests share."""
    return []


@pytest.fixture
def worker(programs: Programs, workers: list[Program]) -> Program:
    """A worker with two slots and one spare process; another one after a test that has lost it its child."""
    if not workers or workers[0].is_over or "child.died" in workers[0].said:
        programs.close()
        workers[:] = [programs.ready("cells", slots=2, queues="default,roomy")]
    return workers[0]


def test_a_function_runs_in_the_main_thread_of_a_warm_process_that_is_used_again(run: Run, worker: Program) -> None:
    wait_until(lambda: cells(worker), timeout=LONG, why="a spare process is there")
    spare = cells(worker)

    first, second = run("cell.pid").result, run("cell.pid").result

    (child,) = worker.children()
    assert (first[0] in spare, first[1], first[2]) == (True, child, True)
    assert first == second
    assert first[0] != child
    assert run("cell.loaded").result is True, "a fresh interpreter, no fork"


def test_values_cross_by_the_codec_and_a_coroutine_has_a_loop_of_its_own(run: Run) -> None:
    assert run("cell.add", 1, 2).result == 3
    assert run("cell.add", "ä", "\U0001f600" * 50_000).result == "ä" + "\U0001f600" * 50_000, "more than a pipe holds"
    assert run("cell.aadd", 1, 2).result == [3, "uvloop"]


def test_the_context_is_complete(run: Run) -> None:
    result = run("cell.look", 7, user="ann", tags=["eu"], metadata={"a": 1}, correlation_id="c-1", max_retries=0)

    assert result.status is JobStatus.FAILED, "it takes no argument but its context"
    assert "takes 1 positional argument" in str(result.error)

    result = run("cell.look", user="ann", tags=["eu"], metadata={"a": 1}, correlation_id="c-1")
    assert result.result == {
        "job_id": result.id, "function": "cell.look", "args": [], "attempt": 1, "fence": result.fence, "user": "ann",
        "tags": ["eu"], "metadata": {"a": 1}, "correlation_id": "c-1", "cancelled": False, "queue": "default",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "error_class", "error", "kept", "attempts"),
    [
        ("value", "ValueError", "wrong", ErrorType.PERMANENT, 1),
        ("busy", "Busy", "not now", ErrorType.TRANSIENT, 2),
        ("odd", "Odd", "(its text cannot be read)", ErrorType.TRANSIENT, 2),
        ("surrogate", "RuntimeError", "caf?", ErrorType.TRANSIENT, 2),
        ("discard", "Discard", "no use", ErrorType.PERMANENT, 1),
        ("again", "RetryAfter", "later", ErrorType.TRANSIENT, 2),
        ("memory", "MemoryError", "just so", ErrorType.TRANSIENT, 2),
        ("exit", "SystemExit", "3", ErrorType.TRANSIENT, 2),
    ],
)
def test_what_it_raises_is_told_as_of_any_job(
    run: Run, kind: str, error_class: str, error: str, kept: ErrorType, attempts: int
) -> None:
    result = run("cell.fail", kind, max_retries=1)

    assert (result.error_class, result.error, result.error_type, result.attempt) == (error_class, error, kept, attempts)
    text = result.traceback or ""
    assert text.startswith("Traceback")
    assert ("cells.py" in text, "jobfleet/worker" in text) == (True, False)


def test_a_result_that_cannot_travel_is_named(run: Run) -> None:
    result = run("cell.fail", "result")

    assert (result.error_class, result.error_type, result.traceback) == ("EncodingError", ErrorType.PERMANENT, None)
    assert result.error == (
        "cell.fail returned result['lock']: lock cannot be encoded; return plain data or a reference."
    )


def test_a_snooze_counts_as_nothing(run: Run, tmp_path: Path) -> None:
    result = run("cell.snooze", str(tmp_path / "seen"))

    assert (result.result, result.attempt) == ("there", 1)


def test_progress_arrives_while_it_runs_and_the_last_report_is_kept(
    fleet: Fleet, worker: Program, tmp_path: Path
) -> None:
    job_id = fleet.enqueue(Job("steps", "cell.steps", ([0.25, 0.5], str(tmp_path / "go"))))

    wait_until(lambda: fleet.poll(job_id).progress == 0.5, timeout=LONG, why="progress is seen")
    (tmp_path / "go").touch()

    result = fleet.wait(job_id, timeout=LONG)
    assert (result.progress, result.progress_message, result.progress_details) == (1.0, "last", {"value": 1.0})


def test_a_flood_of_reports_ends_with_the_last(run: Run) -> None:
    result = run("cell.flood", 50_000)

    assert (result.result, result.progress_message) == (50_000, "step 49999")


@pytest.mark.parametrize(
    ("function", "error"), [("cell.sleep", "JobCancelled True"), ("cell.asleep", "CancelledError True")]
)
def test_a_cancelled_job_is_interrupted_where_it_blocks_and_its_process_is_not_used_again(
    fleet: Fleet, worker: Program, run: Run, tmp_path: Path, function: str, error: str
) -> None:
    path = tmp_path / "pid"
    job_id = fleet.enqueue(Job("sleep", function, (600.0, str(path))))
    process = pid_in(path)

    assert fleet.cancel(job_id, by="ann")

    result = fleet.wait(job_id, timeout=LONG)
    assert (result.status, result.cancel_requested_by) == (JobStatus.CANCELLED, "ann")
    assert Path(f"{path}.end").read_text() == error
    gone(process)
    assert run("cell.pid").result[0] != process


def test_a_hard_limit_kills_the_process_and_nothing_else(
    fleet: Fleet, worker: Program, run: Run, tmp_path: Path
) -> None:
    children = worker.children()
    assert run("cell.add", 1, 2).result == 3, "a process is warm: the limit counts its start, too"

    result = run("cell.hold", str(tmp_path / "pid"), timeout=3, hard_timeout=4, max_retries=0)

    assert result.error_class == "timeout"
    gone(pid_in(tmp_path / "pid"))
    assert worker.children() == children


def test_a_timeout_interrupts_a_blocking_call(run: Run) -> None:
    result = run("cell.limited", 600)

    assert (result.error_class, result.error) == ("timeout", "timed out after 0.3 s")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("segfault", "its process died of SIGSEGV"),
        ("exit", "its process exited with code 7"),
        ("SIGTERM", "its process died of SIGTERM"),
        ("SIGKILL", "its process died of SIGKILL"),
    ],
)
def test_a_death_is_told_at_once_and_harms_no_neighbour(
    fleet: Fleet, run: Run, worker: Program, tmp_path: Path, how: str, words: str
) -> None:
    neighbour = fleet.enqueue(Job("neighbour", "cell.neighbour", (str(tmp_path / "go"),)))
    wait_until(lambda: fleet.poll(neighbour).status is JobStatus.RUNNING, timeout=LONG, why="a neighbour runs")

    result = run("cell.die", how, max_crashes=2)

    assert (result.error_class, result.attempt) == ("crashed", 2)
    assert str(result.error).startswith(words)
    (tmp_path / "go").touch()
    beside = fleet.wait(neighbour, timeout=LONG)
    assert (beside.status, beside.attempt, [beside.result]) == (JobStatus.COMPLETED, 1, worker.children())


def test_memory_beyond_the_limit_is_named_and_charged_as_a_crash(run: Run) -> None:
    result = run("cell.balloon", 300)

    assert (result.error_class, result.error, result.attempt) == ("oom", "memory limit of 256 MiB (rlimit)", 2)
    assert run("cell.balloon", 100).result == 100 << 20, "within its limit it runs"


def test_resident_memory_that_no_limit_of_the_kernel_counts_is_seen(run: Run) -> None:
    result = run("cell.shared", 200)

    assert (result.error_class, result.error) == ("oom", "resident memory above 128 MiB")


def test_cpu_beyond_the_limit_is_a_timeout_and_the_limit_is_each_runs_own(run: Run) -> None:
    results = [run("cell.burn", 0.6) for _ in range(3)]
    assert [result.result for result in results] == ["burnt"] * 3

    result = run("cell.burn", 30)
    assert (result.error_class, result.error) == ("timeout", "used more than 1 s of CPU")


def test_nice_and_environment_are_those_of_their_function_alone(run: Run) -> None:
    bound, again, other = run("cell.settings").result, run("cell.settings").result, run("cell.plain").result

    base = os.getpriority(os.PRIO_PROCESS, 0)  # the tests themselves may be run with another one than 0
    assert bound == again == ["blue", max(base, 5), bound[2]]
    assert other[:2] == [None, base]
    assert other[2] != bound[2]


def test_a_job_out_of_memory_goes_on_where_there_is_more(fleet: Fleet, run: Run) -> None:
    old = run("cell.elsewhere", 250, id="inv-7", tags=["eu"])

    assert (old.status, old.cancel_requested_by) == (JobStatus.CANCELLED, None)
    assert old.moved_to is not None
    assert re.fullmatch(r"roomy\.0\.inv-7\.[0-9a-f]{10}", old.moved_to)
    assert old.error == f"moved to {old.moved_to}"
    new = fleet.wait(old.moved_to, timeout=LONG)
    assert (new.moved_from, new.tags, new.enqueued_at) == (old.id, ("eu",), old.enqueued_at)
    assert (new.result, new.attempt) == (["roomy", 1], 1), "there the machine is the limit"
    assert run("cell.elsewhere", 50).result == ["default", 1], "a job that has room stays"


@pytest.mark.parametrize("leave_group", [False, True])
def test_what_a_job_leaves_behind_is_gone_when_it_is_over(run: Run, leave_group: bool) -> None:
    left = run("cell.orphan", 3, kwargs={"leave_group": leave_group}).result

    assert len(left) == 3
    gone(*left)


def test_many_jobs_share_few_processes_and_leak_nothing(fleet: Fleet, worker: Program, run: Run) -> None:
    settle_all(fleet, [fleet.enqueue(Job("pid", "cell.pid")) for _ in range(20)])
    before = run("cell.descriptors").result

    ids = [fleet.enqueue(Job("pid", "cell.pid")) for _ in range(30)]
    ids += [fleet.enqueue(Job("die", "cell.die", ("exit",), max_crashes=1)) for _ in range(10)]
    ids += [fleet.enqueue(Job("balloon", "cell.balloon", (300,), max_crashes=1)) for _ in range(10)]
    results = settle_all(fleet, ids)

    assert len({one.result[0] for one in results.values() if isinstance(one.result, list)}) <= 4
    idle = wait_until(
        lambda: seen if len(seen := cells(worker)) <= 4 else [], timeout=LONG, why="few processes are kept"
    )
    assert idle
    after = run("cell.descriptors").result
    assert after[0] - before[0] <= 3 * 3, "three descriptors a process, of which at most three more are kept"
    assert after[1] <= before[1] + 1
