"""Encoding and decoding of values within limits, in the msgpack dialect of jobfleet."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from datetime import time
from decimal import Decimal
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NoReturn

from msgpack import ExtraData, ExtType, Packer, unpackb

from jobfleet.codec.extensions import (
    BY_CODE,
    BY_TYPE,
    NESTED_CODES,
    NESTED_TYPES,
    SCALAR_TYPES,
    ZONED_CODES,
    NotEncodable,
    Unreadable,
    decimal_fits,
    refusal_of,
    zone_lost,
)
from jobfleet.errors import EncodingError
from jobfleet.secret import Secret

if TYPE_CHECKING:
    from jobfleet.config.table import JobConfig


# Encoding and decoding of values within limits.
#
# These types keep their exact type: None, bool, int (64 bits), float, str, bytes, list, tuple, set, frozenset, dict
# with keys of str, int or bytes, and datetime, date, time, timedelta, Decimal, UUID. The encoder refuses all other
# types and names the place, rather than convert them silently. If foreign bytes repeat a map key, the last value
# wins.


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


# The msgpack dialect of jobfleet: packing and unpacking, with the extension types.
#
# Nothing here checks limits; `encode` and `decode` do, before and after.


ARRAY_HEADERS: Final = frozenset([*range(0x90, 0xA0), 0xDC, 0xDD])


def _default(value: object) -> ExtType:
    extension = BY_TYPE.get(type(value))
    if extension is None:
        raise NotEncodable
    body = extension.dump(value)
    return ExtType(extension.code, pack(body) if extension.nested else body)


def pack(value: object) -> bytes:
    """Pack a value.

    A packer is neither thread-safe nor re-entrant, and nested extensions re-enter it. A new one costs 0.1 µs, which is
    less than a thread-local stack of packers.
    """
    packed: bytes = Packer(default=_default, strict_types=True, use_bin_type=True).pack(value)
    return packed


def _load(code: int, body: bytes, unpack_nested: Callable[[bytes], Any]) -> object:
    extension = BY_CODE.get(code)
    if extension is None:
        raise Unreadable(f"unknown extension type {code}")
    if not extension.nested:
        return extension.load(body)
    if not body or body[0] not in ARRAY_HEADERS:  # so that the scan sees every level as a container byte
        raise Unreadable("malformed sequence")
    return extension.load(unpack_nested(body))


def _strict_hook(code: int, body: bytes) -> object:
    return _load(code, body, unpack)


def _loose_hook(code: int, body: bytes) -> object:
    return _load(code, body, unpack_any_keys)


# Every max_*_len keeps its default, the size of the data: no item can be longer. With a constant, five bytes
# could reserve memory for as many items as the constant allows.
_OPTIONS: Final[dict[str, Any]] = {"raw": False, "timestamp": 3}

unpack: Final[Callable[[bytes], Any]] = partial(unpackb, ext_hook=_strict_hook, strict_map_key=True, **_OPTIONS)
"""Unpack a value whose map keys are all text or bytes; may raise any `Exception`."""

unpack_any_keys: Final[Callable[[bytes], Any]] = partial(
    unpackb, ext_hook=_loose_hook, strict_map_key=False, **_OPTIONS
)
"""Unpack a value whose keys passed `structure.scan`; may raise any `Exception`."""


def lost_in(data: bytes) -> tuple[str, ...]:
    """Return the time zones that unpacking loses on this machine, each once. The value must be valid."""
    found: dict[str, None] = {}

    def note(code: int, body: bytes) -> None:
        if code in NESTED_CODES:
            unpackb(body, ext_hook=note, strict_map_key=False, **_OPTIONS)
        elif code in ZONED_CODES and (zone := zone_lost(body)) is not None:
            found[zone] = None

    unpackb(data, ext_hook=note, strict_map_key=False, **_OPTIONS)
    return tuple(found)


# A scan of msgpack bytes that builds no objects: it finds the depth, the number of containers and the kinds of keys.
#
# To decode first and count later would be too late: 64 KiB of empty maps become 4.7 MB of objects, and for every
# array header msgpack reserves memory for the claimed number of items.


SMALL: Final = 4096
"""Up to this size, false claims reserve at most 8 bytes x 4096 items x `max_depth`, which is harmless."""

_CONTAINERS: Final = frozenset([*range(0x80, 0xA0), *range(0xDC, 0xE0)])
_MARKS: Final = bytes(byte in _CONTAINERS for byte in range(256))
_MAPS: Final = frozenset([*range(0x80, 0x90), 0xDE, 0xDF])
_KEYS: Final = frozenset(
    [*range(0x80), *range(0xE0, 0x100), *range(0xCC, 0xD4), *range(0xA0, 0xC0), 0xD9, 0xDA, 0xDB, 0xC4, 0xC5, 0xC6]
)
_BYTES_LENGTHS: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_EXT_LENGTHS: Final = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_CONTAINER_LENGTHS: Final = {0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}
_FIXEXT: Final = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}


def _step(byte: int) -> int:
    """Return the total size of a scalar whose first byte determines it, otherwise 0."""
    fixed = {0xC0: 1, 0xC2: 1, 0xC3: 1, 0xCA: 5, 0xCB: 9}
    fixed |= {0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9, 0xD0: 2, 0xD1: 3, 0xD2: 5, 0xD3: 9}
    if byte < 0x80 or byte >= 0xE0:
        return 1
    if 0xA0 <= byte < 0xC0:
        return byte - 0xA0 + 1
    return fixed.get(byte, 0)


_STEPS: Final = tuple(map(_step, range(256)))


def may_nest(data: bytes, max_depth: int) -> bool:
    """Check cheaply whether data needs a scan; False means that its nesting cannot exceed `max_depth`.

    Every byte that could start a container is counted, wherever it is. The count is therefore an upper bound of the
    number of containers and of the depth, extension bodies included.
    """
    size = len(data)
    return size > max_depth and (size > SMALL or data.translate(_MARKS).count(1) > max_depth)


def scan(data: bytes, max_depth: int, max_containers: int) -> int:
    """Walk the whole structure in linear time and without recursion.

    Returns:
        The number of containers.

    Raises:
        Unreadable: Truncated, too deep, too many containers, trailing bytes, or a map key
            that is not text, an integer or bytes.
    """
    try:
        return _scan(data, max_depth, max_containers)
    except IndexError:
        raise Unreadable("truncated") from None


def _scan(data: bytes, max_depth: int, max_containers: int) -> int:
    steps, keys = _STEPS, _KEYS
    position, remaining, is_map, end, depth, containers = 0, 1, False, len(data), 0, 0
    stack: list[tuple[int, bool, int, int]] = []
    while True:
        while not remaining:
            if not stack:
                return _finish(position, end, containers)
            if depth == stack[-1][3]:  # an extension's body ends here
                _finish(position, end, containers)
            remaining, is_map, end, depth = stack.pop()
        byte = data[position]
        if is_map and not remaining & 1 and byte not in keys:
            raise Unreadable("a map key that is not text, an integer or bytes")
        remaining -= 1
        step = steps[byte]
        if step:
            position += step
        elif byte in _CONTAINERS:
            items, position = _items(data, position, byte)
            containers += 1
            if depth >= max_depth:
                raise Unreadable(f"nested deeper than {max_depth} levels")
            if containers > max_containers:
                raise Unreadable(f"more than {max_containers} containers")
            stack.append((remaining, is_map, end, depth))
            is_map = byte in _MAPS
            remaining, depth = items << is_map, depth + 1
        else:
            code, body, after = _leaf(data, position, byte)
            position = after
            if code in NESTED_CODES:
                if after > end or data[body] not in ARRAY_HEADERS:
                    raise Unreadable("malformed sequence")
                stack.append((remaining, is_map, end, depth))
                position, remaining, is_map, end = body, 1, False, after


def _finish(position: int, end: int, containers: int) -> int:
    if position != end:
        raise Unreadable("truncated, or bytes follow the value")
    return containers


def _items(data: bytes, position: int, byte: int) -> tuple[int, int]:
    """Read a container's header: the number of items and the offset of the first."""
    if byte < 0xA0:
        return byte & 0x0F, position + 1
    body = position + 1 + _CONTAINER_LENGTHS[byte]
    return int.from_bytes(data[position + 1 : body], "big"), body


def _leaf(data: bytes, position: int, byte: int) -> tuple[int | None, int, int]:
    """Read the header of a str, bin or ext: the extension code, and the start and end offsets of the body."""
    if byte in _FIXEXT:
        return data[position + 1], position + 2, position + 2 + _FIXEXT[byte]
    is_ext = byte in _EXT_LENGTHS
    width = (_EXT_LENGTHS if is_ext else _BYTES_LENGTHS).get(byte)
    if width is None:
        raise Unreadable("not msgpack")
    body = position + 1 + width
    size = int.from_bytes(data[position + 1 : body], "big")
    return (data[body], body + 1, body + 1 + size) if is_ext else (None, body, body + size)


# The fast check of each value before it is encoded; `refusal` finds the cause of a failure.


KEY_TYPES: Final = frozenset([str, int, bytes])
LEAF_TYPES: Final = frozenset([type(None), bool, int, float, str, bytes]) | SCALAR_TYPES
SEQUENCE_TYPES: Final = (NESTED_TYPES - {Secret}) | {list}


class TooDeep(ValueError):
    """The nesting exceeds the limit; a structure that contains itself always does."""


class TooMany(ValueError):
    """The number of containers exceeds the limit."""


def measure(value: Any, room: int, budget: int) -> int:
    """Count the containers in a container; only the exact type of each value is checked.

    Args:
        room: Maximum number of levels, this one included.
        budget: Maximum number of containers. It is checked during the count, because a list of shared lists can
            expand to any number.

    Raises:
        NotEncodable: A value or a map key has a type that cannot be encoded.
        TooDeep, TooMany: The structure exceeds a limit.
    """
    if room <= 0:
        raise TooDeep
    if type(value) is dict:
        for key in value:
            if type(key) not in KEY_TYPES:
                raise NotEncodable
        value = value.values()
    elif type(value) not in SEQUENCE_TYPES:
        if type(value) is not Secret:
            raise NotEncodable
        value = (value.reveal(),)
    count = 1
    for child in value:
        if type(child) not in LEAF_TYPES:
            count += measure(child, room - 1, budget - count)
            if count > budget:
                raise TooMany
    return count


# Assemble a value from parts that are encoded: the bytes are those that `encode` returns for the whole value.
#
# A large value need not exist as one structure then. Thousands of lists at once make the garbage collector search
# them.


def encode_row(row: list[Any], *, what: str) -> bytes:
    """Encode a list like `encode`, but look for what cannot be encoded only if there is something.

    Raises:
        EncodingError: A value has a type that cannot be encoded.
    """
    try:
        return pack(row)
    except Exception:  # noqa: BLE001 - `encode` raises the error that names the place
        return encode(row, what=what)


def list_of(parts: Sequence[bytes]) -> bytes:
    """Return an encoded list of encoded values."""
    header: bytes = Packer().pack_array_header(len(parts))
    return header + b"".join(parts)


def map_of(fields: Mapping[str, bytes], *, limits: Limits, what: str) -> bytes:
    """Return an encoded map of encoded values.

    Raises:
        EncodingError: It is larger than the limits allow.
    """
    header: bytes = Packer().pack_map_header(len(fields))
    packed = header + b"".join([part for name, body in fields.items() for part in (pack(name), body)])
    if len(packed) > limits.max_bytes:
        raise too_large(len(packed), limits, what)
    return packed


# The slow search for what in a value cannot be encoded, after `measure` or the packer has failed.


_GENERIC: Final = "pass plain data or a reference"
_BUFFERS: Final = (bytearray, memoryview)


def refuse(value: object, what: str, room: int, budget: int, cause: BaseException) -> NoReturn:
    """Raise an `EncodingError` with the place and the remedy.

    Args:
        cause: The error of the fast check or of the packer.
    """
    field = what.partition("[")[0]
    if isinstance(cause, TooMany):
        text = f"more than {budget:,} containers; send fewer, or store them elsewhere and pass a reference."
        raise EncodingError(f"{what}: {text}", field=field, path=what) from None
    path, reason = _search(value, what, room) or (what, f"{type(value).__name__} cannot be packed; {_GENERIC}")
    raise EncodingError(f"{path}: {reason}.", field=field, path=path) from cause


def _search(value: Any, path: str, room: int) -> tuple[str, str] | None:
    """Find the first value that cannot be encoded; return its path and the reason."""
    kind = type(value)
    if kind in LEAF_TYPES:
        reason = _leaf_reason(value)
        return (path, reason) if reason else None
    if kind is not dict and kind is not Secret and kind not in SEQUENCE_TYPES:
        return path, f"{kind.__name__} cannot be encoded; {_hint(value)}"
    if room <= 0:
        return path, "nested too deep, or it contains itself; flatten it or pass a reference"
    for step, child in _children(value):
        found = _key_reason(path, step) if kind is dict else None
        inner = f"{path}[{_short(step)}]" if step is not None else f"{path}{{...}}"
        found = found or _search(child, inner, room - 1)
        if found:
            return found
    return (path, "a set of colliding members cannot be encoded; pass a list") if _collides(value) else None


def _children(value: Any) -> list[tuple[Any, Any]]:
    if type(value) is dict:
        return list(value.items())
    if type(value) in (list, tuple):
        return list(enumerate(value))
    if type(value) is Secret:
        return [(None, value.reveal())]
    return [(None, member) for member in value]


def _key_reason(path: str, key: Any) -> tuple[str, str] | None:
    if type(key) not in KEY_TYPES:
        return path, f"a map key of type {type(key).__name__} cannot be encoded; use str, int or bytes"
    reason = _leaf_reason(key)
    return (path, f"in a map key, {reason}") if reason else None


def _leaf_reason(value: Any) -> str | None:
    """Return why a value cannot be encoded although its type can, or None."""
    if type(value) is int and not -(2**63) <= value < 2**64:
        return "int beyond 64 bits cannot be encoded; pass it as str"
    if type(value) is str and not _is_unicode(value):
        return "str with lone surrogates cannot be encoded; pass bytes"
    if type(value) is Decimal and not decimal_fits(value):
        return "Decimal out of range cannot be encoded; pass it as str"
    if type(value) is time and value.tzinfo is not None:
        return _dumping_reason(value, "time in a zone without a usable offset cannot be encoded; pass a datetime")
    return _dumping_reason(
        value, f"{type(value).__name__} in a zone without a usable offset cannot be encoded; {_GENERIC}"
    )


def _dumping_reason(value: Any, reason: str) -> str | None:
    extension = BY_TYPE.get(type(value))
    if extension is None:
        return None
    try:
        extension.dump(value)
    except Exception:  # noqa: BLE001 - a foreign tzinfo may raise anything
        return reason
    return None


def _collides(value: Any) -> bool:
    try:
        return type(value) in NESTED_TYPES and not isinstance(BY_TYPE[type(value)].dump(value), list)
    except Unreadable:
        return True


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _short(step: Any) -> str:
    """Spell a key as Python does, shortened."""
    try:
        return reprlib.repr(step)
    except Exception:  # noqa: BLE001 - an int may exceed the number of digits that Python prints
        return "..."


_HINTS: Final[tuple[tuple[Callable[[Any], bool], str], ...]] = (
    (inspect.isawaitable, "await it; a function that awaits is an async def"),
    (lambda value: isinstance(value, Enum), "pass .value"),
    (lambda value: isinstance(value, tuple) and hasattr(value, "_asdict"), "pass ._asdict() or tuple(...)"),
    (lambda value: isinstance(value, _BUFFERS), "pass bytes(...)"),
    (lambda value: is_dataclass(value) and not isinstance(value, type), "pass dataclasses.asdict(...)"),
    (lambda value: callable(getattr(value, "model_dump", None)), "pass .model_dump()"),
)


def _hint(value: object) -> str:
    for applies, hint in _HINTS:
        if applies(value):
            return hint
    for base in type(value).__mro__[1:]:
        if base in LEAF_TYPES or base in SEQUENCE_TYPES or base is dict:
            return f"pass a plain {base.__name__}"
    return _GENERIC
