"""Encoding and decoding of values within limits.

These types keep their exact type: None, bool, int (64 bits), float, str, bytes, list, tuple, set, frozenset, dict with
keys of str, int or bytes, and datetime, date, time, timedelta, Decimal, UUID. The encoder refuses all other types and
names the place, rather than convert them silently. If foreign bytes repeat a map key, the last value wins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from msgpack import ExtraData

from jobfleet.codec.extensions import Unreadable
from jobfleet.codec.measure import LEAF_TYPES, measure
from jobfleet.codec.refused import refusal_of
from jobfleet.codec.structure import may_nest, scan
from jobfleet.codec.wire import pack, unpack, unpack_any_keys
from jobfleet.errors import EncodingError

if TYPE_CHECKING:
    from jobfleet.config import JobConfig

Bytes = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The maximum size of a value.

    Attributes:
        max_bytes: Encoded size in bytes.
        max_depth: Levels of nesting, 1..128; a scalar has none.
        max_containers: Total number of lists, maps and so on. An empty one takes one byte to send but 70 bytes of
            memory.
        setting: Name of the setting that raises `max_bytes`; empty if there is none.
    """

    max_bytes: int = 1 << 20
    max_depth: int = 32
    max_containers: int = 100_000
    setting: str = "max_payload"

    def __post_init__(self) -> None:
        if self.max_bytes < 1:
            raise ValueError(f"max_bytes must be positive, not {self.max_bytes}.")
        if not 1 <= self.max_depth <= 128:
            raise ValueError(f"max_depth must be 1..128, not {self.max_depth}.")
        if self.max_containers < self.max_depth:
            raise ValueError(f"max_containers must be at least max_depth, not {self.max_containers}.")


DEFAULT: Final = Limits()


def limits_of(config: JobConfig) -> Limits:
    """The limits of arguments and results: those of the payload store, if there is one."""
    if config.payload_store:
        most = max(config.payload_max, config.payload_threshold)
        return Limits(max_bytes=most, max_depth=config.max_depth, setting="payload_max")
    return Limits(max_bytes=config.max_payload, max_depth=config.max_depth)


def encode(value: object, *, limits: Limits = DEFAULT, what: str = "value") -> bytes:
    """Encode a value.

    Args:
        what: The name of the value in errors: `args`, `result`, …

    Raises:
        EncodingError: A value has a type that cannot be encoded, or a limit is exceeded; `path` names the place.
    """
    return encode_at(value, limits.max_depth, limits, what)


def encode_at(value: object, room: int, limits: Limits, what: str) -> bytes:
    """Encode like `encode`, but with `room` levels instead of `limits.max_depth`."""
    try:
        if type(value) not in LEAF_TYPES:
            measure(value, room, limits.max_containers)
        packed = pack(value)
    except Exception as error:  # noqa: BLE001 - the caller learns the place, whatever the cause
        from jobfleet.codec.refusal import refuse  # most processes encode only what can be encoded

        refuse(value, what, room, limits.max_containers, error)
    if len(packed) > limits.max_bytes:
        raise too_large(len(packed), limits, what)
    return packed


def decode(data: Bytes, *, limits: Limits = DEFAULT, what: str = "value") -> Any:
    """Decode a value. For any bytes, the result is a value or an `EncodingError`.

    Raises:
        EncodingError: The bytes exceed a limit, or `encode` cannot have written them. The message never quotes them.
    """
    return decode_at(data if type(data) is bytes else as_bytes(data, what), limits.max_depth, limits, what)


def decode_at(data: bytes, room: int, limits: Limits, what: str) -> Any:
    """Decode like `decode`, but with `room` levels instead of `limits.max_depth`."""
    if len(data) > limits.max_bytes:
        raise too_large(len(data), limits, what)
    try:
        if may_nest(data, room):
            scan(data, room, limits.max_containers)
        return unpack(data)
    except Exception as error:  # noqa: BLE001 - only EncodingError may leave this function
        first = error
    try:
        if isinstance(first, ValueError) and not isinstance(first, Unreadable):  # possibly int keys
            scan(data, room, limits.max_containers)
            return unpack_any_keys(data)
        reason = _reason(first)
    except Exception as error:  # noqa: BLE001 - as above
        reason = _reason(error)
    raise refusal_of(data, what) or unreadable(what, reason) from None  # the errors above may quote the bytes


def _reason(error: Exception) -> str:
    if isinstance(error, Unreadable):
        return str(error)
    if isinstance(error, UnicodeError):
        return "text that is not UTF-8"
    if isinstance(error, ExtraData):
        return "bytes follow the value"
    return f"malformed ({type(error).__name__})"


def as_bytes(data: Bytes, what: str) -> bytes:
    """Accept any bytes-like object; refuse str, which a client with `decode_responses` would pass."""
    if type(data) is bytes:
        return data
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise unreadable(what, f"bytes expected, not {type(data).__name__}")


def unreadable(what: str, reason: str) -> EncodingError:
    """Build the error for bytes that cannot be decoded."""
    return EncodingError(f"{what}: cannot be read: {reason}.", field=what, path=what)


def too_large(size: int, limits: Limits, what: str) -> EncodingError:
    """Build the error for a value that exceeds the limit."""
    remedy = "store it elsewhere and pass a reference"
    if limits.setting:
        remedy += f", or raise the setting {limits.setting}"
    return EncodingError(f"{what}: {size:,} bytes, the limit is {limits.max_bytes:,}; {remedy}.", field=what, path=what)


def renamed(error: EncodingError, path: str, field: str) -> EncodingError:
    """Build the same error for a place that the caller knows by another path."""
    return EncodingError(path + str(error)[len(error.path) :], field=field, path=path)
