"""Bytes that are sealed about one thing are opened as that thing only."""

from __future__ import annotations

import itertools

import pytest

from jobfleet import ConfigError, Fleet
from jobfleet.codec import decode, encode, open_record, read_fields, seal_record
from jobfleet.codec.seals import Sealer, Seals, joined
from jobfleet.errors import BadSignature, UnknownKey
from tests.trust.conftest import NEW, OLD, ring, spelled

LEVELS = [{}, {"sign": "require"}, {"encrypt": "require"}]
ABOUT = ("progress", "mail.0.a")


@pytest.mark.parametrize("write", ["off", "send", "require"])
@pytest.mark.parametrize("read", ["off", "send", "require"])
def test_what_is_bound_is_opened_by_its_fleet_alone(write: str, read: str) -> None:
    writer = Seals(Sealer(ring(old=OLD), sign="require", bind=write), "live")
    sealed, text = writer.value(b"text", *ABOUT), writer.text(b"text", *ABOUT)
    for fleet in ("live", "staging"):
        reader = Seals(Sealer(ring(old=OLD), sign="require", bind=read), fleet)
        former, own = write == "off", write != "off" and fleet == "live"
        is_open = own or (former and read != "require")
        assert (reader.open_value(sealed, *ABOUT) == b"text") is is_open
        assert (reader.open_text(text, *ABOUT) == b"text") is is_open
        uses = dict(reader.sealer.counted())
        assert uses.get(("old", "unbound"), 0) == (2 if former and is_open else 0)
        assert (reader.of_archive().open_value(sealed, *ABOUT) == b"text") is (own or former)


@pytest.mark.parametrize("levels", LEVELS, ids=str)
@pytest.mark.parametrize("plain", [b"", b"text", b"\xc1", b"\xc1\x01\x01\x00", bytes(100_000)], ids=len)
def test_what_is_sealed_can_be_opened(levels: dict[str, str], plain: bytes) -> None:
    sealer = Sealer(ring(old=OLD), **levels)
    sealed = sealer.seal(plain, ABOUT)
    assert sealer.open(sealed, ABOUT) == plain
    assert (b"text" in sealed) == (plain == b"text" and "encrypt" not in levels)


@pytest.mark.parametrize("levels", LEVELS[1:], ids=str)
def test_no_other_bytes_and_no_other_thing_are_accepted(levels: dict[str, str]) -> None:
    sealer = Sealer(ring(old=OLD), **levels)
    sealed = sealer.seal(b"some text", ABOUT)
    for about in (("progress", "mail.0.b"), ("step", "mail.0.a"), ("progress",), ("progress", "mail.0.", "a"), ()):
        with pytest.raises(BadSignature):
            sealer.open(sealed, about)
    for at, bit in itertools.product(range(len(sealed)), (1, 128)):
        with pytest.raises((BadSignature, UnknownKey)):
            sealer.open(sealed[:at] + bytes([sealed[at] ^ bit]) + sealed[at + 1 :], ABOUT)
    for end in range(len(sealed)):
        with pytest.raises((BadSignature, UnknownKey)):
            sealer.open(sealed[:end], ABOUT)
    with pytest.raises(BadSignature):
        Sealer(ring(old=NEW), **levels).open(sealed, ABOUT)
    with pytest.raises(UnknownKey, match="'old'"):
        Sealer(ring(new=NEW), **levels).open(sealed, ABOUT)


def test_parts_cannot_be_shifted() -> None:
    assert joined("ab", "c") != joined("a", "bc")
    assert joined("ab") != joined("ab", "")


def test_a_stable_seal_is_the_same_each_time() -> None:
    sealer = Sealer(ring(old=OLD), encrypt="send")
    one, two = (sealer.seal(b"text", ABOUT, is_stable=True) for _ in range(2))
    assert one == two != sealer.seal(b"text", ABOUT)
    assert sealer.open(one, ABOUT) == b"text"


def test_uses_are_counted_by_key() -> None:
    sealer = Sealer(ring(new=NEW, old=OLD), sign="send")
    old = Sealer(ring(old=OLD), sign="send").seal(b"x", ABOUT)
    for sealed in (old, old, sealer.seal(b"x", ABOUT)):
        sealer.open(sealed, ABOUT)
    assert dict(sealer.counted()) == {("new", "opened"): 1, ("new", "sealed"): 1, ("old", "opened"): 2}
    assert sealer.counted() == []


def test_a_record_hides_its_error_and_shows_its_function() -> None:
    seals = Seals(Sealer(ring(old=OLD), encrypt="require"), "live")
    plain = seal_record({"function": "f", "error": "secret", "traceback": "secret", "value": ["secret"], "duration": 5})
    stored = seals.record("mail.0.a", plain, 7, "completed")
    assert b"secret" not in stored
    bound = {"kid": "old", "fleet": "live", "token": 7, "status": "completed"}
    assert read_fields(stored) == {"function": "f", "duration": 5, **bound}
    assert open_record(seals.open_record("mail.0.a", stored, "completed", 7)) == {**open_record(plain), **bound}
    for other in (("mail.0.b", "completed", 7), ("mail.0.a", "failed", 7), ("mail.0.a", "completed", 8)):
        with pytest.raises(BadSignature):
            open_record(seals.open_record(other[0], stored, *other[1:]))
    with pytest.raises(BadSignature, match="'live'"):
        open_record(Seals(seals.sealer, "staging").open_record("mail.0.a", stored, "completed", 7))
    with pytest.raises(UnknownKey):
        open_record(stored)


def test_a_value_that_is_not_accepted_cannot_be_decoded() -> None:
    seals = Seals(Sealer(ring(old=OLD), sign="require"), "live")
    stored = seals.value(encode([1, 2]), "step", "mail.0.a", "one")
    assert decode(seals.open_value(stored, "step", "mail.0.a", "one")) == [1, 2]
    with pytest.raises(BadSignature):
        decode(seals.open_value(stored, "step", "mail.0.a", "two"))
    with pytest.raises(UnknownKey):
        decode(stored)
    assert seals.open_text(b"plain", "log", "mail.0.a", "1").startswith(b"(not shown")


def test_settings_without_keys_are_refused() -> None:
    with pytest.raises(ConfigError, match="keyring"):
        Fleet("redis://localhost:1", sign="require")
    with pytest.raises(ConfigError, match="keys generate"):
        Fleet("redis://localhost:1", keyring="missing.toml")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    with pytest.raises(ConfigError, match=r"jobfleet\[crypto\]"):
        Sealer(ring(old=OLD), encrypt="send")


def test_secrets_are_not_displayed() -> None:
    fleet = Fleet("redis://localhost:1", keyring=spelled(old=OLD))
    assert spelled(old=OLD).partition("=")[2] not in repr(fleet.context.config)
    assert repr(OLD) not in repr(ring(old=OLD))
