"""Assemble a value from parts that are encoded: the bytes are those that `encode` returns for the whole value.

A large value need not exist as one structure then. Thousands of lists at once make the garbage collector search them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgpack import Packer

from jobfleet.codec.payload import Limits, encode, too_large
from jobfleet.codec.wire import pack


def encode_row(row: list[Any], *, what: str) -> bytes:
    """Encode a list like `encode`, but look for what cannot be encoded only if there is something.

    Raises:
        EncodingError: A value has a type that cannot be encoded.
    """
    try:
        return pack(row)
    except Exception:  # noqa: BLE001 - `encode` raises the error that names the place
        return encode(row, what=what)


def list_of(parts: Sequence[bytes]) -> bytes:
    """Return an encoded list of encoded values."""
    header: bytes = Packer().pack_array_header(len(parts))
    return header + b"".join(parts)


def map_of(fields: Mapping[str, bytes], *, limits: Limits, what: str) -> bytes:
    """Return an encoded map of encoded values.

    Raises:
        EncodingError: It is larger than the limits allow.
    """
    header: bytes = Packer().pack_map_header(len(fields))
    packed = header + b"".join([part for name, body in fields.items() for part in (pack(name), body)])
    if len(packed) > limits.max_bytes:
        raise too_large(len(packed), limits, what)
    return packed
