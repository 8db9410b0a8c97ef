"""Who may use the dashboard: roles, and the access file with users, hashes of passwords and tokens."""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import logging
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from jobfleet.clock import iso
from jobfleet.config.machine import check_own_folder, make_private, open_own, read_own, write_own
from jobfleet.errors import ConfigError
from jobfleet.web.errors import Problem, refusal


class Role(StrEnum):
    """What a caller may do.

    A viewer reads. A producer also enqueues. An approver reads and sends signals, and does not enqueue. An operator
    does all of this, changes jobs, queues and limits, and quiets workers. An admin also deletes what cannot be
    restored, repairs data, stops workers, and sees the settings.
    """

    VIEWER = "viewer"
    PRODUCER = "producer"
    APPROVER = "approver"
    OPERATOR = "operator"
    ADMIN = "admin"

    def permits(self, needed: Role) -> bool:
        """Whether this role may do what another one may: each includes those before it, but an approver no producer."""
        roles = list(Role)
        is_aside = (self, needed) == (Role.APPROVER, Role.PRODUCER)
        return roles.index(self) >= roles.index(needed) and not is_aside


class Caller(NamedTuple):
    """Who sends a request.

    Attributes:
        name: The name, for the record.
        role: What the caller may do.
        is_ambient: Whether the browser proves the identity by itself, with a cookie or by its address. Writes of such
            a caller need a CSRF token.
        key: What the CSRF token is made of.
        can_log_out: Whether there is a session to end.
    """

    name: str
    role: Role
    is_ambient: bool = True
    key: str = ""
    can_log_out: bool = False


N, R, P = 2**15, 8, 1
"""The cost of scrypt: 32 MiB and about 0.1 s."""
MEMORY = 64 * 1024**2
SALT_BYTES, KEY_BYTES, TOKEN_BYTES = 16, 32, 32
PASSWORD_MOST = 1024
TOKEN_PREFIX = "jft_"


def hash_password(password: str) -> str:
    """Hash a password: ``scrypt$n$r$p$salt$key``."""
    salt = secrets.token_bytes(SALT_BYTES)
    return f"scrypt${N}${R}${P}${salt.hex()}${_key(password, salt, N, R, P).hex()}"


def is_password(password: str, stored: str) -> bool:
    """Whether a password has this hash; a hash that cannot be read fits none."""
    try:
        kind, n, r, p, salt, key = stored.split("$")
        if kind != "scrypt" or len(password) > PASSWORD_MOST:
            return False
        return hmac.compare_digest(_key(password, bytes.fromhex(salt), int(n), int(r), int(p)), bytes.fromhex(key))
    except ValueError:
        return False


def _key(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    text = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(text, salt=salt, n=n, r=r, p=p, maxmem=MEMORY, dklen=KEY_BYTES)


def new_token() -> str:
    """Make a token of 256 random bits."""
    return TOKEN_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)


def hash_token(token: str) -> str:
    """Hash a token. It is random, so that a fast hash is enough."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


# The access file: users with the hashes of their passwords, and the hashes of tokens.
#
# The command line writes it; the dashboard reads it again when it has changed. Only its owner can read it.


NAME = re.compile(r"[A-Za-z0-9_.@+-]{1,64}")


@dataclass(frozen=True, slots=True)
class User:
    """A user of the dashboard.

    Attributes:
        name: The name.
        role: What the user may do.
        password: The hash of the password; empty for a user that only a proxy names.
    """

    name: str
    role: Role
    password: str = ""


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a program.

    Attributes:
        name: The name, for the record.
        role: What the program may do.
        hash: The hash of the token.
        created: When it was created.
    """

    name: str
    role: Role
    hash: str
    created: str = ""


@dataclass(frozen=True, slots=True)
class Access:
    """The users and tokens.

    Attributes:
        users: The users by name.
        tokens: The tokens by name.
    """

    users: Mapping[str, User] = field(default_factory=dict)
    tokens: Mapping[str, Token] = field(default_factory=dict)

    def token(self, text: str) -> Token | None:
        """The token with this text."""
        wanted = hash_token(text)
        return next((one for one in self.tokens.values() if one.hash == wanted), None)


class AccessFile:
    """The file with the users and tokens.

    Args:
        path: The file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, ...] | None = None
        self._access = Access()

    @property
    def exists(self) -> bool:
        """Whether there was a file at the last read."""
        return self._seen is not None

    def read(self) -> Access:
        """The users and tokens as the file has them now.

        Raises:
            ConfigError: The file cannot be read, has another form, or other users can write it.
        """
        try:
            mark = self.look()
        except OSError as error:
            raise ConfigError(f"Cannot read {self.path}: {error.strerror}.") from error
        if mark is None:
            self._seen, self._access = None, Access()
        elif mark != self._seen:
            self._access = self._read()
            self._seen = mark
        return self._access

    def look(self) -> tuple[int, ...] | None:
        """What changes when the file does; None if there is none.

        Raises:
            OSError: The file cannot be looked at.
        """
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode, found.st_uid

    def _read(self) -> Access:
        try:
            fields = json.loads(read_own(self.path))
            users = {name: User(name, Role(row["role"]), str(row["password"])) for name, row in fields["users"].items()}
            tokens = {
                name: Token(name, Role(row["role"]), str(row["hash"]), str(row["created"]))
                for name, row in fields["tokens"].items()
            }
        except OSError as error:
            raise ConfigError(f"Cannot read {self.path}: {error.strerror}.") from error
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ConfigError(f"{self.path} is not an access file of jobfleet; correct or remove it.") from error
        return Access(users, tokens)

    def check(self) -> None:
        """Check, before a change, that the dashboard will accept the file.

        Raises:
            ConfigError: The file cannot be read or has another form, or other users can write it or its folder.
        """
        if self.path.parent.exists():
            check_own_folder(self.path.parent)
        self.read()

    def add_user(self, name: str, role: Role, password: str | None) -> None:
        """Add a user, or change the role and the password; without a password, only a proxy can name the user."""
        _check_name(name)
        hashed = "" if password is None else hash_password(password)
        with self._changing() as access:
            self._write(replace(access, users={**access.users, name: User(name, role, hashed)}))

    def remove_user(self, name: str) -> bool:
        """Remove a user; False if there was none."""
        with self._changing() as access:
            self._write(replace(access, users={key: one for key, one in access.users.items() if key != name}))
        return name in access.users

    def create_token(self, name: str, role: Role) -> str:
        """Create a token and return it. It is not stored, and cannot be shown again.

        Raises:
            ConfigError: There is a token of this name.
        """
        _check_name(name)
        text = new_token()
        with self._changing() as access:
            if name in access.tokens:
                raise ConfigError(f"There is a token {name!r}; revoke it first, or choose another name.")
            token = Token(name, role, hash_token(text), str(iso(datetime.now(UTC))))
            self._write(replace(access, tokens={**access.tokens, name: token}))
        return text

    def revoke_token(self, name: str) -> bool:
        """Revoke a token; False if there was none."""
        with self._changing() as access:
            self._write(replace(access, tokens={key: one for key, one in access.tokens.items() if key != name}))
        return name in access.tokens

    @contextmanager
    def _changing(self) -> Iterator[Access]:
        """The present content; no other process changes it meanwhile."""
        if not self.path.parent.exists():
            make_private(self.path.parent)
        check_own_folder(self.path.parent)
        lock = open_own(self.path.with_name(f"{self.path.name}.lock"), os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._seen = None
            yield self.read()
        finally:
            os.close(lock)

    def _write(self, access: Access) -> None:
        users: dict[str, Any] = {
            one.name: {"role": one.role, "password": one.password} for one in access.users.values()
        }
        tokens = {
            one.name: {"role": one.role, "hash": one.hash, "created": one.created} for one in access.tokens.values()
        }
        write_own(self.path, json.dumps({"users": users, "tokens": tokens}, indent=2).encode() + b"\n")


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise ConfigError(f"Name {name!r:.80}: use 1 to 64 letters, digits, '_', '.', '@', '+' or '-'.")


# The access file as a running dashboard reads it. A fault of the file refuses every request, and is logged once.


RETRY_AFTER = {"Retry-After": "2"}
_log = logging.getLogger("jobfleet.web")


class AccessWatch:
    """Reads the access file for each request.

    A file that has existed must not disappear: without a user, an open dashboard would let everybody in.

    Args:
        path: The file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._file = AccessFile(path.absolute())
        self._has_existed = self._file.path.is_file()
        self._fault = ""

    @property
    def mark(self) -> object:
        """Another value once the file has changed."""
        try:
            return self._file.look()
        except OSError:
            return ""

    def read(self) -> Access:
        """The users and tokens as the file has them now.

        Raises:
            Problem: The file is gone, cannot be read, has another form, or other users can write it.
        """
        try:
            access = self._file.read()
        except ConfigError as error:
            self._has_existed = True
            raise self._refused(str(error)) from error
        if not self._file.exists and self._has_existed:
            path = self._file.path
            raise self._refused(
                f"The access file {path} is gone. Restore it, or run 'jobfleet web --access {path} user add NAME'. "
                "To serve without users, restart the dashboard."
            )
        self._has_existed = self._file.exists
        if self._fault:
            self._fault = ""
            _log.info("The access file %s can be read again.", self._file.path)
        return access

    def _refused(self, fault: str) -> Problem:
        """The refusal of a request; the log gets each fault once."""
        if fault != self._fault:
            self._fault = fault
            _log.error("Every request is refused. %s", fault)
        return refusal("access-unavailable", headers=RETRY_AFTER)
