"""The envelope of a job: a header that is known at its enqueue, and the call.

The layout is `version | algorithm | header length | header | body`; the body is `[args, kwargs]`. An envelope never
changes while its job is open. The envelope of a dead letter can be replaced by one with another body. Algorithm 0 is
plain. Other algorithms are reserved for signed and encrypted envelopes; result records use 0x52.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from jobfleet.codec.frame import PAYLOAD, decode_header, encode_header, frame, is_text_map, split, split_head
from jobfleet.codec.measure import LEAF_TYPES
from jobfleet.codec.payload import DEFAULT, Bytes, Limits, as_bytes, decode_at, encode_at, renamed, unreadable
from jobfleet.codec.wire import lost_in, pack
from jobfleet.errors import EncodingError
from jobfleet.model.option_types import Items

PLAIN: Final = 0
REMEMBERED_BYTES: Final = 256
HEADER_LIMITS: Final = Limits(max_bytes=1 << 16, max_containers=4096, setting="")

HEADER_KEYS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "function": "registered name of the function to call",
        "name": "label for people, if it differs from the function",
        "enqueued_at": "time of the enqueue, microseconds since 1970, by the producer's clock",
        "moved_from": "id in the queue that the job was moved from",
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
        # Chosen by the producer, shown to people.
        "tags": "list of short texts",
        "metadata": "map of plain values",
        "user": "user that the job is attributed to",
        "session": "session of that user",
        "group": "group within the queue",
        "correlation_id": "id that is common to all jobs of one request",
        "kid": "id of the key that signed or encrypted the body",
        "fleet": "namespace of the fleet, if it is signed or encrypted",
        # Set by jobfleet, or reserved.
        "trace": "trace context of the enqueue: headers of W3C Trace Context and Baggage by their names",
        "flow": "flow it is a step of",
        "parents": "number of the jobs that it depends on",
        "required": "of those that must have completed, 5 bytes of the BLAKE2b of each id, in a fleet with keys",
        "on_success": "id of the job that runs when it completes",
        "on_failure": "id of the job that runs when it fails or expires",
        "callback": "for such a job: on_success or on_failure",
        "unique": "unique key of the job",
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
_TYPES: Final[Mapping[str, tuple[type, ...]]] = MappingProxyType(
    {
        **dict.fromkeys(
            ("function", "name", "user", "session", "correlation_id", "moved_from", "unique", "group"), (str,)
        ),
        **dict.fromkeys(NUMBERS, (int,)),
        "retry_delays": (list,),
        "retry_backoff": (int, float),
        "retry_jitter": (bool,),
        "tags": (list,),
        "metadata": (dict,),
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
    return frame(PLAIN, encode_header(header, HEADER_LIMITS, "header"), b"")


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
    return dict(_header_of(data, split_head(data, PLAIN, "envelope")))


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
    begin = split(data, PLAIN, "envelope")
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
    begin = split(data, PLAIN, "envelope")
    header = _header_of(data, begin)
    if PAYLOAD in header:
        return seal({name: field for name, field in header.items() if name != PAYLOAD}, args, kwargs, limits=limits)
    return seal_call(data[:begin], args, kwargs, limits=limits)


def zones_lost(envelope: Bytes) -> tuple[str, ...]:
    """Return the time zones in the arguments that this machine does not know, so that decoding loses their names.

    `open_envelope` must have read the envelope before.
    """
    data = as_bytes(envelope, "envelope")
    return lost_in(data[split(data, PLAIN, "envelope") :])


def open_envelope(envelope: Bytes, *, limits: Limits = DEFAULT) -> OpenedEnvelope:
    """Decode an envelope. For any bytes, it raises only the errors below.

    Raises:
        EnvelopeTooNew: A later version of jobfleet wrote the envelope; park the job.
        BodyElsewhere: The arguments are in a payload store.
        EncodingError: The bytes are not an envelope, or exceed the limits.
        BadSignature, UnknownKey: They are sealed, and this process did not accept or could not open them.
    """
    data = envelope if type(envelope) is bytes else as_bytes(envelope, "envelope")
    begin = split(data, PLAIN, "envelope")
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
        return _checked(decode_header(data, begin, HEADER_LIMITS, "envelope header"))
    return _remembered(data[:begin])


@lru_cache(maxsize=1024)
def _remembered(head: bytes) -> dict[str, Any]:
    return _checked(decode_header(head, len(head), HEADER_LIMITS, "envelope header"))


def _checked(header: dict[str, Any]) -> dict[str, Any]:
    """Refuse a header whose known keys have values of the wrong type or out of range."""
    for key, kinds in _TYPES.items():
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
