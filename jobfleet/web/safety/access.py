"""The access file: users with the hashes of their passwords, and the hashes of tokens.

The command line writes it; the dashboard reads it again when it has changed. Only its owner can read it.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jobfleet.clock import iso
from jobfleet.config.machine import check_own_folder, make_private, open_own, read_own, write_own
from jobfleet.errors import ConfigError
from jobfleet.web.safety.caller import Role
from jobfleet.web.safety.passwords import hash_password, hash_token, new_token

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
