"""Bodies of envelopes and records in the payload store of a fleet: store, fetch and check them.

The key of an object names the job that it belongs to and has 128 random bits, so it is never used twice and cannot
be guessed. An object is written before anything refers to it, and nothing changes it.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import unquote, urlsplit

from jobfleet.codec import frames
from jobfleet.codec.frames import HEADER_LIMITS, PAYLOAD, decode_header, encode_header, frame, split
from jobfleet.codec.seals import sealer_of
from jobfleet.codec.values import Bytes, as_bytes, encode, unreadable
from jobfleet.config import JobConfig
from jobfleet.config.url import mask_store
from jobfleet.errors import JobfleetError, PayloadLost, PayloadUnavailable
from jobfleet.payloads.store import Folder, PayloadStore, StoredObject

Kind = Literal["a", "r"]
"""Arguments, or a result."""
ARGUMENTS: Final = "a"
RESULT: Final = "r"
IDENTITY: Final = ".jobfleet-payloads"
"""The object with the identity of the store. It shows whether two machines use the same store."""
SHARDS: Final = 256
ABOUT: Final = "payload"
"""What a sealed object is about, with its key."""
SEAL_BYTES: Final = 512
"""More than a seal adds to a body."""
_NAME: Final = re.compile(r"([A-Za-z0-9_.:-]+)~([ar])[0-9a-f]{32}")


class Owner:
    """What an object belongs to, from its key.

    Attributes:
        job_id: The job.
        kind: Whether it has arguments or a result.
    """

    __slots__ = ("job_id", "kind")

    def __init__(self, job_id: str, kind: str) -> None:
        self.job_id: str = job_id
        self.kind: str = kind


def owner_of(key: str) -> Owner | None:
    """What an object belongs to; None for a file that is not an object of a job."""
    found = _NAME.fullmatch(key.rpartition("/")[2])
    return None if found is None else Owner(found[1], found[2])


def open_store(url: str) -> PayloadStore:
    """Open the payload store of a URL.

    Raises:
        ConfigError: What the URL needs is not installed.
    """
    parts = urlsplit(url)
    if parts.scheme == "file":
        return Folder(Path(unquote(parts.path)))
    from jobfleet.payloads.store import Remote  # fsspec is for those who use it

    return Remote(url)


class Payloads:
    """The payload store of a fleet. Every method blocks; any thread may call it.

    Args:
        config: The settings.
    """

    def __init__(self, config: JobConfig) -> None:
        self._config = config
        self._url = config.payload_store or ""
        self._namespace = config.namespace
        self._most = config.payload_max
        self._opened: PayloadStore | None = None
        self._identity = ""

    @property
    def is_checked(self) -> bool:
        """Whether this process has seen that its store is the one that the fleet has recorded in Redis."""
        return bool(self._identity)

    @property
    def store(self) -> PayloadStore:
        """The store, opened on first use.

        Raises:
            ConfigError: What its URL needs is not installed.
        """
        if self._opened is None:
            self._opened = open_store(self._url)
        return self._opened

    def stow(self, job_id: str, kind: Kind, data: bytes) -> bytes:
        """Store the body of an envelope or a record; return the frame with a reference in its place.

        Raises:
            PayloadUnavailable: The store cannot be reached.
        """
        body, identity = body_of(data), self._checked_identity()
        key = f"{self._folder(job_id)}/{job_id}~{kind}{secrets.token_hex(16)}"
        sealer = sealer_of(self._config)
        if sealer is not None:
            body = sealer.seal(body, (ABOUT, key))
        reference = Reference(identity, key, len(body), digest_of(body))
        try:
            self.store.put(key, body)
        except JobfleetError:
            raise
        except Exception as error:
            raise _away("written", error) from error
        return without_body(data, reference)

    def whole(self, data: bytes) -> bytes:
        """The frame with its body, if that is in the store; else the frame as it is.

        Raises:
            PayloadLost: The store does not have the body any more, or has other bytes.
            PayloadUnavailable: The store cannot be reached, or is another one than that of the writer.
            EncodingError: The bytes are not a frame, or the reference is malformed.
        BadSignature, UnknownKey: The body is sealed, and this process did not accept or could not open it.
        """
        reference = reference_of(data)
        return data if reference is None else with_body(data, self.fetch(reference))

    def fetch(self, reference: Reference) -> bytes:
        """The body that a reference names. Raises as `whole`."""
        if owner_of(reference.key) is None or not reference.key.startswith(f"{self._namespace}/"):
            raise PayloadLost(f"The reference {reference.key!r:.200} names no payload of this fleet.")
        if reference.size > self._most + SEAL_BYTES:
            raise PayloadLost(
                f"The payload {reference.key} has {reference.size:,} bytes, the limit is {self._most:,}; "
                "raise the setting payload_max."
            )
        try:
            body = self.store.get(reference.key, most=reference.size)
        except FileNotFoundError as error:
            raise self._missing(reference) from error
        except JobfleetError:
            raise
        except Exception as error:
            raise _away("read", error) from error
        if len(body) != reference.size or digest_of(body) != reference.digest:
            raise PayloadLost(f"The payload {reference.key} is damaged: its checksum is wrong.")
        sealer = sealer_of(self._config)
        return body if sealer is None else sealer.open(body, (ABOUT, reference.key))

    def identity(self) -> str:
        """The identity of the store; empty if nothing was written to it.

        Raises:
            PayloadUnavailable: The store cannot be reached.
        """
        try:
            return self._read_identity()
        except JobfleetError:
            raise
        except Exception as error:
            raise _away("reached", error) from error

    def found(self, identity: str = "") -> str:
        """Give the store an identity, for the first time, and return it.

        Args:
            identity: The identity; by default a new one.

        Raises:
            PayloadUnavailable: The store cannot be reached.
        """
        try:
            self.store.put(IDENTITY, (identity or secrets.token_hex(8)).encode())
            return self._read_identity()
        except JobfleetError:
            raise
        except Exception as error:
            raise _away("written", error) from error

    def accept(self, found: str, recorded: str, key: str) -> None:
        """Use the store, if it is the one of the fleet.

        Args:
            found: The identity of the store; empty if it has none.
            recorded: The identity that the fleet has recorded in Redis.
            key: The key that records it.

        Raises:
            PayloadUnavailable: It is another one.
        """
        if found != recorded:
            raise PayloadUnavailable(
                f"payload_store ({mask_store(self._url)}) leads this process to {_shown(found)}, and the payload store "
                f"of the fleet is {recorded}: mount it on this machine, or correct payload_store. If the fleet has "
                f"moved to another store for good, delete the key {key} in Redis."
            )
        self._identity = found

    def _checked_identity(self) -> str:
        """The identity of the store for a new object; see `checked_store`, which comes before this where Redis replies.

        It is read for each object: a folder whose file system was unmounted would take the object, and nobody else
        would find it.
        """
        found, had = self.identity(), self._identity
        if had and found != had:
            self._identity = ""  # so that the next one asks Redis
            raise PayloadUnavailable(f"payload_store led to the store {had}, and now leads to {_shown(found)}.")
        if not found:
            raise PayloadUnavailable(
                f"payload_store ({mask_store(self._url)}) leads to an empty store, and Redis is away, which knows "
                "whether the fleet has another one: is the file system mounted?"
            )
        return found

    def owned(self, job_id: str) -> Iterator[str]:
        """The keys of the objects that belong to a job."""
        for found in self.store.list(self._folder(job_id)):
            owner = owner_of(found.key)
            if owner is not None and owner.job_id == job_id:
                yield found.key

    def forget(self, job_id: str) -> None:
        """Delete all objects of a job.

        Raises:
            PayloadUnavailable: The store cannot be reached.
        """
        try:
            for key in list(self.owned(job_id)):
                self.store.delete(key)
        except JobfleetError:
            raise
        except Exception as error:
            raise PayloadUnavailable(
                f"The payloads of {job_id} were not deleted: {_described(error)}; forget it again."
            ) from error

    def shard(self, number: int) -> Iterator[StoredObject]:
        """The objects of one of the `SHARDS` folders of the fleet."""
        return self.store.list(f"{self._namespace}/{number:02x}")

    def _folder(self, job_id: str) -> str:
        return f"{self._namespace}/{zlib.crc32(job_id.encode()) % SHARDS:02x}"

    def _read_identity(self) -> str:
        try:
            return self.store.get(IDENTITY, most=64).decode("ascii", "replace").strip()[:64]
        except FileNotFoundError:
            return ""

    def _missing(self, reference: Reference) -> JobfleetError:
        """The error for an object that is not there: gone for good, if this is the store that it was written to."""
        try:
            found = self._read_identity()
        except Exception as error:  # noqa: BLE001 - any store may raise anything
            return _away("read", error)
        if found != reference.store:
            return PayloadUnavailable(
                f"The payload {reference.key} is in the store {reference.store}, and payload_store leads this process "
                f"to {_shown(found)}: give all processes the same store."
            )
        return PayloadLost(f"The payload {reference.key} is gone from the payload store.")


def payloads_of(config: JobConfig) -> Payloads | None:
    """The payload store of a fleet; None if the settings name none."""
    return Payloads(config) if config.payload_store else None


def _shown(identity: str) -> str:
    return f"the store {identity}" if identity else "an empty one"


def _described(error: Exception) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _away(done: str, error: Exception) -> PayloadUnavailable:
    return PayloadUnavailable(f"The payload store cannot be {done} (setting payload_store): {_described(error)}.")


# Frames whose body is stored elsewhere: envelopes and result records keep their header, with a reference to the body.
#
# The reference is the field `payload` of the header. Without it, and with the body, the frame has its former bytes.


DIGEST_BYTES: Final = 32
PLAIN_KINDS: Final = frozenset(bytes([kind]) for kind in (frames.ENVELOPE_KIND, frames.RECORD_KIND))
MARK: Final = encode(PAYLOAD)
"""How a header has the name of the field: bytes without it have no reference, and need not be decoded."""


class Reference(NamedTuple):
    """Where a body is stored.

    Attributes:
        store: The identity of the payload store.
        key: The name of the body there.
        size: The length of the body in bytes.
        digest: The SHA-256 of the body.
    """

    store: str
    key: str
    size: int
    digest: bytes


def digest_of(body: bytes) -> bytes:
    """The checksum of a body."""
    return hashlib.sha256(body).digest()


def body_of(data: bytes) -> bytes:
    """The body of an envelope or a record."""
    return data[split(data, data[1], "payload") :]


def without_body(data: bytes, reference: Reference) -> bytes:
    """The frame with a reference in place of its body."""
    header = _header_of(data)
    return frame(data[1], encode_header({**header, PAYLOAD: list(reference)}, HEADER_LIMITS, "header"), b"")


def with_body(data: bytes, body: bytes) -> bytes:
    """The frame with its body in place of the reference."""
    header = _header_of(data)
    del header[PAYLOAD]
    return frame(data[1], encode_header(header, HEADER_LIMITS, "header"), body)


def reference_of(data: Bytes) -> Reference | None:
    """The reference in a plain envelope or record; None if its body is not stored elsewhere.

    A frame that is sealed, or was not accepted, leads nowhere: what decodes it reports the reason.

    Raises:
        EncodingError: The bytes are neither, or the reference is malformed.
    """
    given = as_bytes(data, "payload")
    return unchecked_reference_of(given) if given[1:2] in PLAIN_KINDS else None


def unchecked_reference_of(data: bytes) -> Reference | None:
    """The reference in an envelope or a record, though its signature was not checked. Raises as `reference_of`."""
    header = _header_of(data)
    return None if PAYLOAD not in header else reference_in(header)


def reference_in(header: dict[str, Any]) -> Reference:
    """The reference in a header that has one.

    Raises:
        EncodingError: The reference is malformed.
    """
    row = header[PAYLOAD]
    if type(row) is not list or list(map(type, row)) != [str, str, int, bytes]:
        raise unreadable("payload", "its reference is malformed")
    found = Reference(*row)
    if found.size < 0 or len(found.digest) != DIGEST_BYTES:
        raise unreadable("payload", "its reference is malformed")
    return found


def _header_of(data: bytes) -> dict[str, Any]:
    if len(data) < 2:
        raise unreadable("payload", "truncated")
    return decode_header(data, split(data, data[1], "payload"), HEADER_LIMITS, "header")
