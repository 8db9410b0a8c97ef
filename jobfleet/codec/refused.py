"""Marks for bytes that a process has read and does not accept: only the code that decodes them gets the error."""

from __future__ import annotations

from typing import Final

from jobfleet.errors import BadSignature, EncodingError, UnknownKey

MARK: Final = 0xC1
"""The first byte of sealed or refused bytes. msgpack never uses it, so no plain value begins with it."""
SEALED_FORMAT, BOUND_FORMAT = 1, 2
"""The formats of sealed bytes: without and with the fleet in the associated data."""
_REFUSED: Final = bytes([MARK, 0])
SEALED: Final = (bytes([MARK, SEALED_FORMAT]), bytes([MARK, BOUND_FORMAT]))
"""How sealed bytes begin."""


def reason_of(error: BadSignature | UnknownKey) -> bytes:
    """Encode an error."""
    kid = error.kid if isinstance(error, UnknownKey) else ""
    return f"{kid}\n{error.path}\n{error}".encode()


def refusal(reason: bytes) -> EncodingError:
    """Decode what `reason_of` has encoded."""
    kid, _, rest = reason.decode("utf-8", "replace").partition("\n")
    what, _, text = rest.partition("\n")
    return UnknownKey(kid, what=what) if kid else BadSignature(text or None, what=what)


def refused_value(error: BadSignature | UnknownKey) -> bytes:
    """What a value becomes that is not accepted; no decoder reads it."""
    return _REFUSED + reason_of(error)


def is_refused_value(data: bytes) -> bool:
    """Whether bytes were not accepted."""
    return data[:2] == _REFUSED


def refusal_of(data: bytes, what: str) -> EncodingError | None:
    """The error for bytes that were refused, or that are still sealed; None for other bytes."""
    if data[:2] == _REFUSED:
        return refusal(data[2:])
    if data[:2] in SEALED:
        return UnknownKey(data[4 : 4 + data[3]].decode("utf-8", "replace") if len(data) > 3 else "", what=what)
    return None
