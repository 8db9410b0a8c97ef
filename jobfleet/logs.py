"""Logs on stderr: one line per transition, for people or, as JSON, for machines.

A line of jobfleet itself has the form ``event name=value … words``. The JSON form takes the event and the values from
that line, so both forms have one source.
"""

from __future__ import annotations

import json
import logging
import math
import re
import sys
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, Protocol

from jobfleet.config import JobConfig

FORMAT = "%(asctime)s %(levelname)-7s %(message)s"
LONGEST_VALUE = 2000
"""Maximum number of characters of a value that is not of a JSON type."""

_EVENT = re.compile(r"[a-z_]+\.[a-z_]+(?= |$)")
_DIRECTIVE = re.compile(r"(?:\b([a-z_]+)=)?%(?:%|[-#0 +]*\d*(?:\.\d+)?[a-zA-Z])")
_NEW_NAMES = {"token": "fence"}
_KNOWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "run", "job_id"}


class Described(Protocol):
    """The subject of a log line, such as a `Run`."""

    def described(self) -> Mapping[str, object]:
        """Return the fields that identify it: job_id, queue, function, attempt, fence, user and so on."""


def _nobody() -> Described | None:
    return None


def set_up_logs(config: JobConfig, *, worker: str = "", current: Callable[[], Described | None] = _nobody) -> None:
    """Log to stderr, unless the program has configured its own logging.

    Args:
        config: The settings `log_format` and `verbose`.
        worker: The name of this worker process, for JSON lines.
        current: Returns the run that the calling code belongs to, or None.
    """
    logger = logging.getLogger("jobfleet")
    if logger.handlers or logging.getLogger().handlers:
        return
    formatter: logging.Formatter = PlainFormatter(FORMAT, datefmt="%H:%M:%S")
    if config.log_format == "json":
        formatter = JsonFormatter(worker=worker, current=current)
        if logging.lastResort is not None:  # it prints records of the user's loggers that have no handler
            logging.lastResort.setFormatter(formatter)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if config.verbose else logging.INFO)
    logger.propagate = False


class JobLogger(logging.LoggerAdapter[logging.Logger]):
    """`ctx.log`: adds the job's id to a call's `extra`; the standard adapter would replace that `extra`."""

    def process(self, msg: object, kwargs: MutableMapping[str, Any]) -> tuple[object, MutableMapping[str, Any]]:
        """Add the job's id to a call."""
        kwargs["extra"] = {**(kwargs.get("extra") or {}), **(self.extra or {})}
        return msg, kwargs


class PlainFormatter(logging.Formatter):
    """Formats lines for people. A message can neither imitate another line nor send escape codes to a terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        """Format a record; escape unprintable characters and indent continuation lines."""
        record.message = "\n    ".join(_printable(line.expandtabs()) for line in record.message.split("\n"))
        return super().formatMessage(record)


class JsonFormatter(logging.Formatter):
    """Formats one JSON object per line: time (UTC), level, logger, event, message, and the fields of its subject.

    Args:
        worker: The name of this worker process.
        current: Returns the run that the calling code belongs to, or None.
    """

    def __init__(self, *, worker: str = "", current: Callable[[], Described | None] = _nobody) -> None:
        super().__init__()
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
        is_ours = record.name.startswith("jobfleet.") and not record.name.startswith("jobfleet.job")
        if is_ours and (event := _EVENT.match(message)):
            entry["event"] = event[0]
        entry["message"] = message
        if self._worker:
            entry["worker"] = self._worker
        if is_ours:
            entry |= _fields(record)
        if (run := getattr(record, "run", None) or self._current()) is not None:
            entry |= run.described()
        entry |= _added(record)
        if record.exc_info and record.exc_info[0] is not None:
            entry["exception"] = self.formatException(record.exc_info)
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


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
