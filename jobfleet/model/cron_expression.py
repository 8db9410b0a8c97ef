"""Which cron expressions and time zones are valid. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import croniter
from croniter.croniter import CroniterBadDateError, CroniterError

from jobfleet.errors import InvalidJob

ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
FIELDS = ("minute", "hour", "day of month", "month", "weekday", "second")
CRON = "cron_expression"
STARTUP = "@startup"
EVERY_MOST = timedelta(days=366)
_EVERY = re.compile(
    r"@every\s+(?:(?P<days>\d{1,9})d)?(?:(?P<hours>\d{1,9})h)?(?:(?P<minutes>\d{1,9})m)?(?:(?P<seconds>\d{1,9})s)?",
    re.ASCII | re.IGNORECASE,
)
_START = datetime(2024, 1, 1, tzinfo=UTC)
"""A time from which an expression is searched for its next time; any time gives the same verdict."""


class Expression(NamedTuple):
    """A valid expression.

    Attributes:
        plain: The expression in the form that croniter accepts; for ``@every`` and ``@startup`` as it was given.
        has_all_hours: Whether it covers all hours of the day.
        every: The interval of ``@every``; None for other expressions.
        is_startup: Whether it is ``@startup``.
        times: The parsed fields, to be copied and moved to a time, because parsing takes longer than a search; None for
            ``@every`` and ``@startup``.
    """

    plain: str
    has_all_hours: bool = False
    every: timedelta | None = None
    is_startup: bool = False
    times: croniter[datetime] | None = None


def check_expression(expression: object) -> Expression:
    """Check an expression: cron fields, an alias of some, ``@every`` with an interval, or ``@startup``.

    Raises:
        InvalidJob: The expression is not valid, or it never matches a time.
    """
    if not isinstance(expression, str) or not expression.strip():
        raise InvalidJob(f"cron_expression is {expression!r}; give five fields, such as '0 2 * * *'.", field=CRON)
    if expression.strip().lower() == STARTUP:
        return Expression(STARTUP, is_startup=True)
    if re.match(r"@every\b", expression.strip(), re.IGNORECASE):
        return Expression(expression.strip(), every=_interval(expression.strip()))
    plain = ALIASES.get(expression.strip().lower(), expression.strip())
    fields = plain.split()
    if len(fields) not in (5, 6) or any(letter in part for part in fields for letter in "@?"):
        raise InvalidJob(
            f"cron {expression!r} has {len(fields)} of five fields; give minute, hour, day, month, weekday, "
            "and optionally seconds as the sixth.",
            field=CRON,
        )
    if any(part[:1] in "hHrR" for part in fields):
        raise InvalidJob(f"cron {expression!r} asks for random times; use jitter instead.", field=CRON)
    try:
        expanded = croniter.expand(plain)[0]
        times = croniter(plain, _START, ret_type=datetime)
    except (CroniterError, ValueError, KeyError, AttributeError) as error:
        raise InvalidJob(f"cron {expression!r} is not valid: {_fault(fields) or error}.", field=CRON) from None
    try:
        times.get_next()
    except (CroniterBadDateError, OverflowError):
        raise InvalidJob(f"cron {expression!r} never matches a time.", field=CRON) from None
    return Expression(plain, "*" in expanded[1], times=times)  # croniter expands all hours to "*"; `*,1` gives ["*", 1]


def _interval(expression: str) -> timedelta:
    """Read the interval of ``@every``: whole days, hours, minutes and seconds, in this order."""
    found = _EVERY.fullmatch(expression)
    parts = found.groupdict(default="0") if found else {}
    try:
        every = timedelta(**{unit: int(number) for unit, number in parts.items()})
    except OverflowError:
        every = timedelta()
    if not timedelta() < every <= EVERY_MOST:
        raise InvalidJob(
            f"cron {expression!r} is not valid: give whole days, hours, minutes and seconds, 1 s to 366 d in all, "
            "such as '@every 90s' or '@every 1h30m'.",
            field=CRON,
        )
    return every


def _fault(fields: list[str]) -> str:
    """Say which field is not valid; empty if each is valid by itself."""
    for index, part in enumerate(fields):
        alone = ["*"] * len(fields)
        alone[index] = part
        if not _is_valid(alone):
            return f"the {FIELDS[index]} is {part!r}"
    return ""


def _is_valid(fields: list[str]) -> bool:
    try:
        croniter.expand(" ".join(fields))
    except (CroniterError, ValueError, KeyError, AttributeError):
        return False
    return True


def zone_of(name: object) -> ZoneInfo:
    """Return a time zone by its name.

    Raises:
        InvalidJob: There is no such zone.
    """
    try:
        return ZoneInfo(name if isinstance(name, str) else "")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidJob(f"tz is {name!r}; give a time zone's name, such as 'Europe/Berlin'.", field="tz") from None
