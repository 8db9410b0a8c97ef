"""The frame of every stored value: `version | kind | header length, u32 big endian | header | body`.

The version and the kind can be checked before anything is parsed. The header can be decoded without the body.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final, TypeGuard

from jobfleet.codec.payload import Limits, decode_at, encode_at, renamed, unreadable
from jobfleet.codec.refused import refusal
from jobfleet.errors import EncodingError, EnvelopeTooNew, UnknownKey

VERSION: Final = 1
REFUSED: Final = 3
"""Added to a kind: 1 signed, 2 encrypted, 3 refused by this process (see `refused`)."""
KID: Final = "kid"
FLEET: Final = "fleet"
"""The field of the header of a sealed frame that says which fleet it belongs to."""
PAYLOAD: Final = "payload"
"""The field of a header that says where the body is, if it is stored elsewhere; see `claim_check`."""
HEADER_LIMITS: Final = Limits(max_bytes=1 << 18, max_containers=4096, setting="")
_PREFIX: Final = struct.Struct(">BBI")
PREFIX_BYTES: Final = _PREFIX.size

_TEXT: Final = frozenset([str])


def frame(kind: int, header: bytes, body: bytes) -> bytes:
    """Join header and body into one frame."""
    return _PREFIX.pack(VERSION, kind, len(header)) + header + body


def split(data: bytes, kind: int, what: str) -> int:
    """Check the prefix and return the offset of the body.

    Raises:
        EnvelopeTooNew: A later version of jobfleet wrote the frame.
        EncodingError: The bytes are not a frame of this kind.
    """
    if len(data) < PREFIX_BYTES:
        raise unreadable(what, "truncated")
    version, actual, length = _PREFIX.unpack_from(data)
    if version > VERSION:
        raise EnvelopeTooNew(version, VERSION)
    if version < VERSION:
        raise unreadable(what, f"version {version} was never used")
    begin = PREFIX_BYTES + int(length)
    if begin > len(data):
        raise unreadable(what, "truncated")
    if actual != kind:
        raise _not_plain(data, begin, actual - kind, what) or unreadable(
            what, f"kind {actual:#04x} where {kind:#04x} was expected"
        )
    return begin


def split_head(data: bytes, kind: int, what: str) -> int:
    """Like `split`, for readers of the header alone: the body may be sealed, or refused."""
    if len(data) >= PREFIX_BYTES and kind < data[1] <= kind + REFUSED:
        return split(data, data[1], what)
    return split(data, kind, what)


def refused(data: bytes, kind: int, why: bytes) -> bytes:
    """Return the frame with its header, and the reason for which this process does not accept it as the body.

    Nothing stores such a frame. Its header can be displayed, and any other reader gets the reason as an error.
    """
    begin = split_head(data, kind, "frame")
    return data[:1] + bytes([kind + REFUSED]) + data[2:begin] + why


def _not_plain(data: bytes, begin: int, algorithm: int, what: str) -> EncodingError | None:
    """The error for a frame whose body is sealed, or was refused; None for a frame of another kind."""
    if algorithm == REFUSED:
        return refusal(data[begin:])
    if 0 < algorithm < REFUSED:
        return UnknownKey(kid_of(data, begin), what=what)
    return None


def kid_of(data: bytes, begin: int) -> str:
    """The id of the key in a header; empty if there is none."""
    try:
        kid = decode_header(data, begin, HEADER_LIMITS, "header").get(KID)
    except EncodingError:
        return ""
    return kid if isinstance(kid, str) else ""


def encode_header(header: Mapping[str, object], limits: Limits, what: str) -> bytes:
    """Encode a header; an error names the wrong key as its field."""
    header = header if type(header) is dict else dict(header)
    if not _TEXT.issuperset(map(type, header)):
        raise EncodingError(f"{what}: its keys must be text.", field=what, path=what)
    try:
        return encode_at(header, limits.max_depth, limits, what)
    except EncodingError as error:
        raise _blame_key(error, what) from error.__cause__


def _blame_key(error: EncodingError, what: str) -> EncodingError:
    """Change the path `header['metadata']['x']` to `metadata['x']`, because callers know options, not headers."""
    opening = f"{what}['"
    if not error.path.startswith(opening):
        return error
    key, _, rest = error.path[len(opening) :].partition("']")
    return renamed(error, key + rest, key)


def decode_header(data: bytes, begin: int, limits: Limits, what: str) -> dict[str, Any]:
    """Decode the header of a frame whose body begins at offset `begin`."""
    header = decode_at(data[PREFIX_BYTES:begin], limits.max_depth, limits, what)
    if not is_text_map(header):
        raise unreadable(what, "its header is not a map with keys of text")
    return header


def is_text_map(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether a decoded value is a map in which every key is text."""
    return type(value) is dict and _TEXT.issuperset(map(type, value))


def is_frame(data: bytes, kind: int) -> bool:
    """Whether bytes are a frame of this kind, sealed or not, in any version, by their first two bytes."""
    return len(data) >= PREFIX_BYTES and kind <= data[1] <= kind + REFUSED and data[0] >= VERSION
