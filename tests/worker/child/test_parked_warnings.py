"""Warnings of parked jobs: after a wait, and only of those that no worker has run since."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from jobfleet.codec import seal
from jobfleet.errors import StoreUnavailable
from jobfleet.outcome import Unrunnable
from jobfleet.retry.tries import Tries
from jobfleet.store.records import Found, Grant, InRun, InWait, RunRecord, Unknown
from jobfleet.worker.child.routing import ParkedWarnings
from jobfleet.worker.ipc.lease_board import LeaseBoard
from jobfleet.worker.run.run import Run
from tests.support.waiting import await_until
from tests.worker.child.claiming import LANE

NOBODY: Any = None
PARKED = Tries(parked_since=7).dump()
WAITS = InWait(2, 9, PARKED, b"", b"")
CLAIMED = InRun(RunRecord(8, "w.2", 1, 1, 2, "", 0, ""), b"9", PARKED, b"")
RUNS = InRun(RunRecord(8, "w.2", 1, 1, 2, "", 0, ""), b"9", "", b"")


class Store:
    """Answers what is found, call after call; an error is raised."""

    def __init__(self, *answers: Found | Exception) -> None:
        self.answers = list(answers)
        self.patience: list[float | None] = []

    async def run(self, _call: object, *, patience: float | None = None) -> tuple[int, list[Found]]:
        """The next answer."""
        self.patience.append(patience)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return 1, [answer]


def awaited(condition: Callable[[], object]) -> Callable[[], Awaitable[object]]:
    """A condition that is awaited."""

    async def look() -> object:
        return condition()

    return look


def run_of(suffix: str) -> Run:
    header: dict[str, Any] = {"function": "late.run"}
    board = LeaseBoard(None, 4)
    job_id = LANE.id_prefix + suffix
    run = Run(LANE, Grant(job_id, 7, 0, 2, seal(header, [1]), "", ""), board.post(job_id, 7), math.inf, NOBODY)
    run.header = header
    return run


@pytest.fixture
def warned(caplog: pytest.LogCaptureFixture) -> Any:
    """Returns the ids of the jobs that were warned of."""
    caplog.set_level(logging.INFO, "jobfleet.worker")

    def ids() -> list[str]:
        said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        return [text.removeprefix("Parked ").partition(":")[0] for text in said]

    return ids


@pytest.mark.parametrize("found", [RUNS, Unknown(), InWait(2, 9, "", b"", b"")])
async def test_a_job_that_a_worker_has_run_since_is_not_warned_of(found: Found, warned: Any) -> None:
    store = Store(found)
    warnings = ParkedWarnings(cast(Any, store), wait=0, grace=60)
    warnings.parked(run_of("a"), Unrunnable("no worker knows it"))

    await await_until(awaited(lambda: not store.answers), why="it has looked")
    await warnings.close()

    assert warned() == []


async def test_a_job_that_is_claimed_when_it_is_looked_at_is_looked_at_again(warned: Any) -> None:
    store = Store(CLAIMED, CLAIMED, WAITS)
    warnings = ParkedWarnings(cast(Any, store), wait=0, grace=60)
    run = run_of("a")
    warnings.parked(run, Unrunnable("no worker knows it"))

    await await_until(awaited(warned), why="it is warned of")
    await warnings.close()

    assert warned() == [run.id]
    assert store.patience == [None, None, None]


async def test_a_child_that_ends_while_redis_is_away_asks_once_and_warns_of_all(warned: Any) -> None:
    store = Store(StoreUnavailable("away"))
    warnings = ParkedWarnings(cast(Any, store), wait=600, grace=3600)
    runs = [run_of(suffix) for suffix in "abc"]
    for run in runs:
        warnings.parked(run, Unrunnable("no worker knows it"))

    await warnings.close()

    assert warned() == [run.id for run in runs]
    assert len(store.patience) == 1


async def test_a_job_for_which_no_worker_can_come_is_warned_of_at_once(warned: Any) -> None:
    warnings = ParkedWarnings(cast(Any, Store()), wait=600, grace=3600)
    run = run_of("a")

    warnings.parked(run, Unrunnable("the key is missing", failed_as="unknown-key"))

    assert warned() == [run.id]
