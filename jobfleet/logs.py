"""Logs: one line a transition on stderr, for people or, as JSON, for machines.

A line of jobfleet's own reads ``event name=value … words``. The JSON form takes the event and the
values from it, so that a line is written once and says the same in both forms.
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
"""Characters kept of a value that is no plain one."""

_EVENT = re.compile(r"[a-z_]+\.[a-z_]+(?= |$)")
_DIRECTIVE = re.compile(r"(?:\b([a-z_]+)=)?%(?:%|[-#0 +]*\d*(?:\.\d+)?[a-zA-Z])")
_NEW_NAMES = {"token": "fence"}
_KNOWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "run", "job_id"}


class Described(Protocol):
    """Whatever lines may be about; a `Run` is."""

    def described(self) -> Mapping[str, object]:
        """What a line says of it: job_id, queue, function, attempt, fence, and who it is for."""


def _nobody() -> Described | None:
    return None


def set_up_logs(config: JobConfig, *, worker: str = "", current: Callable[[], Described | None] = _nobody) -> None:
    """Log to stderr, unless the program has set up its own logs.

    Args:
        config: The settings `log_format` and `verbose`.
        worker: The child whose process this is; JSON lines name it.
        current: Answers the run that the calling code belongs to, if any.
    """
    logger = logging.getLogger("jobfleet")
    if logger.handlers or logging.getLogger().handlers:
        return
    formatter: logging.Formatter = PlainFormatter(FORMAT, datefmt="%H:%M:%S")
    if config.log_format == "json":
        formatter = JsonFormatter(worker=worker, current=current)
        if logging.lastResort is not None:  # it prints what the user's loggers have and nobody else listens to
            logging.lastResort.setFormatter(formatter)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if config.verbose else logging.INFO)
    logger.propagate = False


class JobLogger(logging.LoggerAdapter[logging.Logger]):
    """`ctx.log`: what a call adds stands beside the job's id, where the library's own adapter would drop it."""

    def process(self, msg: object, kwargs: MutableMapping[str, Any]) -> tuple[object, MutableMapping[str, Any]]:
        """Add the job's id to a call."""
        kwargs["extra"] = {**(kwargs.get("extra") or {}), **(self.extra or {})}
        return msg, kwargs


class PlainFormatter(logging.Formatter):
    """Lines for people; nothing in a message can pass for a line of its own, or command a terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        """The line, with what is not printable written as an escape, and further lines indented."""
        record.message = "\n    ".join(_printable(line.expandtabs()) for line in record.message.split("\n"))
        return super().formatMessage(record)


class JsonFormatter(logging.Formatter):
    """An object a line: time (UTC), level, logger, event, message, and what the line is about.

    Args:
        worker: The child whose process this is.
        current: Answers the run that the calling code belongs to, if any.
    """

    def __init__(self, *, worker: str = "", current: Callable[[], Described | None] = _nobody) -> None:
        super().__init__()
        self._worker = worker
        self._current = current

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
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
    """The values that a line of ours names."""
    if not isinstance(record.args, tuple) or not isinstance(record.msg, str):
        return {}
    names = [found[1] for found in _DIRECTIVE.finditer(record.msg) if not found[0].endswith("%%")]
    named = zip(names, record.args, strict=False)
    fields = {_NEW_NAMES.get(name, name): value for name, value in named if name is not None}
    if isinstance(job_id := fields.get("job_id"), str) and job_id.count(".") > 1:
        fields.setdefault("queue", job_id.rsplit(".", 2)[0])
    return fields


def _added(record: logging.LogRecord) -> Mapping[str, object]:
    """What the call gave as ``extra``."""
    return {name: value for name, value in vars(record).items() if name not in _KNOWN and not name.startswith("_")}


def _plain(value: object) -> object:
    """What JSON can hold; of anything else, what it says of itself, within bounds."""
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
    except Exception:  # noqa: BLE001 - a user's object may not even say what it is
        return f"<{type(value).__name__}>"


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
