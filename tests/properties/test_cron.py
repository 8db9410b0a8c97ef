"""Fires against an oracle that looks at every minute of a day, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from jobfleet.cron import Schedule

MINUTE = timedelta(minutes=1)
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Kathmandu")
CHANGES = (  # days around which clocks change somewhere, and one on which none do
    datetime(2026, 3, 8, tzinfo=UTC),
    datetime(2026, 11, 1, tzinfo=UTC),
    datetime(2027, 3, 28, tzinfo=UTC),
    datetime(2026, 10, 25, tzinfo=UTC),
    datetime(2026, 4, 4, tzinfo=UTC),
    datetime(2026, 10, 3, tzinfo=UTC),
    datetime(2018, 11, 4, tzinfo=UTC),
    datetime(2018, 2, 18, tzinfo=UTC),
    datetime(2026, 7, 1, tzinfo=UTC),
)


def values(field: str, least: int, most: int) -> set[int]:
    """The numbers that a field of the generated kinds names."""
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        low, _, high = (f"{least}-{most}" if span == "*" else span).partition("-")
        found |= set(range(int(low), int(high or low) + 1, int(step or 1)))
    return found


def matcher(expression: str) -> Callable[[datetime], bool]:
    """Whether a local time is named; a day that either of two given day fields names will do."""
    minute, hour, day, _, weekday = expression.split()
    minutes, hours = values(minute, 0, 59), values(hour, 0, 23)
    days, weekdays = values(day, 1, 31), values(weekday, 0, 6)
    either = day != "*" and weekday != "*"

    def matches(local: datetime) -> bool:
        if local.minute not in minutes or local.hour not in hours:
            return False
        named = (local.day in days, local.isoweekday() % 7 in weekdays)
        return any(named) if either else all(named)

    return matches


def oracle(expression: str, tz: str, begin: datetime, end: datetime) -> list[datetime]:
    """The instants of (begin, end] at which the expression fires, found minute by minute."""
    zone = ZoneInfo(tz)
    matches = matcher(expression)
    is_interval = len(values(expression.split()[1], 0, 23)) == 24
    fires = []
    seen: set[datetime] = set()
    # Local times from well before, so that the first pass of a repeated hour is known.
    at = begin - timedelta(hours=30)
    last = at.astimezone(zone).replace(tzinfo=None) - MINUTE
    while at <= end:
        local = at.astimezone(zone).replace(tzinfo=None)
        if is_interval:
            due = matches(local)
        else:
            new = []
            named = last + MINUTE
            while named <= local:
                if named not in seen:
                    new.append(named)
                named += MINUTE
            seen.update(new)
            due = any(matches(each) for each in new)
            last = max(last, local)
        if due and at > begin:
            fires.append(at)
        at += MINUTE
    return fires


numbers = st.integers
minutes = st.one_of(st.just("*/10"), st.just("*/30"), numbers(0, 59).map(str), st.just("0,30"))
hours = st.one_of(
    st.just("*"), st.just("*/2"), st.just("0-23"), numbers(0, 23).map(str), st.just("1-3"), st.just("0,2,23")
)
days = st.sampled_from(["*", "*", "*", "1-15", "25", "1"])
weekdays = st.sampled_from(["*", "*", "*", "0", "1-5"])


@given(
    minute=minutes,
    hour=hours,
    day=days,
    weekday=weekdays,
    tz=st.sampled_from(ZONES),
    around=st.sampled_from(CHANGES),
    shift=numbers(-20 * 60, 20 * 60),
)
@settings(max_examples=120, deadline=None)
def test_every_fire_is_one_that_the_minutes_tell(
    minute: str, hour: str, day: str, weekday: str, tz: str, around: datetime, shift: int
) -> None:
    expression = f"{minute} {hour} {day} * {weekday}"
    begin = around - timedelta(hours=30) + timedelta(minutes=shift)
    end = around + timedelta(hours=40)

    fires = [fire.at for fire in Schedule(expression, tz).fires(begin, end)]

    assert fires == oracle(expression, tz, begin, end)
