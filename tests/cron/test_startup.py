"""`@startup`: which starts of workers fire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jobfleet.cron import Cron, CronEntry, plan_starts
from jobfleet.cron.entry import SAME_GROUP, SEEN_AT_ONCE, TOGETHER

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def entry(**options: object) -> CronEntry:
    cron = Cron("@startup", **options)  # type: ignore[arg-type]
    return CronEntry(name="warm", cron=cron, queue="default", function="app.warm", envelope=b"call")


def planned(made: CronEntry, starts: list[int], *, mark: int, now: int, is_start: bool = True) -> list[tuple[int, str]]:
    """Plan with all times in seconds after noon."""
    found = plan_starts(
        made, [NOON + SECOND * at for at in starts], NOON + SECOND * mark, NOON + SECOND * now, is_start=is_start
    )
    return [((one.fire.at - NOON) // SECOND, one.outcome) for one in found]


def test_it_has_no_planned_times() -> None:
    assert Cron("@startup").is_startup is True
    assert Cron(" @Startup ").next(NOON) is None
    assert Cron("@daily").is_startup is False


def test_workers_that_start_together_are_one_fire() -> None:
    assert planned(entry(), [0, 3, 7], mark=-3600, now=10, is_start=False) == [
        (0, "fired"), (3, SAME_GROUP), (7, SAME_GROUP),
    ]  # fmt: skip


def test_a_rolling_deployment_is_one_fire_although_workers_leave() -> None:
    mark = -3600
    outcomes = []
    for at in range(0, 300, 50):  # one worker starts each 50 s, and the second oldest leaves
        found = planned(entry(), [at - 50, at] if at else [0], mark=mark, now=at + 5)
        outcomes += [outcome for when, outcome in found if when == at]
        mark = at

    assert outcomes == ["fired", *[SAME_GROUP] * 5]


@pytest.mark.parametrize(("gap", "outcome"), [(TOGETHER // SECOND, SAME_GROUP), (TOGETHER // SECOND + 1, "fired")])
def test_a_later_start_is_another_group(gap: int, outcome: str) -> None:
    assert planned(entry(), [0, gap], mark=0, now=gap) == [(gap, outcome)]


def test_a_start_fires_at_once_if_the_workers_before_it_have_left() -> None:
    assert planned(entry(), [5], mark=0, now=6) == [(5, "fired")]


def test_a_start_shortly_after_its_entry_was_added_fires() -> None:
    assert planned(entry(), [-999, 5], mark=0, now=6, is_start=False) == [(5, "fired")]


def test_a_start_is_handled_once() -> None:
    assert planned(entry(), [0, -50], mark=0, now=5) == []


@pytest.mark.parametrize(
    ("misfire", "outcomes"),
    [("once", ["skipped", "late"]), ("skip", ["skipped", "skipped"]), ("all", ["late", "late"])],
)
def test_starts_that_no_reaper_saw_go_by_the_misfire_policy(misfire: str, outcomes: list[str]) -> None:
    found = planned(entry(misfire=misfire), [0, 300], mark=-3600, now=1000)

    assert [outcome for _, outcome in found] == outcomes


def test_a_start_before_the_window_is_missed() -> None:
    window = 600 + SEEN_AT_ONCE // SECOND

    assert planned(entry(misfire_window=600), [0], mark=-9999, now=window) == [(0, "late")]
    assert planned(entry(misfire_window=600), [0], mark=-9999, now=window + 1) == [(0, "missed")]


def test_nothing_fires_before_the_start_or_after_the_end_of_its_entry() -> None:
    made = entry(start=NOON + 100 * SECOND, end=NOON + 200 * SECOND)

    assert planned(made, [0, 100, 200, 201], mark=-9999, now=210) == [(100, "late"), (200, "fired")]
