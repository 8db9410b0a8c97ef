from __future__ import annotations

import enum
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from datetime import datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any

import msgpack
import pytest

from jobfleet.codec import encode
from jobfleet.errors import EncodingError

UNPRINTABLE = 10**5000


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Word(enum.StrEnum):
    A = "a"


Point = namedtuple("Point", "x y")  # noqa: PYI024 - the untyped kind is what users have


@dataclass
class Order:
    id: int


class Zone(tzinfo):
    def utcoffset(self, when: datetime | None) -> timedelta | None:
        return timedelta(hours=3)

    def tzname(self, when: datetime | None) -> str | None:
        return None

    def dst(self, when: datetime | None) -> timedelta | None:
        return None


class Broken(Zone):
    def utcoffset(self, when: datetime | None) -> timedelta | None:
        raise RuntimeError("no")


class Nowhere(Zone):
    def utcoffset(self, when: datetime | None) -> timedelta | None:
        return None


class Model:
    def model_dump(self) -> dict[str, Any]:
        return {}


def looped() -> list[object]:
    items: list[object] = []
    items.append({"again": (items,)})
    return items


def nested(levels: int) -> Any:
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


def shared(levels: int) -> Any:
    value: Any = []
    for _ in range(levels):
        value = [value, value]
    return value


REFUSED: list[tuple[object, str, str]] = [
    (Model(), "v", "Model cannot be encoded; pass .model_dump()."),
    ({"df": object()}, "v['df']", "object cannot be encoded; pass plain data or a reference."),
    ([{"a": ({1: lambda: 0},)}], "v[0]['a'][0][1]", "function cannot be encoded; pass plain data or a reference."),
    ([1, Colour.RED], "v[1]", "Colour cannot be encoded; pass .value."),
    ([Level.LOW], "v[0]", "Level cannot be encoded; pass .value."),
    ({Word.A: 1}, "v", "a map key of type Word cannot be encoded; use str, int or bytes."),
    ({"a": Word.A}, "v['a']", "Word cannot be encoded; pass .value."),
    (Point(1, 2), "v", "Point cannot be encoded; pass ._asdict() or tuple(...)."),
    (OrderedDict(a=1), "v", "OrderedDict cannot be encoded; pass a plain dict."),
    (Order(1), "v", "Order cannot be encoded; pass dataclasses.asdict(...)."),
    (Order, "v", "type cannot be encoded; pass plain data or a reference."),
    (bytearray(b"x"), "v", "bytearray cannot be encoded; pass bytes(...)."),
    ([memoryview(b"x")], "v[0]", "memoryview cannot be encoded; pass bytes(...)."),
    (msgpack.ExtType(7, b""), "v", "ExtType cannot be encoded; pass ._asdict() or tuple(...)."),
    (msgpack.Timestamp(1), "v", "Timestamp cannot be encoded; pass plain data or a reference."),
    ([2**64], "v[0]", "int beyond 64 bits cannot be encoded; pass it as str."),
    (-(2**63) - 1, "v", "int beyond 64 bits cannot be encoded; pass it as str."),
    ({2**64: 1}, "v", "in a map key, int beyond 64 bits cannot be encoded; pass it as str."),
    ({UNPRINTABLE: [object()]}, "v", "in a map key, int beyond 64 bits cannot be encoded; pass it as str."),
    ({"x": "\ud800"}, "v['x']", "str with lone surrogates cannot be encoded; pass bytes."),
    ({1.5: 1}, "v", "a map key of type float cannot be encoded; use str, int or bytes."),
    ({"a": {None: 1}}, "v['a']", "a map key of type NoneType cannot be encoded; use str, int or bytes."),
    ({True: 1}, "v", "a map key of type bool cannot be encoded; use str, int or bytes."),
    ({(1,): 1}, "v", "a map key of type tuple cannot be encoded; use str, int or bytes."),
    ({Decimal("1e9999")}, "v{...}", "Decimal out of range cannot be encoded; pass it as str."),
    (Decimal("1e-9999"), "v", "Decimal out of range cannot be encoded; pass it as str."),
    (Decimal("1" * 7000), "v", "Decimal out of range cannot be encoded; pass it as str."),
    (
        [time(1, tzinfo=Nowhere())],
        "v[0]",
        "time in a zone without a usable offset cannot be encoded; pass a datetime.",
    ),
    (
        [datetime(2024, 1, 1, tzinfo=Broken())],
        "v[0]",
        "datetime in a zone without a usable offset cannot be encoded; pass plain data or a reference.",
    ),
    (
        [datetime(2024, 1, 1, tzinfo=timezone(timedelta(microseconds=1)))],
        "v[0]",
        "datetime in a zone without a usable offset cannot be encoded; pass plain data or a reference.",
    ),
    ([nested(33)], "v" + "[0]" * 32, "nested too deep, or it contains itself; flatten it or pass a reference."),
]


@pytest.mark.parametrize(("value", "path", "reason"), REFUSED, ids=[f"{row[1]}: {row[2][:30]}" for row in REFUSED])
def test_what_cannot_travel_is_refused_by_place(value: object, path: str, reason: str) -> None:
    with pytest.raises(EncodingError) as caught:
        encode(value, what="v")
    assert str(caught.value) == f"{path}: {reason}"
    assert (caught.value.path, caught.value.field) == (path, "v")


def test_what_contains_itself_is_refused() -> None:
    with pytest.raises(EncodingError, match="contains itself"):
        encode(looped())


def test_shared_lists_that_unfold_without_end_are_refused_at_once() -> None:
    with pytest.raises(EncodingError, match="more than 100,000 containers"):
        encode(shared(30))


def test_a_set_that_could_not_be_read_is_not_written() -> None:
    hostile = {tuple(-1 if index >> bit & 1 else -2 for bit in range(8)) for index in range(256)}
    with pytest.raises(EncodingError, match=r"value\[0\]: a set of colliding members"):
        encode([hostile])


def test_long_keys_are_shortened_in_paths() -> None:
    with pytest.raises(EncodingError) as caught:
        encode({"k" * 10_000: object()})
    assert len(str(caught.value)) < 150
