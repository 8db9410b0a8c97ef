"""Log lines as text for files and collectors: time with offset, level, ``event name=value … words``."""

from __future__ import annotations

import logging
from datetime import datetime

from jobfleet.logs.records import Current, ExcInfo, is_ours, nobody, printable, subject_of, traceback_of

FORMAT = "%(asctime)s %(levelname)-7s %(message)s"


class PlainFormatter(logging.Formatter):
    """Formats lines of text. A message can neither imitate another line nor send escape codes to a terminal.

    A line from another logger than jobfleet's own begins with its job, if it has one, and the logger's name.

    Args:
        current: Returns the run that the calling code belongs to, or None.
    """

    def __init__(self, *, current: Current = nobody) -> None:
        super().__init__(FORMAT)
        self._current = current

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802
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
