"""The envelope of a job: what is known of it when it is enqueued, and the call itself.

`version | algorithm | header length | header | body`, where the body is `[args, kwargs]`. It never
changes while its job is open; that of a dead one may be written anew, with another body. Algorithm 0
is plain; others are reserved for signed and encrypted envelopes, 0x52 is taken by result records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from jobfleet.codec.frame import decode_header, encode_header, frame, is_text_map, split
from jobfleet.codec.payload import DEFAULT, Bytes, Limits, as_bytes, decode_at, encode_at, renamed, unreadable
from jobfleet.codec.refusal import LEAF_TYPES
from jobfleet.codec.wire import lost_in, pack
from jobfleet.errors import EncodingError

PLAIN: Final = 0
REMEMBERED_BYTES: Final = 256
HEADER_LIMITS: Final = Limits(max_bytes=1 << 16, max_containers=4096)

HEADER_KEYS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "function": "registered name of the function to call",
        "name": "what people call this job, where it differs from the function",
        "enqueued_at": "when it was enqueued, microseconds since 1970, by the producer's clock",
        "moved_from": "id it had in the queue it comes from",
        # Policy. An absent key means: as the function, the queue or the fleet has it.
        "max_retries": "how often a failure is tried again",
        "retry_delay": "microseconds before the first retry",
        "retry_backoff": "factor by which the delay grows",
        "retry_jitter": "whether 50 to 100 % of the delay is taken at random",
        "max_crashes": "how many lost workers are forgiven",
        "timeout": "microseconds after which the function is asked to stop",
        "hard_timeout": "microseconds after which a run is ended by force",
        "result_ttl": "microseconds the result is kept",
        "expires_at": "microseconds since 1970 after which it is not started any more",
        # Given by the producer, shown to people.
        "tags": "list of short texts",
        "metadata": "map of plain values",
        "user": "on whose behalf",
        "session": "in which session of that user",
        "group": "whom it belongs to among those who share its queue",
        "correlation_id": "ties together jobs that stem from one request",
        # Reserved.
        "trace": "W3C trace context",
        "kid": "id of the key that signed or encrypted the body",
        "flow": "flow it is a step of",
        "parents": "ids of the jobs it waits for",
        "unique": "the unique key it was enqueued with",
        "nominal": "for a scheduled run: the time it stands for, microseconds since 1970",
        "schema": "version of the function's arguments",
        "batch": "batch it was enqueued with",
    }
)
"""Reserved keys and their meaning. Unset keys are absent; unknown keys survive a round trip."""

_TYPES: Final[Mapping[str, tuple[type, ...]]] = MappingProxyType(
    {
        **dict.fromkeys(
            ("function", "name", "user", "session", "correlation_id", "moved_from", "unique", "group"), (str,)
        ),
        **dict.fromkeys(
            ("enqueued_at", "max_retries", "max_crashes", "retry_delay", "timeout", "result_ttl", "nominal"), (int,)
        ),
        "retry_backoff": (int, float),
        "retry_jitter": (bool,),
        "tags": (list,),
        "metadata": (dict,),
    }
)
"""What the keys that this version reads must hold; whoever reads a header may rely on it."""

_FRAMING_LEVELS: Final = 2  # the body's list, and args or kwargs: the caller's limit starts inside


class OpenedEnvelope(NamedTuple):
    """An opened envelope."""

    header: dict[str, Any]
    args: list[Any]
    kwargs: dict[str, Any]


def seal(
    header: Mapping[str, object],
    args: Sequence[object] = (),
    kwargs: Mapping[str, object] = MappingProxyType({}),
    *,
    limits: Limits = DEFAULT,
) -> bytes:
    """Write an envelope.

    Args:
        limits: Bounds of args and kwargs together; depth counts from each argument.

    Raises:
        EncodingError: Something does not travel; `path` reads `args[0]['df']`,
            `kwargs['df']` or `metadata['df']`.
    """
    return seal_call(encode_head(header), args, kwargs, limits=limits)


def encode_head(header: Mapping[str, object]) -> bytes:
    """Encode what stands before the body, once for many envelopes that share it.

    Raises:
        EncodingError: Something in it does not travel.
    """
    return frame(PLAIN, encode_header(header, HEADER_LIMITS, "header"), b"")


def seal_call(
    head: bytes,
    args: Sequence[object] = (),
    kwargs: Mapping[str, object] = MappingProxyType({}),
    *,
    limits: Limits = DEFAULT,
) -> bytes:
    """Write an envelope whose head is encoded already; see `seal`."""
    call = [list(args), dict(kwargs)]
    if not kwargs and LEAF_TYPES.issuperset(map(type, args)):  # most calls: nothing nests, so nothing is to be measured
        try:
            body = pack(call)
        except Exception:  # noqa: BLE001 - whatever it was, the way below names it
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
    """Read the header alone; the body is neither decoded nor checked.

    Raises:
        EnvelopeTooNew: A later jobfleet wrote it: park the job.
        EncodingError: It is no envelope.
    """
    data = envelope if type(envelope) is bytes else as_bytes(envelope, "envelope")
    return dict(_header_of(data, split(data, PLAIN, "envelope")))


def amended(envelope: Bytes, changes: Mapping[str, object]) -> bytes:
    """Write the same envelope with other header fields; its body stays as it is.

    Raises:
        EnvelopeTooNew: A later jobfleet wrote it.
        EncodingError: It is no envelope, or a field does not travel.
    """
    data = as_bytes(envelope, "envelope")
    begin = split(data, PLAIN, "envelope")
    return encode_head({**_header_of(data, begin), **changes}) + data[begin:]


def recalled(
    envelope: Bytes, args: Sequence[object], kwargs: Mapping[str, object], *, limits: Limits = DEFAULT
) -> bytes:
    """Write the same envelope with another call; its header stays as it is, byte for byte.

    Raises:
        EnvelopeTooNew: A later jobfleet wrote it.
        EncodingError: Its header cannot be read, or something does not travel; `path` as `seal` has it.
    """
    data = as_bytes(envelope, "envelope")
    begin = split(data, PLAIN, "envelope")
    _header_of(data, begin)
    return seal_call(data[:begin], args, kwargs, limits=limits)


def zones_lost(envelope: Bytes) -> tuple[str, ...]:
    """The zones of times among the arguments that this machine does not know, so that opening them loses their names.

    To be asked of an envelope that `open_envelope` has read.
    """
    data = as_bytes(envelope, "envelope")
    return lost_in(data[split(data, PLAIN, "envelope") :])


def open_envelope(envelope: Bytes, *, limits: Limits = DEFAULT) -> OpenedEnvelope:
    """Read an envelope; whatever the bytes, nothing but the two errors below leaves.

    Raises:
        EnvelopeTooNew: A later jobfleet wrote it: park the job.
        EncodingError: It is no envelope, or out of bounds.
    """
    data = envelope if type(envelope) is bytes else as_bytes(envelope, "envelope")
    begin = split(data, PLAIN, "envelope")
    header = _header_of(data, begin)
    body = decode_at(data[begin:], limits.max_depth + _FRAMING_LEVELS, limits, "envelope body")
    if type(body) is not list or len(body) != 2:
        raise unreadable("envelope body", "it is not a pair of args and kwargs")
    args, kwargs = body
    if type(args) is not list or not is_text_map(kwargs):
        raise unreadable("envelope body", "args is not a list, or kwargs not a map with keys of text")
    return OpenedEnvelope(header, args, kwargs)


def _header_of(data: bytes, begin: int) -> dict[str, Any]:
    """Decode a header, or remember it: jobs of one function share theirs, byte for byte. Not to be changed."""
    if begin > REMEMBERED_BYTES:
        return _checked(decode_header(data, begin, HEADER_LIMITS, "envelope header"))
    return _remembered(data[:begin])


@lru_cache(maxsize=1024)
def _remembered(head: bytes) -> dict[str, Any]:
    return _checked(decode_header(head, len(head), HEADER_LIMITS, "envelope header"))


def _checked(header: dict[str, Any]) -> dict[str, Any]:
    """Refuse a header whose known keys hold what they cannot."""
    for key, kinds in _TYPES.items():
        if key in header and type(header[key]) not in kinds:
            raise unreadable("envelope header", f"{key} is of the wrong type")
    if not all(type(tag) is str for tag in header.get("tags", ())):
        raise unreadable("envelope header", "tags holds what is no text")
    numbers = (
        header.get(key, 0)
        for key in ("enqueued_at", "retry_delay", "timeout", "result_ttl", "max_retries", "max_crashes", "nominal")
    )
    if any(not 0 <= number < 1 << 53 for number in numbers) or not 1 <= header.get("retry_backoff", 1) <= 100:
        raise unreadable("envelope header", "a number is out of bounds")
    return header


def _blame_argument(error: EncodingError) -> EncodingError:
    for opening, field in (("body[0]", "args"), ("body[1]", "kwargs")):
        if error.path.startswith(opening):
            return renamed(error, field + error.path[len(opening) :], field)
    return renamed(error, "args", "args")
