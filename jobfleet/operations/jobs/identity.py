"""The fingerprint of a dead letter, and what its group records. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jobfleet.codec import header_or_empty, read_fields
from jobfleet.errors import EncodingError
from jobfleet.model.signals import fingerprint_of, normalise
from jobfleet.store.records import DeadLetter


class Identity(NamedTuple):
    """What identifies a dead letter.

    Attributes:
        fingerprint: Its fingerprint, which is also that of the notices about it.
        function: The function.
        error_class: The class of the error, or the reason of the failure.
        error: The error, with placeholders for its variable parts.
        version: The version of the arguments.
        tags: The tags.
        user: The user.
    """

    fingerprint: str
    function: str
    error_class: str
    error: str
    version: str
    tags: tuple[str, ...]
    user: str | None


def identity_of(letter: DeadLetter) -> Identity:
    """Read what identifies a letter; parts that cannot be read are left out."""
    header, record = header_or_empty(letter.envelope), _fields(read_fields, letter.record)
    known = {**header, **record}
    function, error_class = _text(known, "function"), _text(record, "error_class") or letter.reason
    error = _text(record, "error")
    tags = known.get("tags")
    return Identity(
        fingerprint_of(function, error_class, error),
        function,
        error_class,
        normalise(error),
        str(header.get("schema", 1)),
        tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list | tuple) else (),
        _text(known, "user") or None,
    )


def _fields(read: Callable[[bytes], Mapping[str, Any]], data: bytes) -> Mapping[str, Any]:
    try:
        return read(data) if data else {}
    except EncodingError:
        return {}


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""
