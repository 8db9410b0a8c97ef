"""Turns journal events into notices. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from jobfleet.codec import read_header
from jobfleet.codec.frames import read_fields
from jobfleet.errors import EncodingError, JobNotFound
from jobfleet.model import split_id
from jobfleet.model.audit import from_word
from jobfleet.notify.notice import Notice
from jobfleet.retry.tries import Tries
from jobfleet.store.journal import Event

UNDONE = "undone"
"""The last word of a failure that is one again, because the replay of the job was undone; it is not news."""
_CLASS = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:: (.*))?", re.DOTALL)


def notice_of(event: Event, wanted: Collection[str]) -> Notice | None:
    """Return the notice of an event; None if no rule wants it. Parts that cannot be read are left out.

    Args:
        event: An event of the journal.
        wanted: The names of events in the rules.
    """
    if event.event not in wanted or event.words[3:4] == (UNDONE,):
        return None
    header, record = _read(read_header, event.envelope), _read(read_fields, event.record)
    known = {**header, **record}
    error_class, error = _error(event, record)
    return Notice(
        event=event.event,
        job_id=event.id,
        at_us=event.at,
        queue=_queue(event.id),
        function=_text(known, "function"),
        name=_text(known, "name"),
        user=_text(known, "user"),
        tags=tuple(str(tag) for tag in known.get("tags") or ()),
        correlation_id=_text(known, "correlation_id"),
        error_class=error_class,
        error=error,
        attempt=_attempt(event, record),
        worker=_text(known, "worker"),
        retry_at_us=_due(event),
    )


def _read(reader: Any, data: bytes) -> Mapping[str, Any]:
    if not data:
        return {}
    try:
        fields: dict[str, Any] = reader(data)
    except EncodingError:
        return {}
    return fields


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _queue(job_id: str) -> str:
    try:
        return split_id(job_id)[0]
    except JobNotFound:
        return ""


def _error(event: Event, record: Mapping[str, Any]) -> tuple[str, str]:
    """The class of the error or the reason, and the text."""
    if event.event == "failed":
        return _text(record, "error_class") or (event.words or ("",))[0], _text(record, "error")
    if event.event in {"retried", "parked"}:
        history = _tries(event).history
        last = history[-1].split(" ", 2)[-1] if history else ""
        found = _CLASS.fullmatch(last)
        return (found[1], found[2] or "") if found else ("", last)
    if event.event == "cancelled":
        by, reason = (*event.words, "-", "-", "-", "-")[2:4]
        parts = [f"by {from_word(by)}" if by != "-" else "", reason if reason != "-" else ""]
        return "", " ".join(part for part in parts if part)
    return "", ""


def _tries(event: Event) -> Tries:
    try:
        return Tries.parse(event.tries)
    except ValueError:
        return Tries()


def _attempt(event: Event, record: Mapping[str, Any]) -> int:
    attempt = record.get("attempt")
    if isinstance(attempt, int):
        return attempt
    return max(_tries(event).attempt - 1, 0) if event.event == "retried" else 0


def _due(event: Event) -> int:
    word = event.words[0] if event.event in {"retried", "parked"} and event.words else ""
    return int(word) if word.isdecimal() else 0
