"""A process that has the package loaded, and forks programs of it that a process of the tests starts.

A fresh interpreter loads some 700 modules before a worker or its child begins, which takes a third of a second of
processor time. `install` lets `subprocess.Popen` fork instead. The kernel makes the fork a child of the process that
asks (CLONE_PARENT), so that its id, exit code, signals and resource usage are as those of an executed program. A worker
that was forked has a fork server of its own, which was forked before the worker began, for its children and its reaper.

What follows from an interpreter's start, or from how it frees objects at its end, cannot be seen in a fork. A test
about this has the mark `fresh`.
"""

from __future__ import annotations

import atexit
import builtins
import ctypes
import faulthandler
import gc
import inspect
import json
import os
import platform
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, NamedTuple

from jobfleet.store.embedded import TIE_TO_PARENT

ROOT = Path(__file__).parents[2]
IN_TERMINAL = "tests.cli.terminal"
"""The module that runs a command in a terminal."""
PROGRAMS = {
    IN_TERMINAL,
    "jobfleet",
    "jobfleet.services.main",
    "jobfleet.worker.child.main",
    "jobfleet.worker.executors.isolated.main",
}
"""The modules that are forked."""
SUPERVISOR = "jobfleet.worker.supervisor.main"
NAME = "fork-server"
"""The name of the process, as the kernel shows it."""
MOST = 1 << 20
"""Bytes of a request."""
FILES = 64
"""Descriptors of a request."""
PADDING = 1 << 10
"""Bytes for the command line of a forked program."""

OF_EACH = "PYTHONFAULTHANDLER"
"""The variable of the interpreter that a forked program may set for itself."""
READ_AT_START = ("PYTHON", "LD_", "MALLOC_", "LC_", "LANG")
"""Beginnings of the names of variables that an interpreter, or what loads it, reads when it starts."""

EXECUTED = subprocess.Popen
"""What `subprocess.Popen` is without a fork server."""
TIED = [sys.executable, "-I", "-S", "-c", TIE_TO_PARENT]
"""How a command begins that ends with its parent."""
SYS_CLONE = {"x86_64": 56, "aarch64": 220}
CLONE_PARENT, CLONE_CHILD_SETTID, CLONE_CHILD_CLEARTID = 0x8000, 0x1000000, 0x200000
PR_SET_PDEATHSIG, PR_SET_NAME, PR_GET_TID_ADDRESS = 1, 15, 40


class Request(NamedTuple):
    """What a forked program is to be.

    Attributes:
        words: Its command line after the interpreter: ``-m`` and a module, or a file; then its arguments.
        environment: All its variables.
        folder: Its working directory.
        files: The numbers of its descriptors, in the order in which they are sent.
        blocked: The signals that it begins with blocked.
        ignored: The signals that it begins with ignored.
        has_session: Whether it leads a session.
        group: The process group that it joins, 0 for one of its own, -1 for none.
        tie: The process with which it ends, its parent; 0 for none.
        umask: The permissions that its files do not get; -1 for those of the fork server.
    """

    words: list[str]
    environment: dict[str, str]
    folder: str
    files: list[int]
    blocked: list[int]
    ignored: list[int]
    has_session: bool
    group: int
    tie: int
    umask: int


class Warm(subprocess.Popen[Any]):
    """A program that is forked where this cannot be told from its execution."""

    def _execute_child(self, args: Any, *others: Any) -> None:
        given = inspect.signature(EXECUTED._execute_child).bind(self, args, *others).arguments  # type: ignore[attr-defined]  # private
        if not (server() and _can_be_forked(given) and self._fork(given)):
            super()._execute_child(args, *others)  # type: ignore[misc]  # private

    def _fork(self, given: Mapping[str, Any]) -> bool:
        ends = ("p2cread", "c2pwrite", "errwrite")
        sources = [number if given[end] == -1 else given[end] for number, end in enumerate(ends)]
        command, tie = _untied(given["args"])
        request = Request(
            words=[os.fspath(word) for word in command[1:]],
            environment=dict(os.environ if given["env"] is None else given["env"]),
            folder=os.fspath(given["cwd"] or Path.cwd()),
            files=[0, 1, 2, *given["pass_fds"]],
            blocked=[*signal.pthread_sigmask(signal.SIG_BLOCK, ())],
            ignored=[number for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN],
            has_session=given["start_new_session"],
            group=given.get("process_group", -1),
            tie=tie,
            umask=-1,
        )
        link = server()
        assert link is not None
        try:
            with _Server.lock:
                socket.send_fds(link, [json.dumps(request).encode()], [*sources, *given["pass_fds"]])
                pid = int(link.recv(16))
        except (OSError, ValueError):  # the server has gone
            return False
        self.pid = pid
        self._child_created = True
        pipes = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(given[end] for end in pipes))  # type: ignore[attr-defined]  # private
        return True


class _Server:
    """The fork server of this process.

    Attributes:
        link: Where it is asked; None before the first request.
        lock: Held from a request to its answer.
        owner: The process that asks; a fork of it does not.
        process: What was executed as the server.
    """

    link: socket.socket | None = None
    lock = threading.Lock()
    owner = 0
    process: subprocess.Popen[bytes] | None = None


def install() -> None:
    """Let `subprocess.Popen` fork programs of the package, where the system can."""
    if sys.platform == "linux" and platform.machine() in SYS_CLONE:
        subprocess.Popen = Warm  # type: ignore[misc]
        atexit.register(_close)
        _started_with()
        use(is_on=True)


def use(*, is_on: bool) -> None:
    """Fork programs from now on, or execute them."""
    _Server.owner = os.getpid() if is_on and subprocess.Popen is Warm else 0


def is_used() -> bool:
    """Whether programs of this process are forked."""
    return _Server.owner == os.getpid()


def server() -> socket.socket | None:
    """The link to the fork server, which is started with the first request; None if programs are executed."""
    if not is_used():
        return None
    if _Server.link is None:
        ours, theirs = _pair()
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "tests.support.fork_server", str(theirs.fileno()), " " * PADDING]
        _Server.process = EXECUTED(
            command, cwd=ROOT, env=environment, pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        theirs.close()
        _Server.link = ours
    return _Server.link


def _close() -> None:
    """End the fork server; programs that it has forked go on."""
    if _Server.link is not None and _Server.owner == os.getpid() and _Server.process is not None:
        _Server.link.close()
        _Server.process.wait()


def _pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MOST)
    return ours, theirs


def _can_be_forked(given: Mapping[str, Any]) -> bool:
    """Whether a forked program would be as if it had an interpreter of its own."""
    if isinstance(given["args"], (str, bytes, os.PathLike)):
        return False
    (command, _), environment = _untied(given["args"]), os.environ if given["env"] is None else given["env"]
    if [*command[:2]] != [sys.executable, "-m"]:
        return False
    if len(command) < 3 or command[2] not in PROGRAMS or not given["close_fds"] or not given["restore_signals"]:
        return False
    if given["preexec_fn"] is not None or given["shell"] or given["executable"] not in {None, sys.executable}:
        return False
    if any(given.get(name) not in {None, -1} for name in ("gid", "uid", "gids")) or given["umask"] >= 0:
        return False
    folder = Path(given["cwd"] or Path.cwd())
    if not folder.is_dir() or (folder != ROOT and (folder / "jobfleet").exists()):
        return False
    return is_as_at_start(environment)


def is_as_at_start(environment: Mapping[str, str]) -> bool:
    """Whether the variables that an interpreter reads when it starts are as this one found them."""
    ours = read_at_start({"PYTHONPATH": str(ROOT), **environment})
    return ours == read_at_start({**_started_with(), "PYTHONPATH": str(ROOT)})


def _untied(command: Sequence[str]) -> tuple[list[str], int]:
    """A command without what ties it to its parent, and the parent; 0 if nothing does."""
    words = list(command)
    if len(words) > len(TIED) and words[: len(TIED)] == TIED:
        return words[len(TIED) + 1 :], int(words[len(TIED)])
    return words, 0


@cache
def _started_with() -> dict[str, str]:
    return read_at_start(os.environ)


def read_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that an interpreter, or what loads it, reads when it starts."""
    return {name: value for name, value in environment.items() if name.startswith(READ_AT_START) and name != OF_EACH}


def _serve(control: socket.socket) -> Request:
    """Fork until nobody asks any more; return, in a forked program, what it is to be."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # they are for the programs
    while True:
        text, files, _, _ = socket.recv_fds(control, MOST, FILES)
        if not text:
            os._exit(0)
        request = Request(*json.loads(text))
        if (pid := _fork_for_parent()) == 0:
            os.close(control.detach())
            become(request, files)
            return request
        for number in files:
            os.close(number)
        control.send(b"%d" % pid)


def _fork_for_parent() -> int:
    """Fork a child of this process's parent, otherwise as `os.fork` does."""
    python, libc = ctypes.pythonapi, ctypes.PyDLL(None)
    address = ctypes.c_void_p()
    libc.prctl(PR_GET_TID_ADDRESS, ctypes.byref(address))
    flags = CLONE_PARENT | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID
    call = [ctypes.c_long(one) for one in (SYS_CLONE[platform.machine()], flags | signal.SIGCHLD, 0, 0)]
    python.PyOS_BeforeFork()
    pid = int(libc.syscall(*call, address, address))  # one machine has it here, the other one there
    if pid:
        python.PyOS_AfterFork_Parent()
        assert pid > 0, "The system does not fork for a parent"
    else:
        python.PyOS_AfterFork_Child()
    return pid


def become(request: Request, files: list[int]) -> None:
    """Let this process have what a program is to have.

    Args:
        request: What it is to be.
        files: Its descriptors, in the order of `Request.files`.
    """
    _join(request)
    _take(files, request.files)
    os.chdir(request.folder)
    os.environ.clear()
    os.environ.update(request.environment)
    time.tzset()
    _open_streams()
    if OF_EACH in os.environ:
        faulthandler.enable()
    else:
        faulthandler.disable()
    first, *others = request.words
    sys.orig_argv = [sys.executable, *request.words]  # a worker that restarts executes this
    _show(sys.orig_argv)
    if first == "-m":
        sys.argv = [str(ROOT / others[0].replace(".", "/")) + ".py", *others[1:]]
        sys.path[0] = request.folder
    else:
        sys.argv = request.words
        sys.path[0] = str(Path(first).resolve().parent)


def _join(request: Request) -> None:
    """Have the place among processes, the ignored signals and the mask of permissions that a program is to have."""
    if request.tie:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != request.tie:
            os._exit(0)
    if request.has_session:
        os.setsid()
    if request.group >= 0:
        os.setpgid(0, request.group)
    if request.umask >= 0:
        os.umask(request.umask)
    for number in request.ignored:
        if number not in {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_IGN)


def _take(files: list[int], targets: list[int]) -> None:
    """Have the descriptors under other numbers, and no others."""
    beyond = max([*targets, *files]) + 1
    moved = {target: beyond + number for number, target in enumerate(targets)}
    for source, place in zip(files, moved.values(), strict=True):
        os.dup2(source, place, inheritable=False)
    for target, place in moved.items():
        os.dup2(place, target)
    kept = [-1, *sorted(targets), os.sysconf("SC_OPEN_MAX")]
    for low, high in pairwise(kept):
        if low + 1 < high:
            os.closerange(low + 1, high)


def _open_streams() -> None:
    """Open the standard streams as an interpreter does: a terminal's differs from a file's."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        old = getattr(sys, name)
        new = open(  # noqa: SIM115 - it stays open until the end
            number, "w" if number else "r", 1 if number == 2 else -1, old.encoding, old.errors, closefd=False
        )  # fmt: skip
        buffer: Any = new.buffer
        buffer.raw.name = f"<{name}>"
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)


def _show(words: list[str]) -> None:
    """Let the kernel show a command line and the interpreter's name."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    begin, end = int(fields[45]), int(fields[46])
    text = b"".join(os.fsencode(word) + b"\0" for word in words)[: end - begin - 1]
    ctypes.memset(begin, 0, end - begin)
    ctypes.memmove(begin, text, len(text))
    _call_itself(Path(sys.executable).name)


def _call_itself(name: str) -> None:
    ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode(), 0, 0, 0)


def load(*others: str) -> None:
    """Load what the programs need, and be called so that a fork server can be told from its programs."""
    for module in (*PROGRAMS - {"jobfleet"}, "jobfleet.cli.main", "jobfleet.cli.commands.run", SUPERVISOR, *others):
        import_module(module)
    gc.freeze()
    _call_itself(NAME)


def live(request: Request) -> None:
    """Be a program that was forked. One that starts others has a fork server of its own, and that, too, is here."""
    while {"worker", "up"} & {*request.words[1:3]}:
        ours, theirs = _pair()
        if os.fork():
            theirs.close()
            _Server.link = ours
            install()
            break
        ours.close()
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nothing, number)
        os.close(nothing)
        _show([sys.executable, "-m", "tests.support.fork_server"])
        _call_itself(NAME)
        request = _serve(theirs)
    signal.pthread_sigmask(signal.SIG_SETMASK, request.blocked)
    try:
        _run(*request.words)
    except SystemExit as ended:
        if not isinstance(ended.code, int | None):
            raise
        _end(ended.code or 0)
    _end(0)


def _run(first: str, *others: str) -> None:
    """Run a module, or a file."""
    if first != "-m":
        _run_file(first)
        return
    if others[0] != "jobfleet":  # it is loaded once more, as the main module
        package, _, module = others[0].rpartition(".")
        del sys.modules[others[0]]
        delattr(sys.modules[package], module)
    runpy.run_module(others[0], run_name="__main__", alter_sys=True)


def _run_file(name: str) -> None:
    """Run a file as the main module, which it stays to the end of the process, as an interpreter does."""
    path = Path(name).absolute()

    def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        while trace is not None and trace.tb_frame.f_code.co_filename != str(path):
            trace = trace.tb_next
        sys.__excepthook__(kind, error.with_traceback(trace), trace)

    sys.excepthook = show
    module = sys.modules["__main__"] = ModuleType("__main__")
    module.__dict__.update(__file__=str(path), __builtins__=builtins, __cached__=None)
    exec(compile(path.read_bytes(), path, "exec", dont_inherit=True), module.__dict__)


def _end(code: int) -> None:
    """End as an interpreter does, but leave the objects: to free them, this process would have to copy most of them."""
    threading._shutdown()  # type: ignore[attr-defined]  # private; it waits for threads
    atexit._run_exitfuncs()
    with suppress(OSError, ValueError):  # the interpreter tries again, and says what is wrong
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code & 0xFF)


def main() -> None:
    """Serve, and run in each forked process what was asked for."""
    load()
    live(_serve(socket.socket(fileno=int(sys.argv[1]))))


if __name__ == "__main__":
    main()
