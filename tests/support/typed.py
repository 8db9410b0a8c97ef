"""The programs that a reader of pages types, as forks of a process that has the package loaded.

`folder` has `jobfleet` and `python` (`tests/support/stand_in.py`). Each asks a fork server for its program, gives it
its standard streams, forwards signals to it, and ends as it does. The fork server reads the rest from the kernel:
variables, working directory, ignored signals, mask of permissions and session.

What a fork cannot show is shown by pages with interpreters of their own, which have the mark `fresh`: that the script
`jobfleet` and the interpreter find the package, and that a program finds each module by its own imports.
"""

from __future__ import annotations

import atexit
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.support import fork_server
from tests.support.fork_server import FILES, MOST, ROOT, Request

TEXT = Path(__file__).with_name("stand_in.py")
COMMANDS = sorted(f"jobfleet.cli.commands.{path.stem}" for path in (ROOT / "jobfleet/cli/commands").glob("[a-z]*.py"))
"""What commands load when they are typed."""


def folder(environment: Mapping[str, str]) -> Path | None:
    """The folder with the programs; None if programs are executed, as in a test with the mark `fresh`.

    Args:
        environment: The variables of the reader.
    """
    if not fork_server.is_used():
        return None
    return _folder(tuple(sorted(fork_server.read_at_start(environment).items())))


@cache
def _folder(variables: tuple[tuple[str, str], ...]) -> Path:
    """Start a fork server for programs with such variables."""
    made = Path(tempfile.mkdtemp(prefix="jobfleet-typed-"))  # not below the folder of a test: a socket's path is short
    (made / "jobfleet").write_text(f"#!{sys.executable} -IS\n{TEXT.read_text()}")
    (made / "jobfleet").chmod(0o755)
    (made / "python").symlink_to("jobfleet")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(made / "door"))
    listener.listen()
    command = [sys.executable, "-m", "tests.support.typed", str(listener.fileno()), " " * fork_server.PADDING]
    process = fork_server.EXECUTED(
        command, cwd=ROOT, env={"PATH": os.environ["PATH"], **dict(variables)}, pass_fds=[listener.fileno()],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    listener.close()
    atexit.register(_close, os.getpid(), process, made)
    return made


def _close(owner: int, process: subprocess.Popen[bytes], made: Path) -> None:
    """End the fork server, with what it has forked."""
    if owner == os.getpid():
        process.communicate()
        shutil.rmtree(made)


@dataclass(slots=True)
class _Running:
    """A program that was forked.

    Attributes:
        pid: Its process.
        watched: A descriptor that can be read when it has ended.
        asker: The connection of the program that stands in its place; None if that was killed.
        has_session: Whether it leads a session.
    """

    pid: int
    watched: int
    asker: socket.socket | None
    has_session: bool

    def kill(self) -> None:
        """Kill it; if it leads a session, with what it has started there."""
        with suppress(ProcessLookupError):
            (os.killpg if self.has_session else os.kill)(self.pid, signal.SIGKILL)

    def forget(self) -> None:
        """Kill it, because nobody stands in its place any more."""
        assert self.asker is not None
        self.asker.close()
        self.asker = None
        self.kill()

    def end(self) -> None:
        """Tell how it has ended."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.watched)
        if self.has_session:
            self.kill()
        if self.asker is not None:
            _tell(self.asker, code)
            self.asker.close()


def _tell(asker: socket.socket, number: int) -> None:
    with suppress(OSError):  # it was killed
        asker.send(b"%d" % number)


def _attend(running: list[_Running], ready: set[int]) -> None:
    """Tell who asked what has ended; kill what nobody stands for; end with the tests."""
    if sys.stdin.fileno() in ready:
        for one in running:
            one.kill()
        os._exit(0)
    for one in list(running):
        if one.watched in ready:
            one.end()
            running.remove(one)
        elif one.asker is not None and one.asker.fileno() in ready:
            one.forget()


def _serve(listener: socket.socket) -> Request:
    """Fork until the tests have ended; return, in a forked program, what it is to be."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # they are for the programs
    running: list[_Running] = []
    while True:
        poll = select.poll()
        askers = [one.asker for one in running if one.asker is not None]
        for source in (sys.stdin, listener, *(one.watched for one in running), *askers):
            poll.register(source, select.POLLIN)
        ready = {number for number, _ in poll.poll()}
        _attend(running, ready)
        if listener.fileno() in ready:
            asker, _ = listener.accept()
            text, files, _, _ = socket.recv_fds(asker, MOST, FILES)
            request = _request(asker, text)
            if request is not None and (pid := os.fork()) == 0:
                for link in (listener, asker, *(one.asker for one in running if one.asker is not None)):
                    link.detach()  # the descriptors are closed below
                fork_server.become(request, files)
                return request
            for number in files:
                os.close(number)
            _tell(asker, 0 if request is None else pid)
            if request is None:
                asker.close()
            else:
                running.append(_Running(pid, os.pidfd_open(pid), asker, request.has_session))


def _request(asker: socket.socket, text: bytes) -> Request | None:
    """What a program is to be; None if it needs an interpreter of its own."""
    pid = int.from_bytes(asker.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], sys.byteorder)
    blocked, *words = map(os.fsdecode, text.split(b"\0"))
    root = Path(f"/proc/{pid}")
    try:
        rows = (root / "environ").read_bytes().split(b"\0")
        status = dict(line.split(":\t", 1) for line in (root / "status").read_text().splitlines() if ":\t" in line)
        place, session = (root / "cwd").readlink(), os.getsid(pid)
    except OSError:  # it was killed
        return None
    environment = dict(os.fsdecode(row).split("=", 1) for row in rows if b"=" in row)
    file = place / words[0] if words else place
    if file.suffix not in {"", ".py"} or not file.is_file() or not fork_server.is_as_at_start(environment):
        return None
    if any(path.stem in sys.modules for top in {place, file.parent} for path in top.glob("*.py")):
        return None  # a module of the reader's has the name of one that is loaded
    ignored = int(status["SigIgn"], 16)
    return Request(
        words=words,
        environment=environment,
        folder=str(place),
        files=[0, 1, 2],
        blocked=[int(number) for number in blocked.split()],
        ignored=[number for number in signal.valid_signals() if ignored >> (number - 1) & 1],
        has_session=session != os.getsid(0),
        group=-1,
        tie=0,
        umask=int(status["Umask"], 8),
    )


def main() -> None:
    """Serve, and run in each forked process what was asked for."""
    fork_server.load(*COMMANDS)
    fork_server.live(_serve(socket.socket(fileno=int(sys.argv[1]))))


if __name__ == "__main__":
    main()
