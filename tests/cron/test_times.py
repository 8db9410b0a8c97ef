"""When an expression fires, to the second: names, boundaries, and what happens around a change of the clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from jobfleet.cron import Fire, Schedule
from jobfleet.errors import InvalidJob

SECOND = timedelta(seconds=1)


def at(text: str) -> datetime:
    """An instant, UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def fires(expression: str, tz: str, begin: str, end: str) -> list[str]:
    """The fires after one instant, up to another."""
    return [f"{fire.at:%m-%d %H:%M:%S}" for fire in Schedule(expression, tz).fires(at(begin), at(end))]


def first(expression: str, tz: str, after: str) -> tuple[str, str, str]:
    """When the next fire is, the local time that it was named by, and its note."""
    fire = Schedule(expression, tz).next(at(after))
    assert fire is not None
    assert fire.at.utcoffset() == timedelta()
    assert fire.nominal.tzinfo == ZoneInfo(tz)
    return f"{fire.at:%m-%d %H:%M:%S}", f"{fire.nominal:%m-%d %H:%M}", fire.note


@pytest.mark.parametrize(
    ("alias", "expected"),
    [
        ("@hourly", ["2026-12-29 22:00:00", "2026-12-29 23:00:00"]),
        ("@daily", ["2026-12-30 00:00:00", "2026-12-31 00:00:00"]),
        ("@midnight", ["2026-12-30 00:00:00", "2026-12-31 00:00:00"]),
        ("@weekly", ["2027-01-03 00:00:00", "2027-01-10 00:00:00"]),
        ("@monthly", ["2027-01-01 00:00:00", "2027-02-01 00:00:00"]),
        ("@yearly", ["2027-01-01 00:00:00", "2028-01-01 00:00:00"]),
        ("@annually", ["2027-01-01 00:00:00", "2028-01-01 00:00:00"]),
        (" @Midnight ", ["2026-12-30 00:00:00", "2026-12-31 00:00:00"]),
    ],
)
def test_a_name_stands_for_these_times(alias: str, expected: list[str]) -> None:
    one = Schedule(alias).next(at("2026-12-29T21:34:56"))
    assert one is not None
    two = Schedule(alias).next(one.at)
    assert two is not None

    assert [f"{fire.at:%Y-%m-%d %H:%M:%S}" for fire in (one, two)] == expected


@pytest.mark.parametrize("expression", ["0 12 * * *", "0 * * * *", "0 0 * * * 0"])
def test_the_last_instant_counts_and_the_first_does_not(expression: str) -> None:
    schedule = Schedule(expression)
    one = schedule.next(at("2026-07-01T06:00:00"))
    assert one is not None

    assert list(schedule.fires(one.at - SECOND, one.at)) == [one]
    assert list(schedule.fires(one.at - SECOND, one.at - timedelta(microseconds=1))) == []
    assert list(schedule.fires(one.at, one.at)) == []


@pytest.mark.parametrize("expression", ["0 12 * * *", "0 * * * *", "* * * * * *"])
def test_a_part_of_a_second_after_a_fire_the_next_one_follows(expression: str) -> None:
    noon = at("2026-07-01T12:00:00")
    fire = Schedule(expression, "Europe/Berlin").next(noon + timedelta(microseconds=999_999))

    assert fire == Schedule(expression, "Europe/Berlin").next(noon)
    assert fire is not None
    assert fire.at.microsecond == fire.nominal.microsecond == 0


def test_the_offset_of_the_instant_asked_about_does_not_matter() -> None:
    after = datetime(2026, 7, 1, 20, 30, tzinfo=ZoneInfo("Asia/Tokyo"))

    fire = Schedule("0 12 * * *", "UTC").next(after)

    assert fire == Fire(at("2026-07-01T12:00:00"), datetime(2026, 7, 1, 12, tzinfo=ZoneInfo("UTC")))


@pytest.mark.parametrize(
    ("expression", "is_interval"),
    [
        ("0 * * * *", True),
        ("0 */1 * * *", True),
        ("0 0-23 * * *", True),
        ("0 0-11,12-23 * * *", True),
        ("0 *,1 * * *", True),
        ("0 0-22 * * *", False),
        ("0 */2 * * *", False),
        ("0 1 * * *", False),
        ("@daily", False),
        ("@hourly", True),
        ("@every 1d", True),
        ("@startup", False),
    ],
)
def test_only_what_runs_in_all_hours_goes_by_elapsed_time(expression: str, is_interval: bool) -> None:
    assert Schedule(expression).is_interval is is_interval


@pytest.mark.parametrize(
    ("expression", "meant"),
    [
        ("0 2 * * * *", "2 * * * * 0"),
        ("*/5 2 * * 1 */1", "2 * * 1 */1 */5"),
        ("0 2 * * * 0", ""),
        ("* 2 * * * *", ""),
        ("0 2 * * *", ""),
        ("@daily", ""),
    ],
)
def test_an_expression_that_begins_with_seconds_is_doubted(expression: str, meant: str) -> None:
    assert Schedule(expression).doubt == (
        f"cron {expression!r} fires in every second of its minutes, because seconds are the sixth field. "
        f"Did you mean {meant!r}?"
        if meant
        else ""
    )


# 2027-03-28 01:00 UTC: in Berlin 02:00 becomes 03:00. 2026-10-25 01:00 UTC: 03:00 becomes 02:00.
# 2011-12-30 10:00 UTC: Apia leaves the whole day out. 1972-01-07 00:44:30 UTC: Monrovia leaves 44 min 30 s out.
@pytest.mark.parametrize(
    ("expression", "tz", "after", "expected"),
    [
        ("30 2 * * *", "Europe/Berlin", "2027-03-28T00:59:59", ("03-28 01:00:00", "03-28 02:30", "GAP")),
        ("30 2 * * *", "Europe/Berlin", "2027-03-28T01:00:00", ("03-29 00:30:00", "03-29 02:30", "")),
        ("0 3 * * *", "Europe/Berlin", "2027-03-28T00:59:59", ("03-28 01:00:00", "03-28 03:00", "")),
        ("59 1 * * *", "Europe/Berlin", "2027-03-28T00:58:59", ("03-28 00:59:00", "03-28 01:59", "")),
        ("0 2 * * *", "Europe/Berlin", "2027-03-28T00:00:00", ("03-28 01:00:00", "03-28 02:00", "GAP")),
        ("59 2 * * *", "Europe/Berlin", "2027-03-28T00:00:00", ("03-28 01:00:00", "03-28 02:59", "GAP")),
        ("0 2,3 * * *", "Europe/Berlin", "2027-03-28T00:00:00", ("03-28 01:00:00", "03-28 03:00", "")),
        ("*/20 2,3 * * *", "Europe/Berlin", "2027-03-28T00:00:00", ("03-28 01:00:00", "03-28 03:00", "")),
        ("30 2,3 * * *", "Europe/Berlin", "2027-03-28T00:00:00", ("03-28 01:00:00", "03-28 02:30", "GAP")),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:29:59", ("10-25 00:30:00", "10-25 02:30", "TWICE")),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00", ("10-26 01:30:00", "10-26 02:30", "")),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T01:15:00", ("10-26 01:30:00", "10-26 02:30", "")),
        ("15,45 2 * * *", "Europe/Berlin", "2026-10-25T01:30:00", ("10-26 01:15:00", "10-26 02:15", "")),
        ("0 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00", ("10-25 00:00:00", "10-25 02:00", "TWICE")),
        ("0 3 * * *", "Europe/Berlin", "2026-10-24T12:00:00", ("10-25 02:00:00", "10-25 03:00", "")),
        ("0 12 * * *", "Pacific/Apia", "2011-12-29T22:00:00", ("12-30 10:00:00", "12-30 12:00", "GAP")),
        ("59 23 * * *", "Pacific/Apia", "2011-12-30T09:59:00", ("12-30 10:00:00", "12-30 23:59", "GAP")),
        ("0 0 * * *", "Pacific/Apia", "2011-12-29T10:00:00", ("12-30 10:00:00", "12-31 00:00", "")),
        ("10 0 * * *", "Africa/Monrovia", "1972-01-06T12:00:00", ("01-07 00:44:30", "01-07 00:10", "GAP")),
        ("30 5 * * *", "Asia/Kathmandu", "2026-07-01T00:00:00", ("07-01 23:45:00", "07-02 05:30", "")),
    ],
)  # fmt: skip
def test_a_fixed_time_around_a_change_of_the_clocks(
    expression: str, tz: str, after: str, expected: tuple[str, str, str]
) -> None:
    when, nominal, note = first(expression, tz, after)

    told = "GAP" if "does not exist" in note else "TWICE" if "comes twice" in note else note
    assert (when, nominal, told) == expected


@pytest.mark.parametrize(
    ("expression", "tz", "after", "note"),
    [
        (
            "10 0 * * *", "Africa/Monrovia", "1972-01-06T12:00:00",
            "1972-01-07 00:10 does not exist in Africa/Monrovia: fires 00:44",
        ),
        (
            "0 12 * * *", "Pacific/Apia", "2011-12-29T22:00:00",
            "2011-12-30 12:00 does not exist in Pacific/Apia: fires 00:00",
        ),
        (
            "0 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00",
            "2026-10-25 02:00 comes twice in Europe/Berlin: fires the first time",
        ),
    ],
)  # fmt: skip
def test_a_note_names_the_local_time_at_which_it_fires(expression: str, tz: str, after: str, note: str) -> None:
    assert first(expression, tz, after)[2] == note


@pytest.mark.parametrize(
    ("expression", "tz", "begin", "end", "expected"),
    [
        (
            "*/30 * * * *", "Europe/Berlin", "2027-03-28T00:00:00", "2027-03-28T02:00:00",
            ["03-28 00:30:00", "03-28 01:00:00", "03-28 01:30:00", "03-28 02:00:00"],
        ),
        (
            "15 * * * *", "Europe/Berlin", "2027-03-27T23:59:00", "2027-03-28T02:15:00",
            ["03-28 00:15:00", "03-28 01:15:00", "03-28 02:15:00"],
        ),
        (
            "*/30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00", "2026-10-25T02:00:00",
            ["10-25 00:30:00", "10-25 01:00:00", "10-25 01:30:00", "10-25 02:00:00"],
        ),
        (
            "0 *,1 * * *", "Europe/Berlin", "2026-10-25T00:00:00", "2026-10-25T02:00:00",
            ["10-25 01:00:00", "10-25 02:00:00"],
        ),
        (
            "* * * * * */30", "Europe/Berlin", "2027-03-28T00:59:00", "2027-03-28T01:00:30",
            ["03-28 00:59:30", "03-28 01:00:00", "03-28 01:00:30"],
        ),
        # the clocks of Lord Howe go back by half an hour: the hours of the local clock lie 90 minutes apart
        (
            "0 * * * *", "Australia/Lord_Howe", "2026-04-04T13:30:00", "2026-04-04T16:30:00",
            ["04-04 14:00:00", "04-04 15:30:00", "04-04 16:30:00"],
        ),
        (
            "45 * * * *", "Australia/Lord_Howe", "2026-04-04T13:30:00", "2026-04-04T16:15:00",
            ["04-04 13:45:00", "04-04 14:45:00", "04-04 15:15:00", "04-04 16:15:00"],
        ),
        (
            "0 * * * *", "Africa/Monrovia", "1972-01-06T23:44:29", "1972-01-07T02:00:00",
            ["01-06 23:44:30", "01-07 01:00:00", "01-07 02:00:00"],
        ),
        (
            "0 * 1 1 *", "Europe/Moscow", "2011-01-01T20:00:00", "2011-12-31T21:00:00",
            ["12-31 20:00:00", "12-31 21:00:00"],
        ),
        (
            "0 * 1 7 *", "Europe/Berlin", "2026-12-01T00:00:00", "2027-06-30T23:00:00",
            ["06-30 22:00:00", "06-30 23:00:00"],
        ),
    ],
)  # fmt: skip
def test_an_interval_around_a_change_of_the_clocks(
    expression: str, tz: str, begin: str, end: str, expected: list[str]
) -> None:
    assert fires(expression, tz, begin, end) == expected


def test_the_named_time_of_an_interval_has_the_offset_of_its_pass() -> None:
    schedule = Schedule("30 * * * *", "Europe/Berlin")

    found = [fire.nominal.isoformat() for fire in schedule.fires(at("2026-10-25T00:00:00"), at("2026-10-25T02:00:00"))]

    assert found == ["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"]


def test_a_schedule_with_no_time_in_sight_has_no_next() -> None:
    schedule = Schedule("0 0 * * *")

    assert schedule.next(datetime.max.replace(tzinfo=UTC)) is None
    assert list(schedule.fires(datetime.max.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))) == []


@pytest.mark.parametrize("count", [3, 4, 7])
def test_an_expression_of_another_number_of_fields_is_refused(count: int) -> None:
    with pytest.raises(InvalidJob, match=f"has {count} of five fields"):
        Schedule(" ".join(["*"] * count))


@pytest.mark.parametrize("expression", ["@often", "? * * * *", "* * ? * *", "@daily * * * *"])
def test_signs_that_not_every_cron_knows_are_refused(expression: str) -> None:
    with pytest.raises(InvalidJob, match="of five fields"):
        Schedule(expression)


@pytest.mark.parametrize("part", ["H", "h", "R", "r", "H/5", "h(1-3)", "R(0-9)"])
@pytest.mark.parametrize("place", [0, 1])
def test_random_times_are_refused_in_every_field(part: str, place: int) -> None:
    fields = ["*"] * 5
    fields[place] = part

    with pytest.raises(InvalidJob, match="asks for random times; use jitter instead"):
        Schedule(" ".join(fields))


@pytest.mark.parametrize("tz", ["", 7, None, "Mars/Olympus", "../etc/passwd", "/etc/localtime"])
def test_a_wrong_time_zone_is_refused_by_name(tz: object) -> None:
    with pytest.raises(InvalidJob) as refused:
        Schedule("0 0 * * *", tz)  # type: ignore[arg-type]  # what the type checker does not see

    assert str(refused.value) == f"tz is {tz!r}; give a time zone's name, such as 'Europe/Berlin'."
    assert refused.value.field == "tz"


def test_schedules_are_told_apart_by_what_they_were_made_of() -> None:
    assert Schedule("0 0 * * *") == Schedule("0 0 * * *", "UTC")
    assert Schedule("0 0 * * *") != Schedule("@daily")
    assert Schedule("0 0 * * *") != Schedule("0 0 * * *", "Europe/Berlin")
    assert Schedule("@daily", "Europe/Berlin").zone == ZoneInfo("Europe/Berlin")
    assert repr(Schedule("@daily")) == "Schedule(expression='@daily', tz='UTC')"
