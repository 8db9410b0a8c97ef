"""`jobfleet up`: a server, a worker and a reaper in one terminal."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jobfleet.cli import fail
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Command, settings, yes_option
from jobfleet.cli.output import agreed, plain, say
from jobfleet.config import SETTINGS, mask_url
from jobfleet.config.layers import UP_FILE
from jobfleet.errors import ConfigError

if TYPE_CHECKING:
    from types import FrameType

FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
_FLAGS = {row.name: row.flag for row in SETTINGS} | {"config": "--config"}


@click.command(cls=Command)
@click.argument("modules", nargs=-1, required=True, metavar="MODULE[:FLEET]...")
@settings("queues", "queue_order", "priorities", "slots", "processes", "grace", "reload", "metrics_port")
@click.option(
    "--path",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".jobfleet/data"),
    metavar="DIR",
    help="Where the server keeps its data. [default .jobfleet/data]",
)
@click.option("--fresh", is_flag=True, help="Begin without the data that is there.")
@yes_option
@click.pass_obj
def up(invocation: Invocation, modules: tuple[str, ...], path: Path, fresh: bool, yes: bool) -> int:
    """Run everything in one terminal: a server, a worker and a reaper.

    Other commands in this folder find the server by themselves, as long as no other Redis is set. Ctrl-C ends it all;
    the data stays.
    """
    from jobfleet.store.embedded import EmbeddedServer

    if "url" in invocation.given:
        remedy = "leave --url out, or use 'jobfleet worker --with-reaper'"
        raise click.UsageError(f"'up' starts a server of its own; {remedy}.")
    loaded = invocation.loaded
    if fresh and not _cleared(path, yes=yes):
        return fail.FAILED
    with EmbeddedServer.start(path) as server, noted(server.url, is_owner=server.owner):
        verb = "Started a server" if server.owner else "Joined the server that runs already"
        click.echo(f"{verb}; its data is in {plain(str(path))}.")
        click.echo(f"Starting a worker and a reaper for {plain(', '.join(modules))}; Ctrl-C ends them.")
        if (source := loaded.sources["url"]) not in {"default", UP_FILE}:
            shown = mask_url(loaded.config.url)
            say(f"Other commands use {shown} ({source}), not this server; unset that to change it.")
        given = {name: value for name, value in invocation.given.items() if name != "output"}
        return _attend(worker_command(modules, server.url, given))


def worker_command(modules: Sequence[str], url: str, given: Mapping[str, object]) -> list[str]:
    """The command of the worker, with the flags that were given to `up`."""
    command = [sys.executable, "-m", "jobfleet", "worker", *modules, "--with-reaper", f"--url={url}"]
    for name, value in given.items():
        if name == "verbose" and isinstance(value, int):
            command += ["-v"] * value
        else:
            command.append(_FLAGS[name] if value is True else f"{_FLAGS[name]}={value}")
    return command


def _attend(command: Sequence[str]) -> int:
    """Run the worker until it ends, and pass signals on to it.

    It has a process group of its own: Ctrl-C would reach it from the terminal too, and a second signal means *now*.
    """
    arrived: list[int] = []
    child: subprocess.Popen[bytes] | None = None

    def forward(signum: int, _frame: FrameType | None) -> None:
        if child is None:
            arrived.append(signum)
        else:
            child.send_signal(signal.SIGTERM if signum == signal.SIGHUP else signum)

    before = {signum: signal.signal(signum, forward) for signum in FORWARDED}
    try:
        sys.stdout.flush()
        child = subprocess.Popen(_tied(command), process_group=0)
        for signum in arrived:
            child.send_signal(signum)
        code = child.wait()
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
    return 128 - code if code < 0 else code


def _tied(command: Sequence[str]) -> list[str]:
    """Let the kernel end the worker too, should this process be killed outright."""
    from jobfleet.store import embedded

    if sys.platform != "linux":
        return list(command)
    tie = embedded.TIE_TO_PARENT
    return [sys.executable, "-I", "-S", "-c", tie, str(os.getpid()), *command]


@contextlib.contextmanager
def noted(url: str, *, is_owner: bool) -> Iterator[None]:
    """Tell other commands in this folder where the server is, as long as this lasts."""
    note = Path(UP_FILE)
    is_ours = is_owner or not _is_noted(note, url)
    if is_ours:
        note.parent.mkdir(exist_ok=True)
        if not (note.parent / ".gitignore").exists():
            (note.parent / ".gitignore").write_text("*\n")
        draft = note.with_name(f"up.json.{os.getpid()}")
        draft.write_text(json.dumps({"url": url, "pid": os.getpid()}) + "\n")
        draft.replace(note)
    try:
        yield
    finally:
        if is_ours and _read(note).get("pid") == os.getpid():
            note.unlink(missing_ok=True)


def _is_noted(note: Path, url: str) -> bool:
    """Whether another `jobfleet up` that lives has told the same."""
    told = _read(note)
    try:
        os.kill(int(str(told["pid"])), 0)
    except (LookupError, TypeError, ValueError, OSError, OverflowError):
        return False
    return told.get("url") == url


def _read(note: Path) -> dict[str, object]:
    try:
        told = json.loads(note.read_bytes())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def _cleared(folder: Path, *, yes: bool) -> bool:
    """Remove a data folder, unless a server runs in it; False when the answer was no.

    Raises:
        ConfigError: It is in use, or no data folder of jobfleet.
    """
    if not folder.exists() or not any(folder.iterdir()):
        return True
    if not (folder / "SERVER").is_file():
        raise ConfigError(f"{folder} is no data folder of jobfleet; empty it yourself, or give another --path.")
    with (folder / "server.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"A server runs in {folder}; end its 'jobfleet up' first.") from None
        size = sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())
        if not agreed(f"Remove the data in {folder} ({size / 1024:,.0f} KiB)?", yes=yes):
            return False
        shutil.rmtree(folder)
    return True
