"""Durations as callers give them: numbers, timedeltas and texts such as ``1h30m``."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from jobfleet.errors import InvalidJob

LONGEST = 100 * 366 * 86_400.0
DELAYS_MAX = 100
"""The maximal length of a list of delays; it travels in the header of the job."""
REMEDY = "use seconds, a timedelta, or a text such as '30s', '5m', '1h30m', '24h' or '30d'"
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_SINGLE = re.compile(r"(.*?)\s*(ms|s|m|h|d)?", re.DOTALL)
_COMPOUND = re.compile(r"(?:(\d+)d\s*)?(?:(\d+)h\s*)?(?:(\d+)m\s*)?(?:(\d+(?:\.\d+)?)s)?", re.ASCII)
_COMPOUND_UNITS = (86_400.0, 3600.0, 60.0, 1.0)
_TEXTS = "give seconds (0 or more, at most 100 years), a timedelta or a text such as '30s' or '1h30m'"


def read_duration(value: object) -> float:
    """Convert a number, a timedelta or a text to seconds.

    Raises:
        ValueError: The value is not a duration; the message is the remedy.
    """
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, str):
        return _read_text(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
        raise ValueError(REMEDY)
    return float(value)


def _read_text(text: str) -> float:
    parts = _COMPOUND.fullmatch(text)
    if parts is not None and any(parts.groups()):
        return sum(float(count) * unit for count, unit in zip(parts.groups("0"), _COMPOUND_UNITS, strict=True))
    found = _SINGLE.fullmatch(text)
    number, unit = (found[1], found[2]) if found else (text, None)
    try:
        read = float(number)
    except ValueError:
        raise ValueError(REMEDY) from None
    if not math.isfinite(read):
        raise ValueError(REMEDY)
    return read * UNITS[unit or "s"]


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an int that no float can hold
        return False


def from_timedelta(value: object) -> Any:
    """Convert a timedelta to seconds; return any other value as it is, for a check of the caller's."""
    return value.total_seconds() if isinstance(value, timedelta) else value


def seconds(value: object, *, field: str) -> float:
    """Convert a public duration to seconds; refuse a value that is not a finite, non-negative duration."""
    value = from_timedelta(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LONGEST:
        raise InvalidJob(
            f"{field} is {value!r}; give seconds (0 or more, at most 100 years) or a timedelta.", field=field
        )
    return float(value)


def seconds_or_text(value: object, *, field: str) -> float:
    """Convert a duration that may be a text to seconds; refuse a value that is not a finite, non-negative duration."""
    try:
        read = read_duration(value)
    except ValueError:
        read = -1.0
    if not 0 <= read <= LONGEST:
        raise InvalidJob(f"{field} is {value!r}; {_TEXTS}.", field=field)
    return read


def delays(value: object, *, field: str) -> float | tuple[float, ...]:
    """Convert one delay, or a list of delays, to seconds.

    Raises:
        InvalidJob: The value is neither, or the list is empty or too long.
    """
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        return seconds_or_text(value, field=field)
    if not 0 < len(value) <= DELAYS_MAX:
        raise InvalidJob(f"{field} is a list of {len(value)} delays; give 1 to {DELAYS_MAX}.", field=field)
    return tuple(seconds_or_text(one, field=field) for one in value)
