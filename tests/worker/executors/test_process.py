"""Runs on the executor of isolated processes: what goes over the line, each stage, each death."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from jobfleet import JobCancelled
from jobfleet.clock import boottime
from jobfleet.codec import seal
from jobfleet.config import JobConfig
from jobfleet.errors import StoreUnavailable
from jobfleet.functions.registry import Registry
from jobfleet.outcome import Cancelled, Crashed, LeaseLost, OutOfMemory
from jobfleet.store.keys import Keyspace
from jobfleet.store.records import Grant
from jobfleet.worker.executors.process import ProcessExecutor
from jobfleet.worker.ipc.lease_board import HEADER, LeaseBoard
from jobfleet.worker.run.handlers import Handlers
from jobfleet.worker.run.interfaces import Died
from jobfleet.worker.run.run import Run, Stage
from tests.support.server import is_running, state_of
from tests.support.waiting import await_until

LEASE = 3600.0


class Told(Run):
    """A run that remembers what it is asked for."""

    def __init__(self, grant: Grant) -> None:
        super().__init__(
            Keyspace("jobfleet").lane("default", 0), grant, HEADER, 0.0, cast("Any", SimpleNamespace(is_draining=False))
        )
        self.heard: list[object] = []
        self.kept = {"a": b"1"}

    def extend(self, seconds: float) -> None:
        self.heard.append(("extend", seconds))

    def note(self, at_us: int, level: int, text: str) -> None:
        self.heard.append(("note", at_us, level, text))

    async def steps(self) -> dict[str, bytes]:
        return dict(self.kept)

    async def keep(self, key: str, record: bytes) -> None:
        if key == "refused":
            raise StoreUnavailable("away")
        self.kept[key] = record


class Cellar:
    """An executor, and runs on it."""

    def __init__(self, registry: Registry) -> None:
        config = JobConfig(spare_processes=0)
        self.handlers = Handlers(registry, (), config)
        self.executor = ProcessExecutor("w.1", config, ["cells"], LeaseBoard(None, 1), is_wanted=False)

    def start(
        self, name: str, *args: object, lease: float = LEASE, **kwargs: object
    ) -> tuple[Told, asyncio.Future[object]]:
        """Start a run; its value or error is what the future holds."""
        run = Told(Grant(f"default.0.{next(NUMBERS)}", 7, 0, 2, seal({"function": name}, args, kwargs), "", ""))
        run.lease.until = boottime() + lease
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        handler = self.handlers.get(name)
        self.executor.start(run, handler, [], {}, lambda value, error: future.set_result(error or value))
        run.executor = self.executor
        return run, future


NUMBERS = itertools.count()


@pytest.fixture
async def cellar(registry: Registry, cells: None) -> AsyncIterator[Cellar]:
    cellar = Cellar(registry)
    yield cellar
    cellar.executor.close()


async def test_all_that_a_context_asks_of_its_worker_goes_over_the_line(cellar: Cellar) -> None:
    run, future = cellar.start("cell.port")

    assert await future == [{"a": b"1", "b": b"2"}, "StoreUnavailable", "away"]
    assert run.heard == [("extend", 5.0), ("note", 1, 20, "a line ?")]


async def test_a_run_whose_lease_expired_before_its_process_was_ready_is_not_started(cellar: Cellar) -> None:
    run, future = cellar.start("cell.add", 1, 1, lease=-1.0)
    run.stop.interruption = LeaseLost()

    assert isinstance(await future, JobCancelled)


async def test_a_run_whose_lease_stands_again_starts(cellar: Cellar) -> None:
    run, future = cellar.start("cell.add", 1, 1, lease=-1.0)
    run.lease.until = boottime() + LEASE

    assert await future == 2


async def test_the_flag_in_the_context_is_raised_without_a_stop(cellar: Cellar, tmp_path: Path) -> None:
    run, future = cellar.start("cell.flagged", str(tmp_path / "pid"))
    await await_until(lambda: exists(tmp_path / "pid"), timeout=30, why="it runs")

    run.stop.interruption, run.stop.cancel_by = Cancelled("ann"), "ann"

    assert await future == "cancelled by ann"


async def exists(path: Path) -> bool:
    return path.exists() and bool(path.read_text())


@pytest.mark.parametrize(
    ("function", "stages"),
    [
        ("cell.stubborn", [Stage.RAISED, Stage.TERMINATED]),
        ("cell.stubborn", [Stage.KILLED]),
        ("cell.hold", [Stage.RAISED, Stage.TERMINATED]),
        ("cell.hold", [Stage.KILLED]),
    ],
)
async def test_each_stage_ends_what_the_one_before_could_not(
    cellar: Cellar, tmp_path: Path, function: str, stages: list[Stage]
) -> None:
    path = tmp_path / "pid"
    run, future = cellar.start(function, str(path))
    await await_until(lambda: exists(path), timeout=30, why="it runs")
    run.stop.interruption = Cancelled("ann")

    for stage in stages:
        assert not future.done()
        cellar.executor.stop(run, stage)

    assert isinstance(await future, JobCancelled), "it is not taken for a crash"
    for pid in map(int, path.read_text().split()):
        await await_until(partial(gone, pid), why=f"{pid} has ended")


async def gone(pid: int) -> bool:
    return not is_running(pid)


async def test_a_run_stopped_before_its_process_is_ready_never_starts(cellar: Cellar, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    run, future = cellar.start("cell.sleep", 60.0, str(path))
    run.stop.interruption = Cancelled("ann")
    cellar.executor.stop(run, Stage.RAISED)

    assert isinstance(await future, JobCancelled)
    assert not path.exists()
    cellar.executor.stop(run, Stage.KILLED)  # it has ended: nothing happens


@pytest.mark.parametrize(
    ("before", "after", "outcome"),
    [
        (3, 4, OutOfMemory("killed by the kernel, which had no memory left in its control group")),
        (4, 4, Crashed("its process died of SIGKILL")),
        (None, None, Crashed("its process died of SIGKILL, perhaps by the kernel for memory")),
    ],
)
async def test_a_kill_that_nobody_here_sent_is_told_by_what_the_kernel_has_counted(
    cellar: Cellar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int, after: int, outcome: object
) -> None:
    monkeypatch.setattr("jobfleet.worker.executors.isolated.processes.oom_kills", lambda: before)
    path = tmp_path / "pid"
    _, future = cellar.start("cell.stubborn", str(path))
    await await_until(lambda: exists(path), timeout=30, why="it runs")

    monkeypatch.setattr("jobfleet.worker.executors.process.oom_kills", lambda: after)
    os.kill(int(path.read_text()), signal.SIGKILL)

    error = await future
    assert isinstance(error, Died)
    assert error.outcome == outcome


async def test_a_process_whose_death_somebody_else_has_waited_for_is_told_all_the_same(
    cellar: Cellar, tmp_path: Path
) -> None:
    path = tmp_path / "pid"
    _, future = cellar.start("cell.stubborn", str(path))
    await await_until(lambda: exists(path), timeout=30, why="it runs")

    os.kill(int(path.read_text()), signal.SIGKILL)
    os.waitpid(int(path.read_text()), 0)

    error = await future
    assert isinstance(error, Died)
    assert error.outcome == Crashed("its process exited with code 255")


@pytest.mark.parametrize("spare", [0, 2])
async def test_as_many_processes_are_kept_warm_as_the_settings_say(registry: Registry, cells: None, spare: int) -> None:
    executor = ProcessExecutor("w.1", JobConfig(spare_processes=spare), ["cells"], LeaseBoard(None, 1), is_wanted=True)
    await asyncio.sleep(0)
    try:
        assert len(executor._pool._idle) == len(executor._pool._all) == spare
        first = list(executor._pool._all)
        for job_process in first:
            os.kill(job_process.pid, signal.SIGKILL)
        await await_until(lambda: replaced(executor, first), timeout=30, why="the dead are gone")
    finally:
        executor.close()
    assert not executor._pool._all


async def replaced(executor: ProcessExecutor, dead: list[Any]) -> bool:
    return not set(dead) & executor._pool._all


async def test_a_process_that_has_nothing_to_do_is_let_go(cellar: Cellar, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobfleet.worker.executors.isolated.processes.IDLE", 0.05)
    _, future = cellar.start("cell.add", 1, 2)

    assert await future == 3
    await await_until(lambda: replaced(cellar.executor, list(cellar.executor._pool._all)), why="none is left")


async def test_without_pidfds_a_thread_sees_a_death(
    cellar: Cellar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("os.pidfd_open", raising=False)
    assert await cellar.start("cell.add", 1, 2)[1] == 3
    _, future = cellar.start("cell.die", "exit")

    error = await future
    assert isinstance(error, Died)
    assert error.outcome == Crashed("its process exited with code 7")


@pytest.fixture
def no_waitid(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """This process and its children have neither `os.waitid` nor pidfds, as on macOS before Python 3.13."""
    (tmp_path / "sitecustomize.py").write_text("import os\n\ndel os.waitid\nos.__dict__.pop('pidfd_open', None)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delattr("os.waitid")
    monkeypatch.delattr("os.pidfd_open", raising=False)


@pytest.mark.usefixtures("no_waitid")
async def test_without_waitid_a_process_is_used_again_unless_it_has_left_children(cellar: Cellar) -> None:
    async with asyncio.timeout(30):
        first, second = [(await cellar.start("cell.pid")[1])[0] for _ in range(2)]  # type: ignore[index]
        (orphan,) = cast("list[int]", await cellar.start("cell.orphan", 1, leave_group=False)[1])
        third = (await cellar.start("cell.pid")[1])[0]  # type: ignore[index]

    assert first == second != third
    await await_until(lambda: not_running(orphan), why="what the job has left is killed")


@pytest.mark.usefixtures("no_waitid")
async def test_without_waitid_a_death_is_seen_and_reaped(cellar: Cellar, tmp_path: Path) -> None:
    async with asyncio.timeout(30):
        pid = (await cellar.start("cell.pid")[1])[0]  # type: ignore[index]
        (one,) = cellar.executor._pool._all
        assert (one.pid, one.has_ended()) == (pid, False)

        error = await cellar.start("cell.die", "exit")[1]
        assert isinstance(error, Died)
        assert error.outcome == Crashed("its process exited with code 7")
        assert one.has_ended()
        assert state_of(one.pid) == ""

        _, future = cellar.start("cell.brood", str(tmp_path / "pids"))
        await await_until(lambda: has_text(tmp_path / "pids"), why="it has a child")
        _, child = map(int, (tmp_path / "pids").read_text().split())
        (one,) = cellar.executor._pool._all
        one.kill()
        assert isinstance(await future, Died)
    await await_until(lambda: not_running(child), why="its child is killed")


async def not_running(pid: int) -> bool:
    return not is_running(pid)


async def has_text(path: Path) -> bool:
    return path.exists() and len(path.read_text().split()) == 2
