"""The frame of every stored value: `version | kind | header length, u32 big endian | header | body`.

The version and the kind can be checked before anything is parsed. The header can be decoded without the body.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final, TypeGuard

from jobfleet.codec.payload import Limits, decode_at, encode_at, renamed, unreadable
from jobfleet.errors import EncodingError, EnvelopeTooNew

VERSION: Final = 1
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
    if actual != kind:
        raise unreadable(what, f"kind {actual:#04x} where {kind:#04x} was expected")
    begin = PREFIX_BYTES + int(length)
    if begin > len(data):
        raise unreadable(what, "truncated")
    return begin


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
    """Whether bytes are a frame of this kind, in any version, by their first two bytes."""
    return len(data) >= PREFIX_BYTES and data[1] == kind and data[0] >= VERSION
