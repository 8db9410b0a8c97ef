"""Poisons generated from what keys hold: each key, each type, and the extremes of each value.

Nothing here names a key. A key that is declared in the key table is poisoned as soon as a world has one of it.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import msgpack
import redis

BAD = b"\xff\xfe\xfd"
LAST = "18446744073709551615-18446744073709551615"
LARGE = 10 * 1024 * 1024
VALUES: dict[str, bytes] = {
    "empty": b"", "garbage": b"garbage", "not UTF-8": BAD, "zero byte": b"a\0b", "inf": b"inf", "-inf": b"-inf",
    "nan": b"nan", "2^63": b"9223372036854775808", "-2^63": b"-9223372036854775809", "400 digits": b"9" * 400,
    "-1": b"-1", "0": b"0", "nil": b"\xc0", "an empty list": b"\x90", "an empty map": b"\x80", "spaces": b"a b c d e f",
    "10 MB": b"x" * LARGE, "10 MB of digits": b"9" * LARGE, "10 MB of words": b"1 " * (LARGE // 2),
}  # fmt: skip
WORDS: dict[str, bytes] = {
    "x": b"x",
    "inf": b"inf",
    "nan": b"nan",
    "2^63": b"9223372036854775808",
    "-1": b"-1",
    "": b"",
}
LEAVES: dict[str, object] = {
    "nil": None, "text": "x", "-1": -1, "inf": float("inf"), "nan": float("nan"), "2^63": 2**63, "list": [], "map": {},
    "bytes": BAD,
}  # fmt: skip
SCORES = ("+inf", "-inf", "0.5", "-1", "0", "9223372036854775808", "-9223372036854775809", "1e300")
TYPES = ("string", "list", "set", "zset", "hash", "stream")
FIELDS_MOST = 24
"""Fields of a hash that are poisoned one by one."""
Command = tuple[str | bytes | int, ...]


class KeyPoison(NamedTuple):
    """One raw write.

    Attributes:
        kind: The row of the key table.
        key: The key.
        how: What is written, in words.
        commands: The commands.
        of: The whole key is lost (`key`), or only one row of it (`row`).
        row: The member or field that is damaged.
    """

    kind: str
    key: bytes
    how: str
    commands: tuple[Command, ...]
    of: str = "row"
    row: bytes = b""

    @property
    def name(self) -> str:
        """Its name in lists."""
        return f"{self.kind}: {self.how}"


def poisons_of(raw: redis.Redis, kind: str, key: bytes) -> Iterator[KeyPoison]:
    """All poisons of a key, from its type and from what it holds."""
    real = cast(bytes, raw.type(key)).decode()
    for other in TYPES:
        if other != real:
            yield KeyPoison(kind, key, f"is a {other}", (("DEL", key), *_of_type(key, other)), "key")
    yield KeyPoison(kind, key, "is gone", (("DEL", key),), "key")
    makers: dict[str, Callable[[redis.Redis, str, bytes], Iterator[KeyPoison]]] = {
        "string": _strings, "hash": _hashes, "zset": _sorted_sets, "list": _lists, "stream": _streams,
    }  # fmt: skip
    yield from makers[real](raw, kind, key)


def _of_type(key: bytes, kind: str) -> tuple[Command, ...]:
    made: dict[str, Command] = {
        "string": ("SET", key, BAD), "list": ("RPUSH", key, BAD), "set": ("SADD", key, BAD),
        "zset": ("ZADD", key, 1, BAD), "hash": ("HSET", key, BAD, BAD), "stream": ("XADD", key, "*", BAD, BAD),
    }  # fmt: skip
    return (made[kind],)


def _strings(raw: redis.Redis, kind: str, key: bytes) -> Iterator[KeyPoison]:
    for how, value in spoilt(cast(bytes, raw.get(key))):
        yield KeyPoison(kind, key, how, (("SET", key, value, "KEEPTTL"),), "key")


def _hashes(raw: redis.Redis, kind: str, key: bytes) -> Iterator[KeyPoison]:
    held = cast("dict[bytes, bytes]", raw.hgetall(key))
    for field, before in sorted(held.items())[:FIELDS_MOST]:
        for how, value in spoilt(before):
            yield KeyPoison(kind, key, f"field {field!r:.40} {how}", (("HSET", key, field, value),), "row", field)
    some = next(iter(held.values()), b"1")
    for how, name in VALUES.items():
        yield KeyPoison(kind, key, f"a field named {how}", (("HSET", key, name, some),), "row", name)


def _sorted_sets(raw: redis.Redis, kind: str, key: bytes) -> Iterator[KeyPoison]:
    held = cast("list[tuple[bytes, float]]", raw.zrange(key, 0, -1, withscores=True))
    for member, _ in held[:2]:
        for score in SCORES:
            yield KeyPoison(kind, key, f"the score of {member!r:.40} is {score}", (("ZADD", key, score, member),),
                            "row", member)  # fmt: skip
    some = held[0][1] if held else 1
    for how, member in {**VALUES, **dict(spoilt(held[0][0] if held else b"1"))}.items():
        yield KeyPoison(kind, key, f"a member {how}", (("ZADD", key, repr(some), member),), "row", member)
        yield KeyPoison(
            kind, key, f"a member {how} with the score inf", (("ZADD", key, "+inf", member),), "row", member
        )


def _lists(raw: redis.Redis, kind: str, key: bytes) -> Iterator[KeyPoison]:
    first = cast("list[bytes]", raw.lrange(key, 0, 0))[0]
    for how, value in spoilt(first):
        yield KeyPoison(kind, key, f"an item {how}", (("RPUSH", key, value),))
        yield KeyPoison(kind, key, f"a first item {how}", (("LPUSH", key, value),))


def _streams(raw: redis.Redis, kind: str, key: bytes) -> Iterator[KeyPoison]:
    yield KeyPoison(kind, key, "exhausted", (("XADD", key, LAST, "foo", BAD),))
    yield KeyPoison(kind, key, "without fields of ours", (("XADD", key, "*", "foo", BAD),))
    rows = cast("list[tuple[bytes, dict[bytes, bytes]]]", raw.xrevrange(key, count=1))
    for _, fields in rows:
        for field, before in fields.items():
            for how, value in spoilt(before):
                changed = {**fields, field: value}
                parts = [part for pair in changed.items() for part in pair]
                yield KeyPoison(kind, key, f"an entry with {field!r:.40} {how}", (("XADD", key, "*", *parts),))


# ---------------------------------------------------------------------------------- values


def spoilt(value: bytes) -> Iterator[tuple[str, bytes]]:
    """Extremes, and whatever is made of a value by spoiling a part of it."""
    yield from VALUES.items()
    if len(value) > 1:
        yield "cut in half", value[: len(value) // 2]
    yield "with bytes behind it", value + BAD
    numbers = list(re.finditer(rb"(?<![A-Za-z0-9_])\d+(?:\.\d+)?", value)) if _is_text(value) else []
    for place, found in enumerate(numbers[:8]):
        for how, word in WORDS.items():
            yield f"number {place} is {how}", value[: found.start()] + word + value[found.end() :]
    yield from _structured(value)


def _is_text(value: bytes) -> bool:
    return all(byte in b"\t\n" or byte >= 32 for byte in value[:200])


def _structured(value: bytes) -> Iterator[tuple[str, bytes]]:
    """Values of other types in place of each leaf of a frame, of a value of msgpack, or of JSON."""
    if value[:1] == b"\x01" and len(value) > 6:
        (length,) = struct.unpack(">I", value[2:6])
        header = _unpacked(value[6 : 6 + length])
        if isinstance(header, dict):
            for how, changed in _leaves(header):
                packed = msgpack.packb(changed)
                yield f"header {how}", value[:2] + struct.pack(">I", len(packed)) + packed + value[6 + length :]
            yield "of a later version", b"\x7f" + value[1:]
            yield "sealed with an unknown key", value[:1] + bytes([value[1] + 1]) + value[2:]
            return
    content = _unpacked(value)
    if isinstance(content, dict | list) and content:
        yield from ((f"content {how}", msgpack.packb(changed)) for how, changed in _leaves(content))
        return
    if value[:1] == b"{":
        yield from ((f"JSON {how}", json.dumps(_jsonable(one)).encode()) for how, one in _leaves(json.loads(value)))
        return
    for mark in (b"\n", b""):
        head, found, rest = value.partition(mark) if mark else (value[:1], b"", value[1:])
        if rest and (mark == b"" or found) and not _is_text(rest):
            yield from ((how, head + found + changed) for how, changed in _structured(rest))
            return


def _jsonable(value: object) -> object:
    if isinstance(value, dict):
        return {name: _jsonable(one) for name, one in value.items()}
    return "" if isinstance(value, bytes) else value


def _unpacked(value: bytes) -> Any:
    try:
        return msgpack.unpackb(value, strict_map_key=False, ext_hook=msgpack.ExtType)
    except (ValueError, msgpack.UnpackException):
        return None


def _leaves(content: Any) -> Iterator[tuple[str, Any]]:
    """The content with one leaf, or one container, replaced at a time; and with all leaves replaced."""
    for how, leaf in LEAVES.items():
        for path in _paths(content)[:FIELDS_MOST]:
            yield f"{'/'.join(map(str, path))} is {how}", _with(content, path, leaf)
    for path in _paths(content)[:FIELDS_MOST]:
        if isinstance(path[-1], str):
            yield f"{'/'.join(map(str, path))} is missing", _without(content, path)


def _paths(content: Any, depth: int = 0) -> list[tuple[Any, ...]]:
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    found: list[tuple[Any, ...]] = []
    for name, value in items:
        found.append((name,))
        if depth < 3:
            found += [(name, *rest) for rest in _paths(value, depth + 1)]
    return found


def _with(content: Any, path: Sequence[Any], leaf: object) -> Any:
    copy = dict(content) if isinstance(content, dict) else list(content)
    copy[path[0]] = leaf if len(path) == 1 else _with(content[path[0]], path[1:], leaf)
    return copy


def _without(content: Any, path: Sequence[Any]) -> Any:
    copy = dict(content) if isinstance(content, dict) else list(content)
    if len(path) == 1:
        del copy[path[0]]
    else:
        copy[path[0]] = _without(content[path[0]], path[1:])
    return copy
