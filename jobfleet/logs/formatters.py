"""Log lines as text, for files and collectors."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Mapping, MutableMapping
from datetime import datetime
from types import TracebackType
from typing import Any, Protocol

from jobfleet.model.signals import ForeignError

FORMAT = "%(asctime)s %(levelname)-7s %(message)s"
LONGEST_TRACEBACK = 16_384
"""Maximum number of characters of a traceback; its end is kept."""
ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class Described(Protocol):
    """The subject of a log line, such as a `Run`."""

    def described(self) -> Mapping[str, object]:
        """Return the fields that identify it: job_id, queue, function, attempt, fence, user and so on."""


Current = Callable[[], Described | None]
"""Returns the run that the calling code belongs to, or None."""


def nobody() -> Described | None:
    """Return no run."""
    return None


def is_ours(record: logging.LogRecord) -> bool:
    """Whether jobfleet itself has logged a record; the lines of `ctx.log` are the job's."""
    return record.name.startswith("jobfleet.") and not record.name.startswith("jobfleet.job")


def subject_of(record: logging.LogRecord, current: Current) -> Mapping[str, object]:
    """Return the fields of the run that a record is about, or in which it was logged; empty if there is none."""
    run = getattr(record, "run", None) or current()
    return {} if run is None else run.described()


def traceback_of(exc_info: ExcInfo) -> str:
    """Format a traceback; that of another process is text. The user's exception may break its own formatting."""
    error = exc_info[1]
    try:
        if isinstance(error, ForeignError):
            text = error.traceback or f"{error.error_class}: {error.summary}"
        else:
            text = "".join(traceback.format_exception(*exc_info))
    except BaseException:  # noqa: BLE001 - see above
        text = f"{type(error).__name__} (its traceback cannot be shown)"
    return bounded(text)


def bounded(text: str) -> str:
    """The end of a traceback."""
    text = text.rstrip("\n")
    return text if len(text) <= LONGEST_TRACEBACK else "…\n" + text[-LONGEST_TRACEBACK:]


def error_of(exc_info: ExcInfo) -> Mapping[str, object]:
    """Return the fields of an error."""
    error = exc_info[1]
    if isinstance(error, ForeignError):
        kind, text = error.error_class, error.summary
    else:
        kind, text = type(error).__name__, _text(error)
    return {"error": text, "error_class": kind, "traceback": traceback_of(exc_info)}


def printable(text: str) -> str:
    """Escape what could imitate another line, or command a terminal; indent all lines after the first."""
    return "\n    ".join(_escaped(line.expandtabs()) for line in text.split("\n"))


def _text(error: BaseException | None) -> str:
    try:
        return str(error)[:2000]
    except BaseException:  # noqa: BLE001 - the __str__ of a user's exception may raise anything
        return f"<{type(error).__name__}>"


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


class PlainFormatter(logging.Formatter):
    """Formats lines of text. A message can neither imitate another line nor send escape codes to a terminal.

    A line from another logger than jobfleet's own begins with its job, if it has one, and the logger's name.

    Args:
        current: Returns the run that the calling code belongs to, or None.
    """

    def __init__(self, *, current: Current = nobody) -> None:
        super().__init__(FORMAT)
        self._current = current

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802 - the library's
        """Return the local time with its offset."""
        return datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        """Format a record; escape unprintable characters and indent continuation lines."""
        if not is_ours(record):
            job = subject_of(record, self._current)
            shown = " ".join(f"{name}={job[name]}" for name in ("job_id", "function", "attempt") if name in job)
            record.message = f"{shown} {record.name}: {record.message}".lstrip()
        record.message = printable(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: ExcInfo) -> str:  # noqa: N802 - the library's name
        """Format a traceback as continuation lines."""
        return "    " + printable(traceback_of(ei))


class JobLogger(logging.LoggerAdapter[logging.Logger]):
    """`ctx.log`: adds the job's id to a call's `extra`; the standard adapter would replace that `extra`."""

    def process(self, msg: object, kwargs: MutableMapping[str, Any]) -> tuple[object, MutableMapping[str, Any]]:
        """Add the job's id to a call."""
        kwargs["extra"] = {**(kwargs.get("extra") or {}), **(self.extra or {})}
        return msg, kwargs
