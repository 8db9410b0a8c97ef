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
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jobfleet.cli import fail
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Command, settings, yes_option
from jobfleet.cli.output import agreed, plain, say
from jobfleet.config import SETTINGS, mask_url
from jobfleet.config.layers import UP_FILE
from jobfleet.config.machine import Foreign, make_own, make_private, read_own, write_own
from jobfleet.errors import ConfigError

if TYPE_CHECKING:
    from types import FrameType

TEND_EVERY = 0.5
FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
_FLAGS = {row.name: row.flag for row in SETTINGS} | {"config": "--config"}


@click.command(cls=Command)
@click.argument("modules", nargs=-1, required=True, metavar="MODULE[:FLEET]...")
@settings(
    "queues", "queue_order", "priorities", "slots", "processes", "grace", "reload", "metrics_port", "metrics_host"
)
@click.option(
    "--path",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".jobfleet/data"),
    metavar="DIR",
    help="Data folder of the server. [default .jobfleet/data]",
)
@click.option("--web", "has_web", is_flag=True, help="Serve the dashboard too; see 'jobfleet web'.")
@click.option("--fresh", is_flag=True, help="Remove the existing data first.")
@yes_option
@click.pass_obj
def up(invocation: Invocation, modules: tuple[str, ...], path: Path, has_web: bool, fresh: bool, yes: bool) -> int:
    """Run everything in one terminal: a server, a worker and a reaper.

    Other commands in this folder find the server, unless another Redis is set. Ctrl-C ends all three; the data stays.
    A second 'up' in the same folder joins the server, and keeps it running after the first has ended.
    """
    if "url" in invocation.given:
        remedy = "leave --url out, or use 'jobfleet worker --with-reaper'"
        raise click.UsageError(f"'up' starts its own server; {remedy}.")
    loaded = invocation.loaded
    if fresh and not _cleared(path, yes=yes):
        return fail.FAILED
    with _Place(path) as place, contextlib.ExitStack() as stack:
        server = place.server
        verb = "Started a server" if server.owner else "Joined the running server"
        click.echo(f"{verb}; its data is in {plain(str(path))}.")
        click.echo(f"Starting a worker and a reaper for {plain(', '.join(modules))}; Ctrl-C ends them.")
        if (source := loaded.sources["url"]) not in {"default", UP_FILE}:
            shown = mask_url(loaded.config.url)
            say(f"Other commands use {shown} ({source}), not this server; unset that to change it.")
        given = {name: value for name, value in invocation.given.items() if name != "output"}
        if has_web:
            stack.enter_context(_dashboard(server.url))
        if loaded.sources["log_jobs"] == "default":
            given["log_jobs"] = True
        return _attend(worker_command(modules, server.url, given), place.tend)


def worker_command(modules: Sequence[str], url: str, given: Mapping[str, object]) -> list[str]:
    """The command line of the worker, with the flags of `up`."""
    command = [sys.executable, "-m", "jobfleet", "worker", *modules, "--with-reaper", f"--url={url}"]
    for name, value in given.items():
        if name == "verbose" and isinstance(value, int):
            command += ["-v"] * value
        else:
            command.append(_FLAGS[name] if value is True else f"{_FLAGS[name]}={value}")
    return command


@contextlib.contextmanager
def _dashboard(url: str) -> Iterator[None]:
    """Serve the dashboard in a process of its own, with the settings of `jobfleet web`."""
    command = [sys.executable, "-m", "jobfleet", "web", f"--url={url}"]
    process = subprocess.Popen(_tied(command), process_group=0)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _attend(command: Sequence[str], tend: Callable[[], None]) -> int:
    """Run the worker until it ends, and forward signals to it.

    The worker has its own process group. Otherwise Ctrl-C would also reach it from the terminal, and the second
    signal would stop it at once.

    Args:
        command: Command line of the worker.
        tend: Called twice per second until the worker ends.

    Returns:
        The exit code; 128 and the signal's number if a signal ended the worker.
    """
    from jobfleet.services.long_lived import held_back

    arrived: list[int] = []
    child: subprocess.Popen[bytes] | None = None

    def forward(signum: int, _frame: FrameType | None) -> None:
        if child is None:
            arrived.append(signum)
        else:
            child.send_signal(signal.SIGTERM if signum == signal.SIGHUP else signum)

    # `nohup` ignores HUP. The `&` of a script ignores only INT and QUIT.
    is_hup_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    wanted = [signum for signum in FORWARDED if signum != signal.SIGHUP or not is_hup_ignored]
    before = {signum: signal.signal(signum, forward) for signum in wanted}
    try:
        sys.stdout.flush()
        with held_back((signal.SIGINT,)):  # until the worker has begun, it would print a traceback
            child = subprocess.Popen(_tied(command), process_group=0)
        for signum in arrived:
            child.send_signal(signum)
        code = _ended(child, tend)
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
    return 128 - code if code < 0 else code


def _ended(child: subprocess.Popen[bytes], tend: Callable[[], None]) -> int:
    """Wait for the worker to end; return its exit code."""
    while True:
        try:
            return child.wait(TEND_EVERY)
        except subprocess.TimeoutExpired:
            tend()


def _tied(command: Sequence[str]) -> list[str]:
    """Make the kernel end the worker if this process is killed."""
    from jobfleet.store import embedded

    if sys.platform != "linux":
        return list(command)
    tie = embedded.TIE_TO_PARENT
    return [sys.executable, "-I", "-S", "-c", tie, str(os.getpid()), *command]


class _Place(contextlib.AbstractContextManager["_Place"]):
    """The server of a data folder, and the file that has its URL for other commands.

    Several `up` may share one server. The server ends with the `up` that started it; another `up` then starts it
    again, until the last one ends.

    Args:
        path: The data folder.

    Attributes:
        server: The server.

    Raises:
        ConfigError: No server program was found, or it cannot use the folder.
    """

    def __init__(self, path: Path) -> None:
        from jobfleet.store.embedded import EmbeddedServer

        make_own(Path(UP_FILE).parent)  # first: the data folder may be in it
        self._path = path
        self._complaint = ""
        self.server = EmbeddedServer.start(path)
        self._note(is_owner=self.server.owner)

    def tend(self) -> None:
        """If the server of another `up` has ended, start it again and write the file again."""
        from jobfleet.store.embedded import EmbeddedServer, ask

        if not self.server.owner and ask(self.server.socket) is None:
            try:
                self.server = EmbeddedServer.start(self._path)
            except ConfigError as error:
                if str(error) != self._complaint:
                    self._complaint = str(error)
                    say(self._complaint)
                return
            self._complaint = ""
            if self.server.owner:
                click.echo("The server ended with the 'jobfleet up' that had started it; started it again.")
        self._note(is_owner=False)

    def _note(self, *, is_owner: bool) -> None:
        note = Path(UP_FILE)
        if not is_owner and _is_noted(note, self.server.url):
            return
        make_private(note.parent)
        write_own(note, json.dumps({"url": self.server.url, "pid": os.getpid()}).encode() + b"\n")

    def __exit__(self, *_: object) -> None:
        note = Path(UP_FILE)
        if _read(note).get("pid") == os.getpid():
            note.unlink(missing_ok=True)
        self.server.close()


def _is_noted(note: Path, url: str) -> bool:
    """Whether the file has this URL from a `jobfleet up` that is running."""
    fields = _read(note)
    try:
        os.kill(int(str(fields["pid"])), 0)
    except (LookupError, TypeError, ValueError, OSError, OverflowError):
        return False
    return fields.get("url") == url


def _read(note: Path) -> dict[str, object]:
    try:
        fields = json.loads(read_own(note))
    except (OSError, ValueError, Foreign):
        return {}
    return fields if isinstance(fields, dict) else {}


def _cleared(folder: Path, *, yes: bool) -> bool:
    """Remove a data folder after confirmation; return False if the user declined.

    Raises:
        ConfigError: A server uses the folder, or it is not a data folder of jobfleet.
    """
    if not folder.exists() or not any(folder.iterdir()):
        return True
    if not (folder / "SERVER").is_file():
        raise ConfigError(f"{folder} is not a data folder of jobfleet; empty it yourself, or set another --path.")
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
