"""A process that has the package loaded, and forks a worker or a reaper of it on request.

A fresh interpreter loads some 500 modules before a worker begins, which takes a fifth of a second of processor time.
Tests that are about this beginning start fresh interpreters: see `Programs`. The children of a worker always are.
"""

from __future__ import annotations

import atexit
import faulthandler
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
MOST = 1 << 20
"""Bytes of a request."""

OF_EACH = "PYTHONFAULTHANDLER"
"""The variable of the interpreter that a forked program may set for itself."""

READ_AT_START = ("PYTHON", "LD_", "MALLOC_")
"""Beginnings of the names of variables that an interpreter, or what loads it, reads when it starts."""


class Forked:
    """A program that was forked, with what tests use of `subprocess.Popen`.

    Args:
        pid: Its process, the leader of a session.
        ending: Tells its exit code when it has ended.
    """

    def __init__(self, pid: int, ending: socket.socket) -> None:
        self.pid = pid
        self._ending = ending
        self._code: int | None = None

    def poll(self) -> int | None:
        """Its exit code, or the negative number of the signal that ended it; None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            TimeoutExpired: It has not ended within so many seconds.
        """
        if self._code is None:
            if not select.select([self._ending], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"the forked program {self.pid}", timeout or 0)
            self._code = int(self._ending.recv(16))
            self._ending.close()
        return self._code

    def kill(self) -> None:
        """Kill it if it runs."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


class ForkServer:
    """Starts the process that forks, and asks it."""

    def __init__(self) -> None:
        self._control, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self._control, other):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MOST)
        command = [sys.executable, "-m", "tests.support.fork_server", str(other.fileno())]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, pass_fds=[other.fileno()], start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        other.close()
        self._variables = _read_at_start(environment)
        atexit.register(self.close)

    def close(self) -> None:
        """End the process; programs that it has forked go on."""
        self._control.close()
        self._process.wait()

    def can_start(self, environment: Mapping[str, str]) -> bool:
        """Whether a program with these variables would be as if it had an interpreter of its own."""
        return _read_at_start(environment) == self._variables

    def start(self, arguments: Sequence[str], environment: Mapping[str, str], out: int) -> Forked:
        """Fork `jobfleet ARGUMENT…`.

        Args:
            arguments: Of the command line.
            environment: All its variables.
            out: The file of its output.
        """
        ending, told = socket.socketpair()
        request = json.dumps({"arguments": list(arguments), "environment": dict(environment)}).encode()
        socket.send_fds(self._control, [request], [out, told.fileno()])
        told.close()
        return Forked(int(self._control.recv(16)), ending)


def _read_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(READ_AT_START) and name != OF_EACH}


def _serve(control: socket.socket) -> list[str]:
    """Fork until nobody asks any more; return, in a forked program, the arguments of its command line.

    A program that has ended stays, as one of `subprocess` does, until its test has learned its exit code.
    """
    woken, wakes = socket.socketpair()
    wakes.setblocking(False)
    signal.set_wakeup_fd(wakes.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: dict[int, socket.socket] = {}
    ended: dict[socket.socket, int] = {}
    while True:
        ready, _, _ = select.select([control, woken, *ended], [], [])
        if woken in ready:
            woken.recv(4096)
        for told in ended.keys() & set(ready):  # the other end is closed
            os.waitpid(ended.pop(told), 0)
            told.close()
        for pid in list(running):
            if found := os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                told = running.pop(pid)
                ended[told] = pid
                with suppress(OSError):  # its test may have gone
                    told.send(b"%d" % (found.si_status if found.si_code == os.CLD_EXITED else -found.si_status))
        if control not in ready:
            continue
        request, files, _, _ = socket.recv_fds(control, MOST, 2)
        if not request:
            os._exit(0)
        out, told_file = files
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for one in (control, woken, wakes, *running.values(), *ended):
                one.close()
            os.close(told_file)
            return _become(json.loads(request), out)
        os.close(out)
        running[pid] = socket.socket(fileno=told_file)
        control.send(b"%d" % pid)


def _become(request: dict[str, object], out: int) -> list[str]:
    os.setsid()
    os.environ.clear()
    os.environ.update(request["environment"])  # type: ignore[call-overload]  # it is a mapping of texts
    time.tzset()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (out, 1), (out, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(out)
    if OF_EACH in os.environ:
        faulthandler.enable()
    arguments = request["arguments"]
    assert isinstance(arguments, list)
    return arguments


def main() -> None:
    """Load what workers and reapers need, serve, and run in each forked process what was asked for."""
    import jobfleet.cli.commands.run
    import jobfleet.cli.main
    import jobfleet.services.main
    import jobfleet.worker.supervisor.main  # noqa: F401 - all four are there when a program begins

    gc.freeze()
    arguments = _serve(socket.socket(fileno=int(sys.argv[1])))
    sys.argv = ["jobfleet", *arguments]
    sys.orig_argv = [sys.executable, "-m", "jobfleet", *arguments]  # a worker that restarts executes this
    runpy.run_module("jobfleet", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
