"""Which run the code that executes belongs to: what user code logs is kept with its job."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class CurrentRun(Protocol):
    """Whoever takes lines of a job's own log; a `Run` does."""

    def note(self, at_us: int, level: int, text: str) -> None:
        """Take a line; from any thread, never waiting."""

    def described(self) -> Mapping[str, object]:
        """What a line that is logged within it says of it."""


CURRENT: ContextVar[CurrentRun | None] = ContextVar("jobfleet_run", default=None)


def call_within(run: CurrentRun, call: Callable[..., T], args: Sequence[Any], kwargs: Mapping[str, Any]) -> T:
    """Call user code as part of a run, in a thread or a process that serves one run after the other."""
    token = CURRENT.set(run)
    try:
        return call(*args, **kwargs)
    finally:
        CURRENT.reset(token)
