"""A scan of msgpack bytes that builds no objects: it finds the depth, the number of containers and the kinds of keys.

To decode first and count later would be too late: 64 KiB of empty maps become 4.7 MB of objects, and for every array
header msgpack reserves memory for the claimed number of items.
"""

from __future__ import annotations

from typing import Final

from jobfleet.codec.extensions import NESTED_CODES, Unreadable
from jobfleet.codec.wire import ARRAY_HEADERS

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
