"""Whether the archive waits for the end of a burst: only while it lasts, and neither for long nor for many events."""

from __future__ import annotations

import pytest

from jobfleet.archive.batch import BACKLOG, BURST, BUSY, CALM, WINDOW, Pace

MANY = int(BURST * WINDOW)
FEW = MANY - 1
ROOM = 100 * MANY


def waits(pace: Pace, counts: dict[str, int], low: dict[str, int], now: float, due: int = 0) -> bool:
    pace.busy_lanes(counts, now)
    return pace.should_wait(low, due, now)


@pytest.fixture
def pace() -> Pace:
    """A pace that knows two lanes, and has read all of their events."""
    pace = Pace(ROOM, 5.0, 100.0)
    assert not waits(pace, {"a": 700, "b": 40}, {}, 100.0)
    return pace


def test_events_of_all_lanes_make_a_burst_until_they_come_slowly(pace: Pace) -> None:
    low = {"a": 700, "b": 40}

    assert waits(pace, {"a": 700 + MANY, "b": 40 + MANY}, low, 101.0 - 9 * WINDOW)
    assert waits(pace, {"a": 700 + MANY, "b": 40 + 4 * MANY}, low, 101.0 - 7 * WINDOW)
    assert waits(pace, {"a": 700 + MANY, "b": 40 + 5 * MANY}, low, 101.0 - 5 * WINDOW), "a pause of the jobs"
    assert not waits(pace, {"a": 700 + MANY, "b": 40 + 6 * MANY}, low, 101.1 - 7 * WINDOW + CALM)


@pytest.mark.parametrize(
    ("came", "due", "does"),
    [(BUSY, BACKLOG, True), (BUSY, BACKLOG - 1, False), (BUSY - 1, BACKLOG, False), (BURST, 0, True)],
)
def test_fewer_events_are_a_burst_while_due_jobs_wait(pace: Pace, came: int, due: int, does: bool) -> None:
    assert waits(pace, {"a": 700, "b": 40 + came}, {"a": 700, "b": 40}, 101.0, due) is does


def test_only_lanes_with_events_are_asked_for_their_due_jobs(pace: Pace) -> None:
    assert pace.busy_lanes({"a": 700, "b": 40 + BUSY}, 101.0) == ["b"]
    assert pace.busy_lanes({"a": 700 + BUSY - 1, "b": 40 + BUSY}, 102.0) == []
    assert pace.busy_lanes({"a": 700 + BUSY - 1, "b": 40 + BUSY + BURST}, 103.0) == [], "a burst in any case"


def test_a_few_events_at_once_are_no_burst(pace: Pace) -> None:
    low = {"a": 700, "b": 40}

    assert not waits(pace, {"a": 700 + FEW, "b": 40}, low, 100.0 + WINDOW / 100)


def test_a_lane_that_is_new_is_no_burst_and_its_events_do_not_wait(pace: Pace) -> None:
    low = {"a": 700, "b": 40}

    assert not waits(pace, {"a": 700, "b": 40, "c": 1_764_000_000_000_000}, low, 100.0 + WINDOW)
    assert not waits(pace, {"a": 700 + MANY, "b": 40, "c": 1_764_000_000_000_000}, low, 100.0 + 2 * WINDOW)


def test_events_wait_no_longer_than_the_patience(pace: Pace) -> None:
    low = {"a": 700, "b": 40}

    assert waits(pace, {"a": 700 + 50 * MANY, "b": 40}, low, 105.0)
    assert not waits(pace, {"a": 700 + 52 * MANY, "b": 40}, low, 105.1)

    pace.has_read_all(105.1)

    assert waits(pace, {"a": 700 + 54 * MANY, "b": 40}, low, 105.2)


@pytest.mark.parametrize(("unread", "does"), [(ROOM, True), (ROOM + 1, False)])
def test_no_more_events_wait_than_there_is_room_for(pace: Pace, unread: int, does: bool) -> None:
    number = 700 + MANY

    assert waits(pace, {"a": number, "b": 40}, {"a": number - unread, "b": 40}, 100.0 + WINDOW) is does
