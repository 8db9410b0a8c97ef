"""Checks of the values that a listing takes: numbers, texts, states and times."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from jobfleet.errors import InvalidJob
from jobfleet.model.status import STORED, JobStatus


def check_number(given: object, *, field: str = "limit", least: int = 1) -> None:
    """Check that a value is a whole number of at least `least`.

    Raises:
        InvalidJob: The value is not a whole number, or it is too small.
    """
    if isinstance(given, bool) or not isinstance(given, int) or given < least:
        raise InvalidJob(f"{field} is {given!r:.100}; give a whole number from {least}.", field=field)


def check_text(given: object, *, field: str) -> None:
    """Check that a value is a text to search for.

    Raises:
        InvalidJob: The value is not a text, or it is empty.
    """
    if not isinstance(given, str) or not given:
        raise InvalidJob(f"{field} is {given!r:.100}; give a text that is not empty.", field=field)


def read_status(given: Any) -> JobStatus:
    """Convert the state of a job in Redis, or its text, to a `JobStatus`.

    Raises:
        InvalidJob: There is no such state.
    """
    known = {str(status): status for status in STORED}
    if not isinstance(given, str) or given not in known:
        raise InvalidJob(f"status is {given!r:.100}; give one of {', '.join(known)}.", field="status")
    return known[given]


def check_moment(given: object, *, field: str) -> None:
    """Check that a value is a datetime.

    Raises:
        InvalidJob: The value is not a datetime.
    """
    if not isinstance(given, datetime):
        raise InvalidJob(f"{field} is {given!r:.100}; give a datetime.", field=field)
