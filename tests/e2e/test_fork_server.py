"""The fork server of the tests: a forked program is as one with an interpreter of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import fork_server, typed
from tests.support.fleet import LONG, Program, Programs, parent_of
from tests.support.server import state_of
from tests.support.waiting import wait_until


@pytest.fixture
def both(redis_url: str, tmp_path: Path) -> Iterator[tuple[Programs, Programs]]:
    """Programs that are forked, and programs with interpreters."""
    made = [Programs(redis_url, tmp_path / name, is_fresh=name == "fresh") for name in ("forked", "fresh")]
    for programs in made:
        programs.folder.mkdir()
    yield made[0], made[1]
    for programs in made:
        programs.close()


def is_forked(pid: int) -> bool:
    """Whether its command line has the bytes that the fork server keeps free for it."""
    return len(Path(f"/proc/{pid}/cmdline").read_bytes()) >= fork_server.PADDING


def facts(pid: int, worker: Program) -> list[object]:
    """What the kernel knows of a process of a worker."""
    root = Path(f"/proc/{pid}")
    lines = (line.split(":\t") for line in (root / "status").read_text().splitlines())
    status = {name: value for name, value in lines if name in {"SigBlk", "SigIgn", "SigCgt", "Umask", "CapEff"}}
    files = [(root / "fd" / str(number)).readlink() for number in (0, 1, 2)]
    place = [(root / "cwd").readlink(), (root / "exe").readlink(), files[0], files[1] == files[2] == worker.log]
    words = [word for word in (root / "cmdline").read_bytes().split(b"\0") if word and not word.isdigit()]
    own = os.getsid(pid) == worker.pid, os.getpgid(pid) == worker.pid
    return [status, place, own, words, (root / "comm").read_text()]


def test_a_forked_worker_and_its_child_look_to_the_kernel_as_executed_ones(both: tuple[Programs, Programs]) -> None:
    forked, fresh = workers = [programs.ready() for programs in both]
    (first,), (second,) = (worker.await_children(1) for worker in workers)

    assert [is_forked(pid) for pid in (forked.pid, first, fresh.pid, second)] == [True, True, False, False]
    assert facts(forked.pid, forked) == facts(fresh.pid, fresh)
    assert facts(first, forked) == facts(second, fresh)
    assert [parent_of(pid) for pid in (forked.pid, first)] == [os.getpid(), forked.pid]
    assert sorted(forked.family()) == sorted([forked.pid, first])


def test_a_forked_program_ends_as_an_executed_one(both: tuple[Programs, Programs]) -> None:
    forked, fresh = (programs.ready() for programs in both)

    forked.send(signal.SIGKILL)
    fresh.send(signal.SIGTERM)

    wait_until(lambda: state_of(forked.pid) == "Z", timeout=LONG, why="it is kept until somebody asks")
    forked.send(signal.SIGTERM)  # to one that has ended; nothing happens
    assert (forked.exit_code(), fresh.exit_code()) == (-signal.SIGKILL, 0)
    wait_until(lambda: forked._session() == [], timeout=LONG, why="its fork server has ended, too")
    assert state_of(forked.pid) == ""


def test_a_forked_program_says_the_same(both: tuple[Programs, Programs]) -> None:
    refused = [programs.worker("nowhere") for programs in both]

    assert [one.exit_code() for one in refused] == [2, 2]
    assert refused[0].said == refused[1].said
    assert "nowhere" in refused[0].said


def test_a_forked_command_has_the_folder_the_variables_and_the_pipes_it_is_given(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "jobfleet", "init", "--help"]
    environment = {**os.environ, "COLUMNS": "60"}

    def said(start: Callable[..., subprocess.Popen[bytes]]) -> tuple[int, tuple[bytes, bytes]]:
        process = start(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        return process.wait(), process.communicate()

    assert said(subprocess.Popen) == said(fork_server.EXECUTED)


LOOKS = """
import gc, json, locale, logging, os, random, signal, sys, threading, time, warnings
main, stat = sys.modules["__main__"], open("/proc/self/stat").read().split()
names = ("__name__", "__file__", "__spec__", "__cached__", "__doc__", "__package__")
files = sys.stdin, sys.stdout, sys.stderr
streams = [[one.encoding, one.errors, one.line_buffering, one.name, one.mode] for one in files]
print(json.dumps([
    sys.argv, sys.orig_argv, sys.path, sys.executable, list(sys.flags), sys.warnoptions, sys.getrecursionlimit(),
    main.__dict__ is globals(), [repr(globals()[name]) for name in names], streams, sys.stdin.read(),
    dict(os.environ), os.getcwd(), os.umask(0), sorted(os.listdir("/proc/self/fd")),
    open("/proc/self/cmdline").read().rstrip("\\0"), open("/proc/self/comm").read(), stat[4:6],
    locale.setlocale(locale.LC_ALL), time.tzname,
    [[name, str(signal.getsignal(name))] for name in signal.valid_signals()], list(signal.pthread_sigmask(0, ())),
    list(map(str, warnings.filters)), logging.root.level, len(logging.root.handlers), len(threading.enumerate()),
    gc.isenabled(), gc.get_threshold(), gc.callbacks, os.nice(0),
], indent=1, default=str))
sys.stdout.flush()
os.write(2, b"%d" % (random.random() == random.Random(0).random()))
raise ValueError("wrong")
"""


def typed_as(program: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    """Run what a reader types, with signals that are not as usual."""
    variables = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "TZ": "Europe/Berlin", "OTHER": "ä=b"}
    script = f"trap '' HUP; umask 027; {program} {' '.join(words)}"
    return subprocess.run(
        ["sh", "-c", script], cwd=folder, env=variables, input=b"typed", capture_output=True, check=False
    )


@pytest.fixture
def programs_typed() -> Path:
    """The folder with the programs that a reader of pages types."""
    folder = typed.folder({"LANG": "C.UTF-8"})
    assert folder is not None
    return folder


def test_a_typed_program_finds_what_it_finds_in_an_interpreter_of_its_own(programs_typed: Path, tmp_path: Path) -> None:
    (tmp_path / "looks.py").write_text(LOOKS)

    forked, fresh = (
        typed_as(one, tmp_path, "looks.py", "--a", "'b c'") for one in (programs_typed / "python", Path(sys.executable))
    )

    assert forked.stdout.decode().splitlines() == fresh.stdout.decode().splitlines()
    assert forked.stderr.decode() == fresh.stderr.decode()
    assert (forked.returncode, fresh.returncode) == (1, 1)
    assert b"ValueError: wrong" in fresh.stderr


@pytest.mark.parametrize("words", [["version"], ["nothing"], ["queues", "ls", "--url", "unix:///nowhere"]])
def test_a_typed_command_says_and_ends_the_same(words: list[str], programs_typed: Path, tmp_path: Path) -> None:
    forked, fresh = (
        typed_as(one / "jobfleet", tmp_path, *words) for one in (programs_typed, Path(sys.executable).parent)
    )

    assert (forked.returncode, forked.stdout, forked.stderr) == (fresh.returncode, fresh.stdout, fresh.stderr)
    assert fresh.stdout + fresh.stderr
