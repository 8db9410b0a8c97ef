"""`@every`: intervals of elapsed seconds from a fixed instant."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from jobfleet import Job, job
from jobfleet.cron import Cron, CronEntry, Schedule, plan
from jobfleet.errors import InvalidJob

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def entry(expression: str, **options: object) -> CronEntry:
    cron = Cron(expression, **options)  # type: ignore[arg-type]
    return CronEntry(name="report", cron=cron, queue="default", function="test.report", envelope=b"call")


@pytest.mark.parametrize(
    ("expression", "every"),
    [
        ("@every 1s", timedelta(seconds=1)),
        ("@every 90s", timedelta(seconds=90)),
        ("@every 1h30m", timedelta(hours=1, minutes=30)),
        (" @EVERY  2d1h5m7s ", timedelta(days=2, hours=1, minutes=5, seconds=7)),
        ("@every 366d", timedelta(days=366)),
    ],
)
def test_an_interval_has_days_hours_minutes_and_seconds(expression: str, every: timedelta) -> None:
    fires = []
    at = NOON
    for _ in range(3):
        fire = Schedule(expression).next(at)
        assert fire is not None
        at = fire.at
        fires.append(at)

    assert {later - earlier for earlier, later in pairwise(fires)} == {every}
    assert NOON < fires[0] <= NOON + every
    assert (fires[0] - datetime(1970, 1, 1, tzinfo=UTC)) % every == timedelta()


@pytest.mark.parametrize(
    "expression",
    [
        "@every", "@every 0s", "@every 90", "@every 1.5s", "@every -1s", "@every 1s1h", "@every 90s x", "@every 367d",
        "@every 366d1s", "@every 999999999d", "@every 999999999d24h", "@every 9999999999d", "@every ٣s",
    ],
)  # fmt: skip
def test_a_wrong_interval_is_refused_where_it_is_given(expression: str) -> None:
    for give in (
        lambda: Cron(expression),
        lambda: Job("report", "test.report", cron_expression=expression),
        lambda: job(name="test.wrong", cron=expression)(test_a_wrong_interval_is_refused_where_it_is_given),
    ):
        with pytest.raises(InvalidJob) as refused:
            give()
        assert str(refused.value) == (
            f"cron {expression!r} is not valid: give whole days, hours, minutes and seconds, 1 s to 366 d in all, "
            "such as '@every 90s' or '@every 1h30m'."
        )
        assert refused.value.field == "cron_expression"


def test_an_interval_counts_from_the_start_of_its_entry() -> None:
    start = NOON + timedelta(seconds=7, microseconds=5)
    cron = Cron("@every 1h30m", start=start, end=NOON + timedelta(hours=4))

    fires = fires_of(cron, NOON - timedelta(days=9))

    first = NOON + timedelta(seconds=8)
    assert fires == [first, first + timedelta(minutes=90), first + timedelta(hours=3)]
    assert Cron.load(cron.dump()) == cron
    assert fires_of(Cron.load(cron.dump()), NOON) == fires


def fires_of(cron: Cron, after: datetime) -> list[datetime]:
    found = []
    while (fire := cron.next(after)) is not None:
        found.append(fire.at)
        after = fire.at
    return found


@pytest.mark.parametrize("begin", ["2026-10-24T20:00Z", "2027-03-27T20:00Z"])
def test_a_change_of_the_clocks_does_not_move_an_interval(begin: str) -> None:
    begins = datetime.fromisoformat(begin)

    fires = list(Schedule("@every 90m", "Europe/Berlin").fires(begins, begins + timedelta(hours=12)))

    assert {later.at - earlier.at for earlier, later in pairwise(fires)} == {timedelta(minutes=90)}
    assert {fire.note for fire in fires} == {""}
    assert {fire.nominal.astimezone(UTC) - fire.at for fire in fires} == {timedelta()}


@pytest.mark.parametrize(
    ("misfire", "outcomes"),
    [
        ("once", ["skipped", "late", "fired"]),
        ("skip", ["skipped", "skipped", "fired"]),
        ("all", ["late", "late", "fired"]),
    ],
)
def test_late_fires_of_an_interval_go_by_the_misfire_policy(misfire: str, outcomes: list[str]) -> None:
    made = entry("@every 90s", misfire=misfire, start=NOON)

    found = plan(made, NOON, NOON + timedelta(seconds=3 * 90 + 1))

    assert [one.outcome for one in found] == outcomes
    assert [one.fire.at for one in found] == [NOON + timedelta(seconds=90 * number) for number in (1, 2, 3)]


def test_the_ids_of_the_fires_of_the_shortest_interval_differ() -> None:
    made = entry("@every 1s", start=NOON + timedelta(microseconds=1))
    fires = fires_of(Cron("@every 1s", end=NOON), NOON - timedelta(seconds=70))

    assert len({made.suffix(at) for at in fires}) == 70
