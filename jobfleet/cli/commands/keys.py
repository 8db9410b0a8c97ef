"""`jobfleet keys` and `jobfleet acl`."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Group
from jobfleet.cli.output import Cell, Column, say
from jobfleet.config.keyring import (
    ACCEPTED,
    PREFIX,
    PRIMARY,
    SECRET_BYTES,
    Key,
    Keyring,
    parse_keyring,
    read_keyring,
    show_keyring,
)
from jobfleet.config.machine import write_own
from jobfleet.errors import ConfigError, JobfleetError

if TYPE_CHECKING:
    from jobfleet.store.link.watched import Installed

FILE = click.argument("file", required=False, type=click.Path(path_type=Path))


@click.group(cls=Group)
def keys() -> None:
    """Make, rotate and list the keys that sign and encrypt jobs."""


@keys.command()
@FILE
@click.pass_obj
def generate(invocation: Invocation, file: Path | None) -> None:
    """Write a keyring with one new key to FILE, which only you can read.

    Without FILE, it is written to the file that the setting keyring names.
    """
    path = _path(invocation, file)
    if path.exists() or path.is_symlink():
        raise ConfigError(f"{path} exists; 'jobfleet keys rotate {path}' adds a key to it.")
    key = _new(PRIMARY)
    _write(path, Keyring((key,)))
    text = f"Wrote {path} with the key {key.id}. Copy it to every machine of the fleet, and keep it secret."
    invocation.output.show(data={"file": str(path), "key": key.id}, ids=[key.id], text=text)


@keys.command()
@FILE
@click.option("--stage", is_flag=True, help="Only add a key that is accepted; the next 'rotate' makes it the primary.")
@click.option(
    "--keep", metavar="N", type=click.IntRange(0), default=None, help="Remove the oldest keys, except this many."
)
@click.option("--force", is_flag=True, help="Remove keys although jobs and dead letters need them.")
@click.pass_obj
def rotate(invocation: Invocation, file: Path | None, stage: bool, keep: int | None, force: bool) -> None:
    """Make a new key the primary one. Older keys stay accepted until --keep removes them.

    A key that --stage has added becomes the primary one; otherwise a new key is made, and processes that do not have it
    yet park its jobs until they restart with the file.
    """
    path = _path(invocation, file)
    ring = _read(path)
    places = [key.state for key in ring.keys]
    staged = ring.keys[-1] if places.index(PRIMARY) < len(places) - 1 else None
    if stage and staged is not None:
        raise ConfigError(f"{path} has the key {staged.id} already, which is newer than the primary one.")
    if stage:
        every = (*ring.keys, _new(ACCEPTED))
    else:
        added = () if staged is not None else (_new(PRIMARY),)
        every = (*ring.keys, *added)
        every = (*(replace(key, state=ACCEPTED) for key in every[:-1]), replace(every[-1], state=PRIMARY))
    removed: tuple[Key, ...] = ()
    if keep is not None:
        place = [key.state for key in every].index(PRIMARY)
        removed, every = every[: max(0, place - keep)], every[max(0, place - keep) :]
    if removed and not force:
        _check_unused(invocation, removed)
    ring = Keyring(every)
    _write(path, ring)
    gone = f" Removed {', '.join(key.id for key in removed)}." if removed else ""
    text = (
        f"{path}: the primary key is {ring.primary.id}, of {len(ring.keys)}.{gone} Restart the processes that use it."
    )
    if stage:
        text = f"{path}: the key {every[-1].id} is accepted. Copy the file to every machine, then rotate once more."
    data = {"file": str(path), "primary": ring.primary.id, "keys": [key.id for key in ring.keys],
            "removed": [key.id for key in removed]}  # fmt: skip
    invocation.output.show(data=data, ids=[ring.primary.id], text=text)


def _check_unused(invocation: Invocation, removed: Iterable[Key]) -> None:
    """Refuse to remove keys that have sealed what the fleet still has.

    Raises:
        ConfigError: One of them is in use, or the uses cannot be counted.
    """
    uses = _uses(invocation)
    if uses is None:
        raise ConfigError("Nothing was changed: --keep removes keys that may be in use. Use --force to remove them.")
    needed = [f"{key.id} ({uses[key.id]:,})" for key in removed if uses.get(key.id)]
    if needed:
        raise ConfigError(
            f"Nothing was changed: jobs and dead letters need {', '.join(needed)}. Keep more keys until 'jobfleet keys "
            "ls' counts none, or use --force, and those jobs cannot be read any more."
        )


@keys.command("ls")
@FILE
@click.pass_obj
def ls(invocation: Invocation, file: Path | None) -> None:
    """List the keys, and how many open jobs and dead letters each has sealed. No secret is printed."""
    setting = str(file) if file is not None else invocation.config.keyring
    if setting is None:
        raise ConfigError("There is no keyring: name a FILE, or set keyring / JOBFLEET_KEYRING.")
    ring = read_keyring(setting)
    uses = _uses(invocation)
    known = {key.id for key in ring.keys}
    others = sorted(set(uses or ()) - known - {""})
    rows: list[list[Cell | str]] = [
        [key.id, key.created or "-", Cell(key.state, "green" if key.state == PRIMARY else None), _count(uses, key.id)]
        for key in ring.keys
    ]
    rows += [[kid, "-", Cell("missing", "red"), _count(uses, kid)] for kid in others]
    output = invocation.output
    data = [
        {"id": key.id, "created": key.created or None, "state": key.state, "jobs": None if uses is None else
         uses.get(key.id, 0)}
        for key in ring.keys
    ] + [{"id": kid, "created": None, "state": "missing", "jobs": (uses or {})[kid]} for kid in others]  # fmt: skip
    text = output.table(["KEY", "CREATED", "STATE", Column("JOBS", True)], rows)
    output.show(data=data, ids=[key.id for key in ring.keys], text=text)
    if uses and uses.get("") and output.form == "table":
        say(f"{uses['']:,} jobs and dead letters are not sealed.")


def _count(uses: dict[str, int] | None, kid: str) -> str:
    return "-" if uses is None else f"{uses.get(kid, 0):,}"


def _uses(invocation: Invocation) -> dict[str, int] | None:
    """What each key has sealed; None, with the reason on stderr, if the fleet cannot be read."""
    try:
        with invocation.fleet() as fleet:
            return fleet.key_uses()
    except JobfleetError as error:
        say(f"Uses are not counted: {error}")
        return None


def _path(invocation: Invocation, file: Path | None) -> Path:
    setting = invocation.config.keyring
    if file is None and (setting is None or setting.startswith(PREFIX)):
        raise ConfigError("Name the FILE of the keyring, or set keyring / JOBFLEET_KEYRING to it.")
    return file if file is not None else Path(str(setting))


def _read(path: Path) -> Keyring:
    if not path.exists():
        raise ConfigError(f"No keyring {path}; 'jobfleet keys generate {path}' makes one.")
    return parse_keyring(path.read_text("utf-8"), str(path))


def _write(path: Path, ring: Keyring) -> None:
    try:
        write_own(path, show_keyring(ring).encode())
    except OSError as error:
        raise ConfigError(f"Cannot write {path}: {error.strerror}.") from None


def _new(state: str) -> Key:
    now = datetime.now(UTC)
    name = f"k{now:%Y%m%d}-{secrets.token_hex(3)}"
    return Key(name, os.urandom(SECRET_BYTES), f"{now:%Y-%m-%dT%H:%M:%SZ}", state)


@click.group(cls=Group)
def acl() -> None:
    """Let the Redis users of a fleet run jobfleet's own scripts alone."""


@acl.command()
@click.pass_obj
def install(invocation: Invocation) -> None:
    """Load the scripts of this version into the server, as a library of functions.

    Give --url an administrator of the server: the users of the fleet may not load functions. In a cluster, each primary
    gets the library. Then set scripts = "functions" for the programs, and load deploy/redis/users-functions.acl.
    """
    from jobfleet.store.link.watched import install as load_library  # reads all scripts

    with invocation.fleet() as fleet:
        done: Installed = load_library(fleet.store.link)
    others = f" Libraries of other versions: {', '.join(done.others)}." if done.others else ""
    text = f"Loaded the library {done.name} with {done.functions} functions.{others}"
    data = {"library": done.name, "functions": done.functions, "others": list(done.others)}
    invocation.output.show(data=data, ids=[done.name], text=text)
