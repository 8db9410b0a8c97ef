"""The row of the samples: many short drains in pairs, with samples and without, on one server.

A process may be up to two percent faster or slower than the next one that does the same, for as long as it lives. So
both sides get new processes every few pairs, and the side that starts first changes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.figure import Figure, Reading, Row, Target
from bench.setting import Server, Setting, Trouble, fill, jobs
from jobfleet import Fleet
from jobfleet.clock import monotonic

STATES = ("on", "off")
SETS = 10
"""How often both sides get new processes."""


class Window(NamedTuple):
    """One drain: jobs per second, and µs of CPU per job of the worker, its child and Redis."""

    rate: float
    worker_us: float
    child_us: float
    redis_us: float


class Side:
    """A fleet with a worker and a reaper of its own. Its processes are stopped, except during its drains.

    The other side takes no CPU meanwhile. Timers count the time of a stop, so all that is done per time, as heartbeats
    and samples are, is done about twice as often per job as in one long drain.

    Args:
        server: The server of both sides.
        fleet: The fleet.
        flags: The flags of the worker and of the reaper.
    """

    def __init__(self, server: Server, fleet: Fleet, *flags: str) -> None:
        self._server = server
        self._fleet = fleet
        self._worker = server.worker("-p", "1", "-c", "100", *flags)
        self._reaper = server.reaper(*flags)
        server.wait(lambda: any(info.queues for info in fleet.workers()), "a worker serves")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all processes."""
        for process in (self._worker, self._reaper):
            os.killpg(process.pid, number)

    def end(self) -> None:
        """End all processes."""
        for process in (self._worker, self._reaper):
            self._server.kill(process)
            self._server.forget(process)

    def drain(self, count: int) -> Window:
        """Enqueue jobs, and let the worker go on until they have ended."""
        done = self._completed() + count
        metered = self._server.count().jobs + count
        fill(self._fleet, jobs(count, "bench.add"))
        before, redis = self._cpu(), self._server.cpu()
        began = monotonic()
        self.signal(signal.SIGCONT)
        try:
            last = self._server.drained(metered, step=0.005).last
            self._server.wait(lambda: self._completed() == done, "the lane has counted all", step=0.02)
        finally:
            self.signal(signal.SIGSTOP)
        after, redis = self._cpu(), self._server.cpu() - redis
        worker, child = ((now - then) / count * 1e6 for then, now in zip(before, after, strict=True))
        return Window(count / (last - began), worker, child, redis / count * 1e6)

    def _completed(self) -> int:
        return sum(queue.totals.get("completed", 0) for queue in self._fleet.queues())

    def _cpu(self) -> tuple[float, float]:
        """Seconds of CPU of the worker with its child, and of its child."""
        whole, child = self._server.worker_cpu(self._worker), self._server.child_cpu(self._worker)
        if whole is None or child is None:
            raise Trouble("this kernel does not tell the CPU time of threads")
        return whole, child


@contextlib.contextmanager
def _sides(server: Server, folder: Path, states: Sequence[str]) -> Iterator[Mapping[str, Side]]:
    with contextlib.ExitStack() as stack:
        sides: dict[str, Side] = {}
        for state in states:
            file = folder / f"{state}.toml"
            file.write_text(f"samples = {'true' if state == 'on' else 'false'}\n")
            fleet = stack.enter_context(Fleet(server.url, namespace=state))
            sides[state] = Side(server, fleet, f"--config={file}", f"--namespace={state}")
        for side in sides.values():
            side.signal(signal.SIGSTOP)
        try:
            yield sides
        finally:
            for side in sides.values():
                side.end()


def samples(setting: Setting) -> Mapping[str, Sequence[Reading]]:
    """Drain each side once per pair. The order changes with each pair, because a machine drifts."""
    pairs, count = setting.size(300, 20), setting.size(15_000, 3_000)
    found: dict[str, list[Reading]] = {figure.key: [] for figure in FIGURES}
    for part in range(SETS):
        states = STATES if part % 2 else STATES[::-1]
        with (
            tempfile.TemporaryDirectory() as folder,
            setting.server() as server,
            _sides(server, Path(folder), states) as sides,
        ):
            for side in sides.values():
                side.drain(count)  # the first one loads code, and the scripts of the server
            for number in range(pairs // SETS):
                order = STATES if number % 2 else STATES[::-1]
                seen = {state: sides[state].drain(count) for state in order}
                for key, on, off in zip(found, seen["on"], seen["off"], strict=True):
                    found[key].append(Reading(on, off))
    return found


_OFF = "the same with samples off"
FIGURES = (
    Figure("drain_samples", "drain, samples on", "jobs/s", _OFF, Target("≥", 0.99, "ratio")),
    Figure("worker_cpu_samples", "worker CPU per job, samples on", "µs", _OFF, Target("≤", 1.01, "ratio")),
    Figure(
        "child_cpu_samples", "CPU per job of the worker's child, samples on", "µs", _OFF, Target("≤", 1.01, "ratio")
    ),
    Figure("redis_cpu_samples", "Redis CPU per job, samples on", "µs", _OFF, Target("≤", 1.01, "ratio")),
)
"""In the order of `Window`."""
ROWS = (Row("samples", FIGURES, samples, rounds=1),)
