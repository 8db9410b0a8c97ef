"""Frames whose body is stored elsewhere: envelopes and result records keep their header, with a reference to the body.

The reference is the field `payload` of the header. Without it, and with the body, the frame has its former bytes.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final, NamedTuple

from jobfleet.codec import envelope, record
from jobfleet.codec.frame import HEADER_LIMITS, PAYLOAD, decode_header, encode_header, frame, split
from jobfleet.codec.payload import Bytes, as_bytes, encode, unreadable

DIGEST_BYTES: Final = 32
PLAIN_KINDS: Final = frozenset(bytes([kind]) for kind in (envelope.PLAIN, record.KIND))
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
