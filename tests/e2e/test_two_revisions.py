"""The previous revision and this one on the same Redis: producers, workers and reapers of both, in both directions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from jobfleet import Fleet, Job, JobStatus
from tests.support.fleet import APPS, LONG, ROOT, History, Programs, settle_all
from tests.support.revision import CONNECTS, unpack
from tests.support.waiting import wait_until
from tests.trust.conftest import OLD, spelled

pytestmark = CONNECTS

COMPLETED = (
    "plain", "thread", "urgent", "later", "unique", "grouped", "own", "child", "first", "second", "held",
)  # fmt: skip


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of the previous revision."""
    return unpack(tmp_path_factory.mktemp("previous"))


@pytest.fixture
def of(redis_url: str, tmp_path: Path, previous: Path) -> Iterator[Callable[[str], Programs]]:
    """The programs of a revision, ``old`` or ``new``."""
    both = {name: Programs(redis_url, tmp_path / name, root) for name, root in (("old", previous), ("new", ROOT))}
    for programs in both.values():
        programs.folder.mkdir()
    try:
        yield both.__getitem__
    finally:
        for programs in both.values():
            programs.close()
            sys.stdout.write(programs.logs())


def enqueue(root: Path, url: str, folder: Path, **environment: str) -> dict[str, str]:
    """Run the producer of a revision; the ids of its jobs by name."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JOBFLEET_")}
    done = subprocess.run(
        [sys.executable, str(APPS / "bilingual.py"), url, str(folder)],
        cwd=root,
        env={**kept, "PYTHONPATH": str(root), "PYTHONWARNINGS": "ignore", **environment},
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ids: dict[str, str] = json.loads(done.stdout)
    return ids


ROLES = [("old", "new", "new"), ("new", "old", "old"), ("new", "old", "new")]


@pytest.mark.parametrize(("producer", "worker", "reaper"), ROLES)
def test_jobs_of_one_revision_run_on_the_other(
    producer: str, worker: str, reaper: str, of: Callable[[str], Programs], fleet: Fleet, tmp_path: Path
) -> None:
    of(worker).worker("histories", queues="default,urgent")
    of(reaper).reaper(reap_interval=0.2)

    ids = enqueue(of(producer).root, fleet.config.url, tmp_path)
    wait_until(lambda: fleet.poll(ids["cancelled"]).status is JobStatus.RUNNING, timeout=LONG, why="it runs")
    assert fleet.cancel(ids["cancelled"], by="ann") is True
    (tmp_path / "held").touch()

    results = settle_all(fleet, ids.values())
    states = {name: results[job_id].status for name, job_id in ids.items()}
    assert states == {
        **dict.fromkeys(COMPLETED, JobStatus.COMPLETED),
        "failed": JobStatus.FAILED, "retried": JobStatus.FAILED,
        "expired": JobStatus.EXPIRED, "cancelled": JobStatus.CANCELLED,
    }  # fmt: skip
    assert (results[ids["retried"]].retry_count, results[ids["failed"]].error_class) == (1, "ValueError")
    assert {one.id for one in fleet.dead()} == {ids["failed"], ids["retried"]}


@pytest.fixture(scope="module")
def unbound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of the last revision whose frames do not name their fleet."""
    return unpack(tmp_path_factory.mktemp("unbound"), "f933da4f")


@pytest.mark.parametrize("encrypt", ["off", "require"])
@pytest.mark.parametrize(("producer", "worker", "reaper"), [("old", "new", "new"), ("new", "old", "old")])
def test_sealed_jobs_of_one_revision_run_on_the_other(
    producer: str, worker: str, reaper: str, encrypt: str, redis_url: str, unbound: Path, tmp_path: Path
) -> None:
    trust: dict[str, Any] = {"keyring": spelled(k1=OLD), "sign": "require", "encrypt": encrypt}
    roots = {"old": unbound, "new": ROOT}
    variables = {f"JOBFLEET_{name.upper()}": value for name, value in trust.items()}
    with Fleet(redis_url, **trust) as fleet, ExitStack() as stack:
        of = {name: Programs(redis_url, tmp_path / name, root) for name, root in roots.items()}
        for programs in of.values():
            programs.folder.mkdir()
            stack.callback(programs.close)
        of[worker].worker("histories", queues="default,urgent", **trust)
        of[reaper].reaper(reap_interval=0.2, **trust)

        ids = enqueue(roots[producer], redis_url, tmp_path, **variables)
        wait_until(lambda: fleet.poll(ids["cancelled"]).status is JobStatus.RUNNING, timeout=LONG, why="it runs")
        assert fleet.cancel(ids["cancelled"], by="ann") is True
        (tmp_path / "held").touch()

        results = settle_all(fleet, ids.values())
        states = {name: results[job_id].status for name, job_id in ids.items()}
        assert states == {
            **dict.fromkeys(COMPLETED, JobStatus.COMPLETED),
            "failed": JobStatus.FAILED, "retried": JobStatus.FAILED,
            "expired": JobStatus.EXPIRED, "cancelled": JobStatus.CANCELLED,
        }  # fmt: skip
        assert all(fleet.poll(job_id).id == job_id for job_id in ids.values())  # each ending is accepted
        assert {one.error_class for one in fleet.dead()} == {"ValueError", "RuntimeError"}


def test_sealed_steps_and_waits_go_from_one_revision_to_the_other(
    redis_url: str, unbound: Path, tmp_path: Path
) -> None:
    trust: dict[str, Any] = {"keyring": spelled(k1=OLD), "sign": "require"}
    with Fleet(redis_url, **trust) as fleet, ExitStack() as stack:
        for name, root in (("old", unbound), ("new", ROOT)):
            (tmp_path / name).mkdir()
            programs = Programs(redis_url, tmp_path / name, root)
            stack.callback(programs.close)
            programs.ready("histories", slots=2, with_reaper=1, **trust)
        jobs = [fleet.enqueue(Job("patient", "hist.patient")) for _ in range(30)]
        for place, job_id in enumerate(jobs):
            assert fleet.signal(job_id, "go", place)

        results = settle_all(fleet, jobs)

        assert [results[job_id].result for job_id in jobs] == [["kept", "kept", place] for place in range(30)]
        runs = {name: len(History(tmp_path / name / "history").entries()) for name in ("old", "new")}
        assert min(runs.values()) > 0


def test_an_old_worker_reads_the_first_delay_of_a_list_and_no_bound_by_time(
    of: Callable[[str], Programs], fleet: Fleet
) -> None:
    of("old").ready()
    args = ("again",)
    listed = fleet.enqueue(Job("a", "hist.raise", args, max_retries=1, retry_delay=[0.05, 9e5], retry_for=3600))
    bound = fleet.enqueue(Job("b", "hist.raise", args, retry_delay=[0.01, 9e5], retry_for=3600))

    results = settle_all(fleet, [listed, bound])

    assert {one.status for one in results.values()} == {JobStatus.FAILED}
    assert (results[listed].attempt, results[bound].attempt) == (2, 4)
    assert {one.error_class for one in results.values()} != {"unreadable"}


@pytest.mark.parametrize("revision", ["previous", "unbound"])
def test_a_text_that_an_old_worker_does_not_know_outlives_its_retries_and_a_replay(
    revision: str, redis_url: str, fleet: Fleet, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with ExitStack() as stack:
        of = {"old": request.getfixturevalue(revision), "new": ROOT}
        programs = {name: Programs(redis_url, tmp_path / name, root) for name, root in of.items()}
        for each in programs.values():
            each.folder.mkdir()
            stack.callback(each.close)
        programs["old"].ready(with_reaper=1)
        options: dict[str, Any] = {"max_retries": 1, "retry_delay": 0.05}
        job_id = fleet.enqueue(Job("a", "hist.raise", ("again",), owner_team="billing", **options))
        assert settle_all(fleet, [job_id])[job_id].attempt == 2
        letter = fleet.letter(job_id)
        programs["old"].close()

        programs["new"].ready(with_reaper=1)
        assert fleet.replay(job_id)
        replayed = settle_all(fleet, [job_id])[job_id]

        assert (letter.job.owner_team, replayed.owner_team, replayed.attempt) == ("billing", "billing", 2)
        assert [one.id for one in fleet.jobs(owner_team="billing").jobs] == [job_id]
        assert [one.id for one in fleet.dead(owner_team="billing")] == [job_id]


@pytest.mark.parametrize("revision", ["previous", "unbound"])
def test_what_was_done_to_a_job_is_readable_and_harmless_to_an_old_revision(
    revision: str, redis_url: str, fleet: Fleet, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    root: Path = request.getfixturevalue(revision)
    (tmp_path / "old").mkdir()
    with ExitStack() as stack:
        programs = Programs(redis_url, tmp_path / "old", root)
        stack.callback(programs.close)
        programs.ready("histories", with_reaper=1)
        edited, gone = (fleet.enqueue(Job("nap", "hist.nap", (60.0,), delay=3600)) for _ in range(2))
        for job_id in (edited, gone):
            for number in range(12):
                assert fleet.edit(job_id, (0.01 * number,), by=f"ann {number}")
        assert fleet.cancel(gone, by="bob")
        assert fleet.reschedule(edited, delay=0)
        assert fleet.wait(edited, timeout=LONG).status is JobStatus.COMPLETED

        kept = {name: value for name, value in os.environ.items() if not name.startswith("JOBFLEET_")}
        seen = subprocess.run(
            [sys.executable, "-m", "jobfleet", "--url", redis_url, "-o", "json", "status", edited, gone],
            cwd=tmp_path, env={**kept, "PYTHONPATH": str(root), "PYTHONWARNINGS": "ignore"},
            capture_output=True, text=True, timeout=LONG, check=False,
        )  # fmt: skip

    assert [(one["status"], one["error"]) for one in json.loads(seen.stdout)] == [
        ("completed", None), ("cancelled", "cancelled by bob"),
    ]  # fmt: skip
    *lines, last = fleet.details(gone).life
    assert (last.kind, last.by) == ("cancelled", "bob")
    assert [one.by for one in lines] == [f"ann {number}" for number in range(12 - len(lines), 12)]
    assert len(lines) > 5
    assert fleet.details(edited).life == ()  # the old worker has ended it


@pytest.mark.parametrize("function", ["hist.nap", "hist.raise"])
def test_an_old_worker_leaves_callbacks_to_a_new_reaper(
    of: Callable[[str], Programs], fleet: Fleet, function: str
) -> None:
    of("old").ready()
    args: tuple[object, ...] = (0.01,) if function == "hist.nap" else ("no", "ValueError")
    called = Job("called", "hist.nap", (0.01,))
    receipt = fleet.submit(Job("job", function, args, on_success=called, on_failure=called))
    callbacks = receipt.callbacks
    fleet.wait(receipt.id, timeout=LONG)
    of("new").reaper(reap_interval=0.2)

    wanted, other = sorted(callbacks, reverse=function == "hist.nap")
    wait_until(lambda: fleet.poll(callbacks[wanted]).status is JobStatus.COMPLETED, timeout=LONG, why="it is called")
    assert fleet.poll(callbacks[other]).status in (JobStatus.CANCELLED, JobStatus.BLOCKED)


@pytest.mark.parametrize(("killed", "heir"), [("old", "new"), ("new", "old")])
def test_what_a_killed_worker_of_one_revision_held_runs_on_the_other(
    killed: str, heir: str, of: Callable[[str], Programs], fleet: Fleet, tmp_path: Path
) -> None:
    worker = of(killed).ready(lease=6)
    ids = enqueue(of("new").root, fleet.config.url, tmp_path)
    of(killed).history.await_start(ids["held"])

    of(heir).ready(lease=6)
    worker.send_all(signal.SIGKILL)
    of(heir).reaper(reap_interval=0.2)
    of(heir).history.await_start(ids["held"])
    (tmp_path / "held").touch()

    result = fleet.wait(ids["held"], timeout=LONG)
    assert (result.status, result.error) == (JobStatus.COMPLETED, None)


@pytest.mark.timeout(300)
def test_children_of_both_revisions_share_a_crash_loop_and_charge_the_culprit_alone(
    of: Callable[[str], Programs], fleet: Fleet, tmp_path: Path
) -> None:
    for name in ("old", "new"):
        of(name).ready(slots=5)
        of(name).reaper(reap_interval=0.2)
    innocent = [fleet.enqueue(Job("nap", "hist.nap", (0.5,))) for _ in range(10)]
    culprit = fleet.enqueue(Job("kill", "hist.kill", (int(signal.SIGKILL),)))

    results = settle_all(fleet, [*innocent, culprit], timeout=2 * LONG)

    assert results[culprit].status is JobStatus.FAILED
    assert {results[job_id].status for job_id in innocent} == {JobStatus.COMPLETED}


def test_commands_of_this_revision_reach_both_and_those_of_the_old_one_only_its_own_workers(
    of: Callable[[str], Programs], fleet: Fleet
) -> None:
    """Producers of the old revision's users may publish where it publishes commands."""
    of("old").ready()
    (old,) = [one.id for one in fleet.workers()]
    of("new").ready()
    (new,) = [one.id for one in fleet.workers() if one.id != old]

    def say(*arguments: str) -> subprocess.CompletedProcess[str]:
        root = of("old").root
        return subprocess.run(
            [sys.executable, "-m", "jobfleet", "--url", fleet.config.url, "workers", *arguments],
            cwd=root,
            env={"PATH": os.environ["PATH"], "HOME": str(root), "PYTHONPATH": str(root), "PYTHONWARNINGS": "ignore"},
            capture_output=True,
            text=True,
            timeout=LONG,
            check=False,
        )

    said = [say("quiet", one, "--timeout", "3s") for one in (old, new)]
    states = {one.id: one.state for one in fleet.workers()}
    quiet = fleet.command_workers([new, old], "quiet", timeout=LONG)

    assert [one.returncode for one in said] == [0, 124], [one.stderr for one in said]
    assert states == {old: "quiet", new: "running"}
    assert [one.is_confirmed for one in quiet] == [True, True]
