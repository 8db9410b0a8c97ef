"""What becomes of each fire, to the moment; and what of an entry is written down, to the letter."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from jobfleet.cron import Cron, CronEntry, from_us, plan, to_us
from jobfleet.errors import InvalidJob

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
MICRO, SECOND, MINUTE, HOUR, DAY = (
    timedelta(microseconds=1), timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1),
)  # fmt: skip


def entry(expression: str = "0 * * * *", name: str = "report", meta: str = "", **options: Any) -> CronEntry:
    cron = Cron(expression, **options)
    return CronEntry(name=name, cron=cron, queue="mail", function="app.report", envelope=b"call", meta=meta)


def planned(made: CronEntry, mark: datetime, now: datetime) -> list[tuple[str, str, bool]]:
    return [(f"{one.fire.at:%d %H:%M:%S}", one.outcome, one.is_to_fire) for one in plan(made, mark, now)]


@pytest.mark.parametrize(
    ("late", "expected"),
    [
        (-MICRO, []),
        (timedelta(), [("01 12:00:00", "fired", True)]),
        (10 * SECOND, [("01 12:00:00", "fired", True)]),
        (10 * SECOND + MICRO, [("01 12:00:00", "late", True)]),
        (3600 * SECOND - MICRO, [("01 12:00:00", "late", True)]),
        (3600 * SECOND + 10 * SECOND, [("01 12:00:00", "late", True), ("01 13:00:00", "fired", True)]),
        (3600 * SECOND + 11 * SECOND, [("01 12:00:00", "missed", False), ("01 13:00:00", "late", True)]),
    ],
)
def test_a_fire_is_on_time_for_ten_seconds_and_late_until_its_window_is_over(
    late: timedelta, expected: list[tuple[str, str, bool]]
) -> None:
    assert planned(entry(), NOON - MINUTE, NOON + late) == expected


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        # the window opens at 11:59:50
        ("0 12 * * *", [("01 12:00:00", "late", True)]),
        ("50 59 11 * * *", [("01 11:59:50", "late", True)]),
        ("49 59 11 * * *", [("01 11:59:49", "missed", False)]),
    ],
)
def test_the_window_ends_at_a_moment(since: str, expected: list[tuple[str, str, bool]]) -> None:
    parts = since.split()
    expression = " ".join([*parts[1:], parts[0]]) if len(parts) == 6 else since

    found = planned(entry(expression, misfire_window=600), NOON - 3 * DAY, NOON + 10 * MINUTE)

    assert found[1:] == [one for one in expected if one[1] != "missed"]
    assert found[0][1] == "missed"
    assert planned(entry(expression, misfire_window=600), NOON - 12 * MINUTE, NOON + 10 * MINUTE) == expected


def test_a_fire_in_the_second_before_the_window_is_missed_and_not_late_too() -> None:
    made = entry("59 11 * * * 50", misfire_window=600)

    for late in (MICRO, SECOND / 2, SECOND - MICRO):
        found = planned(made, NOON - DAY, NOON + 10 * MINUTE + late)

        assert found == [("01 11:59:50", "missed", False)]


def test_what_is_before_the_window_is_told_by_its_first_fire_alone() -> None:
    made = entry("* * * * *", misfire="all", misfire_window=60)

    found = planned(made, NOON - 10 * MINUTE, NOON + 5 * SECOND)

    assert found == [("01 11:51:00", "missed", False), ("01 11:59:00", "late", True), ("01 12:00:00", "fired", True)]


def test_a_mark_at_the_opening_of_the_window_has_nothing_before_it() -> None:
    made = entry("* * * * *", misfire="all", misfire_window=60)
    opens = NOON - 70 * SECOND

    assert planned(made, opens, NOON) == planned(made, NOON - MINUTE - 20 * SECOND, NOON)
    assert planned(made, opens, NOON) == [("01 11:59:00", "late", True), ("01 12:00:00", "fired", True)]


def test_two_thousand_fires_are_looked_at_in_one_go() -> None:
    made = entry("* * * * * *", misfire="all", most=2000)

    found = planned(made, NOON - HOUR, NOON)

    assert len(found) == 2000
    assert (found[0], found[-1]) == (("01 11:00:01", "late", True), ("01 11:33:20", "late", True))


@pytest.mark.parametrize(("most", "outcomes"), [(0, "sss"), (1, "ssl"), (2, "sll"), (3, "lll"), (100, "lll")])
def test_all_fires_the_last_ones_up_to_its_bound(most: int, outcomes: str) -> None:
    made = entry("* * * * *", misfire="all", most=most)

    found = planned(made, NOON - 3 * MINUTE, NOON + 30 * SECOND)

    assert "".join(outcome[0] for _, outcome, _ in found) == outcomes


def test_the_policy_has_these_defaults() -> None:
    cron = Cron("@daily")

    assert cron.dump() == {
        "expression": "@daily", "tz": "UTC", "misfire": "once", "misfire_window": 3600.0, "most": 100,
        "overlap": "allow", "jitter": 0.0, "start": None, "end": None,
    }  # fmt: skip


def test_a_policy_shows_what_it_was_made_of() -> None:
    assert repr(Cron("@daily")) == (
        "Cron(expression='@daily', tz='UTC', misfire='once', misfire_window=3600.0, most=100, overlap='allow', "
        "jitter=0.0, start=None, end=None)"
    )


def test_only_expression_and_time_zone_are_told_by_place() -> None:
    with pytest.raises(TypeError, match="positional"):
        Cron("@daily", "UTC", "once")  # type: ignore[call-arg]  # what the type checker refuses too


@pytest.mark.parametrize("most", [0, 1, 2000])
def test_the_bound_of_all_is_any_number_up_to_what_is_looked_at(most: int) -> None:
    assert Cron("@daily", most=most).most == most


@pytest.mark.parametrize("most", [-1, 2001, True, False, 1.0, "1", None])
def test_any_other_bound_is_refused(most: Any) -> None:
    with pytest.raises(InvalidJob, match="give a whole number from 0 to 2000") as refused:
        Cron("@daily", most=most)

    assert refused.value.field == "most"


@pytest.mark.parametrize("what", ["start", "end"])
def test_a_start_or_end_that_is_no_datetime_is_refused(what: str) -> None:
    with pytest.raises(InvalidJob) as refused:
        Cron("@daily", **{what: "today"})  # type: ignore[arg-type]  # what the type checker does not see

    assert (str(refused.value), refused.value.field) == (f"{what} is 'today'; give a datetime.", what)


def test_start_and_end_are_kept_as_utc() -> None:
    tokyo = timezone(9 * HOUR)

    cron = Cron("@daily", start=datetime(2026, 7, 1, 9, tzinfo=tokyo), end=datetime(2026, 7, 2, 9, tzinfo=tokyo))

    assert (cron.start, cron.end) == (datetime(2026, 7, 1, tzinfo=UTC), datetime(2026, 7, 2, tzinfo=UTC))
    assert cron.start is not None
    assert cron.start.tzinfo is UTC


def test_an_end_before_the_start_is_refused_and_one_at_the_start_is_not() -> None:
    with pytest.raises(InvalidJob) as refused:
        Cron("@daily", start=NOON, end=NOON - MICRO)

    assert refused.value.field == "end"
    assert Cron("0 12 * * *", start=NOON, end=NOON).next(NOON - DAY).at == NOON  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (NOON - DAY, NOON),
        (NOON - MICRO, NOON),
        (NOON, NOON + HOUR),
        (NOON + HOUR - MICRO, NOON + HOUR),
        (NOON + HOUR, None),
    ],
)
def test_fires_at_start_and_end_count(after: datetime, expected: datetime | None) -> None:
    fire = Cron("0 * * * *", start=NOON, end=NOON + HOUR).next(after)

    assert (fire and fire.at) == expected


def test_a_start_within_a_second_lets_no_fire_before_it() -> None:
    fire = Cron("0 12 * * *", start=NOON + MICRO).next(NOON - DAY)

    assert fire is not None
    assert fire.at == NOON + DAY


# --- what is written down: reapers of several versions must spell it alike ------------------------


@pytest.mark.parametrize(
    ("made", "times", "whole"),
    [
        (entry("0 2 * * *"), "48f8c3158558eded", "a58ec5bd36643669"),
        (entry("0 2 * * *", tz="Europe/Berlin", start=NOON, end=NOON + DAY), "0e84ac36faa3f2bd", "3efa5602a3bfc393"),
        (entry("0 2 * * *", meta="g team a\nu key"), "48f8c3158558eded", "76fd7caac6f9ff9a"),
    ],
)
def test_the_fingerprints_stay_what_they_are(made: CronEntry, times: str, whole: str) -> None:
    assert (made.cron.fingerprint, made.fingerprint) == (times, whole)


@pytest.mark.parametrize(
    ("meta", "placement"),
    [
        ("", None),
        ("g team a\nu key", "team a"),
        ("u key b", "key b"),
        ("r 5000\nx\nu key", "key"),
        ("gteam", None),
        ("r 5000", None),
    ],
)
def test_the_place_of_its_jobs_hangs_on_their_group_else_on_their_key(meta: str, placement: str | None) -> None:
    assert entry(meta=meta).placement == placement


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("report", "cron:report:20260701T120000Z"),
        ("x" * 36, f"cron:{'x' * 36}:20260701T120000Z"),
        ("x" * 37, "cron:6ee29e87d96ee4fc:20260701T120000Z"),
        ("sales/daily", "cron:5dddafc7de2d1d92:20260701T120000Z"),
        ("A_b-c.9", "cron:A_b-c.9:20260701T120000Z"),
    ],
)
def test_the_suffix_of_a_fires_job_stays_what_it_is(name: str, suffix: str) -> None:
    made = entry(name=name)

    assert made.suffix(NOON) == suffix
    assert made.suffix(NOON.astimezone(timezone(9 * HOUR))) == suffix


@pytest.mark.parametrize(("name", "share"), [("report", "0:01:18.246518"), ("daily", "0:02:37.325994")])
def test_the_share_of_the_jitter_stays_what_it_is(name: str, share: str) -> None:
    assert str(entry(name=name, jitter=1000).due(NOON) - NOON) == share
    assert entry(name=name).due(NOON) == NOON


@pytest.mark.parametrize("name", ["x", "x" * 100, "Zoë", "a.b"])
def test_a_name_may_have_a_hundred_characters(name: str) -> None:
    assert entry(name=name).name == name


def test_an_entry_is_written_as_plain_data_and_read_with_defaults() -> None:
    made = entry("0 2 * * *", start=NOON, end=NOON + DAY)
    record = {
        "name": "report", "queue": "mail", "function": "app.report", "envelope": b"call", "band": 2, "meta": "",
        "origin": "-",
        "cron": {
            "expression": "0 2 * * *", "tz": "UTC", "misfire": "once", "misfire_window": 3600.0, "most": 100,
            "overlap": "allow", "jitter": 0.0, "start": 1782907200000000, "end": 1782993600000000,
        },
    }  # fmt: skip
    least = {name: record[name] for name in ("name", "queue", "function", "envelope")}

    assert made.dump() == record
    assert CronEntry.load(record) == made
    assert CronEntry.load({**least, "cron": {"expression": "0 * * * *"}}) == entry()
    assert CronEntry.load({**record, "band": 0, "meta": "g a", "origin": "decorator"}).dump() == {
        **record, "band": 0, "meta": "g a", "origin": "decorator",
    }  # fmt: skip
    assert CronEntry.load({**record, "cron": {**made.cron.dump(), "end": None}}).cron.end is None
    assert CronEntry.load({**record, "cron": {**made.cron.dump(), "start": None}}).cron.start is None


@pytest.mark.parametrize(
    "damage",
    [{"envelope": None}, {"cron": None}, {"cron": {}}, {"cron": {"expression": "0 * * * *", "start": 10**30}}],
)
def test_a_damaged_record_is_refused_with_its_cause(damage: dict[str, object]) -> None:
    record = {**entry().dump(), **damage}
    if damage == {"envelope": None}:
        del record["envelope"]

    with pytest.raises(InvalidJob, match="This cron entry cannot be read") as refused:
        CronEntry.load(record)

    assert refused.value.field == "cron"


@pytest.mark.parametrize(
    ("at", "us"), [(NOON, 1782907200000000), (NOON + MICRO, 1782907200000001), (NOON - MICRO, 1782907199999999)]
)
def test_an_instant_is_written_in_microseconds(at: datetime, us: int) -> None:
    assert (to_us(at), from_us(us)) == (us, at)
    assert from_us(us).tzinfo is UTC
