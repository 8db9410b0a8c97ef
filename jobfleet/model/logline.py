"""One line of a job's log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a job's own log.

    Attributes:
        at: The time by the worker's clock.
        level: The level's name, such as ``INFO`` or ``WARNING``.
        text: The message, with its traceback; it may have several lines.
        token: The fencing token of the run that logged it.
    """

    at: datetime
    level: str
    text: str
    token: int
