"""The types that msgpack lacks: one table of extension codes. Marks for bytes that a process does not accept."""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Context, Decimal, InvalidOperation
from functools import cache, lru_cache
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo, available_timezones

from jobfleet.errors import BadSignature, EncodingError, UnknownKey
from jobfleet.secret import Secret

MAX_EXPONENT: Final = 6144
"""The exponent range of IEEE decimal128. A larger exponent would exhaust memory when converted to an int."""

MAX_DECIMAL_TEXT: Final = 6500
MAX_SAME_HASH: Final = 64
MAX_UNKNOWN_ZONES: Final = 64

_TIMEDELTA: Final = struct.Struct(">iII")
_ZONE_KEY: Final = re.compile(r"[A-Za-z0-9_+-]{1,32}(?:/[A-Za-z0-9_+-]{1,32}){0,3}")
_ZONED: Final = re.compile(r"([^\[\]]{1,48})(?:\[([^\[\]]{1,100})\])?")
_SECOND: Final = timedelta(seconds=1)
_FOLD: Final = "fold=1"
_REFUSING: Final = Context(traps=[InvalidOperation])  # independent of the context of the thread


class Unreadable(ValueError):
    """The bytes violate the rules of this codec; the message never quotes them."""


class NotEncodable(TypeError):
    """The value cannot be encoded; `jobfleet.codec.values` finds its place and the reason."""


@dataclass(frozen=True, slots=True)
class Extension:
    """One type that msgpack lacks: its code, with its encoding and decoding.

    A released code never changes its meaning; a new type gets a new code. Scalars are short ASCII text or fixed binary,
    so that a worker in another language can read them. Sequences are a nested msgpack array. Code -1, msgpack's own
    timestamp, is decoded (as UTC) but never encoded.

    Attributes:
        code: The msgpack extension code, 0..127.
        type: The exact type; subclasses cannot be encoded.
        dump: Returns the body of a scalar, or the list to pack for a nested type.
        load: The inverse; may raise anything on hostile input.
        nested: Whether the body is a msgpack array.
    """

    code: int
    type: type
    dump: Callable[[Any], Any]
    load: Callable[[Any], object]
    nested: bool = False


def _key(zone: tzinfo | None) -> str | None:
    """Return the name of a zone that a reader can look up, or None."""
    if type(zone) is ZoneInfo and zone.key and _ZONE_KEY.fullmatch(zone.key):
        return zone.key
    return None


def _bracketed(text: str, moment: datetime | time) -> bytes:
    """Append the zone's key or the fold in the form of RFC 9557."""
    key = _key(moment.tzinfo)
    if key:
        return f"{text}[{key}]".encode()
    if moment.tzinfo is None and moment.fold:
        return f"{text}[{_FOLD}]".encode()
    return text.encode()


def _parts(body: bytes) -> tuple[str, str | None]:
    match = _ZONED.fullmatch(body.decode("ascii"))
    if match is None:
        raise Unreadable("malformed time")
    return match[1], match[2]


_unknown: set[str] = set()
"""Names of time zones that this machine does not know, at most `MAX_UNKNOWN_ZONES`."""


def _zone(key: str) -> ZoneInfo | None:
    """Return the time zone of a name, or None if this machine does not know it.

    A payload may name thousands of zones that do not exist, and each lookup searches files. After
    `MAX_UNKNOWN_ZONES` failed lookups, only listed names are looked up.
    """
    if key in _unknown or not _ZONE_KEY.fullmatch(key):
        return None
    if len(_unknown) >= MAX_UNKNOWN_ZONES and key not in _listed():
        return None
    try:
        return _found(key)
    except (LookupError, ValueError, OSError):  # unknown, not a zone file, or a directory such as "America"
        if len(_unknown) < MAX_UNKNOWN_ZONES:
            _unknown.add(key)
        return None


_found = lru_cache(maxsize=256)(ZoneInfo)


@cache
def _listed() -> frozenset[str]:
    """The names of all time zones of this machine; the cache avoids another search of its files."""
    return frozenset(available_timezones())


def _refuse_tiny_offset(offset: timedelta | None) -> None:
    """Refuse an offset that `fromisoformat` would read as UTC; no time zone on Earth has one."""
    if offset and abs(offset) < _SECOND:
        raise NotEncodable


def _dump_datetime(value: datetime) -> bytes:
    if value.tzinfo is not None:
        _refuse_tiny_offset(value.utcoffset())
    return _bracketed(value.isoformat(), value)


def _load_datetime(body: bytes) -> datetime:
    """Restore the exact instant and offset, and the zone if it still has this offset at this instant."""
    text, tag = _parts(body)
    value = datetime.fromisoformat(text)
    if tag is None:
        return value
    if tag == _FOLD:
        return value.replace(fold=1)
    zone, offset = _zone(tag), value.utcoffset()
    if zone is None or offset is None:
        return value
    for fold in (0, 1):
        zoned = value.replace(tzinfo=zone, fold=fold)
        if zoned.utcoffset() == offset:
            return zoned
    return value  # the rules of the zone differ between writer and reader: keep the instant


def _dump_time(value: time) -> bytes:
    if value.tzinfo is not None:
        offset = value.utcoffset()
        if offset is None and not _key(value.tzinfo):  # its text would equal that of a naive time
            raise NotEncodable
        _refuse_tiny_offset(offset)
    return _bracketed(value.isoformat(), value)


def _load_time(body: bytes) -> time:
    text, tag = _parts(body)
    value = time.fromisoformat(text)
    if tag is None:
        return value
    if tag == _FOLD:
        return value.replace(fold=1)
    zone = _zone(tag)
    if zone is not None:
        return value.replace(tzinfo=zone)
    if value.tzinfo is None:
        raise Unreadable("a time in a zone unknown to this machine")
    return value


def zone_lost(body: bytes) -> str | None:
    """Return the zone of an encoded datetime or time if this machine does not know it, so that decoding loses it."""
    _, tag = _parts(body)
    return tag if tag not in (None, _FOLD) and _zone(str(tag)) is None else None


def _dump_timedelta(value: timedelta) -> bytes:
    return _TIMEDELTA.pack(value.days, value.seconds, value.microseconds)


def _load_timedelta(body: bytes) -> timedelta:
    days, seconds, microseconds = _TIMEDELTA.unpack(body)
    return timedelta(days, seconds, microseconds)


def decimal_fits(value: Decimal) -> bool:
    """Whether a Decimal is small enough for safe computation by the reader."""
    return -MAX_EXPONENT <= value.adjusted() <= MAX_EXPONENT and len(str(value)) <= MAX_DECIMAL_TEXT


def _dump_decimal(value: Decimal) -> bytes:
    if not decimal_fits(value):
        raise NotEncodable
    return str(value).encode()


def _load_decimal(body: bytes) -> Decimal:
    if len(body) > MAX_DECIMAL_TEXT:
        raise Unreadable("Decimal too long")
    try:
        value = Decimal(body.decode("ascii"), _REFUSING)
    except InvalidOperation:
        raise Unreadable("malformed Decimal") from None
    if not decimal_fits(value):
        raise Unreadable("Decimal out of range")
    return value


def _load_uuid(body: bytes) -> UUID:
    return UUID(bytes=body)


def _members(items: Collection[Any]) -> list[Any]:
    """List the members of a set; refuse members with colliding hashes, because to build the set would be quadratic.

    The hashes of numbers and tuples are not salted, so a writer can choose them. For example, all tuples of -1 and -2
    of one length have the same hash.
    """
    if len(items) > MAX_SAME_HASH and max(Counter(map(hash, items)).values()) > MAX_SAME_HASH:
        raise Unreadable("set of colliding members")
    return list(items)


def _only(items: list[Any]) -> Secret[Any]:
    (value,) = items
    return Secret(value)


TABLE: Final = (
    Extension(1, datetime, _dump_datetime, _load_datetime),
    Extension(2, date, lambda value: value.isoformat().encode(), lambda body: date.fromisoformat(body.decode("ascii"))),
    Extension(3, time, _dump_time, _load_time),
    Extension(4, timedelta, _dump_timedelta, _load_timedelta),
    Extension(5, Decimal, _dump_decimal, _load_decimal),
    Extension(6, UUID, lambda value: value.bytes, _load_uuid),
    Extension(7, tuple, list, tuple, nested=True),
    Extension(8, set, _members, lambda items: set(_members(items)), nested=True),
    Extension(9, frozenset, _members, lambda items: frozenset(_members(items)), nested=True),
    Extension(10, Secret, lambda secret: [secret.reveal()], _only, nested=True),
)

BY_TYPE: Final = {extension.type: extension for extension in TABLE}
BY_CODE: Final = {extension.code: extension for extension in TABLE}
ZONED_CODES: Final = frozenset(BY_TYPE[kind].code for kind in (datetime, time))
NESTED_CODES: Final = frozenset(extension.code for extension in TABLE if extension.nested)
SCALAR_TYPES: Final = frozenset(extension.type for extension in TABLE if not extension.nested)
NESTED_TYPES: Final = frozenset(extension.type for extension in TABLE if extension.nested)


# Marks for bytes that a process has read and does not accept: only the code that decodes them gets the error.


MARK: Final = 0xC1
"""The first byte of sealed or refused bytes. msgpack never uses it, so no plain value begins with it."""
SEALED_FORMAT, BOUND_FORMAT = 1, 2
"""The formats of sealed bytes: without and with the fleet in the associated data."""
_REFUSED: Final = bytes([MARK, 0])
SEALED: Final = (bytes([MARK, SEALED_FORMAT]), bytes([MARK, BOUND_FORMAT]))
"""How sealed bytes begin."""


def reason_of(error: BadSignature | UnknownKey) -> bytes:
    """Encode an error."""
    kid = error.kid if isinstance(error, UnknownKey) else ""
    return f"{kid}\n{error.path}\n{error}".encode()


def refusal(reason: bytes) -> EncodingError:
    """Decode what `reason_of` has encoded."""
    kid, _, rest = reason.decode("utf-8", "replace").partition("\n")
    what, _, text = rest.partition("\n")
    return UnknownKey(kid, what=what) if kid else BadSignature(text or None, what=what)


def refused_value(error: BadSignature | UnknownKey) -> bytes:
    """What a value becomes that is not accepted; no decoder reads it."""
    return _REFUSED + reason_of(error)


def is_refused_value(data: bytes) -> bool:
    """Whether bytes were not accepted."""
    return data[:2] == _REFUSED


def refusal_of(data: bytes, what: str) -> EncodingError | None:
    """The error for bytes that were refused, or that are still sealed; None for other bytes."""
    if data[:2] == _REFUSED:
        return refusal(data[2:])
    if data[:2] in SEALED:
        return UnknownKey(data[4 : 4 + data[3]].decode("utf-8", "replace") if len(data) > 3 else "", what=what)
    return None
