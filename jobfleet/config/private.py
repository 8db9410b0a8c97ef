"""Files and folders that no other user of this machine may have a hand in.

Whoever can write `.jobfleet/up.json` chooses the server that the next command talks to, and whoever owns the data
folder reads and changes every job. So they are trusted only when this user owns them and nobody else may write them,
links are not followed, and what is made is for this user alone.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from jobfleet.errors import ConfigError

FILE, FOLDER = 0o600, 0o700
_OTHERS_WRITE = 0o022
_NO_LINK = os.O_NOFOLLOW | os.O_CLOEXEC


class Foreign(ConfigError):
    """A file or a folder is not this user's alone."""


def read_own(path: Path) -> bytes:
    """Read a file that nobody else can have written, in a folder that nobody else can change.

    Raises:
        FileNotFoundError: There is none.
        Foreign: It, or its folder, is a link, another user's, or may be written by others.
        OSError: It cannot be read.
    """
    _check(path.parent, path.parent.lstat(), stat.S_ISDIR)
    with os.fdopen(_open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        return file.read()


def write_own(path: Path, content: bytes) -> None:
    """Write a file for this user alone, whole or not at all.

    Raises:
        OSError: It cannot be written.
    """
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK, FILE), "wb") as file:
        file.write(content)
    draft.replace(path)


def open_own(path: Path, flags: int) -> int:
    """Open a file of this user's for writing, take it for him alone, or make it; answer the descriptor.

    Args:
        path: Which.
        flags: How, as for `os.open`.

    Raises:
        Foreign: It is a link, no file, or another user's.
        OSError: It cannot be opened.
    """
    descriptor = _open(path, flags | os.O_CREAT, writable=True)
    os.fchmod(descriptor, FILE)
    return descriptor


def make_own(folder: Path, *, keeps_others_out: bool = True) -> None:
    """Make a folder for this user alone, or see that one that is there is this user's, and take it for him alone.

    Args:
        folder: Which.
        keeps_others_out: Whether nobody else may look into it; else others only may not write there.

    Raises:
        Foreign: It is a link, no folder, or another user's.
        OSError: It cannot be made.
    """
    folder.mkdir(mode=FOLDER, parents=True, exist_ok=True)
    found = folder.lstat()
    mode = stat.S_IMODE(found.st_mode)
    wanted = mode & (FOLDER if keeps_others_out else ~_OTHERS_WRITE)
    _check(folder, found, stat.S_ISDIR, writable=True)
    if mode != wanted:
        folder.chmod(wanted)


def _open(path: Path, flags: int, *, writable: bool = False) -> int:
    try:
        descriptor = os.open(path, flags | _NO_LINK, FILE)
    except OSError as error:
        if path.is_symlink():
            raise Foreign(f"{path} is a link, which is not followed; remove it.") from error
        raise
    try:
        _check(path, os.fstat(descriptor), stat.S_ISREG, writable=writable)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check(path: Path, found: os.stat_result, is_kind: Callable[[int], bool], *, writable: bool = False) -> None:
    """Refuse what is of another kind, of another user, or may be written by others."""
    if stat.S_ISLNK(found.st_mode):
        raise Foreign(f"{path} is a link, which is not followed; remove it.")
    if not is_kind(found.st_mode):
        raise Foreign(f"{path} is not what jobfleet keeps there; remove it.")
    if found.st_uid != os.geteuid():
        raise Foreign(
            f"{path} belongs to user {found.st_uid}, not to you ({os.geteuid()}); remove it, or name another."
        )
    if found.st_mode & _OTHERS_WRITE and not writable:
        raise Foreign(f"{path} may be written by other users; 'chmod go-w {path}' takes that away.")
