"""What is stored as a frame: the envelope of a job, and the record of a finished run."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeGuard

from jobfleet.codec.extensions import refusal
from jobfleet.codec.values import (
    DEFAULT,
    LEAF_TYPES,
    Bytes,
    Limits,
    as_bytes,
    decode_at,
    encode_at,
    lost_in,
    pack,
    renamed,
    unreadable,
)
from jobfleet.errors import BadSignature, EncodingError, EnvelopeTooNew, UnknownKey
from jobfleet.model.fields import FIELDS
from jobfleet.model.option_types import Items

# The frame of every stored value: `version | kind | header length, u32 big endian | header | body`.
#
# The version and the kind can be checked before anything is parsed. The header can be decoded without the body.


VERSION: Final = 1
REFUSED: Final = 3
"""Added to a kind: 1 signed, 2 encrypted, 3 refused by this process (see `refused`)."""
KID: Final = "kid"
FLEET: Final = "fleet"
"""The field of the header of a sealed frame that says which fleet it belongs to."""
PAYLOAD: Final = "payload"
"""The field of a header that says where the body is, if it is stored elsewhere; see `jobfleet.payloads`."""
HEADER_LIMITS: Final = Limits(max_bytes=1 << 18, max_containers=4096, setting="")
_PREFIX: Final = struct.Struct(">BBI")
PREFIX_BYTES: Final = _PREFIX.size

_TEXT: Final = frozenset([str])


def frame(kind: int, header: bytes, body: bytes) -> bytes:
    """Join header and body into one frame."""
    return _PREFIX.pack(VERSION, kind, len(header)) + header + body


def split(data: bytes, kind: int, what: str) -> int:
    """Check the prefix and return the offset of the body.

    Raises:
        EnvelopeTooNew: A later version of jobfleet wrote the frame.
        EncodingError: The bytes are not a frame of this kind.
    """
    if len(data) < PREFIX_BYTES:
        raise unreadable(what, "truncated")
    version, actual, length = _PREFIX.unpack_from(data)
    if version > VERSION:
        raise EnvelopeTooNew(version, VERSION)
    if version < VERSION:
        raise unreadable(what, f"version {version} was never used")
    begin = PREFIX_BYTES + int(length)
    if begin > len(data):
        raise unreadable(what, "truncated")
    if actual != kind:
        raise _not_plain(data, begin, actual - kind, what) or unreadable(
            what, f"kind {actual:#04x} where {kind:#04x} was expected"
        )
    return begin


def split_head(data: bytes, kind: int, what: str) -> int:
    """Like `split`, for readers of the header alone: the body may be sealed, or refused."""
    if len(data) >= PREFIX_BYTES and kind < data[1] <= kind + REFUSED:
        return split(data, data[1], what)
    return split(data, kind, what)


def refused(data: bytes, kind: int, why: bytes) -> bytes:
    """Return the frame with its header, and the reason for which this process does not accept it as the body.

    Nothing stores such a frame. Its header can be displayed, and any other reader gets the reason as an error.
    """
    begin = split_head(data, kind, "frame")
    return data[:1] + bytes([kind + REFUSED]) + data[2:begin] + why


def _not_plain(data: bytes, begin: int, algorithm: int, what: str) -> EncodingError | None:
    """The error for a frame whose body is sealed, or was refused; None for a frame of another kind."""
    if algorithm == REFUSED:
        return refusal(data[begin:])
    if 0 < algorithm < REFUSED:
        return UnknownKey(kid_of(data, begin), what=what)
    return None


def kid_of(data: bytes, begin: int) -> str:
    """The id of the key in a header; empty if there is none."""
    try:
        kid = decode_header(data, begin, HEADER_LIMITS, "header").get(KID)
    except EncodingError:
        return ""
    return kid if isinstance(kid, str) else ""


def encode_header(header: Mapping[str, object], limits: Limits, what: str) -> bytes:
    """Encode a header; an error names the wrong key as its field."""
    header = header if type(header) is dict else dict(header)
    if not _TEXT.issuperset(map(type, header)):
        raise EncodingError(f"{what}: its keys must be text.", field=what, path=what)
    try:
        return encode_at(header, limits.max_depth, limits, what)
    except EncodingError as error:
        raise _blame_key(error, what) from error.__cause__


def _blame_key(error: EncodingError, what: str) -> EncodingError:
    """Change the path `header['metadata']['x']` to `metadata['x']`, because callers know options, not headers."""
    opening = f"{what}['"
    if not error.path.startswith(opening):
        return error
    key, _, rest = error.path[len(opening) :].partition("']")
    return renamed(error, key + rest, key)


def decode_header(data: bytes, begin: int, limits: Limits, what: str) -> dict[str, Any]:
    """Decode the header of a frame whose body begins at offset `begin`."""
    header = decode_at(data[PREFIX_BYTES:begin], limits.max_depth, limits, what)
    if not is_text_map(header):
        raise unreadable(what, "its header is not a map with keys of text")
    return header


def is_text_map(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether a decoded value is a map in which every key is text."""
    return type(value) is dict and _TEXT.issuperset(map(type, value))


def is_frame(data: bytes, kind: int) -> bool:
    """Whether bytes are a frame of this kind, sealed or not, in any version, by their first two bytes."""
    return len(data) >= PREFIX_BYTES and kind <= data[1] <= kind + REFUSED and data[0] >= VERSION


# The envelope of a job: a header that is known at its enqueue, and the call.
#
# The layout is `version | algorithm | header length | header | body`; the body is `[args, kwargs]`. An envelope never
# changes while its job is open. The envelope of a dead letter can be replaced by one with another body. Algorithm 0
# is plain. Other algorithms are reserved for signed and encrypted envelopes; result records use 0x52.


ENVELOPE_KIND: Final = 0
REMEMBERED_BYTES: Final = 256
ENVELOPE_HEADER_LIMITS: Final = Limits(max_bytes=1 << 16, max_containers=4096, setting="")

HEADER_KEYS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "function": "registered name of the function to call",
        "name": "label for people, if it differs from the function",
        "enqueued_at": "time of the enqueue, microseconds since 1970, by the producer's clock",
        "origin": "first id of a job that was moved more than once",
        # Policy. If a key is absent, the value of the function, the queue or the fleet applies.
        "max_retries": "number of retries after failed runs",
        "retry_delay": "microseconds before the first retry",
        "retry_delays": "list of microseconds before each retry, of which the last repeats",
        "retry_for": "microseconds from the first due time after which no retry is due",
        "retry_backoff": "factor from one delay to the next",
        "retry_jitter": "whether to take a random 50 to 100 % of the delay",
        "max_crashes": "number of crashes after which the job fails",
        "timeout": "time limit of a run in microseconds",
        "hard_timeout": "microseconds after which a run is ended by force",
        "result_ttl": "microseconds for which the result is stored",
        "expires_at": "time after which the job does not start any more, microseconds since 1970",
        **{field.name: field.meaning for field in FIELDS},
        "kid": "id of the key that signed or encrypted the body",
        "fleet": "namespace of the fleet, if it is signed or encrypted",
        # Set by jobfleet, or reserved.
        "trace": "trace context of the enqueue: headers of W3C Trace Context and Baggage by their names",
        "flow": "flow it is a step of",
        "parents": "number of the jobs that it depends on",
        "required": "of those that must have completed, 5 bytes of the BLAKE2b of each id, in a fleet with keys",
        "on_success": "id of the job that runs when it completes",
        "on_failure": "id of the job that runs when it fails or expires",
        "callback": "for such a job: on_success or on_failure; undo for a job that undoes steps",
        "callback_of": "id of the job that it is a callback of, or whose steps it undoes",
        "nominal": "for a recurring job: the scheduled time, microseconds since 1970",
        "schema": "version of the function's arguments; absent for 1",
        "batch": "batch of its enqueue",
        "request": "SHA-256 of the request to the API that has enqueued it under an id of its own",
        "payload": "store, key, length and SHA-256 of a body that is in a payload store",
    }
)
"""Reserved keys and their meaning. A key that is not set is absent. Unknown keys survive a round trip."""

NUMBERS: Final = (
    "enqueued_at", "max_retries", "max_crashes", "retry_delay", "retry_for", "timeout", "result_ttl", "nominal",
    "schema",
)  # fmt: skip
_ENVELOPE_TYPES: Final[Mapping[str, tuple[type, ...]]] = MappingProxyType(
    {
        "function": (str,),
        "name": (str,),
        **{field.name: (field.kind,) for field in FIELDS},
        **dict.fromkeys(NUMBERS, (int,)),
        "retry_delays": (list,),
        "retry_backoff": (int, float),
        "retry_jitter": (bool,),
    }
)
"""The types of the keys that this version reads; code that reads a header may rely on them."""

_tuple: Final = tuple.__new__  # the constructor of a named tuple takes twice as long, and each job is opened
_FRAMING_LEVELS: Final = 2  # the body's list, and args or kwargs; the caller's limit starts below them


class BodyElsewhere(EncodingError):
    """The body of an envelope is in a payload store.

    Attributes:
        header: The header of the envelope.
    """

    def __init__(self, header: dict[str, Any]) -> None:
        super().__init__("its arguments are in a payload store", field="args")
        self.header = header


class OpenedEnvelope(NamedTuple):
    """The header and the call of an envelope."""

    header: dict[str, Any]
    args: list[Any]
    kwargs: dict[str, Any]


def seal(
    header: Mapping[str, object],
    args: Items[object] = (),
    kwargs: Mapping[str, object] = MappingProxyType({}),
    *,
    limits: Limits = DEFAULT,
) -> bytes:
    """Encode an envelope.

    Args:
        limits: Bounds of args and kwargs together; the depth counts from each argument.

    Raises:
        EncodingError: A value cannot be encoded; `path` is `args[0]['df']`,
            `kwargs['df']` or `metadata['df']`.
    """
    return seal_call(encode_head(header), args, kwargs, limits=limits)


def encode_head(header: Mapping[str, object]) -> bytes:
    """Encode everything before the body; envelopes with the same header can share the result.

    Raises:
        EncodingError: A value of the header cannot be encoded.
    """
    return frame(ENVELOPE_KIND, encode_header(header, ENVELOPE_HEADER_LIMITS, "header"), b"")


def seal_call(
    head: bytes,
    args: Items[object] = (),
    kwargs: Mapping[str, object] = MappingProxyType({}),
    *,
    limits: Limits = DEFAULT,
) -> bytes:
    """Encode an envelope whose head is already encoded; see `seal`."""
    call = [list(args), dict(kwargs)]
    if not kwargs and LEAF_TYPES.issuperset(map(type, args)):  # no container in most calls, so no limits to check
        try:
            body = pack(call)
        except Exception:  # noqa: BLE001 - the code below finds and names the cause
            body = None
        if body is not None and len(body) <= limits.max_bytes:
            return head + body
    if not is_text_map(call[1]):
        raise EncodingError("kwargs: its keys must be text.", field="kwargs", path="kwargs")
    try:
        body = encode_at(call, limits.max_depth + _FRAMING_LEVELS, limits, "body")
    except EncodingError as error:
        raise _blame_argument(error) from error.__cause__
    return head + body


def read_header(envelope: Bytes) -> dict[str, Any]:
    """Read the header only; the body is neither decoded nor checked.

    Raises:
        EnvelopeTooNew: A later version of jobfleet wrote the envelope; park the job.
        EncodingError: The bytes are not an envelope.
    """
    data = envelope if type(envelope) is bytes else as_bytes(envelope, "envelope")
    return dict(_header_of(data, split_head(data, ENVELOPE_KIND, "envelope")))


def header_or_empty(envelope: Bytes) -> dict[str, Any]:
    """Read the header alone; an empty dict when it cannot be read, for callers that one bad job must not stop."""
    try:
        return read_header(envelope)
    except EncodingError:
        return {}


def amended(envelope: Bytes, changes: Mapping[str, object], known: dict[bytes, bytes] | None = None) -> bytes:
    """Return the envelope with some header fields changed; its body is not changed.

    Args:
        envelope: The envelope.
        changes: The fields to change.
        known: Heads that were given the same changes before, for many envelopes; a new one is added.

    Raises:
        EnvelopeTooNew: A later version of jobfleet wrote the envelope.
        EncodingError: The bytes are not an envelope, or a field cannot be encoded.
    """
    data = as_bytes(envelope, "envelope")
    begin = split(data, ENVELOPE_KIND, "envelope")
    head = data[:begin]
    new = known.get(head) if known is not None else None
    if new is None:
        new = encode_head({**_header_of(data, begin), **changes})
        if known is not None:
            known[head] = new
    return new + data[begin:]


def recalled(
    envelope: Bytes, args: Sequence[object], kwargs: Mapping[str, object], *, limits: Limits = DEFAULT
) -> bytes:
    """Return the envelope with another call. Its header is not changed, but for a reference to the former arguments.

    Raises:
        EnvelopeTooNew: A later version of jobfleet wrote the envelope.
        EncodingError: The header cannot be decoded, or a value cannot be encoded; `path` is as in `seal`.
    """
    data = as_bytes(envelope, "envelope")
    begin = split(data, ENVELOPE_KIND, "envelope")
    header = _header_of(data, begin)
    if PAYLOAD in header:
        return seal({name: field for name, field in header.items() if name != PAYLOAD}, args, kwargs, limits=limits)
    return seal_call(data[:begin], args, kwargs, limits=limits)


def zones_lost(envelope: Bytes) -> tuple[str, ...]:
    """Return the time zones in the arguments that this machine does not know, so that decoding loses their names.

    `open_envelope` must have read the envelope before.
    """
    data = as_bytes(envelope, "envelope")
    return lost_in(data[split(data, ENVELOPE_KIND, "envelope") :])


def open_envelope(envelope: Bytes, *, limits: Limits = DEFAULT) -> OpenedEnvelope:
    """Decode an envelope. For any bytes, it raises only the errors below.

    Raises:
        EnvelopeTooNew: A later version of jobfleet wrote the envelope; park the job.
        BodyElsewhere: The arguments are in a payload store.
        EncodingError: The bytes are not an envelope, or exceed the limits.
        BadSignature, UnknownKey: They are sealed, and this process did not accept or could not open them.
    """
    data = envelope if type(envelope) is bytes else as_bytes(envelope, "envelope")
    begin = split(data, ENVELOPE_KIND, "envelope")
    header = _header_of(data, begin)
    try:
        body = decode_at(data[begin:], limits.max_depth + _FRAMING_LEVELS, limits, "envelope body")
    except EncodingError:
        if begin == len(data) and PAYLOAD in header:
            raise BodyElsewhere(dict(header)) from None
        raise
    if type(body) is not list or len(body) != 2:
        raise unreadable("envelope body", "it is not a pair of args and kwargs")
    args, kwargs = body
    if type(args) is not list or not is_text_map(kwargs):
        raise unreadable("envelope body", "args is not a list, or kwargs not a map with keys of text")
    return _tuple(OpenedEnvelope, (header, args, kwargs))


def _header_of(data: bytes, begin: int) -> dict[str, Any]:
    """Decode a header with a cache, because jobs of one function often share their header. Do not change the result."""
    if begin > REMEMBERED_BYTES:
        return _checked(decode_header(data, begin, ENVELOPE_HEADER_LIMITS, "envelope header"))
    return _remembered(data[:begin])


@lru_cache(maxsize=1024)
def _remembered(head: bytes) -> dict[str, Any]:
    return _checked(decode_header(head, len(head), ENVELOPE_HEADER_LIMITS, "envelope header"))


def _checked(header: dict[str, Any]) -> dict[str, Any]:
    """Refuse a header whose known keys have values of the wrong type or out of range."""
    for key, kinds in _ENVELOPE_TYPES.items():
        if key in header and type(header[key]) not in kinds:
            raise unreadable("envelope header", f"{key} is of the wrong type")
    if not all(type(tag) is str for tag in header.get("tags", ())):
        raise unreadable("envelope header", "tags has an item that is not text")
    numbers = [header.get(key, 0) for key in NUMBERS]
    if "retry_delays" in header:
        numbers += header["retry_delays"]
        if not header["retry_delays"] or any(type(number) is not int for number in header["retry_delays"]):
            raise unreadable("envelope header", "retry_delays is not a list of numbers")
    if any(not 0 <= number < 1 << 53 for number in numbers) or not 1 <= header.get("retry_backoff", 1) <= 100:
        raise unreadable("envelope header", "a number is out of bounds")
    return header


def _blame_argument(error: EncodingError) -> EncodingError:
    for opening, field in (("body[0]", "args"), ("body[1]", "kwargs")):
        if error.path.startswith(opening):
            return renamed(error, field + error.path[len(opening) :], field)
    return renamed(error, "args", "args")


# The record of a finished run: the returned value, and the fields that are displayed.
#
# It is framed like an envelope, with kind `R` in place of the algorithm (`S` signed, `T` encrypted), so the two
# cannot be confused. The value is in the body, and all other fields are in the header, so that a page of finished
# jobs needs the headers only. A traceback is text; no exception is ever rebuilt from a record.


RECORD_KIND: Final = 0x52
FIELDS_LIMITS: Final = Limits(max_bytes=1 << 18, max_containers=4096, setting="")

DESCRIBED: Final = ("name", "enqueued_at", *(field.name for field in FIELDS), "origin", "request")
"""What a record takes from the envelope's header, so that a page of finished jobs needs no envelope."""

FIELD_KEYS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "value": "the returned value; absent if the function did not return",
        "error": "message of the error",
        "error_type": "transient or permanent",
        "error_class": "name of the exception's class, or the reason: timeout, crashed, …",
        "traceback": "traceback as text",
        "started_at": "microseconds since 1970, by Redis's clock",
        "completed_at": "microseconds since 1970, by Redis's clock",
        "duration": "microseconds from start to end",
        "attempt": "number of the attempt, from 1",
        "retry_count": "number of earlier retries; crashes are not counted",
        "runs": "number of runs, if a run came before the last one; also those that no budget was charged with",
        "crashes": "number of runs that ended the process alone, likewise",
        "history": "one line per past run, time parked and replay, likewise: number/start/worker, end and outcome",
        "flow": "flow it is a step of, if a run came before the last one",
        "envelope": "the envelope, if the function or its worker keeps arguments",
        "worker": "id of the worker",
        "function": "registered name of the function",
        **dict.fromkeys(DESCRIBED, "as in the envelope's header"),
        "trace": "W3C traceparent of the run, if it was traced",
        "payload": "store, key, length and SHA-256 of a value that is in a payload store",
        "kid": "id of the key that signed or encrypted it",
        "fleet": "namespace of the fleet, if it is signed or encrypted",
        "token": "fencing token of the run, if it is signed or encrypted; 0 if there was none",
        "status": "completed or failed, if it is signed or encrypted",
    }
)
"""Known fields and their meaning. A field that is not set is absent. Unknown fields survive a round trip."""

_RECORD_TYPES: Final[Mapping[str, type]] = MappingProxyType(
    {
        **dict.fromkeys(
            ("error", "error_type", "error_class", "traceback", "worker", "function", "name", "request"), str
        ),
        **dict.fromkeys(
            ("enqueued_at", "started_at", "completed_at", "duration", "attempt", "retry_count", "runs", "crashes"), int
        ),
        "envelope": bytes,
        **{field.name: field.kind for field in FIELDS},
    }
)
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
        return frame(RECORD_KIND, encode_header(fields, FIELDS_LIMITS, "record"), b"")
    rest = dict(fields)
    body = encode_at(rest.pop(_VALUE), limits.max_depth, limits, "result")
    return frame(RECORD_KIND, encode_header(rest, FIELDS_LIMITS, "record"), body)


def seal_trusted(fields: Mapping[str, object], value: object, *, limits: Limits = DEFAULT) -> bytes:
    """Encode a result record whose fields are known to be of plain types; only the value is checked.

    Raises:
        EncodingError: The value cannot be encoded; `path` is `result['df']`.
    """
    return frame(RECORD_KIND, pack(fields), encode_at(value, limits.max_depth, limits, "result"))


def read_fields(data: Bytes) -> dict[str, Any]:
    """Decode all fields except `value`, which is neither decoded nor checked.

    Raises:
        EnvelopeTooNew: A later version of jobfleet wrote the record.
        EncodingError: The bytes are not a result record.
    """
    record = as_bytes(data, "record")
    return _fields(record, split_head(record, RECORD_KIND, "record"))


def open_record(data: Bytes, *, limits: Limits = DEFAULT) -> dict[str, Any]:
    """Decode a result record. For any bytes, it raises only the errors below.

    Raises:
        EnvelopeTooNew: A later version of jobfleet wrote the record.
        EncodingError: The bytes are not a result record, or exceed the limits.
        BadSignature, UnknownKey: It is sealed, and this process did not accept or could not open it.
    """
    record = as_bytes(data, "record")
    begin = split(record, RECORD_KIND, "record")
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
    return is_frame(as_bytes(data, "record"), RECORD_KIND)


def is_sealed(data: bytes) -> bool:
    """Whether a record is signed or encrypted."""
    return len(data) > 1 and RECORD_KIND < data[1] < RECORD_KIND + REFUSED


def is_encrypted(data: bytes) -> bool:
    """Whether a record is encrypted."""
    return data[1:2] == bytes([RECORD_KIND + 2])


def is_refused(data: bytes) -> bool:
    """Whether a record was read from Redis and not accepted."""
    return data[1:2] == bytes([RECORD_KIND + REFUSED])


def _fields(record: bytes, begin: int) -> dict[str, Any]:
    """Decode the fields; known ones of the wrong type or out of bounds are left out, because a record is displayed."""
    fields = decode_header(record, begin, FIELDS_LIMITS, "record")
    for name, kind in _RECORD_TYPES.items():
        if name in fields and not _is_of(fields[name], kind):
            del fields[name]
    return fields


def _is_of(value: Any, kind: type) -> bool:
    if kind is list:
        return type(value) is list and all(type(one) is str for one in value)
    if type(value) is int:
        return kind is int and 0 <= value < NUMBER_MOST
    return type(value) is kind
