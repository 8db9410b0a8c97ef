"""Log lines for people at a terminal, and as JSON objects for machines."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Self

from jobfleet.config import JobConfig
from jobfleet.logs.formatters import Current, ExcInfo, error_of, is_ours, nobody, printable, subject_of, traceback_of
from jobfleet.secret import Redaction

ID_SHOWN = 8
"""The number of characters of an id that are shown; the commands accept the end of an id in place of all of it."""
_RED, _YELLOW, _DIM, _END = "\x1b[31m", "\x1b[33m", "\x1b[2m", "\x1b[0m"
log: logging.Logger = logging.getLogger("jobfleet.day")


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

    @classmethod
    def of(cls, config: JobConfig, *, current: Current, shows_day: bool) -> Self:
        """Make one that uses colours unless the settings or the environment forbid it."""
        has_color = not (config.no_color or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb")
        return cls(current=current, has_color=has_color, shows_day=shows_day)

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
    """Let the date be printed at each midnight, though nothing else is logged in this process.

    The first line of this process prints it before: a worker that cannot import its modules needs no date.
    """
    while True:
        now = datetime.now().astimezone()
        midnight = datetime.combine(now.date() + timedelta(days=1), datetime.min.time()).astimezone()
        await asyncio.sleep(max(1.0, (midnight - now).total_seconds()))
        log.info("day.changed")


LONGEST_VALUE = 2000
"""Maximum number of characters of a value that is not of a JSON type."""

_EVENT = re.compile(r"[a-z_]+\.[a-z_]+(?= |$)")
_DIRECTIVE = re.compile(r"(?:\b([a-z_]+)=)?%(?:%|[-#0 +]*\d*(?:\.\d+)?[a-zA-Z])")
_NEW_NAMES = {"token": "fence"}
_OWN = {"message", "asctime", "taskName", "run", "job_id"}
_KNOWN = frozenset(vars(logging.makeLogRecord({}))) | _OWN


class JsonFormatter(logging.Formatter):
    """Formats one JSON object per line: time (UTC), level, logger, event, message, and the fields of its subject.

    Args:
        worker: The name of this worker process.
        current: Returns the run that the calling code belongs to, or None.
        redaction: Hides values that the caller has passed, by their names.
    """

    def __init__(self, *, worker: str = "", current: Current = nobody, redaction: Redaction | None = None) -> None:
        super().__init__()
        self._redaction = Redaction() if redaction is None else redaction
        self._worker = worker
        self._current = current

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        message = record.getMessage()
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
        }
        if is_ours(record) and (event := _EVENT.match(message)):
            entry["event"] = event[0]
        entry["message"] = message
        if self._worker:
            entry["worker"] = self._worker
        if is_ours(record):
            entry |= _fields(record)
        entry |= subject_of(record, self._current)
        if record.exc_info and record.exc_info[0] is not None:
            entry |= error_of(record.exc_info)
        entry |= self._redaction.mapping(_added(record))
        if record.stack_info:
            entry["stack"] = record.stack_info
        return json.dumps({name: _plain(value) for name, value in entry.items()})


def _fields(record: logging.LogRecord) -> Mapping[str, object]:
    """Return the values that a line of jobfleet names."""
    if not isinstance(record.args, tuple) or not isinstance(record.msg, str):
        return {}
    names = [found[1] for found in _DIRECTIVE.finditer(record.msg) if not found[0].endswith("%%")]
    named = zip(names, record.args, strict=False)
    fields = {_NEW_NAMES.get(name, name): value for name, value in named if name is not None}
    if isinstance(job_id := fields.get("job_id"), str) and job_id.count(".") > 1:
        fields.setdefault("queue", job_id.rsplit(".", 2)[0])
    return fields


def _added(record: logging.LogRecord) -> Mapping[str, object]:
    """Return what the caller passed as ``extra``."""
    return {name: value for name, value in vars(record).items() if name not in _KNOWN and not name.startswith("_")}


def _plain(value: object) -> object:
    """Convert a value to a JSON type; other objects become their text, cut to `LONGEST_VALUE`."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    try:
        return str(value)[:LONGEST_VALUE]
    except Exception:  # noqa: BLE001 - the __str__ of a user's object may raise anything
        return f"<{type(value).__name__}>"
