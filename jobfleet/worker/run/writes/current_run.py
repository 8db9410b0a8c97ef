"""The run to which the executing code belongs. What user code logs is kept with that run's job."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Protocol


class CurrentRun(Protocol):
    """Takes lines of a job's log; a `Run` does."""

    def note(self, at_us: int, level: int, text: str) -> None:
        """Take a line, from any thread, without waiting."""

    def described(self) -> Mapping[str, object]:
        """The fields of a log line about this run."""


CURRENT: ContextVar[CurrentRun | None] = ContextVar("jobfleet_run", default=None)
