"""Payload stores: what one does, one in a folder that all machines mount, and one behind fsspec."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from jobfleet.errors import ConfigError


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


PARTIAL: Final = ".partial-"
"""The beginning of the names of files that are being written. A writer that dies leaves one, which is debris."""


class Folder:
    """A payload store in a folder, which all machines mount.

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


MODIFIED: Final = ("LastModified", "last_modified", "mtime", "updated", "created")
"""The names under which file systems of fsspec report when an object was written."""
OBJECT_STORES: Final = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "adl", "oss"})
"""Schemes of storage without folders, where the first folder of a path is a bucket: jobfleet makes none."""


class Remote:
    """A payload store behind fsspec. An object store shows an object when all of it is there.

    Args:
        url: The URL, such as ``s3://bucket/prefix``.

    Raises:
        ConfigError: fsspec, or what it needs for the URL, is not installed.
    """

    def __init__(self, url: str) -> None:
        try:
            from fsspec.core import url_to_fs
        except ImportError:
            raise ConfigError(
                "payload_store: a URL other than file:// needs the extra blob: pip install 'jobfleet[blob]'."
            ) from None
        try:
            self._files, root = url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise ConfigError(f"payload_store: {url.partition('://')[0]}:// cannot be used: {error}") from None
        self._root = str(root).rstrip("/")
        self._has_folders = url.partition("://")[0] not in OBJECT_STORES

    def put(self, key: str, data: bytes) -> None:
        """Write an object."""
        path = self._path(key)
        if self._has_folders:
            with suppress(NotImplementedError):
                self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
        self._files.pipe_file(path, data)

    def get(self, key: str, *, most: int) -> bytes:
        """Read an object, at most one byte more than `most`."""
        return bytes(self._files.cat_file(self._path(key), start=0, end=most + 1))

    def delete(self, key: str) -> None:
        """Delete an object."""
        with suppress(FileNotFoundError):
            self._files.rm_file(self._path(key))

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """List the objects of a folder."""
        path = self._path(prefix)
        self._files.invalidate_cache()
        try:
            rows: list[Mapping[str, Any]] = self._files.ls(path, detail=True)
        except FileNotFoundError:
            return
        for row in rows:
            if row.get("type") != "directory":
                name = str(row["name"]).rstrip("/").rpartition("/")[2]
                yield StoredObject(f"{prefix}/{name}", self._modified(row))

    def _path(self, key: str) -> str:
        if ".." in key.split("/"):
            raise ValueError(f"{key!r} is not the name of an object in the store")
        return f"{self._root}/{key}"

    def _modified(self, row: Mapping[str, Any]) -> float:
        found = next((row[name] for name in MODIFIED if row.get(name)), None)
        found = self._files.modified(row["name"]) if found is None else found
        if isinstance(found, datetime):
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
        if isinstance(found, str):
            return datetime.fromisoformat(found).timestamp()
        return float(found)
