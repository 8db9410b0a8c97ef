"""Expressions, time zones, and what becomes of fires that were not seen in time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jobfleet.cron import Cron, CronEntry, Schedule, from_us, plan, to_us
from jobfleet.cron.entry import NAME_IN_ID
from jobfleet.errors import InvalidJob
from jobfleet.model.names import SUFFIX_RULE

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def fires(expression: str, tz: str, begin: str, end: str) -> list[str]:
    found = Schedule(expression, tz).fires(datetime.fromisoformat(begin), datetime.fromisoformat(end))
    return [f"{fire.at:%d %H:%M}" for fire in found]


@pytest.mark.parametrize(
    ("expression", "tz", "begin", "end", "expected"),
    [
        # a fixed time that does not exist fires at the first instant that does; the next day all is as before
        ("30 2 * * *", "Europe/Berlin", "2027-03-27T12Z", "2027-03-29T12Z", ["28 01:00", "29 00:30"]),
        # one that comes twice fires the first time
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12Z", "2026-10-26T12Z", ["25 00:30", "26 01:30"]),
        # several in the gap are one, and give way to one that exists
        ("*/15 2 * * *", "Europe/Berlin", "2027-03-27T12Z", "2027-03-28T12Z", ["28 01:00"]),
        ("0,30 2,3 * * *", "Europe/Berlin", "2027-03-27T12Z", "2027-03-28T12Z", ["28 01:00", "28 01:30"]),
        # an interval goes by elapsed time, through both passes
        ("0 * * * *", "Europe/Berlin", "2026-10-24T23:30Z", "2026-10-25T02:30Z", ["25 00:00", "25 01:00", "25 02:00"]),
        ("0 * * * *", "Europe/Berlin", "2027-03-27T23:30Z", "2027-03-28T02:30Z", ["28 00:00", "28 01:00", "28 02:00"]),
        # half an hour is changed
        ("0 2 * * *", "Australia/Lord_Howe", "2026-10-02T18Z", "2026-10-04T18Z", ["03 15:30", "04 15:00"]),
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00Z", "2026-04-05T20Z", ["04 14:45", "05 15:15"]),
        # a day that begins an hour late
        ("0 0 * * *", "America/Sao_Paulo", "2018-11-03T12Z", "2018-11-05T12Z", ["04 03:00", "05 02:00"]),
        ("30 1 * * *", "America/New_York", "2026-10-31T12Z", "2026-11-02T12Z", ["01 05:30", "02 06:30"]),
        ("30 2 * * *", "UTC", "2026-10-24T12Z", "2026-10-26T12Z", ["25 02:30", "26 02:30"]),
    ],
)  # fmt: skip
def test_what_the_clocks_do_to_a_fire(expression: str, tz: str, begin: str, end: str, expected: list[str]) -> None:
    assert fires(expression, tz, begin, end) == expected


def test_the_note_says_what_the_clocks_did() -> None:
    berlin = Schedule("30 2 * * *", "Europe/Berlin")

    gap = berlin.next(datetime(2027, 3, 28, tzinfo=UTC))
    twice = berlin.next(datetime(2026, 10, 25, tzinfo=UTC))

    assert gap is not None
    assert gap.note == "2027-03-28 02:30 does not exist in Europe/Berlin: fires 03:00"
    assert twice is not None
    assert twice.note == "2026-10-25 02:30 comes twice in Europe/Berlin: fires the first time"


def test_seconds_stand_last() -> None:
    begin = datetime(2026, 7, 1, tzinfo=UTC)

    found = Schedule("* * * * * */20").fires(begin, begin + timedelta(minutes=1))

    assert [fire.at.second for fire in found] == [20, 40, 0]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "cron_expression is ''; give five fields, such as '0 2 * * *'."),
        (7, "cron_expression is 7; give five fields, such as '0 2 * * *'."),
        (
            "* * *",
            "cron '* * *' has 3 of five fields; give minute, hour, day, month, weekday, and optionally seconds",
        ),
        ("61 * * * *", "cron '61 * * * *' is not valid: the minute is '61'."),
        ("0 2 * * mon,funday", "cron '0 2 * * mon,funday' is not valid: the weekday is 'mon,funday'."),
        ("* * * * * 60", "cron '* * * * * 60' is not valid: the second is '60'."),
        ("0 0 31 2 *", "cron '0 0 31 2 *' never matches a time."),
        ("H * * * *", "cron 'H * * * *' asks for random times; use jitter instead."),
    ],
)
def test_a_wrong_expression_is_refused_by_name(expression: object, message: str) -> None:
    with pytest.raises(InvalidJob) as refused:
        Schedule(expression)  # type: ignore[arg-type]

    assert str(refused.value).startswith(message)
    assert refused.value.field == "cron_expression"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tz": "Mars/Olympus"}, "tz is 'Mars/Olympus'; give a time zone's name, such as 'Europe/Berlin'."),
        ({"misfire": "twice"}, "misfire is 'twice'; use once, skip, all."),
        ({"overlap": "twice"}, "overlap is 'twice'; use allow, skip, queue."),
        ({"jitter": -1}, "jitter is -1; give seconds (0 or more, at most 100 years) or a timedelta."),
        ({"most": 1.5}, "most is 1.5; give a whole number from 0 to 2000."),
        ({"start": "today"}, "start is 'today'; give a datetime."),
    ],
)
def test_a_wrong_policy_is_refused_by_name(options: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidJob) as refused:
        Cron("* * * * *", **options)  # type: ignore[arg-type]

    assert str(refused.value) == message
    assert refused.value.field == next(iter(options))


def entry(expression: str = "0 * * * *", name: str = "report", **options: object) -> CronEntry:
    cron = Cron(expression, **options)  # type: ignore[arg-type]
    return CronEntry(name=name, cron=cron, queue="default", function="test.report", envelope=b"call")


def planned(made: CronEntry, mark: datetime, now: datetime) -> list[tuple[str, str]]:
    return [(f"{one.fire.at:%d %H:%M}", one.outcome) for one in plan(made, mark, now)]


def test_a_fire_that_is_seen_in_time_fires() -> None:
    assert planned(entry(), NOON - timedelta(minutes=1), NOON + timedelta(seconds=1)) == [("01 12:00", "fired")]
    assert planned(entry(), NOON, NOON + timedelta(seconds=1)) == []


@pytest.mark.parametrize(
    ("misfire", "outcomes"),
    [
        ("once", ["skipped", "skipped", "late", "fired"]),
        ("skip", ["skipped", "skipped", "skipped", "fired"]),
        ("all", ["late", "late", "late", "fired"]),
    ],
)
def test_fires_that_nobody_saw_go_by_the_misfire_policy(misfire: str, outcomes: list[str]) -> None:
    made = entry("*/15 * * * *", misfire=misfire)

    found = planned(made, NOON - timedelta(minutes=50), NOON + timedelta(seconds=1))

    assert found == list(zip(["01 11:15", "01 11:30", "01 11:45", "01 12:00"], outcomes, strict=True))


def test_all_has_a_bound() -> None:
    made = entry("* * * * *", misfire="all", most=2)

    found = [outcome for _, outcome in planned(made, NOON - timedelta(minutes=10), NOON - timedelta(seconds=30))]

    assert found == ["skipped"] * 7 + ["late"] * 2


def test_what_lies_before_the_window_is_missed_and_told_once() -> None:
    made = entry("*/15 * * * *", misfire_window=1800)

    found = planned(made, NOON - timedelta(days=3), NOON + timedelta(minutes=1))

    assert found == [("28 12:15", "missed"), ("01 11:45", "skipped"), ("01 12:00", "late")]


def test_nothing_fires_before_the_start_or_after_the_end() -> None:
    made = entry(start=NOON + timedelta(hours=1), end=NOON + timedelta(hours=2))

    assert made.cron.next(NOON).at == NOON + timedelta(hours=1)  # type: ignore[union-attr]
    assert made.cron.next(NOON + timedelta(hours=2)) is None


def test_jitter_is_always_the_same_for_a_fire_and_within_its_bound() -> None:
    made = entry(jitter=60)
    dues = {made.due(NOON + timedelta(hours=number)) - timedelta(hours=number) for number in range(20)}

    assert made.due(NOON) == made.due(NOON)
    assert all(NOON <= due < NOON + timedelta(seconds=60) for due in dues)
    assert len(dues) == 20


@pytest.mark.parametrize("name", ["report", "x" * 80, "sales/daily", "Zoë"])
def test_the_id_of_a_fire_follows_from_name_and_time(name: str) -> None:
    suffix = entry(name=name).suffix(NOON)

    assert suffix.endswith(":20260701T120000Z")
    assert len(suffix) <= 64
    assert suffix != entry(name=name + "2").suffix(NOON)


def test_the_id_of_a_start_has_its_microseconds_and_fits_with_the_longest_name() -> None:
    suffix = entry(name="x" * NAME_IN_ID).suffix(NOON + timedelta(microseconds=42))

    assert suffix.endswith(":20260701T120000000042Z")
    assert SUFFIX_RULE.fullmatch(suffix)


@pytest.mark.parametrize("name", ["", "a b", "x" * 101, "a\n"])
def test_a_name_that_records_cannot_hold_is_refused(name: str) -> None:
    with pytest.raises(InvalidJob, match="give a name of 1 to 100 printable characters without spaces"):
        entry(name=name)


def test_an_entry_survives_being_written_down() -> None:
    made = entry(
        "0 2 * * *", tz="Europe/Berlin", misfire="all", overlap="skip", jitter=5, start=NOON, end=NOON + timedelta(1)
    )

    read = CronEntry.load({**made.dump(), "of a later version": 1})

    assert read == made
    assert read.cron.fingerprint == made.cron.fingerprint


@pytest.mark.parametrize("record", [None, 7, {}, {"name": "x"}, {**entry().dump(), "cron": {"expression": "x"}}])
def test_a_record_that_is_no_entry_is_refused(record: object) -> None:
    with pytest.raises(InvalidJob):
        CronEntry.load(record)


def test_times_survive_being_numbers() -> None:
    assert from_us(to_us(NOON)) == NOON
