"""The msgpack dialect of jobfleet: packing and unpacking, with the extension types.

Nothing here checks limits; `jobfleet.codec.payload` does, before and after.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from msgpack import ExtType, Packer, unpackb

from jobfleet.codec.extensions import BY_CODE, BY_TYPE, NESTED_CODES, ZONED_CODES, Unreadable, Untravelable, zone_lost

ARRAY_HEADERS: Final = frozenset([*range(0x90, 0xA0), 0xDC, 0xDD])


def _default(value: object) -> ExtType:
    extension = BY_TYPE.get(type(value))
    if extension is None:
        raise Untravelable
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
