"""What a job has in Redis, sealed and opened: envelopes, results, progress, logs, steps, cron entries and flows.

Envelopes and records keep their header in clear text, so that every process can list, settle and explain jobs; the
header is authenticated. All else is sealed as a whole. The associated data has the kind of record and the job's id,
which begins with its queue and lane; the header has the function and the fleet, and that of a record also the token of
the run and the status. So a result cannot be replayed as an envelope, nor what belongs to one job, run or fleet as
another's. Scripts write the line before a record without keys; `open_ending` compares the two (docs/adr/0070).

Nothing here raises for foreign bytes: what is not accepted is marked as refused, and the code that decodes it gets the
error. One bad row must not cost the others of a page or a claim.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from copy import copy
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

from jobfleet.codec import envelope as envelopes
from jobfleet.codec import record as records
from jobfleet.codec.frame import (
    FLEET,
    HEADER_LIMITS,
    KID,
    PAYLOAD,
    PREFIX_BYTES,
    decode_header,
    encode_header,
    frame,
    refused,
    split,
    split_head,
)
from jobfleet.codec.payload import decode
from jobfleet.codec.refused import SEALED as SEALED_MARKS
from jobfleet.codec.refused import reason_of, refused_value
from jobfleet.codec.sealing import ENCRYPTED, PLAIN, SIGNED, Sealer, joined, sealer_of
from jobfleet.codec.wire import pack
from jobfleet.config import JobConfig
from jobfleet.errors import BadSignature, EncodingError, UnknownKey

ENVELOPE, RECORD, ENDING = "envelope", "result", "ending"
COMPLETED, FAILED = "completed", "failed"
TOKEN, STATUS = "token", "status"
"""Fields of the header of a sealed record: the run that it is of, and how that run has ended its job."""
MOVED: Final = ("moved_from", "origin")
PROOF: Final = "s:"
"""How the seal of a line begins, for an ending whose record may be deleted before its line."""
HIDDEN: Final = ("error", "traceback")
"""Fields of a record that encryption hides, because they may quote what a job works with."""
REMEMBERED_BYTES: Final = 256
NOTHING: Final[Mapping[str, object]] = MappingProxyType({})
_KINDS: Final = {ENVELOPE: envelopes.PLAIN, RECORD: records.KIND}
_LENGTH: Final = struct.Struct(">I")


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
        begin = split(plain, records.KIND, "record")
        header = decode_header(plain, begin, HEADER_LIMITS, "record")
        hidden = pack({name: header.pop(name) for name in HIDDEN if name in header})
        body = _LENGTH.pack(len(hidden)) + hidden + plain[begin:]
        return self._sealed(RECORD, job_id, frame(records.KIND, pack(header), body), bound)

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
        begin = split(opened, records.KIND, "record")
        if stored[1] == records.KIND + ENCRYPTED:
            (length,) = _LENGTH.unpack_from(opened, begin)
            middle = begin + _LENGTH.size
            header = {**header, **decode(opened[middle : middle + length])}
            encoded = encode_header(header, HEADER_LIMITS, "record")
            opened, begin = frame(records.KIND, encoded, opened[middle + length :]), PREFIX_BYTES + len(encoded)
        if STATUS in header:
            is_it = header[STATUS] == status and token in (None, header.get(TOKEN))
        else:  # of revision f933da4f, in which only a job that has completed has a value
            is_it = (status == COMPLETED) == (begin < len(opened) or PAYLOAD in header)
        return opened if is_it else refused(stored, records.KIND, reason_of(_not_signed(f"{status} by run {token}")))

    def proof(self, job_id: str, record: bytes, token: int) -> str:
        """Seal the line of a completed job, whose record may be deleted before its line.

        Args:
            job_id: The job.
            record: Its record; empty for none. The proof keeps the ids that the job had before it was moved.
            token: The token of the run.
        """
        if self.sealer.writes == PLAIN:
            return ""
        fields = records.read_fields(record) if record else {}
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
        if records.is_record(body) and (is_of_run or not self.requires):
            return self.open_record(job_id, body, status, token)
        if not self.requires or not (is_of_run or records.is_record(body)):
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
        return frame(records.KIND, kept, b"")

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
    return refused(frame(records.KIND, encode_header({}, HEADER_LIMITS, "record"), b""), records.KIND, reason_of(error))


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
