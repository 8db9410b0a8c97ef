"""What listings are asked for, checked: numbers, texts, states and times."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from jobfleet.errors import InvalidJob
from jobfleet.model.status import JobStatus


def check_number(given: object, *, field: str = "limit", least: int = 1) -> None:
    """See that so many can be asked for.

    Raises:
        InvalidJob: It is no whole number, or too small.
    """
    if isinstance(given, bool) or not isinstance(given, int) or given < least:
        raise InvalidJob(f"{field} is {given!r:.100}; give a whole number from {least}.", field=field)


def check_text(given: object, *, field: str) -> None:
    """See that something can be looked for.

    Raises:
        InvalidJob: It is no text, or empty.
    """
    if not isinstance(given, str) or not given:
        raise InvalidJob(f"{field} is {given!r:.100}; give a text that is not empty.", field=field)


def read_status(given: Any) -> JobStatus:
    """A state, or its text.

    Raises:
        InvalidJob: There is no such state.
    """
    try:
        return JobStatus(given)
    except ValueError:
        known = ", ".join(JobStatus)
        raise InvalidJob(f"status is {given!r:.100}; give one of {known}.", field="status") from None


def check_moment(given: object, *, field: str) -> None:
    """See that something is a time.

    Raises:
        InvalidJob: It is none.
    """
    if not isinstance(given, datetime):
        raise InvalidJob(f"{field} is {given!r:.100}; give a datetime.", field=field)
