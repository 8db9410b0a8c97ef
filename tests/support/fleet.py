"""Real workers and reapers for tests: processes in sessions of their own, ended with the test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import redis

from jobfleet import Fleet, JobResult
from tests.support import fork_server, topologies
from tests.support.server import is_running, state_of
from tests.support.users import UrlOf, role_of_command
from tests.support.waiting import wait_until
from tests.support.whole import info_of_each

ROOT = Path(__file__).parents[2]

APPS = ROOT / "tests" / "e2e" / "apps"
LONG = 60.0
"""Seconds a test waits at most: the machine may be busy."""


class Entry(NamedTuple):
    """One line of a history: a run of a job that started or ended."""

    event: str
    id: str
    fence: int
    pid: int


@dataclass(frozen=True)
class History:
    """What jobs wrote about themselves, outside of Redis."""

    path: Path

    def entries(self) -> list[Entry]:
        """All lines, as they were written."""
        if not self.path.exists():
            return []
        whole = self.path.read_text().rpartition("\n")[0]  # the last line may be being written
        rows = (line.split(" ") for line in whole.splitlines())
        return [Entry(event, job_id, int(fence), int(pid)) for event, job_id, fence, pid in rows]

    def starts(self) -> Counter[str]:
        """How often each job was started."""
        return Counter(entry.id for entry in self.entries() if entry.event == "start")

    def fences(self, job_id: str) -> list[int]:
        """The fences of a job's runs, in the order they started."""
        return [entry.fence for entry in self.entries() if entry.id == job_id and entry.event == "start"]

    def runners(self, job_id: str) -> list[int]:
        """The processes that started a job."""
        return [entry.pid for entry in self.entries() if entry.id == job_id and entry.event == "start"]

    def ended(self) -> set[str]:
        """The jobs that came to their end at least once."""
        return {entry.id for entry in self.entries() if entry.event == "end"}

    def await_start(self, job_id: str, times: int = 1) -> list[int]:
        """Wait until a job was started so often; answer the processes."""
        wait_until(
            lambda: len(self.runners(job_id)) >= times, timeout=LONG, why=f"{job_id} was started {times} time(s)"
        )
        return self.runners(job_id)


class Program:
    """A `python -m jobfleet` process.

    Args:
        arguments: Of the command line.
        log: Where its output goes.
        environment: Further variables.
        root: The folder whose package it runs.
        is_fresh: Start an interpreter for it; a fork of one that has loaded the package begins sooner.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str],
        root: Path = ROOT,
        is_fresh: bool = True,
    ) -> None:
        self.log = log
        kept = {name: value for name, value in os.environ.items() if not name.startswith("JOBFLEET_")}
        kept |= {topologies.SERVER: os.environ[topologies.SERVER]} if topologies.SERVER in os.environ else {}
        environment = {**kept, **environment}
        start = fork_server.EXECUTED if is_fresh else subprocess.Popen
        with log.open("ab") as out:
            self._process = start(
                [sys.executable, "-m", "jobfleet", *arguments], cwd=root, env=environment,
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
        self.pid = self._process.pid

    @property
    def said(self) -> str:
        """Everything it has printed."""
        return self.log.read_text(errors="replace")

    def await_line(self, text: str, *, times: int = 1) -> None:
        """Wait until it has printed something."""
        wait_until(lambda: self.said.count(text) >= times, timeout=LONG, why=f"the log of {self.pid} has {text!r}")

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process alone."""
        os.kill(self.pid, number)

    def send_all(self, number: signal.Signals) -> None:
        """Send a signal to the process and all it has started."""
        os.killpg(self.pid, number)

    def exit_code(self, timeout: float = LONG) -> int:
        """Wait for its end; answer its exit code."""
        return self._process.wait(timeout)

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def family(self) -> list[int]:
        """The living processes of its session, it included, without its fork server."""
        return [pid for pid in self._session() if fork_server.NAME not in _name_of(pid)]

    def _session(self) -> list[int]:
        found = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
        return [pid for pid in found if _session_of(pid) == self.pid]

    def children(self, module: str = "jobfleet.worker.child.main") -> list[int]:
        """Its living children that run a module.

        What one of them starts shows its parent's command line until it has called exec, and is left out.
        """
        running = {pid for pid in self.family() if pid != self.pid and module in _command_of(pid)}
        return [pid for pid in running if parent_of(pid) not in running]

    def await_children(self, count: int, *, but: Iterable[int] = ()) -> list[int]:
        """Wait until it has so many children beside those named; answer them."""
        old = set(but)
        return wait_until(
            lambda: found if len(found := [pid for pid in self.children() if pid not in old]) >= count else [],
            timeout=LONG,
            why=f"worker {self.pid} has {count} children",
        )

    def freeze_all(self) -> None:
        """Stop all its processes (SIGSTOP), and wait until they are."""
        self.send_all(signal.SIGSTOP)
        wait_until(lambda: all(state_of(pid) in {"T", ""} for pid in self.family()), timeout=LONG, why="all are frozen")

    def close(self) -> None:
        """Kill whatever is left of its session; what is started meanwhile, too."""
        while session := self._session():
            for pid in session:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()


class Programs:
    """Starts workers and reapers on one server; `close` ends them.

    Args:
        url: The server.
        folder: Where logs and histories go.
        root: The folder whose package they run: that of another revision, for instance.
        url_of: The URL for a role; by default `url`.
        is_fresh: Start an interpreter for each, as users do. A fork of one that has loaded the package begins sooner.

    Attributes:
        environment: Further variables of all that is started from now on.
    """

    def __init__(
        self, url: str, folder: Path, root: Path = ROOT, *, url_of: UrlOf | None = None, is_fresh: bool = True
    ) -> None:
        self.environment: dict[str, str] = {}
        self.url = url
        self._url_of: UrlOf = url_of or (lambda _: self.url)
        self.root = root
        self._is_fresh = is_fresh
        self.folder = folder
        self.history = History(folder / "history")
        self._started: list[Program] = []

    def start(self, *arguments: str, **settings: object) -> Program:
        """Start `jobfleet ARGUMENT…`; settings become ``JOBFLEET_*`` variables."""
        environment = {f"JOBFLEET_{name.upper()}": str(value) for name, value in settings.items()}
        has_duties = environment.get("JOBFLEET_WITH_REAPER", "0").lower() in {"1", "true"}
        role = role_of_command(arguments, with_reaper=has_duties)
        program = Program(
            arguments,
            log=self.folder / f"program-{len(self._started)}.log",
            root=self.root,
            is_fresh=self._is_fresh,
            environment={
                "PYTHONPATH": str(self.root), "JOBFLEET_URL": self._url_of(role),
                "JOBFLEET_APP_DIR": str(APPS), "JOBFLEET_TEST_FOLDER": str(self.folder),
                "HISTORY_FILE": str(self.history.path), "PYTHONFAULTHANDLER": "1", **self.environment,
                **environment,
            },
        )  # fmt: skip
        self._started.append(program)
        return program

    def worker(self, *modules: str, **settings: object) -> Program:
        """Start a worker with one child, unless told otherwise; it may not be ready yet."""
        return self.start("worker", *(modules or ("histories",)), **{"processes": 1, "slots": 10, **settings})

    def ready(self, *modules: str, **settings: object) -> Program:
        """Start a worker and wait until its children are there, and its functions are published."""
        worker = self.worker(*modules, **settings)
        with Fleet(self.url) as fleet:
            wait_until(
                lambda: any(one.pid == worker.pid and one.queues for one in fleet.workers()) or worker.is_over,
                timeout=LONG,
                why="the worker is ready",
            )
        assert not worker.is_over, worker.said
        return worker

    def reaper(self, **settings: object) -> Program:
        """Start a reaper and wait until it runs."""
        reaper = self.start("reaper", **settings)
        reaper.await_line("reaper.started")
        return reaper

    def told(self) -> list[str]:
        """The lines that jobs and hooks have written to the file ``told`` of the folder."""
        path = self.folder / "told"
        return path.read_text().splitlines() if path.exists() else []

    def logs(self) -> str:
        """What all have printed."""
        return "\n".join(f"--- {program.log.name}\n{program.said}" for program in self._started)

    def close(self) -> None:
        """End everything."""
        for program in self._started:
            program.close()


def await_listening(raw: redis.Redis, count: int) -> None:
    """Wait until so many children wait for jobs; a quiet one does not, a moment after its worker has said so.

    On a cluster, a child waits on each node that has one of its queues.
    """

    def waiting() -> int:
        return max(int(node["blocked_clients"]) for node in info_of_each(raw, "clients"))

    wait_until(lambda: waiting() == count, timeout=LONG, why=f"{count} children wait for jobs")


def settle_all(fleet: Fleet, ids: Iterable[str], *, timeout: float = LONG) -> dict[str, JobResult[object]]:
    """Wait until all jobs have ended; answer their results."""
    wanted = list(ids)

    def ended() -> dict[str, JobResult[object]]:
        found = {one.id: one for one in fleet.poll_many(wanted) if one is not None and one.status.is_final}
        return found if len(found) == len(wanted) else {}

    try:
        return wait_until(ended, timeout=timeout, why=f"{len(wanted)} jobs have ended") if wanted else {}
    except AssertionError:
        states = Counter(one.status.value if one else "unknown" for one in fleet.poll_many(wanted))
        raise AssertionError(f"Waited {timeout:g} s until {len(wanted)} jobs have ended; they are {states}") from None


def _session_of(pid: int) -> int:
    fields = _stat_of(pid)
    return 0 if fields[0] in {"Z", "X"} else int(fields[3])


def parent_of(pid: int) -> int:
    """The process that has started a process; 0 if it has gone."""
    return int(_stat_of(pid)[1])


def _stat_of(pid: int) -> list[str]:
    """State, parent, group and session of a process, and more; state X where it has gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ["X", "0", "0", "0"]


def _name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return ""


def _command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


__all__ = ["APPS", "LONG", "ROOT", "Entry", "History", "Program", "Programs", "is_running", "parent_of", "settle_all"]
