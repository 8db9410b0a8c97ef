"""The port of a context without a worker, for tests of a function by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from jobfleet.clock import wall_us
from jobfleet.codec import decode, encode
from jobfleet.functions.running.addition import FlowAddition
from jobfleet.functions.running.lock import LocksOfTest
from jobfleet.functions.steps import BY_TOKEN, NOW, SIGNAL
from jobfleet.functions.waiting.waits import WAIT
from jobfleet.model.signals import Suspended

T = TypeVar("T")
NOTHING: Mapping[str, object] = {}


class Alone:
    """The port of a context without a worker, for tests: it records its calls."""

    span = None

    def __init__(self, signals: Mapping[str, object] = NOTHING) -> None:
        self.cancel_by: str | None = None
        self.must_stop: str | None = None
        self.is_draining: bool = False
        self.reports: list[tuple[float, str, Mapping[str, object] | None]] = []
        self.extended: float = 0.0
        self.lines: list[tuple[int, int, str]] = []
        self.emitted: list[Any] = []
        self.kept: dict[str, bytes] = {
            SIGNAL + of + name: b"0\n" + encode(value, what="signal")
            for name, value in signals.items()
            for of in ("", BY_TOKEN)
        }
        self.waits: list[Suspended] = []
        self.added: list[FlowAddition] = []
        self.locks: LocksOfTest = LocksOfTest()

    def report(self, value: float, message: str, details: Mapping[str, object] | None) -> None:
        """Record a progress report."""
        self.reports.append((value, message, details))

    def extend(self, seconds: float) -> None:
        """Record by how many seconds the limits are extended."""
        self.extended += seconds

    def note(self, at_us: int, level: int, text: str) -> None:
        """Record a line of the log."""
        self.lines.append((at_us, level, text))

    def emit(self, record: bytes) -> bool:
        """Record a chunk."""
        self.emitted.append(decode(record, what="chunk"))
        return True

    async def wait_for_room(self) -> None:
        """Return at once: no chunk waits to be sent."""

    async def steps(self) -> Mapping[str, bytes]:
        """Return what is kept, and the time of this machine."""
        return {**self.kept, NOW: str(wall_us()).encode()}

    async def keep(self, key: str, record: bytes) -> None:
        """Keep a record."""
        self.kept[key] = record

    async def extend_flow(self, addition: FlowAddition) -> Sequence[str]:
        """Record jobs that are added; return ids that no job has."""
        self.added.append(addition)
        return [f"{node.job.queue or 'default'}.0.{node.job.suffix}" for node in addition.flow.nodes]

    async def acquire_lock(self, name: str, number: int, limit: int, timeout: float | None) -> int:  # noqa: ARG002 - nobody else frees a place
        """Take a lock of this context."""
        return self.locks.acquire(name, number, limit)

    async def release_lock(self, name: str, number: int) -> None:
        """Release a lock of this context."""
        self.locks.release(name, number)

    async def lease_confirmed(self) -> None:
        """Return at once: there is no lease."""

    async def undo(self, job_id: str, names: Sequence[str]) -> Mapping[str, bytes]:  # noqa: ARG002 - there is no other job
        """Return nothing: there is no other job."""
        return {}

    def suspend(self, wait: Suspended) -> None:
        """Record a wait, which is over at once."""
        self.waits.append(wait)
        self.kept[f"{WAIT}{wait.key}"] = b"0"

    def block(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine."""
        return asyncio.run(coroutine)
