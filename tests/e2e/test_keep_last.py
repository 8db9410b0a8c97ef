"""Functions with `keep_last`, with real workers and reapers, also of the previous revision."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis

from jobfleet import Fleet, Job, JobResult
from jobfleet.functions.registry import JobDecorator, Registry
from jobfleet.store.keys import Keyspace
from tests.support.ageing import age_endings, make_due
from tests.support.fleet import LONG, Programs, settle_all
from tests.support.revision import CONNECTS, unpack
from tests.support.waiting import wait_until

APP = """
import time
from pathlib import Path
from typing import Any

from jobfleet import job


def register(**options):
    @job(name="last.add", **options)
    def add(number, gate=None):
        while gate and not Path(gate).exists():
            time.sleep(0.01)
        return number + 1


try:
    register(keep_last=2)
except Exception:  # the previous revision does not know the option
    register()
"""
LANE = Keyspace("jobfleet").lane("default", 0)
INDEX = LANE.index_of("keep:last.add")
LONG_AGO = 1000


@pytest.fixture
def app(tmp_path: Path) -> Path:
    (tmp_path / "keeping.py").write_text(APP)
    return tmp_path


@pytest.fixture
def old(redis_url: str, tmp_path: Path) -> Iterator[Programs]:
    """The programs of the previous revision."""
    folder = tmp_path / "old"
    folder.mkdir()
    programs = Programs(redis_url, folder, unpack(tmp_path / "previous"))
    yield programs
    programs.close()


def known(fleet: Fleet, ids: Sequence[str]) -> list[object]:
    """The results that are there, in the order of the ids; None for a job that is not known."""
    return [row.result if row is not None else None for row in fleet.poll_many(ids)]


def test_a_reaper_removes_all_but_the_last_results_while_a_program_waits_for_a_job(
    programs: Programs, fleet: Fleet, raw: redis.Redis, app: Path
) -> None:
    programs.ready("keeping", app_dir=app)
    gate = app / "gate"
    open_id = fleet.enqueue(Job("open", "last.add", (41, str(gate))))
    results: list[JobResult[object]] = []
    waits = threading.Thread(target=lambda: results.append(fleet.wait(open_id, timeout=LONG)))
    waits.start()
    ids = [fleet.enqueue(Job("add", "last.add", (number,))) for number in range(5)]
    settle_all(fleet, ids)
    assert known(fleet, ids) == [1, 2, 3, 4, 5]
    age_endings(raw, LANE, LONG_AGO)

    programs.reaper()

    wait_until(lambda: known(fleet, ids).count(None) == 3, timeout=LONG, why="earlier results are removed")
    gate.touch()
    waits.join(LONG)
    assert [row.result for row in results] == [42]
    rows: Any = raw.zrange(INDEX, 0, -1)
    left = [job_id.decode() for job_id in rows]
    assert set(left) == {open_id, *(job_id for job_id, value in zip(ids, known(fleet, ids), strict=True) if value)}


@CONNECTS
def test_reapers_and_workers_of_the_previous_revision_keep_all_until_new_ones_come(
    old: Programs, programs: Programs, redis_url: str, raw: redis.Redis, app: Path
) -> None:
    registry = Registry()
    add = JobDecorator(registry)(name="last.add", keep_last=2)(lambda number: number)
    old.ready("keeping", app_dir=app)
    with Fleet(redis_url, registry=registry) as fleet:
        ids: list[str] = [fleet.enqueue(add.job(number)) for number in range(4)]
        settle_all(fleet, ids)
        age_endings(raw, LANE, LONG_AGO)
        old.reaper()
        wait_until(lambda: (raw.zscore(LANE.indexes, "keep:last.add") or 0) > 1, timeout=LONG, why="it is swept")
        assert known(fleet, ids) == [1, 2, 3, 4]

        programs.ready("keeping", app_dir=app)
        make_due(raw, LANE)
        programs.reaper()

        wait_until(lambda: known(fleet, ids).count(None) == 2, timeout=LONG, why="earlier results are removed")
