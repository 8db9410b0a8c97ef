"""The record of a finished run: what is shown of it, and the value it returned.

Framed like an envelope, with kind `R` where an envelope has its algorithm, so neither can be
taken for the other. The value stands in the body, all other fields in the header: a page of
finished jobs reads headers only. A traceback is text; no exception is ever rebuilt from a record.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from jobfleet.codec.frame import decode_header, encode_header, frame, is_frame, split
from jobfleet.codec.payload import DEFAULT, Bytes, Limits, as_bytes, decode_at, encode_at
from jobfleet.codec.wire import pack
from jobfleet.errors import EncodingError

KIND: Final = 0x52
FIELDS_LIMITS: Final = Limits(max_bytes=1 << 18, max_containers=4096)

FIELD_KEYS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "value": "what the function returned; absent if it did not return",
        "error": "message of the failure",
        "error_type": "transient or permanent",
        "error_class": "name of the exception's class, or the reason: timeout, crashed, …",
        "traceback": "traceback as text",
        "enqueued_at": "microseconds since 1970, by the producer's clock",
        "started_at": "microseconds since 1970, by Redis's clock",
        "completed_at": "microseconds since 1970, by Redis's clock",
        "duration": "microseconds from start to end",
        "attempt": "which attempt this was, from 1",
        "retry_count": "how many retries went before",
        "worker": "id of the worker",
        "function": "registered name of the function",
        "name": "as in the envelope's header",
        "user": "as in the envelope's header",
        "tags": "as in the envelope's header",
        "metadata": "as in the envelope's header",
        "unique": "as in the envelope's header",
    }
)
"""Known fields and their meaning. Unset fields are absent; unknown fields survive a round trip."""

_VALUE: Final = "value"


def seal_record(fields: Mapping[str, object], *, limits: Limits = DEFAULT) -> bytes:
    """Write a result record.

    Args:
        limits: Bounds of `value`; the other fields together have 256 KiB of their own.

    Raises:
        EncodingError: Something does not travel; `path` reads `result['df']` for the value.
    """
    if _VALUE not in fields:
        return frame(KIND, encode_header(fields, FIELDS_LIMITS, "record"), b"")
    rest = dict(fields)
    body = encode_at(rest.pop(_VALUE), limits.max_depth, limits, "result")
    return frame(KIND, encode_header(rest, FIELDS_LIMITS, "record"), body)


def seal_trusted(fields: Mapping[str, object], value: object, *, limits: Limits = DEFAULT) -> bytes:
    """Write a result record whose fields are the worker's own, of plain types; only the value is checked.

    Raises:
        EncodingError: The value does not travel; `path` reads `result['df']`.
    """
    return frame(KIND, pack(fields), encode_at(value, limits.max_depth, limits, "result"))


def read_fields(data: Bytes) -> dict[str, Any]:
    """Read all fields but `value`, which is neither decoded nor checked.

    Raises:
        EnvelopeTooNew: A later jobfleet wrote it.
        EncodingError: It is no result record.
    """
    record = as_bytes(data, "record")
    return _fields(record, split(record, KIND, "record"))


def open_record(data: Bytes, *, limits: Limits = DEFAULT) -> dict[str, Any]:
    """Read a result record; whatever the bytes, nothing but the two errors below leaves.

    Raises:
        EnvelopeTooNew: A later jobfleet wrote it.
        EncodingError: It is no result record, or out of bounds.
    """
    record = as_bytes(data, "record")
    begin = split(record, KIND, "record")
    fields = _fields(record, begin)
    if begin < len(record):
        fields[_VALUE] = decode_at(record[begin:], limits.max_depth, limits, "result")
    return fields


def read_record(data: Bytes, *, limits: Limits = DEFAULT) -> dict[str, Any]:
    """What can be read of a record: all of it, else its clear fields, else nothing; for those who only show it."""
    if not data:
        return {}
    try:
        return open_record(data, limits=limits)
    except EncodingError:
        try:
            return read_fields(data)
        except EncodingError:
            return {}


def is_record(data: Bytes) -> bool:
    """Tell a result record, of this version or a later one, from anything else."""
    return is_frame(as_bytes(data, "record"), KIND)


def _fields(record: bytes, begin: int) -> dict[str, Any]:
    return decode_header(record, begin, FIELDS_LIMITS, "record")
