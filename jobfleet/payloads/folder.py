"""A payload store in a folder, which all machines mount."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from jobfleet.payloads.store import StoredObject

PARTIAL: Final = ".partial-"
"""The beginning of the names of files that are being written. A writer that dies leaves one, which is debris."""


class Folder:
    """A payload store in a folder.

    Args:
        root: The folder. It is created with the first object.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, key: str, data: bytes) -> None:
        """Write a file under another name, then rename it, so that nobody reads a part of it."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{PARTIAL}{secrets.token_hex(8)}")
        try:
            with partial.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            with suppress(OSError):
                partial.unlink()
            raise
        _sync_folder(path.parent)

    def get(self, key: str, *, most: int) -> bytes:
        """Read a file, at most one byte more than `most`."""
        with self._path(key).open("rb") as file:
            return file.read(most + 1)

    def delete(self, key: str) -> None:
        """Delete a file."""
        self._path(key).unlink(missing_ok=True)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """List the files of a folder, without those in folders below it."""
        try:
            entries = os.scandir(self._path(prefix))
        except FileNotFoundError:
            return
        with entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    if entry.is_file(follow_symlinks=False):
                        yield StoredObject(f"{prefix}/{entry.name}", entry.stat(follow_symlinks=False).st_mtime)

    def _path(self, key: str) -> Path:
        path = self._root.joinpath(key)
        if ".." in path.parts or not path.is_relative_to(self._root):
            raise ValueError(f"{key!r} is not the name of a file in the store")
        return path


def _sync_folder(path: Path) -> None:
    """Make the name of a new file survive a loss of power; some file systems cannot, and do it anyway."""
    with suppress(OSError):
        number = os.open(path, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
