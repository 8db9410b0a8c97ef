"""`LocalRun`: the run of a job in this process. What it would write is printed."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar, cast

from jobfleet.cli.output import plain, say, to_json
from jobfleet.cli.schema import jsonable
from jobfleet.codec import decode
from jobfleet.functions.port import FlowAddition
from jobfleet.store.keys import Lane
from jobfleet.store.records import Grant
from jobfleet.worker.run.run import Run, RunBackend

T = TypeVar("T")
KINDS = {"s:": "step", "c:": "checkpoint", "u:": "undo of step", "t:": "token"}


class LocalRun(Run):
    """A run without a lease and without a worker.

    Args:
        lane: The lane of its queue.
        grant: The job, as a claim would return it.
        kept: The encoded results of the steps that earlier runs have stored.
    """

    def __init__(self, lane: Lane, grant: Grant, kept: Mapping[str, bytes]) -> None:
        super().__init__(lane, grant, 0, math.inf, cast("RunBackend", None))
        self._kept = dict(kept)
        self._loop = asyncio.get_running_loop()

    @property
    def is_draining(self) -> bool:
        """False: no worker stops."""
        return False

    def report(self, value: float, message: str, details: Mapping[str, object] | None) -> None:
        """Print a progress report."""
        text = f"progress {value:.0%} {plain(message)}".rstrip()
        say(text if details is None else f"{text} {to_json(jsonable(dict(details)))}")

    def extend(self, seconds: float) -> None:
        """Print that time limits would be extended; this run has none."""
        say(f"simulated: time limits extended by {seconds:g} s")

    def note(self, at_us: int, level: int, text: str) -> None:
        """Ignore a line of the log: the handlers of this process print it."""

    def emit(self, record: bytes) -> bool:
        """Print a chunk of the output."""
        say(f"chunk {plain(to_json(jsonable(decode(record, what='chunk'))))}")
        return True

    async def wait_for_room(self) -> None:
        """There is always room."""

    async def steps(self) -> Mapping[str, bytes]:
        """The stored results of the steps."""
        return dict(self._kept)

    async def keep(self, key: str, record: bytes) -> None:
        """Keep the result of a step in this process only."""
        self._kept[key] = record
        say(f"{KINDS.get(key[:2], 'step')} {key[2:]!r} has run here; its value is not stored")

    async def extend_flow(self, addition: FlowAddition) -> Sequence[str]:
        """Print which jobs would be added to the flow; return ids that no job has."""
        jobs = [node.job for node in addition.flow.nodes]
        say(f"simulated: {', '.join(plain(job.name) for job in jobs)} added to the flow")
        return [f"{job.queue or 'default'}.0.{job.suffix}" for job in jobs]

    async def acquire_lock(self, name: str, number: int, limit: int, timeout: float | None) -> int:
        """Print that a lock would be taken; other jobs may hold it."""
        del number, limit, timeout
        say(f"simulated: lock {name!r} taken, although others may hold it")
        return 1

    async def release_lock(self, name: str, number: int) -> None:
        """Nothing is held."""

    async def undo(self, job_id: str, names: Sequence[str]) -> Mapping[str, bytes]:
        """Print that steps of another job would be undone; none are."""
        del names
        say(f"simulated: the steps of {job_id} undone")
        return {}

    async def lease_confirmed(self) -> None:
        """Nothing has to be confirmed: there is no lease."""

    def block(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the event loop of the run, from the thread of its code."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()
