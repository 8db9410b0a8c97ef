from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest

from jobfleet.codec import (
    HEADER_KEYS,
    Limits,
    amended,
    decode,
    encode,
    is_record,
    open_envelope,
    open_record,
    read_fields,
    read_header,
    seal,
    seal_record,
)
from jobfleet.errors import EncodingError, EnvelopeTooNew

HEADER: dict[str, object] = {"function": "add", "enqueued_at": 1_760_000_000_000_000, "tags": ["a"]}


def test_an_envelope_comes_back_whole() -> None:
    envelope = seal(HEADER, (10, (20,)), {"df": {1, 2}})
    assert open_envelope(envelope) == (HEADER, [10, (20,)], {"df": {1, 2}})
    assert read_header(envelope) == HEADER
    assert not is_record(envelope)


def test_the_wire_is_as_documented() -> None:
    envelope = seal({"function": "add"}, (10, 20), {})
    header = encode({"function": "add"})
    assert envelope == b"\x01\x00" + len(header).to_bytes(4, "big") + header + encode([[10, 20], {}])


def test_all_bytes_likes_are_read() -> None:
    for kind in (bytes, bytearray, memoryview):
        assert open_envelope(kind(seal(HEADER))) == (HEADER, [], {})
        assert read_header(kind(seal(HEADER))) == HEADER
        assert is_record(kind(seal_record({})))


def test_unknown_keys_survive_and_unset_ones_stay_absent() -> None:
    header = {"function": "f", "from_the_future": {"x": [1]}}
    assert read_header(seal(header)) == header
    assert "from_the_future" not in HEADER_KEYS


def test_a_header_is_changed_and_the_body_stays_as_it_is() -> None:
    envelope = seal({**HEADER, "from_the_future": 1}, (10,), {"df": {1, 2}})

    changed = amended(envelope, {"moved_from": "mail.0.a", "enqueued_at": 5})

    header = {**HEADER, "from_the_future": 1, "moved_from": "mail.0.a", "enqueued_at": 5}
    assert open_envelope(changed) == (header, [10], {"df": {1, 2}})
    assert amended(envelope, {}) == envelope
    unreadable_body = seal({"function": "f"})[:-1] + b"\xc1"
    assert amended(unreadable_body, {"name": "x"})[-1:] == b"\xc1"


@pytest.mark.parametrize("data", [b"", b"\x02\x00\x00\x00\x00\x00", seal_record({})])
def test_a_header_of_what_is_no_envelope_is_not_changed(data: bytes) -> None:
    with pytest.raises(EncodingError):
        amended(data, {})


def test_reserved_keys_are_told() -> None:
    promised = """function name enqueued_at moved_from max_retries retry_delay retry_delays retry_for retry_backoff
        retry_jitter max_crashes timeout hard_timeout result_ttl tags metadata user session correlation_id expires_at
        trace kid group flow parents on_success on_failure callback callback_of unique nominal schema batch payload
        request fleet origin required owner_team"""
    assert set(HEADER_KEYS) == set(promised.split())
    assert all(HEADER_KEYS.values())


def test_mappings_and_sequences_of_any_kind_are_taken() -> None:
    assert open_envelope(seal(MappingProxyType({"a": 1}), range(2), MappingProxyType({"k": 1}))) == (
        {"a": 1},
        [0, 1],
        {"k": 1},
    )


def test_the_header_is_read_although_the_body_is_broken() -> None:
    assert read_header(seal(HEADER)[:-2] + b"\xc1\xc1") == HEADER


@pytest.mark.parametrize(
    ("header", "args", "kwargs", "path"),
    [
        ({}, [{"df": object()}], {}, "args[0]['df']"),
        ({}, [], {"df": [object()]}, "kwargs['df'][0]"),
        ({"metadata": {"x": object()}}, [], {}, "metadata['x']"),
        ({"user": object()}, [], {}, "user"),
        ({"it's": object()}, [], {}, 'header["it\'s"]'),
        ({1: 1}, [], {}, "header"),
        ({}, [], {1: 1}, "kwargs"),
        ({}, ["x" * 2000], {}, "args"),
    ],
)
def test_errors_speak_of_what_the_caller_passed(header: Any, args: Any, kwargs: Any, path: str) -> None:
    with pytest.raises(EncodingError) as caught:
        seal(header, args, kwargs, limits=Limits(max_bytes=1000))
    assert caught.value.path == path
    assert str(caught.value).startswith(f"{path}: ")
    assert caught.value.field == path.partition("[")[0]


def test_depth_counts_from_each_argument() -> None:
    limits = Limits(max_depth=2)
    args: list[object] = [[[]], ([],), {"a": {}}]
    assert open_envelope(seal({}, args, {"k": [[]]}, limits=limits), limits=limits).args == args
    with pytest.raises(EncodingError, match=r"args\[0\]\[0\]\[0\]: nested too deep"):
        seal({}, [[[[]]]], limits=limits)
    with pytest.raises(EncodingError, match="deeper"):
        open_envelope(seal({}, [[[[]]]]), limits=limits)


@pytest.mark.parametrize("version", [2, 255])
def test_later_versions_are_told_apart(version: int) -> None:
    for sealed, readers in ((seal({}), (read_header, open_envelope)), (seal_record({}), (read_fields, open_record))):
        for reader in readers:
            with pytest.raises(EnvelopeTooNew) as caught:
                reader(bytes([version]) + sealed[1:])
            assert (caught.value.version, caught.value.supported) == (version, 1)


def test_header_and_fields_have_limits_of_their_own() -> None:
    with pytest.raises(EncodingError, match="the limit is 65,536"):
        seal({"metadata": "x" * 70_000})
    with pytest.raises(EncodingError, match="the limit is 262,144"):
        seal_record({"traceback": "x" * 300_000})
    assert open_record(seal_record({"value": b"x" * 1_000_000, "traceback": "x" * 200_000}))["value"]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"value": None, "attempt": 1, "worker": "w"},
        {"value": {"a": (1, 2)}, "from_the_future": 1},
        {"error": "boom", "error_class": "ValueError", "traceback": "…"},
    ],
)
def test_a_record_comes_back_whole(fields: dict[str, object]) -> None:
    record = seal_record(fields)
    assert open_record(record) == fields
    assert read_fields(record) == {key: value for key, value in fields.items() if key != "value"}
    assert is_record(record)


def test_a_record_is_no_envelope() -> None:
    for reader in (open_envelope, read_header):
        with pytest.raises(EncodingError, match="kind 0x52"):
            reader(seal_record({}))
    for record_reader in (open_record, read_fields):
        with pytest.raises(EncodingError, match="kind 0x00"):
            record_reader(seal({}))
    assert not is_record(b"")
    assert not is_record(encode("no record"))


def test_a_value_that_cannot_travel_is_named_result() -> None:
    with pytest.raises(EncodingError) as caught:
        seal_record({"value": {"df": object()}})
    assert str(caught.value) == "result['df']: object cannot be encoded; pass plain data or a reference."


def test_sealing_leaves_the_fields_alone() -> None:
    fields: dict[str, object] = {"value": 1, "attempt": 1}
    seal_record(fields)
    assert fields == {"value": 1, "attempt": 1}
    assert decode(encode(fields)) == fields
