"""Suspects in wards: what goes over the line, how they are stopped, what the death of a ward means."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from jobfleet import JobCancelled
from jobfleet.clock import boottime
from jobfleet.codec import seal
from jobfleet.config import JobConfig
from jobfleet.errors import StoreUnavailable
from jobfleet.functions.registry import REGISTRY, Registry
from jobfleet.outcome import Cancelled, Crashed, Interrupted, LeaseLost, Outcome, Witnessed
from jobfleet.retry.tries import Suspicion
from jobfleet.store.keys import Keyspace
from jobfleet.store.records import Grant
from jobfleet.worker.executors.quarantine import QuarantineExecutor
from jobfleet.worker.ipc.lease_board import LeaseBoard, Phase
from jobfleet.worker.run.handlers import Handlers
from jobfleet.worker.run.interfaces import Died
from jobfleet.worker.run.run import Run, Stage
from tests.support.fleet import APPS
from tests.support.waiting import await_until

NUMBERS = itertools.count(1)
PAIR = Suspicion(2, 5)
"""Two of these share a ward."""
LONE = Suspicion(3, 1)
LEASE = 3600.0


class Told(Run):
    """A run that remembers what it is asked for."""

    def __init__(self, grant: Grant, place: int) -> None:
        super().__init__(
            Keyspace("jobfleet").lane("default", 0), grant, place, 0.0, cast("Any", SimpleNamespace(is_draining=False))
        )
        self.heard: list[object] = []
        self.kept = {"a": b"1"}

    def extend(self, seconds: float) -> None:
        self.heard.append(("extend", seconds))

    def report(self, value: float, message: str, details: object) -> None:
        self.heard.append(("report", value, message, details))

    def note(self, at_us: int, level: int, text: str) -> None:
        self.heard.append(("note", at_us, level, text))

    async def steps(self) -> dict[str, bytes]:
        return dict(self.kept)

    async def keep(self, key: str, record: bytes) -> None:
        if key == "refused":
            raise StoreUnavailable("away")
        self.kept[key] = record


class Hospital:
    """An executor, and runs on it.

    Attributes:
        config: Its settings.
        board: Where it says what runs apart.
    """

    def __init__(self, *modules: str, wards: int = 2) -> None:
        self.config = JobConfig(suspect_processes=wards)
        self.board = LeaseBoard(None, 20)
        self.handlers = Handlers(REGISTRY, (), self.config)
        self.executor = QuarantineExecutor("w.1", self.config, modules or ("patients",), self.board)

    def start(
        self, name: str, *args: object, suspicion: Suspicion = PAIR, lease: float = LEASE
    ) -> tuple[Told, asyncio.Future[Any]]:
        """Start a run; its value or error is what the future holds."""
        job_id, token = f"default.0.{next(NUMBERS)}", next(NUMBERS)
        run = Told(Grant(job_id, token, 0, 2, seal({"function": name}, args), "", ""), self.board.post(job_id, token))
        run.lease.until = boottime() + lease
        run.header, run.suspicion, run.executor = {"function": name}, suspicion, self.executor
        assert self.executor.reserve(run), "there is a seat"
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        handler = self.handlers.get(name)
        self.executor.start(run, handler, [], {}, lambda value, error: future.set_result(error or value))
        return run, future

    def phases(self) -> list[Phase]:
        """What the board says of the runs."""
        return [one.phase for one in self.board.read()]


def outcome_of(ended: object) -> Outcome:
    """What the end of a ward means for a run."""
    assert isinstance(ended, Died)
    return ended.outcome


async def pid_in(path: Path) -> int:
    """The process that a run has written down."""

    async def is_there() -> bool:
        return path.exists() and bool(path.read_text())

    await await_until(is_there, timeout=60, why="it runs")
    return int(path.read_text())


@pytest.fixture
async def hospital(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hospital]:
    monkeypatch.syspath_prepend(str(APPS))
    known = dict(REGISTRY.functions)
    import patients as loaded  # type: ignore[import-not-found]

    hospital = Hospital()
    yield hospital
    hospital.executor.close()
    del sys.modules[loaded.__name__]
    REGISTRY.functions.clear()
    REGISTRY.functions.update(known)


async def test_all_that_a_context_asks_of_its_worker_goes_over_the_line(hospital: Hospital) -> None:
    run, future = hospital.start("patient.port")

    assert hospital.phases() == [Phase.APART]
    assert await future == [{"a": b"1", "b": b"2"}, "StoreUnavailable", "away"]
    assert run.heard == [("extend", 5.0), ("note", 1, 20, "a line ?")]
    assert hospital.phases() == [Phase.STARTED], "what follows is this process's"


async def test_a_suspect_whose_lease_expired_before_its_ward_was_ready_is_not_started(hospital: Hospital) -> None:
    run, future = hospital.start("patient.add", 1, 1, lease=-1.0)
    run.stop.interruption = LeaseLost()

    assert isinstance(await future, JobCancelled)


async def test_a_suspect_whose_lease_stands_again_starts_in_its_ward(hospital: Hospital) -> None:
    run, future = hospital.start("patient.add", 1, 1, lease=-1.0)
    run.lease.until = boottime() + LEASE

    assert (await future)[0] == 2


async def test_suspects_share_wards_as_far_as_they_may(hospital: Hospital) -> None:
    answers = [hospital.start("patient.add", number, 1)[1] for number in range(4)]

    values = [await answer for answer in answers]

    assert [value for value, _ in values] == [1, 2, 3, 4]
    assert len({process for _, process in values}) == 2
    assert os.getpid() not in {process for _, process in values}


async def test_a_suspect_waits_when_there_is_no_seat(hospital: Hospital, tmp_path: Path) -> None:
    stays = [hospital.start("patient.asleep", str(tmp_path / str(number))) for number in range(4)]
    waiting = Told(Grant("default.0.x", 1, 0, 2, b"", "", ""), 0)
    waiting.suspicion = PAIR

    assert not hospital.executor.reserve(waiting)
    run, future = stays[0]
    run.stop.interruption = Cancelled("ann")
    hospital.executor.stop(run, Stage.RAISED)
    await future
    assert hospital.executor.reserve(waiting)


async def test_each_of_several_runs_is_told_of_its_own_progress(hospital: Hospital, tmp_path: Path) -> None:
    path = tmp_path / "go on"
    told = [hospital.start("patient.report", number / 10, str(path)) for number in (1, 2)]

    for number, (run, _) in enumerate(told, start=1):

        async def has_heard(run: Told = run) -> bool:
            return bool(run.heard)

        await await_until(has_heard, timeout=60, why="it has reported")
        assert run.heard == [("report", number / 10, "so far", None)]
    path.touch()
    assert [await future for _, future in told] == ["done", "done"]


@pytest.mark.parametrize("function", ["patient.sleep", "patient.asleep"])
async def test_a_stop_reaches_one_run_and_no_other(hospital: Hospital, tmp_path: Path, function: str) -> None:
    path, go_on = tmp_path / "pid", tmp_path / "go on"
    run, future = hospital.start(function, str(path))
    _, other = hospital.start("patient.report", 0.5, str(go_on))
    await pid_in(path)

    run.stop.interruption = Cancelled("ann")
    hospital.executor.stop(run, Stage.RAISED)

    assert isinstance(await future, JobCancelled)
    go_on.touch()
    assert await other == "done"


async def test_what_hears_nothing_is_killed_and_the_others_of_its_ward_go_back(
    hospital: Hospital, tmp_path: Path
) -> None:
    path = tmp_path / "pid"
    run, future = hospital.start("patient.stubborn", str(path))
    _, other = hospital.start("patient.asleep", str(tmp_path / "other"))
    await pid_in(path)

    run.stop.interruption = Cancelled("ann")
    hospital.executor.stop(run, Stage.KILLED)

    assert isinstance(await future, JobCancelled)
    assert outcome_of(await other) == Interrupted()


async def test_the_death_of_a_ward_is_witnessed_by_all_in_it_and_by_no_other(
    hospital: Hospital, tmp_path: Path
) -> None:
    path, other = tmp_path / "pid", tmp_path / "go on"
    pair = [hospital.start("patient.asleep", str(path))[1], hospital.start("patient.leave", str(path))[1]]
    _, router = hospital.start("patient.report", 0.5, str(other))

    reason = "its process exited with code 7; 1 other job ran in it"
    assert [outcome_of(await one) for one in pair] == [Witnessed(reason, 2)] * 2
    other.touch()
    assert await router == "done"


async def test_a_suspect_that_was_alone_in_its_ward_is_the_culprit(hospital: Hospital, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    _, future = hospital.start("patient.asleep", str(path), suspicion=LONE)

    os.kill(await pid_in(path), signal.SIGKILL)

    assert outcome_of(await future) == Crashed("its process died of SIGKILL")


async def test_who_has_ended_has_no_part_in_the_death_of_its_ward(hospital: Hospital, tmp_path: Path) -> None:
    path = tmp_path / "go on"
    _, last = hospital.start("patient.leave", str(path))
    _, first = hospital.start("patient.add", 1, 2)

    assert (await first)[0] == 3
    path.touch()

    assert outcome_of(await last) == Crashed("its process exited with code 7")


async def test_a_job_that_stops_the_loop_of_its_ward_ends_it(hospital: Hospital) -> None:
    _, future = hospital.start("patient.stop_loop")

    assert outcome_of(await future) == Crashed("its process exited with code 1")


@pytest.mark.parametrize(
    ("kind", "told"), [("value", "ValueError: wrong"), ("exit", "SystemExit: 3"), ("result", "EncodingError")]
)
async def test_an_odd_end_is_its_runs_alone(hospital: Hospital, kind: str, told: str) -> None:
    _, future = hospital.start("patient.odd", kind)

    error = await future

    assert str(error).startswith(told) or type(error).__name__ == told
    assert (await hospital.start("patient.add", 1, 2)[1])[0] == 3


async def test_a_function_that_wards_do_not_find_is_not_sent_there_again(hospital: Hospital) -> None:
    async def inner() -> None:
        """Found nowhere but here."""

    REGISTRY.register(inner, name="patient.inner")
    _, future = hospital.start("patient.inner")

    assert outcome_of(await future) == Interrupted()
    assert not hospital.executor.takes(hospital.handlers.get("patient.inner"))
    assert hospital.executor.takes(hospital.handlers.get("patient.add"))


async def test_nothing_is_sent_to_wards_that_cannot_load_the_modules(hospital: Hospital) -> None:
    broken = Hospital("no_such_module")
    try:
        ends = [broken.start("patient.add", 1, number)[1] for number in range(3)]

        assert [outcome_of(await end) for end in ends] == [Interrupted()] * 3
        assert not broken.executor.takes(broken.handlers.get("patient.add"))
    finally:
        broken.executor.close()


async def test_functions_with_processes_of_their_own_and_batches_are_not_taken(hospital: Hospital) -> None:
    async def many(values: list[int]) -> None:
        """Take many."""

    REGISTRY.register(many, name="patient.many", batch=3)
    REGISTRY.register(lambda: None, name="patient.far", run_in="process")

    taken = {name: hospital.executor.takes(hospital.handlers.get(name)) for name in ("patient.many", "patient.far")}
    assert taken == {"patient.many": False, "patient.far": False}
