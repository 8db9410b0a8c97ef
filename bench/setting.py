"""What the rows share: servers and workers of their own, meters, and how much to do."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import redis

from bench.functions import FOLDER, SLOT, STAMP
from jobfleet import Fleet, Job
from jobfleet.store.embedded import ServerProcess, find_server

ROOT = Path(__file__).resolve().parents[1]
STALL_S = 30.0


class Trouble(Exception):
    """A row cannot be measured."""


class Count(NamedTuple):
    """What the meters say: jobs ended, first start and last end in seconds (monotonic)."""

    jobs: int
    first: float
    last: float


@dataclass(frozen=True, slots=True)
class Setting:
    """How the rows are to be measured.

    Attributes:
        quick: Do a tenth of the work: for a look, not for the record.
        socket: Reach the server by its Unix socket; else over loopback.
    """

    quick: bool = False
    socket: bool = False

    def size(self, full: int, quick: int | None = None) -> int:
        """How many, when `full` is the real number."""
        return full if not self.quick else quick or max(1, full // 10)

    @contextlib.contextmanager
    def server(self) -> Iterator[Server]:
        """A server for one measurement: nothing persisted, as the peers' harness has it."""
        with tempfile.TemporaryDirectory(prefix="jobfleet-bench-", ignore_cleanup_errors=True) as folder:
            server = Server(Path(folder), socket=self.socket)
            try:
                yield server
            finally:
                server.stop()


def metered(folder: Path) -> Count:
    """What the meters in a folder say; one that is being made just now has no bytes yet."""
    written = [path.read_bytes()[: SLOT.size] for path in folder.glob("*.meter")]
    rows = [row for row in (SLOT.unpack(each) for each in written if each) if row[0]]
    if not rows:
        return Count(0, 0.0, 0.0)
    return Count(sum(row[0] for row in rows), min(row[1] for row in rows) / 1e9, max(row[2] for row in rows) / 1e9)


class Server:
    """A private server, and the processes that work on it."""

    def __init__(self, folder: Path, *, socket: bool) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))
        self._folder = folder
        self._workers: list[subprocess.Popen[bytes]] = []
        path, port = folder / "server.sock", free_port()
        command = [str(find_server().path), "--port", str(port), "--bind", "127.0.0.1", "--unixsocket", str(path)]
        command += ["--dir", str(folder), "--save", "", "--appendonly", "no"]
        self._process = ServerProcess(command, log=folder / "server.log")
        self._process.wait_ready(path, log=folder / "server.log")
        self.url = f"unix://{path}" if socket else f"redis://127.0.0.1:{port}/0"
        self.raw = redis.Redis.from_url(self.url, protocol=2)

    def stop(self) -> None:
        for worker in self._workers:
            self.kill(worker)
        self.raw.close()
        self._process.end()

    def cpu(self) -> float:
        """Seconds of CPU the server has used."""
        info = self.raw.info("cpu")
        return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])

    def memory(self) -> int:
        """Bytes in use."""
        return int(self.raw.info("memory")["used_memory"])

    def worker(self, *flags: str, module: str = "bench.functions") -> subprocess.Popen[bytes]:
        """Start a real worker in a session of its own."""
        return self._start("worker", module, *flags)

    def reaper(self, *flags: str) -> subprocess.Popen[bytes]:
        """Start a real reaper likewise."""
        return self._start("reaper", *flags)

    def _start(self, *command_line: str) -> subprocess.Popen[bytes]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("JOBFLEET_")}
        environ[FOLDER] = str(self._folder)
        command = [sys.executable, "-m", "jobfleet", *command_line, f"--url={self.url}"]
        with (self._folder / f"worker{len(self._workers)}.log").open("wb") as log:
            worker = subprocess.Popen(
                command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._workers.append(worker)
        return worker

    def worker_cpu(self, worker: subprocess.Popen[bytes]) -> float | None:
        """Seconds of CPU that a worker and its children have used; None where the kernel does not tell."""
        try:
            return _cpu_of(worker.pid, *_children_of(worker.pid))
        except OSError:
            return None

    def child_cpu(self, worker: subprocess.Popen[bytes]) -> float | None:
        """The same of its children alone."""
        try:
            return _cpu_of(*_children_of(worker.pid))
        except OSError:
            return None

    def kill(self, worker: subprocess.Popen[bytes]) -> None:
        """Kill a worker and its children."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()

    def forget(self, worker: subprocess.Popen[bytes]) -> None:
        """Let a worker that was killed be missed no more."""
        self._workers.remove(worker)

    def wait_serving(self, fleet: Fleet) -> None:
        """Wait until a worker serves its queues."""
        self.wait(lambda: any(info.queues for info in fleet.workers()), "a worker serves")

    def wait(self, condition: Callable[[], object], what: str, *, step: float = 0.02, limit: float = STALL_S) -> None:
        """Wait for a condition.

        Raises:
            Trouble: It does not come true in time, or a worker has ended.
        """
        deadline = time.monotonic() + limit
        while not condition():
            if time.monotonic() > deadline:
                raise Trouble(f"waited {limit:g} s until {what}; {self._said()}")
            if any(worker.poll() is not None for worker in self._workers):
                raise Trouble(f"a worker ended; {self._said()}")
            time.sleep(step)  # between looks

    def _said(self) -> str:
        logs = [path.read_text(errors="replace").splitlines()[-1:] for path in self._folder.glob("worker*.log")]
        return " | ".join(line for lines in logs for line in lines)

    def count(self) -> Count:
        """What the meters of all processes say."""
        return metered(self._folder)

    def stamps(self) -> dict[int, list[tuple[int, int]]]:
        """The stamps by job number: what the job brought, and when it started (ns, monotonic)."""
        found: dict[int, list[tuple[int, int]]] = {}
        for path in self._folder.glob("*.stamps"):
            for index, (brought, at) in enumerate(STAMP.iter_unpack(path.read_bytes())):
                if at:
                    found.setdefault(index, []).append((brought, at))
        return found

    def drained(self, jobs: int, *, step: float = 0.05) -> Count:
        """Wait until the meters have seen so many jobs; interpreter start is in no rate."""
        last, moved = 0, time.monotonic()
        while True:
            count = self.count()
            if count.jobs >= jobs:
                return count
            if count.jobs > last:
                last, moved = count.jobs, time.monotonic()
            elif time.monotonic() - moved > STALL_S:
                raise Trouble(f"{jobs - count.jobs:,} of {jobs:,} jobs did not run; {self._said()}")
            time.sleep(step)  # between looks: constant looks would take a core from the jobs


def _children_of(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _cpu_of(*pids: int) -> float:
    """Seconds of CPU of all threads that processes have now."""
    threads = [each for pid in pids for each in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int((each / "schedstat").read_text().split()[0]) for each in threads) / 1e9


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def jobs(count: int, function: str, args: Sequence[object] = (10, 20)) -> Iterator[Job]:
    """So many jobs of one function."""
    return (Job("bench", function, args) for _ in range(count))


def fill(fleet: Fleet, many: Iterator[Job]) -> None:
    """Enqueue in bulk.

    Raises:
        Trouble: One was refused.
    """
    for receipt in fleet.enqueue_many(many):
        if receipt.error is not None:
            raise Trouble(f"a job was refused: {receipt.error}")
