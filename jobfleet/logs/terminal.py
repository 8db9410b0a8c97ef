"""Log lines for people at a terminal."""

from __future__ import annotations

import asyncio
import logging
import os
from datetime import date, datetime, timedelta
from typing import Self

from jobfleet.config import JobConfig
from jobfleet.logs.formatters import Current, ExcInfo, is_ours, nobody, printable, subject_of, traceback_of

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
