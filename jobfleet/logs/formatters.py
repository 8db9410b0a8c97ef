"""Log lines as text: for files and collectors, and for people at a terminal."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from types import TracebackType
from typing import Protocol

from jobfleet.model.signals import ForeignError

FORMAT = "%(asctime)s %(levelname)-7s %(message)s"
ID_SHOWN = 8
"""The number of characters of an id that are shown; the commands accept the end of an id in place of all of it."""
_RED, _YELLOW, _DIM, _END = "\x1b[31m", "\x1b[33m", "\x1b[2m", "\x1b[0m"
log: logging.Logger = logging.getLogger("jobfleet.day")
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


class TerminalFormatter(logging.Formatter):
    """Formats lines for people at a terminal.

    A record may have an attribute `_shown`: a text for people in place of its message.

    Args:
        current: Returns the run that the calling code belongs to, or None.
        has_color: Whether to use colours.
        shows_day: Whether to put the date before the first line of a day. One process of a worker does so.
    """

    def __init__(self, *, current: Current = nobody, has_color: bool = False, shows_day: bool = True) -> None:
        super().__init__()
        self._current = current
        self._has_color = has_color
        self._shows_day = shows_day
        self._day: date | None = None

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        at = datetime.fromtimestamp(record.created).astimezone()
        parts = [self._header(at)] if self._shows_day and at.date() != self._day else []
        if record.name != log.name:
            parts.append(self._line(record, at))
        return "\n".join(parts)

    def _header(self, at: datetime) -> str:
        self._day = at.date()
        offset = f"{at:%z}"
        return self._styled(f"{at:%A %d %B %Y}, UTC{offset[:3]}:{offset[3:]}", _DIM)

    def _line(self, record: logging.LogRecord, at: datetime) -> str:
        text = getattr(record, "_shown", None) or record.getMessage()
        if not is_ours(record):
            text = f"{record.name}: {text}"
        if job := subject_of(record, self._current):
            short = str(job.get("job_id", ""))[-ID_SHOWN:]
            who = f"{short} {job.get('function', '?')} #{job.get('attempt', '?')}"
            text = f"{who}  {text}"
        text = printable(text)
        if record.levelno >= logging.WARNING:
            color = _RED if record.levelno >= logging.ERROR else _YELLOW
            text = f"{self._styled(record.levelname, color)} {text}"
        lines = [f"{self._styled(f'{at:%H:%M:%S}', _DIM)} {text}"]
        if record.exc_info and record.exc_info[0] is not None:
            lines.append(self.formatException(record.exc_info))
        if record.stack_info:
            lines.append("    " + printable(record.stack_info))
        return "\n".join(lines)

    def formatException(self, ei: ExcInfo) -> str:  # noqa: N802 - the library's name
        """Format a traceback as continuation lines."""
        return "    " + printable(traceback_of(ei))

    def _styled(self, text: str, color: str) -> str:
        return f"{color}{text}{_END}" if self._has_color else text


async def announce_days() -> None:
    """Let the date be printed now and at each midnight, though nothing else is logged in this process."""
    while True:
        log.info("day.changed")
        now = datetime.now().astimezone()
        midnight = datetime.combine(now.date() + timedelta(days=1), datetime.min.time()).astimezone()
        await asyncio.sleep(max(1.0, (midnight - now).total_seconds()))
