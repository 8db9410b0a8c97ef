"""Log lines as JSON: one object per line."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from jobfleet.logs.formatters import Current, error_of, is_ours, nobody, subject_of
from jobfleet.secret import Redaction

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
