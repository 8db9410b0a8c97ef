"""When a child is worn."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from jobfleet.config import JobConfig
from jobfleet.worker.child.main import JITTER, ChildAge
from jobfleet.worker.ipc.usage import resident_bytes

MIB = 1024**2


def wear(taken: int = 0, **settings: Any) -> ChildAge:
    engine: Any = SimpleNamespace(taken=taken)
    return ChildAge(JobConfig(processes=1, **settings), engine)


def test_a_child_without_limits_is_never_worn() -> None:
    assert wear(taken=1_000_000).reason == ""


def test_a_child_asks_before_its_last_job_so_that_its_successor_is_there_by_then() -> None:
    assert [wear(taken=taken, max_jobs=100).reason for taken in (0, 89, 90, 100)] == ["", "", "jobs", "jobs"]
    assert [wear(taken=taken, max_jobs=1).reason for taken in (0, 1)] == ["", "jobs"]


def test_resident_memory_is_what_is_held_now() -> None:
    before = resident_bytes()
    held = bytearray(b"x" * (64 * MIB))
    grown = resident_bytes()

    assert before > MIB
    assert grown - before > 60 * MIB
    assert wear(max_memory=grown - 32 * MIB).reason == "memory"
    assert wear(max_memory=grown + 512 * MIB).reason == ""
    assert len(held) == 64 * MIB


def test_children_that_were_born_together_do_not_go_together() -> None:
    ages = {one._max_age for one in (wear(max_age=100) for _ in range(50))}

    assert len(ages) > 10
    assert all(age is not None and 100 * (1 - JITTER) <= age <= 100 * (1 + JITTER) for age in ages)
