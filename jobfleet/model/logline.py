"""One line of a job's log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a job's own log.

    Attributes:
        at: When, by the worker's clock.
        level: ``INFO``, ``WARNING`` …
        text: What was logged, with its traceback; may have several lines.
        token: The run that logged it.
    """

    at: datetime
    level: str
    text: str
    token: int
