"""What a payload store does. A new kind of store has these methods."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol


class StoredObject(NamedTuple):
    """An object in a store.

    Attributes:
        key: Its key.
        modified: When it was written, seconds since 1970.
    """

    key: str
    modified: float


class PayloadStore(Protocol):
    """Stores bytes under keys. Every method blocks, and may raise any exception if the store cannot be reached.

    A key is a path with '/', and is written once.
    """

    def put(self, key: str, data: bytes) -> None:
        """Store an object. A reader sees all of it or nothing, and it survives a loss of power."""

    def get(self, key: str, *, most: int) -> bytes:
        """Return an object; of one that is larger than `most` bytes, the first `most + 1`.

        Raises:
            FileNotFoundError: There is no such object.
        """

    def delete(self, key: str) -> None:
        """Delete an object; nothing happens if there is none."""

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """List the objects in a folder, in any order; objects that are deleted meanwhile may be missing."""
