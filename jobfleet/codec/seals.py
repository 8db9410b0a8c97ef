"""What a job has in Redis, sealed and opened, and the signing and encryption of bytes with the keys of a keyring."""

from __future__ import annotations

import base64
import hmac
import os
import struct
from collections import Counter
from collections.abc import Mapping
from copy import copy
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, NoReturn

from jobfleet.codec.extensions import BOUND_FORMAT, MARK, SEALED_FORMAT, reason_of, refused_value
from jobfleet.codec.extensions import SEALED as SEALED_MARKS
from jobfleet.codec.frames import (
    ENVELOPE_KIND,
    FLEET,
    HEADER_LIMITS,
    KID,
    PAYLOAD,
    PREFIX_BYTES,
    RECORD_KIND,
    decode_header,
    encode_header,
    frame,
    is_record,
    read_fields,
    refused,
    split,
    split_head,
)
from jobfleet.codec.values import decode, pack
from jobfleet.config.keyring import OFF, REQUIRE, Key, Keyring, changed_at, read_keyring
from jobfleet.config.table import JobConfig
from jobfleet.errors import BadSignature, ConfigError, EncodingError, UnknownKey

# Signing and encryption of bytes: HMAC-SHA-256 and AES-256-GCM, with the keys of a keyring.
#
# A `Sealer` is chosen once, from the settings. A fleet without keys has none, and pays nothing. The associated data
# says what the bytes are about, for example the kind of record and the job's id. Bytes that were sealed about one
# thing cannot be opened as another. `Sealer.seal` and `Sealer.open` are for any bytes; `Seals`
# is for jobs.


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


# What a job has in Redis, sealed and opened: envelopes, results, progress, logs, steps, cron entries and flows.
#
# Envelopes and records keep their header in clear text, so that every process can list, settle and explain jobs; the
# header is authenticated. All else is sealed as a whole. The associated data has the kind of record and the job's id,
# which begins with its queue and lane; the header has the function and the fleet, and that of a record also the token
# of the run and the status. So a result cannot be replayed as an envelope, nor what belongs to one job, run or fleet
# as another's. Scripts write the line before a record without keys; `open_ending` compares the two (docs/adr/0070).
#
# Nothing here raises for foreign bytes: what is not accepted is marked as refused, and the code that decodes it gets
# the error. One bad row must not cost the others of a page or a claim.


ENVELOPE, RECORD, ENDING = "envelope", "result", "ending"
COMPLETED, FAILED = "completed", "failed"
TOKEN, STATUS = "token", "status"
"""Fields of the header of a sealed record: the run that it is of, and how that run has ended its job."""
MOVED: Final = ("moved_from", "origin")
PROOF: Final = "s:"
"""How the seal of a line begins, for an ending whose record may be deleted before its line."""
HIDDEN: Final = ("error", "traceback", "history", "envelope")
"""Fields of a record that encryption hides, because they may quote what a job works with."""
REMEMBERED_BYTES: Final = 256
NOTHING: Final[Mapping[str, object]] = MappingProxyType({})
_KINDS: Final = {ENVELOPE: ENVELOPE_KIND, RECORD: RECORD_KIND}


class Seals:
    """Seals and opens what jobs have in Redis.

    Args:
        sealer: Has the keys.
        fleet: The namespace of the fleet.

    Attributes:
        hides: Whether what is written is encrypted.
        requires: Whether what is not sealed is refused.
    """

    __slots__ = ("_fleet", "hides", "requires", "sealer")

    def __init__(self, sealer: Sealer, fleet: str) -> None:
        self.sealer: Sealer = sealer
        self.hides: bool = sealer.writes == ENCRYPTED
        self.requires: bool = sealer.least > PLAIN
        self._fleet = fleet

    def of_archive(self) -> Seals:
        """Return the seals for what is in a database, where records of former revisions stay for years."""
        sealer = copy(self.sealer)
        sealer.is_bound = False
        return Seals(sealer, self._fleet)

    def envelope(self, job_id: str, plain: bytes) -> bytes:
        """Seal an envelope."""
        return self._sealed(ENVELOPE, job_id, plain)

    def open_envelope(self, job_id: str, stored: bytes) -> bytes:
        """Return a plain envelope, or a refused one."""
        return self._opened(ENVELOPE, job_id, stored)[0]

    def record(self, job_id: str, plain: bytes, token: int, status: str) -> bytes:
        """Seal the record of a run.

        Args:
            job_id: The job.
            plain: The record.
            token: The token of the run; 0 if there was none.
            status: How the run has ended its job: ``completed`` or ``failed``.
        """
        bound: dict[str, object] = {TOKEN: token, STATUS: status}
        if not self.hides or not plain:
            return self._sealed(RECORD, job_id, plain, bound)
        begin = split(plain, RECORD_KIND, "record")
        header = decode_header(plain, begin, HEADER_LIMITS, "record")
        hidden = pack({name: header.pop(name) for name in HIDDEN if name in header})
        body = _LENGTH.pack(len(hidden)) + hidden + plain[begin:]
        return self._sealed(RECORD, job_id, frame(RECORD_KIND, pack(header), body), bound)

    def open_record(self, job_id: str, stored: bytes, status: str, token: int | None = None) -> bytes:
        """Return a plain record, or a refused one.

        Args:
            job_id: The job.
            stored: The record.
            status: The status that it must be of.
            token: The token of the run that it must be of; None for any.
        """
        opened, header = self._opened(RECORD, job_id, stored)
        if header is None:
            return opened
        begin = split(opened, RECORD_KIND, "record")
        if stored[1] == RECORD_KIND + ENCRYPTED:
            (length,) = _LENGTH.unpack_from(opened, begin)
            middle = begin + _LENGTH.size
            header = {**header, **decode(opened[middle : middle + length])}
            encoded = encode_header(header, HEADER_LIMITS, "record")
            opened, begin = frame(RECORD_KIND, encoded, opened[middle + length :]), PREFIX_BYTES + len(encoded)
        if STATUS in header:
            is_it = header[STATUS] == status and token in (None, header.get(TOKEN))
        else:  # of revision f933da4f, in which only a job that has completed has a value
            is_it = (status == COMPLETED) == (begin < len(opened) or PAYLOAD in header)
        return opened if is_it else refused(stored, RECORD_KIND, reason_of(_not_signed(f"{status} by run {token}")))

    def proof(self, job_id: str, record: bytes, token: int) -> str:
        """Seal the line of a completed job, whose record may be deleted before its line.

        Args:
            job_id: The job.
            record: Its record; empty for none. The proof keeps the ids that the job had before it was moved.
            token: The token of the run.
        """
        if self.sealer.writes == PLAIN:
            return ""
        fields = read_fields(record) if record else {}
        kept = pack({name: fields[name] for name in MOVED if name in fields})
        about = (ENDING, job_id, str(token), COMPLETED)
        return PROOF + base64.b64encode(self.sealer.seal(kept, about, fleet=self._fleet)).decode()

    def open_ending(self, job_id: str, status: str, token: int, proof: str, body: bytes) -> bytes:
        """Open what the ending of a job has: its record, or the envelope of a job that did not run.

        With `requires`, a job has completed or failed only if its record says so, or the proof in its line. Other
        endings are written by scripts without keys, so they must not have a record.

        Args:
            job_id: The job.
            status: The status in its line.
            token: The token in its line.
            proof: The word of its line that may be a proof.
            body: The record or the envelope.
        """
        is_of_run = status in (COMPLETED, FAILED)
        if is_record(body) and (is_of_run or not self.requires):
            return self.open_record(job_id, body, status, token)
        if not self.requires or not (is_of_run or is_record(body)):
            return self.open_envelope(job_id, body)
        if body or status == FAILED or not proof.startswith(PROOF):
            return _refused_record(_not_signed(status))
        try:
            sealed = base64.b64decode(proof.removeprefix(PROOF), validate=True)
            kept = self.sealer.open(sealed, (ENDING, job_id, str(token), status), fleet=self._fleet)
        except ValueError:  # not base64
            return _refused_record(_not_signed(status))
        except (BadSignature, UnknownKey) as error:
            return _refused_record(error)
        return frame(RECORD_KIND, kept, b"")

    def value(self, plain: bytes, *about: str, is_stable: bool = False) -> bytes:
        """Seal any other bytes, such as progress; `about` begins with their kind."""
        fleet = self._fleet if self.sealer.binds else None
        return self.sealer.seal(plain, about, is_stable=is_stable, fleet=fleet) if plain else plain

    def open_value(self, stored: bytes, *about: str) -> bytes:
        """Open such bytes. If they are not accepted, the result begins with a byte that no decoder accepts."""
        if not stored:
            return stored
        try:
            return self.sealer.open(stored, about, fleet=self._fleet)
        except (BadSignature, UnknownKey) as error:
            return refused_value(error)

    def text(self, plain: bytes, *about: str) -> bytes:
        """Seal bytes to printable ones."""
        if self.sealer.writes == PLAIN:
            return plain
        return base64.b64encode(self.sealer.seal(plain, about, fleet=self._fleet if self.sealer.binds else None))

    def open_text(self, stored: bytes, *about: str) -> bytes:
        """Open what `text` has sealed; what is not accepted becomes a note."""
        sealed = _from_base64(stored)
        try:
            return self.sealer.open(stored if sealed is None else sealed, about, fleet=self._fleet)
        except (BadSignature, UnknownKey) as error:
            return f"(not shown: {error})".encode()

    def _sealed(self, what: str, job_id: str, plain: bytes, bound: Mapping[str, object] = NOTHING) -> bytes:
        kind, algorithm = _KINDS[what], self.sealer.writes
        if algorithm == PLAIN or len(plain) < PREFIX_BYTES or plain[1] != kind:
            return plain  # it is sealed already, or no frame at all
        begin = split(plain, kind, what)
        if bound or begin > REMEMBERED_BYTES:
            head = _made_head(plain[:begin], kind + algorithm, {**bound, KID: self.sealer.primary, FLEET: self._fleet})
        else:
            head = _head(plain[:begin], kind + algorithm, self.sealer.primary, self._fleet)
        return head + self.sealer.protect(plain[begin:], joined(what, job_id, head))

    def _opened(self, what: str, job_id: str, stored: bytes) -> tuple[bytes, dict[str, Any] | None]:
        """Return a plain or a refused frame; of one that was sealed and is accepted also its header, for reading."""
        kind = _KINDS[what]
        try:
            begin = split_head(stored, kind, what)
        except EncodingError:  # the code that decodes it gets this error
            return stored, None
        algorithm = stored[1] - kind
        try:
            self.sealer.check_is_enough(algorithm, what)
            if algorithm == PLAIN:
                return stored, None
            if algorithm not in (SIGNED, ENCRYPTED):
                raise BadSignature(f"{what}: sealed in an unknown way.", what=what)
            head = stored[:begin]
            header = (_header if begin <= REMEMBERED_BYTES else _header.__wrapped__)(head)
            kid = header.get(KID)
            kid = kid if isinstance(kid, str) else ""
            body = self.sealer.checked(algorithm, kid, stored[begin:], joined(what, job_id, head), what)
            if (fleet := header.get(FLEET)) is None:
                self.sealer.take_unbound(kid, what)
            elif fleet != self._fleet:
                raise BadSignature(f"{what}: it belongs to the fleet {fleet!r:.80}, not to this one.", what=what)
        except (BadSignature, UnknownKey) as error:
            return refused(stored, kind, reason_of(error)), None
        return head[:1] + bytes([kind]) + head[2:] + body, header


@lru_cache(maxsize=1024)
def _head(head: bytes, kind: int, kid: str, fleet: str) -> bytes:
    """The head of a sealed frame: the header with the key and the fleet. Jobs of one function often share it."""
    return _made_head(head, kind, {KID: kid, FLEET: fleet})


def _made_head(head: bytes, kind: int, more: Mapping[str, object]) -> bytes:
    header = decode_header(head, len(head), HEADER_LIMITS, "header")
    return frame(kind, encode_header({**header, **more}, HEADER_LIMITS, "header"), b"")


@lru_cache(maxsize=1024)
def _header(head: bytes) -> dict[str, Any]:
    """The header of a frame; empty if it cannot be read. Do not change the result."""
    try:
        return decode_header(head, len(head), HEADER_LIMITS, "header")
    except EncodingError:
        return {}


def _not_signed(status: str) -> BadSignature:
    text = f"result: nothing that is signed says that the job is {status}; somebody without the keys wrote this."
    return BadSignature(text, what=RECORD)


def _refused_record(error: BadSignature | UnknownKey) -> bytes:
    """A refused record in place of one that is not there."""
    return refused(frame(RECORD_KIND, encode_header({}, HEADER_LIMITS, "record"), b""), RECORD_KIND, reason_of(error))


def _from_base64(stored: bytes) -> bytes | None:
    """Decode what `text` has written; None for plain text."""
    if not stored.startswith(b"wQ"):  # how sealed bytes begin in base64
        return None
    try:
        sealed = base64.b64decode(stored, validate=True)
    except ValueError:
        return None
    return sealed if sealed[:2] in SEALED_MARKS else None


def seals_of(config: JobConfig) -> Seals | None:
    """The seals for some settings; None without a keyring.

    Raises:
        ConfigError: The keyring is missing or cannot be read.
    """
    sealer = sealer_of(config)
    return None if sealer is None else Seals(sealer, config.namespace)
