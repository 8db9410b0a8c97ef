"""What a job has in Redis, sealed and opened: envelopes, results, progress, logs, steps, cron entries and flows.

Envelopes and records keep their header in clear text, so that every process can list, settle and explain jobs; the
header is authenticated. All else is sealed as a whole. The associated data has the kind of record and the job's id,
which begins with its queue and lane; the header has the function. So a result cannot be replayed as an envelope, nor
what belongs to one job as another's.

Nothing here raises for foreign bytes: what is not accepted is marked as refused, and the code that decodes it gets the
error. One bad row must not cost the others of a page or a claim.
"""

from __future__ import annotations

import base64
import struct
from functools import lru_cache
from typing import Final

from jobfleet.codec import envelope as envelopes
from jobfleet.codec import record as records
from jobfleet.codec.frame import (
    HEADER_LIMITS,
    KID,
    PREFIX_BYTES,
    decode_header,
    encode_header,
    frame,
    kid_of,
    refused,
    split,
    split_head,
)
from jobfleet.codec.payload import decode
from jobfleet.codec.refused import MARK, SEALED_FORMAT, reason_of, refused_value
from jobfleet.codec.sealing import ENCRYPTED, PLAIN, SIGNED, Sealer, joined, sealer_of
from jobfleet.codec.wire import pack
from jobfleet.config import JobConfig
from jobfleet.errors import BadSignature, EncodingError, UnknownKey

ENVELOPE, RECORD = "envelope", "result"
HIDDEN: Final = ("error", "traceback")
"""Fields of a record that encryption hides, because they may quote what a job works with."""
REMEMBERED_BYTES: Final = 256
_KINDS: Final = {ENVELOPE: envelopes.PLAIN, RECORD: records.KIND}
_LENGTH: Final = struct.Struct(">I")


class Seals:
    """Seals and opens what jobs have in Redis.

    Args:
        sealer: Has the keys.

    Attributes:
        hides: Whether what is written is encrypted.
    """

    __slots__ = ("hides", "sealer")

    def __init__(self, sealer: Sealer) -> None:
        self.sealer: Sealer = sealer
        self.hides: bool = sealer.writes == ENCRYPTED

    def envelope(self, job_id: str, plain: bytes) -> bytes:
        """Seal an envelope."""
        return self._sealed(ENVELOPE, job_id, plain)

    def open_envelope(self, job_id: str, stored: bytes) -> bytes:
        """Return a plain envelope, or a refused one."""
        return self._opened(ENVELOPE, job_id, stored)

    def record(self, job_id: str, plain: bytes) -> bytes:
        """Seal the record of a run."""
        if not self.hides or not plain:
            return self._sealed(RECORD, job_id, plain)
        begin = split(plain, records.KIND, "record")
        header = decode_header(plain, begin, HEADER_LIMITS, "record")
        hidden = pack({name: header.pop(name) for name in HIDDEN if name in header})
        body = _LENGTH.pack(len(hidden)) + hidden + plain[begin:]
        return self._sealed(RECORD, job_id, frame(records.KIND, pack(header), body))

    def open_record(self, job_id: str, stored: bytes) -> bytes:
        """Return a plain record, or a refused one."""
        opened = self._opened(RECORD, job_id, stored)
        if len(stored) < PREFIX_BYTES or stored[1] != records.KIND + ENCRYPTED or opened[1] != records.KIND:
            return opened
        begin = split(opened, records.KIND, "record")
        (length,) = _LENGTH.unpack_from(opened, begin)
        middle = begin + _LENGTH.size
        header = decode_header(opened, begin, HEADER_LIMITS, "record")
        header |= decode(opened[middle : middle + length])
        return frame(records.KIND, encode_header(header, HEADER_LIMITS, "record"), opened[middle + length :])

    def open_ending(self, job_id: str, body: bytes) -> bytes:
        """Open what the ending of a job has: its record, or the envelope of a job that did not run."""
        return self.open_record(job_id, body) if records.is_record(body) else self.open_envelope(job_id, body)

    def value(self, plain: bytes, *about: str, is_stable: bool = False) -> bytes:
        """Seal any other bytes, such as progress; `about` begins with their kind."""
        return self.sealer.seal(plain, about, is_stable=is_stable) if plain else plain

    def open_value(self, stored: bytes, *about: str) -> bytes:
        """Open such bytes. If they are not accepted, the result begins with a byte that no decoder accepts."""
        if not stored:
            return stored
        try:
            return self.sealer.open(stored, about)
        except (BadSignature, UnknownKey) as error:
            return refused_value(error)

    def text(self, plain: bytes, *about: str) -> bytes:
        """Seal bytes to printable ones."""
        return base64.b64encode(self.sealer.seal(plain, about)) if self.sealer.writes != PLAIN else plain

    def open_text(self, stored: bytes, *about: str) -> bytes:
        """Open what `text` has sealed; what is not accepted becomes a note."""
        sealed = _from_base64(stored)
        try:
            return self.sealer.open(stored if sealed is None else sealed, about)
        except (BadSignature, UnknownKey) as error:
            return f"(not shown: {error})".encode()

    def _sealed(self, what: str, job_id: str, plain: bytes) -> bytes:
        kind, algorithm = _KINDS[what], self.sealer.writes
        if algorithm == PLAIN or len(plain) < PREFIX_BYTES or plain[1] != kind:
            return plain  # it is sealed already, or no frame at all
        begin = split(plain, kind, what)
        make = _head if begin <= REMEMBERED_BYTES else _head.__wrapped__
        head = make(plain[:begin], kind + algorithm, self.sealer.primary)
        return head + self.sealer.protect(plain[begin:], joined(what, job_id, head))

    def _opened(self, what: str, job_id: str, stored: bytes) -> bytes:
        kind = _KINDS[what]
        try:
            begin = split_head(stored, kind, what)
        except EncodingError:  # the code that decodes it gets this error
            return stored
        algorithm = stored[1] - kind
        try:
            self.sealer.check_is_enough(algorithm, what)
            if algorithm == PLAIN:
                return stored
            if algorithm not in (SIGNED, ENCRYPTED):
                raise BadSignature(f"{what}: sealed in an unknown way.", what=what)
            head = stored[:begin]
            kid = (_kid if begin <= REMEMBERED_BYTES else _kid.__wrapped__)(head)
            body = self.sealer.checked(algorithm, kid, stored[begin:], joined(what, job_id, head), what)
        except (BadSignature, UnknownKey) as error:
            return refused(stored, kind, reason_of(error))
        return head[:1] + bytes([kind]) + head[2:] + body


@lru_cache(maxsize=1024)
def _head(head: bytes, kind: int, kid: str) -> bytes:
    """The head of a sealed frame: the header with the id of the key. Jobs of one function often share it."""
    header = decode_header(head, len(head), HEADER_LIMITS, "header")
    return frame(kind, encode_header({**header, KID: kid}, HEADER_LIMITS, "header"), b"")


@lru_cache(maxsize=1024)
def _kid(head: bytes) -> str:
    return kid_of(head, len(head))


def _from_base64(stored: bytes) -> bytes | None:
    """Decode what `text` has written; None for plain text."""
    if not stored.startswith(b"wQ"):  # how sealed bytes begin in base64
        return None
    try:
        sealed = base64.b64decode(stored, validate=True)
    except ValueError:
        return None
    return sealed if sealed[:2] == bytes([MARK, SEALED_FORMAT]) else None


def seals_of(config: JobConfig) -> Seals | None:
    """The seals for some settings; None without a keyring.

    Raises:
        ConfigError: The keyring is missing or cannot be read.
    """
    sealer = sealer_of(config)
    return None if sealer is None else Seals(sealer)
