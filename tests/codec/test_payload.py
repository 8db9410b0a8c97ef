from __future__ import annotations

import threading
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal, InvalidOperation, localcontext
from importlib import resources
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgpack
import pytest

from jobfleet.codec import Limits, decode, encode
from jobfleet.codec import extensions as extension_table
from jobfleet.errors import EncodingError

BERLIN = ZoneInfo("Europe/Berlin")


class Zone(tzinfo):
    def utcoffset(self, when: datetime | None) -> timedelta | None:
        return timedelta(hours=3)

    def tzname(self, when: datetime | None) -> str | None:
        return None

    def dst(self, when: datetime | None) -> timedelta | None:
        return None


def nested(levels: int) -> Any:
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


TRAVELS = [
    None,
    True,
    0,
    -(2**63),
    2**64 - 1,
    1.5,
    float("inf"),
    "",
    "grün 🚀 \x00",
    b"\xff\x00",
    [1, [2, []]],
    {"a": {1: 2, b"k": [None], -5: True}},
    (),
    (1, (2, [3, (4,)])),
    {1, "a", (2, frozenset([3]))},
    frozenset([b"x", None]),
    set(),
    {Decimal(1), UUID(int=1)},
    datetime(2024, 2, 29, 12, 30, 15, 123456),  # noqa: DTZ001 - naive stays naive
    datetime(2024, 2, 29, tzinfo=UTC),
    datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=-11, minutes=-30, seconds=-7, microseconds=-9))),
    datetime.max,  # noqa: DTZ901 - naive stays naive
    datetime(2024, 6, 1, tzinfo=ZoneInfo("America/Argentina/Buenos_Aires")),
    date.min,
    date(2024, 2, 29),
    time(23, 59, 59, 999999),
    time(12, tzinfo=timezone(timedelta(hours=2))),
    time(12, tzinfo=BERLIN),
    timedelta.min,
    timedelta.max,
    timedelta(microseconds=-1),
    Decimal("-0.00"),
    Decimal("1.10E+6144"),
    Decimal("-Infinity"),
    UUID("12345678-1234-5678-1234-567812345678"),
]


def same(left: Any, right: Any) -> bool:
    """Equality that also tells types apart, all the way down."""
    if type(left) is not type(right):
        return False
    if type(left) is dict:
        return same(list(left.items()), list(right.items()))
    if type(left) in (list, tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


@pytest.mark.parametrize("value", TRAVELS, ids=lambda value: type(value).__name__)
def test_travels_there_and_back(value: object) -> None:
    assert same(decode(encode(value)), value)
    assert same(decode(memoryview(encode([value]))), [value])


@pytest.mark.parametrize("fold", [0, 1])
@pytest.mark.parametrize("wall", [datetime(2024, 10, 27, 2, 30), datetime(2024, 3, 31, 2, 30)])  # noqa: DTZ001
def test_doubled_and_skipped_hours_keep_offset_zone_and_fold(wall: datetime, fold: int) -> None:
    for sent in (wall.replace(tzinfo=BERLIN, fold=fold), wall.replace(fold=fold)):
        back = decode(encode(sent))
        assert (back.replace(tzinfo=None), back.tzinfo, back.fold) == (wall, sent.tzinfo, fold)
        assert back.utcoffset() == sent.utcoffset()


def test_a_fold_of_a_time_is_kept() -> None:
    assert decode(encode(time(2, 30, fold=1))).fold == 1


@pytest.mark.parametrize("key", ["Mars/Olympus", "America", "../../etc/passwd", "/etc/passwd", "Europe/Berlin"])
def test_a_zone_that_is_unknown_or_disagrees_leaves_the_offset(key: str) -> None:
    body = f"2024-06-01T12:00:00+05:30[{key}]".encode()
    back = decode(msgpack.packb(msgpack.ExtType(1, body)))
    assert back == datetime(2024, 6, 1, 12, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    assert type(back.tzinfo) is timezone


def test_foreign_zones_become_offsets() -> None:
    back = decode(encode(datetime(2024, 1, 1, tzinfo=Zone())))
    assert back.tzinfo == timezone(timedelta(hours=3))


def test_a_zone_without_a_key_becomes_an_offset() -> None:
    with (resources.files("tzdata") / "zoneinfo" / "Europe" / "Berlin").open("rb") as file:
        zone = ZoneInfo.from_file(file)
    back = decode(encode(datetime(2024, 1, 1, tzinfo=zone)))
    assert type(back.tzinfo) is timezone


def test_msgpack_timestamps_of_other_writers_are_read_as_utc() -> None:
    sent = datetime(2024, 1, 1, tzinfo=UTC)
    assert decode(msgpack.packb(msgpack.Timestamp.from_datetime(sent))) == sent


def test_nan_travels() -> None:
    assert decode(encode(float("nan"))) != decode(encode(float("nan")))
    assert decode(encode(Decimal("NaN"))).is_nan()
    assert decode(encode([Decimal("sNaN12")]))[0].is_snan()


def test_the_last_of_equal_keys_wins() -> None:
    assert decode(b"\x82\xa1a\x01\xa1a\x02") == {"a": 2}


def test_too_large_names_size_limit_and_remedy() -> None:
    with pytest.raises(EncodingError) as caught:
        encode("x" * 2000, limits=Limits(max_bytes=1000), what="result")
    assert str(caught.value) == (
        "result: 2,003 bytes, the limit is 1,000; "
        "store it elsewhere and pass a reference, or raise the setting max_payload."
    )
    with pytest.raises(EncodingError) as fixed:
        encode("x" * 2000, limits=Limits(max_bytes=1000, setting=""), what="metadata")
    assert str(fixed.value).endswith("; store it elsewhere and pass a reference.")
    with pytest.raises(EncodingError, match="the limit is 1,000"):
        decode(b"x" * 1001, limits=Limits(max_bytes=1000))


def test_what_was_changed_meanwhile_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(value: object) -> bytes:
        raise RuntimeError("dictionary changed size during iteration")

    monkeypatch.setattr("jobfleet.codec.values.pack", fail)
    with pytest.raises(EncodingError, match="dict cannot be packed"):
        encode({})


def test_depth_is_the_same_on_both_sides() -> None:
    limits = Limits(max_depth=5)
    assert decode(encode(nested(5), limits=limits), limits=limits) == nested(5)
    for value in (nested(6), (nested(5),)):
        with pytest.raises(EncodingError, match="too deep"):
            encode(value, limits=limits)
        with pytest.raises(EncodingError, match="deeper than 5"):
            decode(encode(value), limits=limits)


def test_containers_are_counted_on_both_sides() -> None:
    limits = Limits(max_containers=100)
    assert decode(encode([()] * 99, limits=limits), limits=limits) == [()] * 99
    with pytest.raises(EncodingError, match="more than 100 containers"):
        encode([()] * 100, limits=limits)
    with pytest.raises(EncodingError, match="more than 100 containers"):
        decode(encode([()] * 100), limits=limits)


@pytest.mark.parametrize("options", [{"max_bytes": 0}, {"max_depth": 0}, {"max_depth": 129}, {"max_containers": 31}])
def test_limits_out_of_bounds_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Limits(**options)


@pytest.mark.parametrize("data", [None, "text", 5])
def test_only_bytes_are_decoded(data: Any) -> None:
    with pytest.raises(EncodingError, match="bytes expected"):
        decode(data)


def test_errors_do_not_quote_the_bytes() -> None:
    secret = b"4111-1111-1111-1111"
    for code in range(1, 10):
        with pytest.raises(EncodingError) as caught:
            decode(msgpack.packb(msgpack.ExtType(code, secret)))
        assert "4111" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__


def test_large_values_take_the_scanned_way() -> None:
    value = [{"id": index, index: (index, {str(index)}), "at": timedelta(index)} for index in range(500)]
    assert same(decode(encode(value)), value)


def test_codes_are_unique_and_stay() -> None:
    assert {extension.code: extension.type.__name__ for extension in extension_table.TABLE} == {
        1: "datetime",
        2: "date",
        3: "time",
        4: "timedelta",
        5: "Decimal",
        6: "UUID",
        7: "tuple",
        8: "set",
        9: "frozenset",
        10: "Secret",
    }


def test_threads_do_not_disturb_one_another() -> None:
    wrong: list[int] = []

    def run(seed: int) -> None:
        value = [(seed, {str(seed): [seed] * 20})] * 10
        wrong.extend(seed for _ in range(300) if decode(encode(value)) != value)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_lenient_decimal_context_lets_nothing_pass() -> None:
    data = msgpack.packb(msgpack.ExtType(5, b"one"))
    with localcontext() as context:
        context.traps[InvalidOperation] = False
        with pytest.raises(EncodingError, match="malformed Decimal"):
            decode(data)
