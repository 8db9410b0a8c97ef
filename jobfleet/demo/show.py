"""`jobfleet demo`: two workers index the standard library; half-way one of them is killed.

Everything is real: an embedded server, two workers started from the command line, SIGKILL for one supervisor
and its children. When the leases of the dead worker expire, the other worker runs its jobs again. The demo
leaves no files and no processes behind.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, Protocol, Self

from jobfleet.config.machine import default_processes
from jobfleet.fleet.sync import Fleet
from jobfleet.model import Job, JobResult, JobStatus
from jobfleet.store import embedded

NAMESPACE = "demo"
MODULE = "jobfleet.demo"
LEASE_S = 6
STEP_S = 0.1
WINDOW = 200
START_S, STALL_S = 40.0, 40.0
"""Most seconds until the workers have started, and most seconds without a job that ends."""


class _Trouble(Exception):
    """The demo cannot continue."""


def main(limit: int | None = None) -> int:
    """Run the demo.

    Args:
        limit: Most files to index; default all.

    Returns:
        The exit status: 0 if every job was completed and none lost, else 1.

    Raises:
        ConfigError: No server program was found.
    """
    files = library(limit)
    view = _view()
    with (
        _ended_by_signals(),
        tempfile.TemporaryDirectory(prefix="jobfleet-demo-", ignore_cleanup_errors=True) as folder,
        embedded.EmbeddedServer.start() as server,
    ):
        view.say(f"{len(files):,} files of the standard library to index; a server and two workers start.")
        with _two_workers(server.url, Path(folder)) as workers, Fleet(server.url, NAMESPACE) as fleet:
            show = _Show(fleet, workers, view)
            try:
                show.prepare()
                with view:
                    show.fill(files)
                    show.play()
            except _Trouble as trouble:
                print(trouble, file=sys.stderr)
                return 1
    print(report(list(show.ended.values()), show.enqueued))
    return 0 if show.is_well(len(files)) else 1


def library(limit: int | None = None) -> list[Path]:
    """The files of the standard library, in a fixed order.

    In folders of tests only ``test_*.py`` is included: the other files are data, some of it invalid on purpose.
    """
    root = Path(sysconfig.get_path("stdlib"))
    return sorted(path for path in root.rglob("*.py") if _is_library(path.relative_to(root)))[:limit]


def _is_library(path: Path) -> bool:
    folders = set(path.parts[:-1])
    if folders & {"site-packages", "dist-packages"}:
        return False
    is_test = any(name in {"test", "tests"} or name.endswith("_test") for name in folders)
    return not is_test or path.name.startswith("test_")


def report(jobs: Sequence[JobResult[Any]], enqueued: int) -> str:
    """The summary that the demo prints at the end.

    Args:
        jobs: All jobs that ended.
        enqueued: Number of jobs that were enqueued.
    """
    done = [job for job in jobs if job.status is JobStatus.COMPLETED]
    rows: list[dict[str, Any]] = [job.result for job in done if job.result]
    found = sorted(rows, key=lambda row: (-row["functions"], row["path"]))
    began = min((job.started_at for job in done if job.started_at), default=None)
    ended = max((job.completed_at for job in done if job.completed_at), default=None)
    seconds = (ended - began).total_seconds() if began and ended else 0.0
    root = sysconfig.get_path("stdlib")
    lines = ["", "  functions   classes   imports     lines  file"]
    lines += [_row(row, os.path.relpath(row["path"], root)) for row in found[:10]]
    total = {name: sum(row[name] for row in found) for name in ("functions", "classes", "imports", "lines")}
    lines += [_row(total, f"in all {len(found):,} files"), ""]
    if seconds:
        lines.append(f"{len(done) / seconds:,.0f} jobs/s over {seconds:.1f} s, the wait for the leases included")
    lines.append(f"{sum(job.attempt > 1 for job in done):,} jobs ran twice because of the kill")
    lines += [f"failed: {job.name}: {job.error}" for job in jobs if job.status is not JobStatus.COMPLETED][:10]
    lines.append(f"{enqueued} enqueued, {len(done)} completed, {enqueued - len(jobs)} lost")
    return "\n".join(lines)


def _row(row: Mapping[str, Any], name: str) -> str:
    return f"{row['functions']:>11,}{row['classes']:>10,}{row['imports']:>10,}{row['lines']:>10,}  {name}"


class _Worker:
    """A worker in its own process group, so that one signal kills supervisor and children."""

    def __init__(self, label: str, url: str, folder: Path) -> None:
        self.label = label
        self.id = ""
        self.is_killed = False
        self._log = folder / f"{label}.log"
        processes = min(4, max(2, default_processes() // 2))
        command = [sys.executable, "-m", "jobfleet", "worker", MODULE, f"--url={url}", f"--namespace={NAMESPACE}"]
        command += [f"--processes={processes}", f"--lease={LEASE_S}s", "--grace=1s", "--queues=default"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                _tied(command), cwd=folder, env=_environ(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        self.pid = self._process.pid

    def runs(self, job: JobResult[Any]) -> bool:
        """Whether a child of this worker runs the job, or ran it last."""
        return (job.worker or "").startswith(f"{self.id}.")

    def kill(self) -> None:
        """Kill supervisor and children at once, like a power loss."""
        self.is_killed = True
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def end(self) -> None:
        """Terminate the worker; after 5 s kill the rest."""
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=5)
        self.kill()

    def check(self) -> None:
        """Raise if the worker is dead although the demo did not kill it."""
        if not self.is_killed and self._process.poll() is not None:
            tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-5:])
            raise _Trouble(f"The {self.label} ended unexpectedly. The end of its log:\n{tail}")


@contextlib.contextmanager
def _two_workers(url: str, folder: Path) -> Iterator[list[_Worker]]:
    started: list[_Worker] = []
    try:
        started.extend(_Worker(f"{name} worker", url, folder) for name in ("first", "second"))
        yield started
    finally:
        for worker in started:
            worker.end()


def _environ() -> dict[str, str]:
    """This environment without JOBFLEET_* variables, and with PYTHONPATH for this copy of `jobfleet`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JOBFLEET_")}
    root = str(Path(__file__).resolve().parents[2])
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, (root, kept.get("PYTHONPATH"))))
    kept["PYTHONWARNINGS"] = "ignore"  # files of the library's tests have invalid escapes
    return kept


def _tied(command: Sequence[str]) -> list[str]:
    """Make the kernel end the worker if this process is killed."""
    if sys.platform != "linux":
        return list(command)
    tie = embedded.TIE_TO_PARENT
    return [sys.executable, "-I", "-S", "-c", tie, str(os.getpid()), *command]


class _Show:
    """One run of the demo: enqueue, watch, kill a worker, watch until all jobs have ended."""

    def __init__(self, fleet: Fleet, workers: Sequence[_Worker], view: _View) -> None:
        self._fleet = fleet
        self._workers = workers
        self._view = view
        self._open: list[str] = []
        self._running: list[JobResult[Any]] = []
        self._counted: dict[str, Any] = {}
        self.ended: dict[str, JobResult[Any]] = {}
        self.enqueued = 0

    def prepare(self) -> None:
        """Wait until both workers serve the queue."""
        deadline = time.monotonic() + START_S
        while not all(worker.id for worker in self._workers):
            ids = {info.pid: info.id for info in self._fleet.workers() if info.queues}
            for worker in self._workers:
                worker.check()
                worker.id = ids.get(worker.pid, "")
            if time.monotonic() > deadline:
                raise _Trouble(f"The workers sent no heartbeat within {START_S:g} s.")
            time.sleep(STEP_S)

    def fill(self, files: Sequence[Path]) -> None:
        """Enqueue a job for each file."""
        jobs = (Job(path.name, "demo.index", (str(path),), max_retries=0) for path in files)
        for receipt in self._fleet.enqueue_many(jobs):
            if receipt.error is not None:
                raise _Trouble(f"A job was refused: {receipt.error}")
            self.enqueued += receipt.created
            self._open.append(receipt.id)

    def play(self) -> None:
        """Watch until all jobs have ended; kill a worker half-way."""
        half, last, is_over = len(self._open) // 2, time.monotonic(), False
        while not is_over:
            before = len(self.ended)
            self._look()
            if len(self.ended) >= half and not any(worker.is_killed for worker in self._workers):
                self._kill_one()
            self._draw()
            if len(self.ended) > before:
                last = time.monotonic()
            elif time.monotonic() - last > STALL_S:
                raise _Trouble(f"No job ended for {STALL_S:g} s; {len(self._open):,} jobs are open.")
            for worker in self._workers:
                worker.check()
            is_over = not self._open
            time.sleep(STEP_S)
        self._counted = self._fleet.statistics()

    def _look(self) -> None:
        """Poll the first open jobs. Jobs run in order, so the running and just ended ones are among them."""
        window = self._open[:WINDOW]
        seen = [job for job in self._fleet.poll_many(window) if job is not None]
        self._running = [job for job in seen if job.status is JobStatus.RUNNING]
        self.ended.update((job.id, job) for job in seen if job.status.is_final)
        self._open = [job_id for job_id in window if job_id not in self.ended] + self._open[WINDOW:]

    def _kill_one(self) -> None:
        victim = max(self._workers, key=lambda worker: sum(map(worker.runs, self._running)))
        victim.kill()
        self._view.say(
            f"SIGKILL for the {victim.label}, supervisor and children. "
            f"It ran {sum(map(victim.runs, self._running))} jobs; their leases end within {LEASE_S} s."
        )

    def _draw(self) -> None:
        ended, rows = list(self.ended.values()), []
        for worker in self._workers:
            note = "killed" if worker.is_killed else f"{sum(map(worker.runs, self._running))} running"
            rows.append((worker.label, sum(map(worker.runs, ended)), note))
        note = f"{len(self._open):,} to go"
        self._view.show([("indexed", len(ended), note), *rows], self.enqueued)

    def is_well(self, files: int) -> bool:
        """Whether each job was completed and counted once, even if it ran twice."""
        completed = sum(job.status is JobStatus.COMPLETED for job in self.ended.values())
        counted = (self._counted.get("total"), self._counted.get("completed"))
        return files == self.enqueued == completed and counted == (files, files)


class _View(contextlib.AbstractContextManager["_View"], Protocol):
    def say(self, text: str) -> None:
        """Print a line above what is drawn."""

    def show(self, rows: Sequence[tuple[str, int, str]], total: int) -> None:
        """Draw the rows of label, count and note. `total` is the count of a full bar."""


class _Lines(contextlib.AbstractContextManager["_Lines"]):
    """One line per second, for output without a terminal or without rich."""

    def __init__(self) -> None:
        self._next = 0.0
        self._last = ""

    def say(self, text: str) -> None:
        print(f"{datetime.now().astimezone():%H:%M:%S}  {text}", flush=True)

    def show(self, rows: Sequence[tuple[str, int, str]], total: int) -> None:
        text = f"{rows[0][1]:>5,} of {total:,} indexed"
        text += "".join(f"; {label} {count:,} ({note})" for label, count, note in rows[1:])
        is_due = time.monotonic() >= self._next or rows[0][1] == total
        if is_due and text != self._last:
            self._next, self._last = time.monotonic() + 1.0, text
            self.say(text)

    def __exit__(self, *_: object) -> None:
        """Nothing to clean up."""


class _Bars(contextlib.AbstractContextManager["_Bars"]):
    """Live bars, drawn by rich."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = ("{task.description}", BarColumn(28), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
        self._progress = Progress(*columns, TimeElapsedColumn())
        self._tasks: dict[str, Any] = {}

    def say(self, text: str) -> None:
        self._progress.console.print(text, highlight=False)

    def show(self, rows: Sequence[tuple[str, int, str]], total: int) -> None:
        for label, count, note in rows:
            if label not in self._tasks:
                self._tasks[label] = self._progress.add_task(label, total=total, note=note)
            self._progress.update(self._tasks[label], completed=count, note=note)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


def _view() -> _View:
    if sys.stdout.isatty():
        with contextlib.suppress(ImportError):
            return _Bars()
    return _Lines()


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the demo like Ctrl-C, so that workers and server end with it."""

    def leave(signum: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + signum)

    before = {signum: signal.signal(signum, leave) for signum in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
