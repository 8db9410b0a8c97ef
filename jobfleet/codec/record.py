"""The record of a finished run: the returned value, and the fields that are displayed.

It is framed like an envelope, with kind `R` in place of the algorithm (`S` signed, `T` encrypted), so the two cannot be
confused. The value is in
the body, and all other fields are in the header, so that a page of finished jobs needs the headers only. A traceback
is text; no exception is ever rebuilt from a record.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from jobfleet.codec.frame import REFUSED, decode_header, encode_header, frame, is_frame, split, split_head
from jobfleet.codec.payload import DEFAULT, Bytes, Limits, as_bytes, decode_at, encode_at
from jobfleet.codec.wire import pack
from jobfleet.errors import BadSignature, EncodingError, UnknownKey

KIND: Final = 0x52
FIELDS_LIMITS: Final = Limits(max_bytes=1 << 18, max_containers=4096, setting="")

FIELD_KEYS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "value": "the returned value; absent if the function did not return",
        "error": "message of the error",
        "error_type": "transient or permanent",
        "error_class": "name of the exception's class, or the reason: timeout, crashed, …",
        "traceback": "traceback as text",
        "enqueued_at": "microseconds since 1970, by the producer's clock",
        "started_at": "microseconds since 1970, by Redis's clock",
        "completed_at": "microseconds since 1970, by Redis's clock",
        "duration": "microseconds from start to end",
        "attempt": "number of the attempt, from 1",
        "retry_count": "number of earlier retries; crashes are not counted",
        "worker": "id of the worker",
        "function": "registered name of the function",
        "name": "as in the envelope's header",
        "user": "as in the envelope's header",
        "tags": "as in the envelope's header",
        "metadata": "as in the envelope's header",
        "unique": "as in the envelope's header",
        "request": "as in the envelope's header",
        "trace": "W3C traceparent of the run, if it was traced",
        "payload": "store, key, length and SHA-256 of a value that is in a payload store",
        "kid": "id of the key that signed or encrypted it",
        "fleet": "namespace of the fleet, if it is signed or encrypted",
        "token": "fencing token of the run, if it is signed or encrypted; 0 if there was none",
        "status": "completed or failed, if it is signed or encrypted",
    }
)
"""Known fields and their meaning. A field that is not set is absent. Unknown fields survive a round trip."""

DESCRIBED: Final = (
    "name", "enqueued_at", "user", "session", "correlation_id", "tags", "metadata", "moved_from", "origin", "unique",
    "group", "request",
)  # fmt: skip
"""What a record takes from the envelope's header, so that a page of finished jobs needs no envelope."""

_TYPES: Final[Mapping[str, type]] = MappingProxyType(
    {
        **dict.fromkeys(
            ("error", "error_type", "error_class", "traceback", "worker", "function", "name", "user", "session",
             "correlation_id", "moved_from", "unique", "group", "request"), str,
        ),
        **dict.fromkeys(("enqueued_at", "started_at", "completed_at", "duration", "attempt", "retry_count"), int),
        "tags": list, "metadata": dict,
    }
)  # fmt: skip
NUMBER_MOST: Final = 1 << 53
_VALUE: Final = "value"


def seal_record(fields: Mapping[str, object], *, limits: Limits = DEFAULT) -> bytes:
    """Encode a result record.

    Args:
        limits: Bounds of `value`; the other fields have their own limit of 256 KiB in total.

    Raises:
        EncodingError: A value cannot be encoded; `path` is `result['df']` for the returned value.
    """
    if _VALUE not in fields:
        return frame(KIND, encode_header(fields, FIELDS_LIMITS, "record"), b"")
    rest = dict(fields)
    body = encode_at(rest.pop(_VALUE), limits.max_depth, limits, "result")
    return frame(KIND, encode_header(rest, FIELDS_LIMITS, "record"), body)


def seal_trusted(fields: Mapping[str, object], value: object, *, limits: Limits = DEFAULT) -> bytes:
    """Encode a result record whose fields are known to be of plain types; only the value is checked.

    Raises:
        EncodingError: The value cannot be encoded; `path` is `result['df']`.
    """
    return frame(KIND, pack(fields), encode_at(value, limits.max_depth, limits, "result"))


def read_fields(data: Bytes) -> dict[str, Any]:
    """Decode all fields except `value`, which is neither decoded nor checked.

    Raises:
        EnvelopeTooNew: A later version of jobfleet wrote the record.
        EncodingError: The bytes are not a result record.
    """
    record = as_bytes(data, "record")
    return _fields(record, split_head(record, KIND, "record"))


def open_record(data: Bytes, *, limits: Limits = DEFAULT) -> dict[str, Any]:
    """Decode a result record. For any bytes, it raises only the errors below.

    Raises:
        EnvelopeTooNew: A later version of jobfleet wrote the record.
        EncodingError: The bytes are not a result record, or exceed the limits.
        BadSignature, UnknownKey: It is sealed, and this process did not accept or could not open it.
    """
    record = as_bytes(data, "record")
    begin = split(record, KIND, "record")
    fields = _fields(record, begin)
    if begin < len(record):
        fields[_VALUE] = decode_at(record[begin:], limits.max_depth, limits, "result")
    return fields


def read_record(data: Bytes, *, limits: Limits = DEFAULT) -> dict[str, Any]:
    """Decode as much of a record as possible, for display: all of it, or the fields except `value`, or nothing.

    Raises:
        BadSignature, UnknownKey: It is sealed, and this process did not accept or could not open it.
    """
    if not data:
        return {}
    try:
        return open_record(data, limits=limits)
    except (BadSignature, UnknownKey):
        raise
    except EncodingError:
        try:
            return read_fields(data)
        except EncodingError:
            return {}


def is_record(data: Bytes) -> bool:
    """Whether bytes are a result record, of this version or a later one."""
    return is_frame(as_bytes(data, "record"), KIND)


def is_sealed(data: bytes) -> bool:
    """Whether a record is signed or encrypted."""
    return len(data) > 1 and KIND < data[1] < KIND + REFUSED


def is_encrypted(data: bytes) -> bool:
    """Whether a record is encrypted."""
    return data[1:2] == bytes([KIND + 2])


def is_refused(data: bytes) -> bool:
    """Whether a record was read from Redis and not accepted."""
    return data[1:2] == bytes([KIND + REFUSED])


def _fields(record: bytes, begin: int) -> dict[str, Any]:
    """Decode the fields; known ones of the wrong type or out of bounds are left out, because a record is displayed."""
    fields = decode_header(record, begin, FIELDS_LIMITS, "record")
    for name, kind in _TYPES.items():
        if name in fields and not _is_of(fields[name], kind):
            del fields[name]
    return fields


def _is_of(value: Any, kind: type) -> bool:
    if kind is list:
        return type(value) is list and all(type(one) is str for one in value)
    if type(value) is int:
        return kind is int and 0 <= value < NUMBER_MOST
    return type(value) is kind
