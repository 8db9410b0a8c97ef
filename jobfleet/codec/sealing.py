"""Signing and encryption of bytes: HMAC-SHA-256 and AES-256-GCM, with the keys of a keyring.

A `Sealer` is chosen once, from the settings. A fleet without keys has none, and pays nothing. The associated data says
what the bytes are about, for example the kind of record and the job's id. Bytes that were sealed about one thing cannot
be opened as another. `Sealer.seal` and `Sealer.open` are for any bytes; `jobfleet.codec.seals` is for jobs.
"""

from __future__ import annotations

import hmac
import os
import struct
from collections import Counter
from functools import lru_cache
from typing import Any, Final, NoReturn

from jobfleet.codec.refused import BOUND_FORMAT, MARK, SEALED_FORMAT
from jobfleet.config import JobConfig
from jobfleet.config.keyring import OFF, REQUIRE, Key, Keyring, changed_at, read_keyring
from jobfleet.errors import BadSignature, ConfigError, UnknownKey

PLAIN, SIGNED, ENCRYPTED = 0, 1, 2
"""The algorithms."""

TAG_BYTES: Final = 32
NONCE_BYTES: Final = 12
_HEAD: Final = struct.Struct(">BBBB")  # mark, format, algorithm, length of the key's id
_LENGTH: Final = struct.Struct(">I")
_TEXT: Final = b"jobfleet sealed 1"

SEALED, OPENED, UNBOUND = "sealed", "opened", "unbound"
"""The uses of a key: something was sealed with it, or opened; or what was opened does not name its fleet."""


class _Keys:
    """What is derived from the secret of one key: a separate key for each purpose."""

    __slots__ = ("_cipher", "_secret", "nonce", "sign")

    def __init__(self, key: Key) -> None:
        self._secret = key.secret
        self._cipher: Any = None
        self.sign = _derived(key.secret, b"sign")
        self.nonce = _derived(key.secret, b"nonce")

    @property
    def cipher(self) -> Any:
        """AES-256-GCM.

        Raises:
            ConfigError: The package is missing.
        """
        if self._cipher is None:
            self._cipher = _aes_gcm()(_derived(self._secret, b"encrypt"))
        return self._cipher


def _derived(secret: bytes, purpose: bytes) -> bytes:
    return hmac.digest(secret, _TEXT + b" " + purpose, "sha256")


def _aes_gcm() -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError:
        raise ConfigError("Encryption needs the extra 'crypto': pip install 'jobfleet[crypto]'.") from None
    return AESGCM


class Sealer:
    """Seals and opens bytes.

    Args:
        keyring: The keys.
        sign: ``off``, ``send`` or ``require``.
        encrypt: The same for encryption, which signs too.
        bind: The same for the fleet that everything sealed belongs to; see `Seals`.

    Attributes:
        writes: The algorithm of what is sealed: `PLAIN`, `SIGNED` or `ENCRYPTED`.
        least: The weakest algorithm that is accepted.
        binds: Whether values are sealed with the fleet. Revision f933da4f cannot open those.
        is_bound: Whether only what names its fleet is accepted.
        uses: How often a key was used since `counted`: by its id, and `SEALED` or `OPENED`.
    """

    def __init__(self, keyring: Keyring, *, sign: str = OFF, encrypt: str = OFF, bind: str = OFF) -> None:
        self.writes: int = ENCRYPTED if encrypt != OFF else SIGNED if sign != OFF else PLAIN
        self.least: int = ENCRYPTED if encrypt == REQUIRE else SIGNED if sign == REQUIRE else PLAIN
        self.binds: bool = bind != OFF
        self.is_bound: bool = bind == REQUIRE
        self.uses: Counter[tuple[str, str]] = Counter()
        self._keys = {key.id: _Keys(key) for key in keyring.keys}
        self.primary: str = keyring.primary.id
        if self.writes == ENCRYPTED:
            _aes_gcm()  # a missing package is reported now, not with the first job

    def seal(self, plain: bytes, about: tuple[str, ...], *, is_stable: bool = False, fleet: str | None = None) -> bytes:
        """Seal bytes with the primary key; without `sign` and `encrypt` they stay as they are.

        Args:
            plain: The bytes.
            about: What they are about; `open` needs the same.
            is_stable: Whether the same bytes and `about` always give the same result, so that results can be compared.
            fleet: The fleet that they belong to; None leaves them unbound.
        """
        algorithm = self.writes
        if algorithm == PLAIN:
            return plain if plain[:1] != b"\xc1" else _HEAD.pack(MARK, SEALED_FORMAT, PLAIN, 0) + plain
        kid = self.primary.encode()
        head = _HEAD.pack(MARK, SEALED_FORMAT if fleet is None else BOUND_FORMAT, algorithm, len(kid)) + kid
        return head + self.protect(plain, joined(*about, *_bound(fleet), head), is_stable=is_stable)

    def open(self, sealed: bytes, about: tuple[str, ...], *, fleet: str | None = None) -> bytes:
        """Check sealed bytes and return what they hold.

        Args:
            sealed: The bytes.
            about: What they are about.
            fleet: The fleet whose they must be if they are bound; None for bytes that are never bound.

        Raises:
            BadSignature: They are not what was sealed about this, or are sealed less than this process requires.
            UnknownKey: The key is not in the keyring.
        """
        what = about[0] if about else "value"
        if sealed[:1] != b"\xc1":
            self.check_is_enough(PLAIN, what)
            return sealed
        if len(sealed) < _HEAD.size:
            raise BadSignature(f"{what}: truncated.", what=what)
        _, version, algorithm, length = _HEAD.unpack_from(sealed)
        begin = _HEAD.size + length
        is_bound = version == BOUND_FORMAT and fleet is not None
        if not (version == SEALED_FORMAT or is_bound) or algorithm > ENCRYPTED:
            raise BadSignature(f"{what}: sealed in an unknown way.", what=what)
        self.check_is_enough(algorithm, what)
        if algorithm == PLAIN:
            return sealed[begin:]
        head = sealed[:begin]
        kid, bound = _text(head[_HEAD.size :]), _bound(fleet if is_bound else None)
        plain = self.checked(algorithm, kid, sealed[begin:], joined(*about, *bound, head), what)
        if fleet is not None and not is_bound:
            self.take_unbound(kid, what)
        return plain

    def protect(self, plain: bytes, data: bytes, *, is_stable: bool = False) -> bytes:
        """Sign or encrypt bytes with the primary key.

        Args:
            plain: The bytes.
            data: The associated data: it is authenticated and not stored here.
            is_stable: As for `seal`.
        """
        keys = self._keys[self.primary]
        self.uses[self.primary, SEALED] += 1
        if self.writes == SIGNED:
            return plain + _tag(keys.sign, data, plain)
        nonce = _tag(keys.nonce, data, plain)[:NONCE_BYTES] if is_stable else os.urandom(NONCE_BYTES)
        return nonce + bytes(keys.cipher.encrypt(nonce, plain, data))

    def checked(self, algorithm: int, kid: str, body: bytes, data: bytes, what: str) -> bytes:
        """Check a body and return what it holds.

        Raises:
            BadSignature: It is not what was sealed with this associated data.
            UnknownKey: The key is not in the keyring.
        """
        keys = self._keys.get(kid)
        if keys is None:
            raise UnknownKey(kid, what=what)
        if algorithm == SIGNED:
            plain, tag = body[:-TAG_BYTES], body[-TAG_BYTES:]
            if len(body) < TAG_BYTES or not hmac.compare_digest(tag, _tag(keys.sign, data, plain)):
                _refuse(what)
        else:
            plain = _decrypted(keys.cipher, body, data, what)
        self.uses[kid, OPENED] += 1
        return plain

    def take_unbound(self, kid: str, what: str) -> None:
        """Accept and count something that was sealed, and that does not name its fleet.

        Raises:
            BadSignature: The settings refuse it.
        """
        if self.is_bound:
            text = "it does not name its fleet, and this process requires it (bind_namespace)."
            raise BadSignature(f"{what}: {text}", what=what)
        self.uses[kid, UNBOUND] += 1

    def counted(self) -> list[tuple[tuple[str, str], int]]:
        """Return the uses since the last call."""
        uses, self.uses = self.uses, Counter()
        return list(uses.items())

    def check_is_enough(self, algorithm: int, what: str) -> None:
        """Check that an algorithm is accepted here.

        Raises:
            BadSignature: The settings require more.
        """
        if algorithm < self.least:
            done = "signed" if algorithm == SIGNED else "neither signed nor encrypted"
            wanted = "encrypt" if self.least == ENCRYPTED else "sign"
            raise BadSignature(f"{what}: it is {done}, and this process requires it ({wanted}).", what=what)


def _bound(fleet: str | None) -> tuple[str, ...]:
    return () if fleet is None else ("fleet", fleet)


def joined(*parts: str | bytes) -> bytes:
    """Join parts to associated data, each with its length, so that no two lists of parts give the same bytes."""
    data = bytearray(_TEXT)
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        data += _LENGTH.pack(len(raw)) + raw
    return bytes(data)


def _tag(key: bytes, data: bytes, plain: bytes) -> bytes:
    return hmac.digest(key, _LENGTH.pack(len(data)) + data + plain, "sha256")


def _decrypted(cipher: Any, body: bytes, data: bytes, what: str) -> bytes:
    from cryptography.exceptions import InvalidTag

    if len(body) < NONCE_BYTES + 16:
        _refuse(what)
    try:
        return bytes(cipher.decrypt(body[:NONCE_BYTES], body[NONCE_BYTES:], data))
    except InvalidTag:
        _refuse(what)


def _refuse(what: str) -> NoReturn:
    raise BadSignature(f"{what}: its signature is wrong; it was changed, or belongs to something else.", what=what)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def sealer_of(config: JobConfig) -> Sealer | None:
    """The sealer for some settings; None without a keyring. Each process has one, which counts all uses.

    Raises:
        ConfigError: The keyring is missing or cannot be read, or a package is missing.
    """
    return _sealer(config.keyring, config.sign, config.encrypt, config.bind_namespace, changed_at(config.keyring))


@lru_cache(maxsize=16)
def _sealer(keyring: str | None, sign: str, encrypt: str, bind: str, _changed_at: int) -> Sealer | None:
    if keyring is not None:
        return Sealer(read_keyring(keyring), sign=sign, encrypt=encrypt, bind=bind)
    if sign != OFF or encrypt != OFF:
        wanted = "sign" if sign != OFF else "encrypt"
        raise ConfigError(f"{wanted} needs keys: set keyring; 'jobfleet keys generate FILE' makes one.")
    return None
