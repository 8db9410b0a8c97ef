"""Whatever travels comes back the same; whatever the bytes, a value or an EncodingError, in bounded memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from datetime import timedelta, timezone
from typing import Any

import msgpack
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from jobfleet.codec import Limits, decode, encode, open_envelope, open_record, read_header, seal, seal_record
from jobfleet.codec.extensions import Unreadable
from jobfleet.codec.values import scan
from jobfleet.errors import EncodingError

# One value of 1 MiB may cost this much while it is decoded: small objects weigh up to 40 times their bytes.
PEAK_FACTOR = 64

OFFSETS = (
    st.timedeltas(timedelta(hours=-23), timedelta(hours=23))
    .filter(lambda offset: not offset or abs(offset) >= timedelta(seconds=1))
    .map(timezone)
)
ZONES = st.none() | OFFSETS | st.timezones()
HASHABLE_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.datetimes(timezones=ZONES, allow_imaginary=False)
    | st.dates()
    | st.times(timezones=st.none() | OFFSETS)
    | st.timedeltas()
    | st.decimals(allow_nan=False).filter(lambda value: -6144 <= value.adjusted() <= 6144)
    | st.uuids()
)
HASHABLE = st.recursive(
    HASHABLE_SCALARS,
    lambda inner: st.lists(inner, max_size=4).map(tuple) | st.frozensets(inner, max_size=4),
    max_leaves=8,
)
KEYS = st.text() | st.binary() | st.integers(-(2**63), 2**64 - 1)
VALUES = st.recursive(
    HASHABLE | st.sets(HASHABLE, max_size=4),
    lambda inner: (
        st.lists(inner, max_size=5) | st.lists(inner, max_size=4).map(tuple) | st.dictionaries(KEYS, inner, max_size=5)
    ),
    max_leaves=25,
)
TEXT_MAPS = st.dictionaries(st.text(max_size=8), VALUES, max_size=4)
READERS: list[Callable[[bytes], Any]] = [decode, open_envelope, read_header, open_record]

quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def same(left: Any, right: Any) -> bool:
    """Equality that also tells types apart wherever there is an order."""
    if type(left) is not type(right):
        return False
    if type(left) is dict:
        return same(list(left.items()), list(right.items()))
    if type(left) in (list, tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def read_all(data: bytes) -> None:
    refusals = []
    for reader in READERS:
        try:
            value = reader(data)
        except EncodingError as error:
            refusals.append(str(error))
        else:
            repr(value)
    assert all(refusals)


@quick
@given(VALUES)
def test_values_come_back_the_same(value: object) -> None:
    data = encode(value)
    assert same(decode(data), value)
    assert scan(data, 32, 100_000) >= 0


@quick
@given(TEXT_MAPS, st.lists(VALUES, max_size=4), TEXT_MAPS)
def test_envelopes_come_back_the_same(header: dict[str, object], args: list[object], kwargs: dict[str, object]) -> None:
    opened = open_envelope(seal(header, args, kwargs))
    assert same(list(opened), [header, args, kwargs])


@quick
@given(TEXT_MAPS)
def test_records_come_back_the_same(fields: dict[str, object]) -> None:
    opened = open_record(seal_record(fields))
    assert opened.keys() == fields.keys()
    assert all(same(opened[key], fields[key]) for key in fields)


@quick
@given(st.binary(max_size=200))
@example(b"\x01\x00\x00\x00\x00\x00")
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    read_all(data)
    read_all(b"\x01\x00\x00\x00\x00\x01\x80" + data)
    for code in range(1, 10):
        read_all(bytes(msgpack.packb(msgpack.ExtType(code, data))))


@quick
@given(st.data(), TEXT_MAPS, st.lists(VALUES, max_size=3))
def test_any_mutation_is_read_or_refused(data: st.DataObject, header: dict[str, object], args: list[object]) -> None:
    sealed = bytearray(data.draw(st.sampled_from([seal(header, args), seal_record({"value": args}), encode(args)])))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(sealed) - 1))
        end = data.draw(st.integers(position, min(position + 6, len(sealed))))
        sealed[position:end] = data.draw(st.binary(max_size=6))
        sealed = sealed or bytearray(b"\x01")
    read_all(bytes(sealed))


@quick
@given(VALUES)
def test_every_truncation_is_refused(value: object) -> None:
    sealed = encode(value)
    for size in {0, len(sealed) // 2, len(sealed) - 1}:
        with pytest.raises(EncodingError):
            decode(sealed[:size])


@quick
@given(st.binary(max_size=60), st.integers(1, 6))
def test_what_decodes_has_passed_or_would_pass_the_scan(data: bytes, depth: int) -> None:
    try:
        decode(data, limits=Limits(max_depth=depth))
    except EncodingError:
        return
    try:
        scan(data, depth, 100_000)
    except Unreadable as error:
        pytest.fail(f"decoded, but the scan says: {error}")


MIB = 1 << 20


def repeated(item: bytes, wrap: Callable[[bytes], bytes] = bytes) -> bytes:
    """An array of as many items as 1 MiB holds."""
    count = (MIB - 64) // len(item)
    return wrap(b"\xdd" + count.to_bytes(4, "big") + item * count)


def extension(code: int, body: bytes) -> bytes:
    return b"\xc9" + len(body).to_bytes(4, "big") + bytes([code]) + body


def claims() -> bytes:
    return b"\xdd\x00\x0f\xff\x00" * 31 + b"\xc0" * (MIB - 200)


def deep_tuples() -> bytes:
    data = b"\x91" + b"\xc6\x00\x0f\x00\x00" + b"x" * 0xF0000
    for _ in range(31):
        data = b"\x91" + extension(7, data)
    return data


def wide_map() -> bytes:
    count = 170_000
    return (
        b"\xdf"
        + count.to_bytes(4, "big")
        + b"".join(b"\xce" + key.to_bytes(4, "big") + b"\xc0" for key in range(count))
    )


def many_keys() -> bytes:
    names = [msgpack.packb(f"{index:x}") + b"\xc0" for index in range(150_000)]
    return b"\xdf" + len(names).to_bytes(4, "big") + b"".join(names)


HEAVY = {
    "small ints": lambda: repeated(b"\x01"),
    "ints": lambda: repeated(b"\xcd\xff\xff"),
    "floats": lambda: repeated(b"\xca\x3f\x80\x00\x01"),
    "texts": lambda: repeated(b"\xa2ab"),
    "wide texts": lambda: repeated(b"\xa4\xf0\x9f\x9a\x80"),
    "bytes": lambda: repeated(b"\xc4\x01a"),
    "decimals": lambda: repeated(b"\xd4\x051"),
    "empty maps": lambda: repeated(b"\x80"),
    "empty tuples": lambda: repeated(extension(7, b"\x90")),
    "maps of one": lambda: b"\xdd" + (99_000).to_bytes(4, "big") + b"\x81\x01\x01" * 99_000,
    "set of ints": lambda: extension(8, repeated(b"\xcd\xff\xff")),
    "nested tuples": deep_tuples,
    "claims": claims,
    "wide map": wide_map,
    "many keys": many_keys,
}


WORST = {"decimals", "maps of one", "nested tuples", "claims"}


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in WORST else pytest.mark.slow) for n in HEAVY])
def test_the_peak_is_bounded(name: str) -> None:
    data = HEAVY[name]()
    assert MIB // 4 < len(data) <= MIB
    tracemalloc.start()
    try:
        decode(data)
    except EncodingError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < PEAK_FACTOR * MIB
