"""A payload store behind fsspec: S3, Google Cloud Storage, Azure, SFTP and others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from jobfleet.errors import ConfigError
from jobfleet.payloads.store import StoredObject

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
