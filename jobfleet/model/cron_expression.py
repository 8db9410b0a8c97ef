"""Which cron expressions and time zones are valid. Pure."""

from __future__ import annotations

from datetime import datetime
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
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - local times are naive here
_START = datetime(2024, 1, 1)  # noqa: DTZ001 - local times are naive here


def check_expression(expression: object) -> tuple[str, bool]:
    """Return a cron expression in the form that croniter accepts, and whether it covers all hours of the day.

    Raises:
        InvalidJob: The expression is not valid, or it never matches a time.
    """
    if not isinstance(expression, str) or not expression.strip():
        raise InvalidJob(f"cron_expression is {expression!r}; give five fields, such as '0 2 * * *'.", field=CRON)
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
        croniter(plain, _EPOCH)
    except (CroniterError, ValueError, KeyError, AttributeError) as error:
        raise InvalidJob(f"cron {expression!r} is not valid: {_fault(fields) or error}.", field=CRON) from None
    try:
        croniter(plain, _START).get_next()
    except (CroniterBadDateError, OverflowError):
        raise InvalidJob(f"cron {expression!r} never matches a time.", field=CRON) from None
    return plain, "*" in expanded[1]  # croniter expands all hours to "*", in any spelling; `*,1` gives ["*", 1]


def _fault(fields: list[str]) -> str:
    """Say which field is not valid; empty if each is valid by itself."""
    for index, part in enumerate(fields):
        if not _is_valid([*(["*"] * index), part, *(["*"] * (len(fields) - index - 1))]):
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
