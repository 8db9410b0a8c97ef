"""What the settings take from this machine: its processors, and files that no other user of it can change."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from jobfleet.errors import ConfigError

# The number of processors that this process can use.


PROCESSES_MOST = 8

_CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def processors(*, cgroups: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> int:
    """Count the processors allowed by CPU affinity and by the cgroup's quota, at least 1.

    A quota is rounded down, because a throttled process renews its leases late.

    Args:
        cgroups: The mount point of the cgroup file system.
        membership: The file that names this process's cgroups.
    """
    given = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min(given, _quota(cgroups, membership))))


def default_processes(*, cgroups: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> int:
    """The default number of processes of a worker: one per processor, at most 8; see `processors`."""
    return min(PROCESSES_MOST, processors(cgroups=cgroups, membership=membership))


def _quota(cgroups: Path, membership: Path) -> float:
    """Return the smallest quota, in processors, of this process's cgroup and its ancestors."""
    quotas = [float("inf")]
    for line in _read(membership).splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        own = [part for part in path.split("/") if part not in {"", "..", "."}]
        branches = [own[:depth] for depth in range(len(own), -1, -1)]
        if number == "0" and not controllers:
            quotas += [_ratio(*_pair(_read(cgroups.joinpath(*branch, "cpu.max")))) for branch in branches]
        elif "cpu" in controllers.split(","):
            for branch in branches:
                at = cgroups.joinpath("cpu", *branch)
                quotas.append(_ratio(_read(at / "cpu.cfs_quota_us"), _read(at / "cpu.cfs_period_us")))
    return min(quotas)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _pair(text: str) -> tuple[str, str]:
    quota, _, period = text.partition(" ")
    return quota, period


def _ratio(quota: str, period: str) -> float:
    """Convert a quota to processors; no quota ('max', -1 or no file) is infinity."""
    if quota.isdigit() and period.isdigit() and int(period):
        return int(quota) / int(period)
    return float("inf")


# Files and folders that no other user of this machine can change.
#
# A user who can write `.jobfleet/up.json` chooses the server that the next command connects to. The owner of the data
# folder can read and change every job. Therefore jobfleet trusts a file or folder only if this user owns it and no
# other user can write it. It does not follow links, and it creates files and folders for this user only.


FILE, FOLDER = 0o600, 0o700
_OTHERS_WRITE = 0o022
_NO_LINK = os.O_NOFOLLOW | os.O_CLOEXEC


class Foreign(ConfigError):
    """Another user owns a file or folder, or can write it."""


def read_own(path: Path) -> bytes:
    """Read a file that only this user can have written, from a folder that only this user can change.

    Raises:
        FileNotFoundError: The file does not exist.
        Foreign: The file or its folder is a link, belongs to another user, or can be written by other users.
        OSError: It cannot be read.
    """
    check_own_folder(path.parent)
    with os.fdopen(_open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        return file.read()


def check_own(path: Path) -> None:
    """Check that only this user can have written a file, in a folder that only this user can change.

    Raises:
        FileNotFoundError: The file does not exist.
        Foreign: The file or its folder is a link, belongs to another user, or can be written by other users.
        OSError: It cannot be read.
    """
    check_own_folder(path.parent)
    _check(path, path.lstat(), stat.S_ISREG)


def check_own_folder(folder: Path) -> None:
    """Check that only this user can change a folder.

    Raises:
        FileNotFoundError: The folder does not exist.
        Foreign: It is a link, belongs to another user, or can be written by other users.
        OSError: It cannot be read.
    """
    _check(folder, folder.lstat(), stat.S_ISDIR)


def write_own(path: Path, content: bytes) -> None:
    """Write a file that only this user can read; the write is atomic.

    Raises:
        OSError: It cannot be written.
    """
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK, FILE), "wb") as file:
        file.write(content)
    draft.replace(path)


def open_own(path: Path, flags: int) -> int:
    """Open a file of this user's for writing, restrict it to this user, and return the descriptor. Create it if needed.

    Args:
        path: The file.
        flags: The flags, as for `os.open`.

    Raises:
        Foreign: The path is a link, is not a regular file, or belongs to another user.
        OSError: It cannot be opened.
    """
    descriptor = _open(path, flags | os.O_CREAT, writable=True)
    os.fchmod(descriptor, FILE)
    return descriptor


def make_own(folder: Path, *, keeps_others_out: bool = True) -> None:
    """Create a folder for this user only; an existing folder of this user's is restricted to this user.

    Args:
        folder: The folder.
        keeps_others_out: Whether to deny other users to read the folder too; otherwise they only cannot write.

    Raises:
        Foreign: The path is a link, is not a folder, or belongs to another user.
        OSError: The folder cannot be created.
    """
    folder.mkdir(mode=FOLDER, parents=True, exist_ok=True)
    found = folder.lstat()
    mode = stat.S_IMODE(found.st_mode)
    wanted = mode & (FOLDER if keeps_others_out else ~_OTHERS_WRITE)
    _check(folder, found, stat.S_ISDIR, writable=True)
    if mode != wanted:
        folder.chmod(wanted)


def make_private(folder: Path) -> None:
    """Create a folder as `make_own` does, and keep it out of version control.

    Raises:
        Foreign: The path is a link, is not a folder, or belongs to another user.
        OSError: The folder cannot be created.
    """
    make_own(folder)
    if not (folder / ".gitignore").exists():
        write_own(folder / ".gitignore", b"*\n")


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
    """Refuse a path of another kind or owner, or one that other users can write."""
    if stat.S_ISLNK(found.st_mode):
        raise Foreign(f"{path} is a link, which is not followed; remove it.")
    if not is_kind(found.st_mode):
        raise Foreign(f"{path} is not of the expected kind (file or folder); remove it.")
    if found.st_uid != os.geteuid():
        raise Foreign(
            f"{path} belongs to user {found.st_uid}, not to you ({os.geteuid()}); remove it, or name another path."
        )
    if found.st_mode & _OTHERS_WRITE and not writable:
        raise Foreign(f"{path} can be written by other users; run 'chmod go-w {path}'.")
