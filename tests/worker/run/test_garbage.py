"""What a run needs beside its envelope may be garbage: the run ends, and its slot is free."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import redis

from jobfleet import Fleet, Job, JobContext
from jobfleet.functions.registry import Registry
from jobfleet.store.keys import Keyspace
from tests.support.waiting import wait_until
from tests.worker.conftest import Working

KEYS = Keyspace("jobfleet")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b"default.0.parent", b"\xff\xfe"),
        (b"default.0.parent", b"x completed"),
        (b"\xff", b"0 completed\n"),
        (b"p", b""),
    ],
)
def test_a_run_whose_parents_cannot_be_read_ends_and_frees_its_slot(
    fleet: Fleet, registry: Registry, raw: redis.Redis, working: Working, field: bytes, value: bytes
) -> None:
    def one(ctx: JobContext) -> int:
        return len(ctx.parents)

    registry.register(one, name="test.one", queue="default", fleet=fleet)
    parent = fleet.enqueue(Job("parent", "test.one", id="parent"))
    child = fleet.enqueue(Job("child", "test.one", id="child", depends_on=[parent]))
    lane = KEYS.lane_of(child)
    with working(slots=1):
        assert fleet.wait(child, timeout=30).status == "completed"
    again = fleet.enqueue(Job("again", "test.one", id="again", depends_on=[parent]))
    raw.hset(lane.parents(again), field, value)

    with working(slots=1):
        ended = fleet.wait(again, timeout=30)
        after = fleet.wait(fleet.enqueue(Job("after", "test.one")), timeout=30)

    assert (ended.status, ended.error_class) == ("failed", "unreadable")
    assert "how those ended that it has waited for cannot be read" in str(ended.error)
    assert after.status == "completed"


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xc1" * 100,
        b"\x93\x01\x02\x03",
        b"\xa3abc",
        b"\x80",
        b"\x92\xa5ended\x01",
        b"\x92\xa4died\x00",
        b"\xdf\xff\xff\xff\xff" * 9,
        b"\x90",
    ],
)
def test_an_isolated_process_that_writes_garbage_on_its_line_is_ended_and_its_job_settled(
    fleet: Fleet, working: Working, cells: None, caplog: pytest.LogCaptureFixture, garbage: bytes, tmp_path: Path
) -> None:
    with working(slots=1):
        job_id = fleet.enqueue(Job("garble", "cell.garble", (garbage,), max_crashes=1))
        ended = fleet.wait(job_id, timeout=30)
        after = fleet.wait(fleet.enqueue(Job("add", "cell.add", (1, 2))), timeout=30)

    assert (ended.status, ended.error_class) == ("failed", "crashed")
    assert "its process wrote garbage on its line" in str(ended.error)
    assert after.result == 3
    wait_until(lambda: "isolated.garbled" in caplog.text, why="it is logged")
    assert [record.levelno for record in caplog.records if "isolated.garbled" in record.message] == [logging.WARNING]
