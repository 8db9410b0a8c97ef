"""The keys that sign and encrypt: a file that `jobfleet keys` writes, or the same keys in a text. No cryptography here.

The file is TOML, one table ``[[keys]]`` per key. The text is ``keys:ID=SECRET,ID=SECRET``, the primary key first. A
secret is 32 bytes in base64. New signatures are made with the primary key; all keys are accepted.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from jobfleet.errors import ConfigError, warn

OFF, SEND, REQUIRE = "off", "send", "require"
LEVELS: Final = (OFF, SEND, REQUIRE)
"""How far signatures or encryption are introduced: not written; written; written, and everything else is refused."""

PREFIX: Final = "keys:"
SECRET_BYTES: Final = 32
PRIMARY, ACCEPTED = "primary", "accepted"
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")
_OTHERS_READ, _OTHERS_WRITE = 0o044, 0o022
_REMEDY: Final = "'jobfleet keys generate FILE' writes a valid one"


@dataclass(frozen=True, slots=True)
class Key:
    """One key.

    Attributes:
        id: Its id, which everything that was sealed with it names.
        secret: The key itself, 32 bytes.
        created: When it was made, in ISO 8601; empty if that is not known.
        state: ``primary`` or ``accepted``.
    """

    id: str
    secret: bytes = field(repr=False)
    created: str = ""
    state: str = ACCEPTED


@dataclass(frozen=True, slots=True)
class Keyring:
    """All keys of a process.

    Raises:
        ConfigError: There is not exactly one primary key, or two keys have one id.
    """

    keys: tuple[Key, ...]

    def __post_init__(self) -> None:
        if [key.state for key in self.keys].count(PRIMARY) != 1:
            raise ConfigError(f"A keyring has exactly one key with the state 'primary'; {_REMEDY}.")
        ids = [key.id for key in self.keys]
        if len(set(ids)) < len(ids):
            raise ConfigError(f"A keyring names a key twice; {_REMEDY}.")

    @property
    def primary(self) -> Key:
        """The key that signs and encrypts."""
        return next(key for key in self.keys if key.state == PRIMARY)


def read_keyring(setting: str) -> Keyring:
    """Read the keys that the setting `keyring` names.

    Raises:
        ConfigError: The file cannot be read, others can write it, or a key is not valid. The message has no secret.
    """
    if setting.startswith(PREFIX):
        return _from_text(setting.removeprefix(PREFIX))
    path = Path(setting)
    try:
        mode = path.stat().st_mode
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise ConfigError(f"No keyring {path}; 'jobfleet keys generate {path}' makes one.") from None
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"Cannot read the keyring {path}: {getattr(error, 'strerror', None) or error}.") from None
    if stat.S_IMODE(mode) & _OTHERS_WRITE:
        raise ConfigError(f"The keyring {path} can be written by other users; run 'chmod 600 {path}'.")
    if stat.S_IMODE(mode) & _OTHERS_READ and path.stat().st_uid == os.geteuid():
        warn(f"The keyring {path} can be read by other users; run 'chmod 600 {path}'.")
    return parse_keyring(text, str(path))


def changed_at(setting: str | None) -> int:
    """When the file of a keyring was last changed, in ns; 0 for keys in a text, or if there is no file."""
    try:
        return 0 if setting is None or setting.startswith(PREFIX) else Path(setting).stat().st_mtime_ns
    except OSError:
        return 0


def parse_keyring(text: str, where: str) -> Keyring:
    """Read the content of a keyring's file; `where` is its name for messages.

    Raises:
        ConfigError: It is not a keyring. The message has no secret.
    """
    try:
        rows = tomllib.loads(text).get("keys")
    except ValueError:  # its message would quote the line
        raise ConfigError(f"{where} is not TOML; {_REMEDY}.") from None
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise ConfigError(f"{where} has no [[keys]]; {_REMEDY}.")
    return Keyring(tuple(_from_row(row, where) for row in rows))


def show_keyring(keyring: Keyring) -> str:
    """Write a keyring as the content of its file, secrets included."""
    lines = ["# The keys of a jobfleet fleet. A process that has them can read and forge its jobs.", ""]
    for key in keyring.keys:
        secret = base64.b64encode(key.secret).decode()
        lines += [
            "[[keys]]",
            f'id = "{key.id}"',
            f'created = "{key.created}"',
            f'state = "{key.state}"',
            f'secret = "{secret}"',
            "",
        ]
    return "\n".join(lines)


def _from_text(text: str) -> Keyring:
    keys = []
    for place, pair in enumerate(text.split(",")):
        name, _, secret = pair.strip().partition("=")
        state = ACCEPTED if place else PRIMARY
        keys.append(Key(_checked_id(name, "keyring"), _secret(secret, name, "keyring"), state=state))
    return Keyring(tuple(keys))


def _from_row(row: dict[str, Any], where: str) -> Key:
    name = _checked_id(row.get("id"), where)
    state = row.get("state", ACCEPTED)
    if state not in (PRIMARY, ACCEPTED):
        raise ConfigError(f"{where}: key {name!r} has an unknown state; use {PRIMARY!r} or {ACCEPTED!r}.")
    created = row.get("created", "")
    created = created if isinstance(created, str) else str(created)
    if not re.fullmatch(r"[0-9A-Za-z:.+ -]{0,40}", created):
        raise ConfigError(f"{where}: key {name!r} has no valid time in 'created'.")
    return Key(name, _secret(row.get("secret"), name, where), created, state)


def _checked_id(name: object, where: str) -> str:
    if not isinstance(name, str) or not _ID.fullmatch(name):
        raise ConfigError(f"{where}: the id of a key has 1 to 32 letters, digits, '_' or '-'; {_REMEDY}.")
    return name


def _secret(text: object, name: str, where: str) -> bytes:
    try:
        secret = base64.b64decode(text if isinstance(text, str) else "", validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) != SECRET_BYTES:
        raise ConfigError(f"{where}: key {name!r} is not {SECRET_BYTES} bytes in base64; {_REMEDY}.")
    return secret
