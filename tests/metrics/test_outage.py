"""What a process logs and counts of outages, driven by hand: no server, no clock."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from redis import exceptions

from jobfleet.metrics import outage as module
from jobfleet.metrics.outage import Outage
from jobfleet.metrics.tally import Tally
from jobfleet.store.call import Call
from jobfleet.store.calls import inspect
from jobfleet.store.calls.enqueue import open_queue
from jobfleet.store.keys import Keyspace
from jobfleet.store.replies import set_node
from tests.support.clock import Clock

KEYS = Keyspace("jobfleet")
WRITE: list[Call[Any]] = [open_queue(KEYS, "default", 1)]
READ: list[Call[Any]] = [inspect.fleet(KEYS)]
REFUSED = exceptions.ConnectionError("Error 111 connecting to 127.0.0.1:1. Connection refused.")
DISK = exceptions.ResponseError("MISCONF Redis is configured to save RDB snapshots, but it's currently unable to.")
REPLICA = exceptions.ReadOnlyError("You can't write against a read only replica.")
LOADING = exceptions.BusyLoadingError("Redis is loading the dataset in memory")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "monotonic", clock)
    return clock


class Story:
    """An outage's log and counts.

    Args:
        clock: Moved by `stumble`.
        caplog: What was logged.
    """

    def __init__(self, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "tests.outage")
        self.clock, self.caplog, self.tally = clock, caplog, Tally()
        self.outage = Outage("redis://h", logging.getLogger("tests.outage"), self.tally, meanwhile=lambda: "We wait")

    def stumble(self, error: BaseException, *, times: int = 1, step: float = 1.0) -> None:
        for _ in range(times):
            self.outage.stumbled(error)
            self.clock.now += step

    def answer(self, calls: list[Call[Any]] = WRITE) -> None:
        self.outage.tripped(calls, 0.001)

    @property
    def lines(self) -> list[tuple[str, str]]:
        return [(record.levelname, record.getMessage()) for record in self.caplog.records]

    def counted(self) -> dict[str, float]:
        return {row[0]: row[2] for row in self.tally.take() if row[0].startswith("redis_outage")}  # type: ignore[misc]


@pytest.fixture
def story(clock: Clock, caplog: pytest.LogCaptureFixture) -> Story:
    return Story(clock, caplog)


def test_an_outage_is_logged_at_its_begin_each_minute_and_at_its_end(story: Story) -> None:
    story.answer()
    story.stumble(REFUSED, times=150)
    story.answer()

    assert story.lines == [
        ("WARNING", "redis.lost url=redis://h reason=connection refused. We wait"),
        ("WARNING", "redis.away url=redis://h for=61s reason=connection refused. We wait"),
        ("WARNING", "redis.away url=redis://h for=121s reason=connection refused. We wait"),
        ("INFO", "redis.back url=redis://h after=150.0s"),
    ]
    assert story.counted() == {"redis_outages_total": 1, "redis_outage_seconds_total": 150.0}


def test_a_connection_that_is_made_again_at_once_is_no_outage(story: Story) -> None:
    for _ in range(20):
        story.stumble(REFUSED, times=3, step=0.1)
        assert story.outage.is_connected
        story.answer()

    assert story.lines == []
    assert story.counted() == {}


def test_a_time_out_is_an_outage_at_once_where_nothing_else_is_answered(story: Story) -> None:
    story.answer()
    story.clock.now += 5
    story.stumble(TimeoutError())
    connected = [story.outage.is_connected]
    story.answer()
    story.stumble(TimeoutError(), step=0.1)
    connected.append(story.outage.is_connected)

    assert connected == [False, True]
    assert story.lines == [
        ("WARNING", "redis.lost url=redis://h reason=timed out. We wait"),
        ("INFO", "redis.back url=redis://h after=1.0s"),
    ]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (DISK, "it cannot save to its disk (MISCONF)"),
        (REPLICA, "it is a read-only replica, not the primary (READONLY)"),
    ],
)
def test_a_read_that_is_answered_ends_no_refusal_of_writes(story: Story, error: BaseException, reason: str) -> None:
    for _ in range(5):
        story.stumble(error)
        story.answer(READ)
    connected = [story.outage.is_connected]
    story.answer(WRITE)
    connected.append(story.outage.is_connected)

    assert connected == [False, True]
    assert story.lines == [
        ("WARNING", f"redis.lost url=redis://h reason={reason}. We wait"),
        ("INFO", "redis.back url=redis://h after=5.0s"),
    ]


def test_the_reason_is_the_present_one(story: Story) -> None:
    story.stumble(REFUSED, times=60)
    story.stumble(LOADING, times=2)
    story.answer()

    assert [line for _, line in story.lines] == [
        "redis.lost url=redis://h reason=connection refused. We wait",
        "redis.away url=redis://h for=61s reason=it is loading its data (LOADING). We wait",
        "redis.back url=redis://h after=62.0s",
    ]


def test_a_connection_that_comes_and_goes_does_not_fill_the_log(story: Story) -> None:
    for _ in range(200):
        story.stumble(REFUSED, times=3)
        story.answer()
        story.clock.now += 3

    lines = [line for _, line in story.lines]
    assert len(lines) == 2 * 20  # five in 300 s, of 1,200
    assert lines[10] == (
        "redis.lost url=redis://h reason=connection refused. We wait (and 45 more outages since the last line)"
    )
    assert story.counted()["redis_outages_total"] == 200


def test_a_node_of_a_cluster_that_is_away_is_named_once_a_minute_and_is_no_outage(story: Story) -> None:
    refused = exceptions.ConnectionError("Error 111 connecting to 127.0.0.1:1. Connection refused.")
    set_node(refused, "10.0.0.7:6379")
    for _ in range(70):
        story.stumble(refused)
        story.answer()

    line = "redis.lost url=redis://h node=10.0.0.7:6379 reason=connection refused. Other nodes are served; "
    assert story.lines == [("WARNING", f"{line}lanes on this one wait for it")] * 2
    assert story.outage.is_connected
    assert story.counted() == {}


def test_seconds_away_grow_during_the_outage(story: Story) -> None:
    story.stumble(REFUSED, times=11)
    assert story.counted() == {"redis_outages_total": 1, "redis_outage_seconds_total": 10.0}
    story.stumble(REFUSED, times=5)
    assert story.counted() == {"redis_outage_seconds_total": 5.0}
