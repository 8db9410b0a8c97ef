"""What a running job uses: locks, its own flow, its output stream; and a port without a worker, for tests."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, overload

from jobfleet.clock import wall_us
from jobfleet.codec import Limits, decode, encode
from jobfleet.errors import InvalidJob, JobCancelled, LockTimeout
from jobfleet.event_loop import running_loop
from jobfleet.functions.port import FlowAddition
from jobfleet.functions.steps import BY_TOKEN, NOW, SIGNAL, WAIT, check_stop
from jobfleet.model import Job
from jobfleet.model import seconds as as_seconds
from jobfleet.model.flow import Flow, Node
from jobfleet.model.signals import Suspended

if TYPE_CHECKING:
    from jobfleet.functions.port import RunPort


LONGEST_LOCK_NAME = 200
LIMIT_MOST = 1000


class JobLock:
    """One use of a lock; `JobContext.lock` returns it.

    Args:
        port: The worker.
        job_id: The id of the job, for messages.
        name: The name of the lock.
        limit: How many may hold it at once.
        timeout: The most seconds to wait; None for no limit.
        numbers: The numbers of the locks that this run takes; each use has another one.

    Attributes:
        name: The name of the lock.
        limit: How many may hold it at once.
        timeout: The most seconds to wait; None for no limit.
        fence: The fencing token. It grows with each time that the lock is taken by anybody; 0 while it is not held.

    Raises:
        InvalidJob: An argument is wrong.
    """

    def __init__(
        self,
        port: RunPort,
        job_id: str,
        name: str,
        limit: int,
        timeout: float | timedelta | None,
        *,
        numbers: Iterator[int],
    ) -> None:
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_LOCK_NAME or not name.isprintable():
            raise InvalidJob(
                f"The name of a lock is {name!r:.80}; give a text of 1 to {LONGEST_LOCK_NAME} printable characters.",
                field="lock",
            )
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= LIMIT_MOST:
            raise InvalidJob(
                f"The limit of lock {name!r} is {limit!r}; give a whole number from 1 to {LIMIT_MOST:,}.", field="limit"
            )
        self.name = name
        self.limit = limit
        self.timeout: float | None = None if timeout is None else as_seconds(timeout, field="timeout")
        self.fence: int = 0
        self._port = port
        self._job_id = job_id
        self._numbers = numbers
        self._number = 0
        self._is_entered = False

    async def __aenter__(self) -> Self:
        """Take the lock, or wait for it.

        Raises:
            LockTimeout: No place was free in time.
            LockConflict: Other jobs hold the lock with another limit.
            JobCancelled: The job must stop.
        """
        self._begin()
        try:
            self.fence = await self._taken()
        except BaseException:
            self._is_entered = False
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Release the lock."""
        self._end()
        await self._port.release_lock(self.name, self._number)

    def __enter__(self) -> Self:
        """Take the lock in a ``def`` job, or wait for it; see `__aenter__`.

        Raises:
            TypeError: An event loop runs in this thread; write ``async with``.
        """
        if running_loop() is not None:
            raise TypeError("'with ctx.lock(…)' would block the event loop that runs here; write 'async with'.")
        self._begin()
        try:
            self.fence = self._port.block(self._taken())
        except BaseException:
            self._is_entered = False
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Release the lock."""
        self._end()
        with suppress(JobCancelled):  # the job learns of it elsewhere; the release continues
            self._port.block(self._port.release_lock(self.name, self._number))

    async def _taken(self) -> int:
        await self._port.lease_confirmed()
        check_stop(self._port, self._job_id)
        return await self._port.acquire_lock(self.name, self._number, self.limit, self.timeout)

    def _begin(self) -> None:
        if self._is_entered:
            raise InvalidJob(f"This lock {self.name!r} is in use; call ctx.lock(…) for each block.", field="lock")
        self._is_entered = True
        self._number = next(self._numbers)

    def _end(self) -> None:
        self.fence = 0
        self._is_entered = False


class LocksOfTest:
    """The locks of a context without a worker. Nobody else releases one, so a lock without a free place raises."""

    def __init__(self) -> None:
        self._held: dict[str, set[int]] = {}
        self._last = 0

    def acquire(self, name: str, number: int, limit: int) -> int:
        """Take a lock.

        Raises:
            LockTimeout: The test holds all places.
        """
        held = self._held.setdefault(name, set())
        if len(held) >= limit:
            raise LockTimeout(f"Lock {name!r} (limit {limit}) has no free place: this context holds {len(held)}.")
        held.add(number)
        self._last += 1
        return self._last

    def release(self, name: str, number: int) -> None:
        """Release a lock."""
        self._held.get(name, set()).discard(number)


LONGEST_NAME = 100


class OwnFlow:
    """The flow that a job belongs to.

    Args:
        port: The worker.
        job_id: The id of the job, for messages.
        flow_id: The id of the flow; None when the job belongs to no flow.

    Attributes:
        id: The id of the flow; None when the job belongs to no flow.
    """

    def __init__(self, port: RunPort, job_id: str, flow_id: str | None) -> None:
        self.id = flow_id
        self._port = port
        self._job_id = job_id
        self._numbers = itertools.count(1)

    @overload
    def add(
        self, more: Job, *, name: str | None = None, after_this: bool = False, join: bool = False
    ) -> Coroutine[Any, Any, str]: ...
    @overload
    def add(
        self,
        more: Flow,
        *,
        name: str | None = None,
        after_this: bool = False,
        join: bool | Node | Iterable[Node] = False,
    ) -> Coroutine[Any, Any, list[str]]: ...
    def add(
        self,
        more: Job | Flow,
        *,
        name: str | None = None,
        after_this: bool = False,
        join: bool | Node | Iterable[Node] = False,
    ) -> Coroutine[Any, Any, Any]:
        """Add jobs to the flow: ``await ctx.flow.add(Job(…))``. A ``def`` job calls `add_sync`.

        The new ids are derived from this job and a name, so a job that runs again adds them once. Jobs that an earlier
        run has added stay as they are.

        Args:
            more: A job, or a `Flow` of jobs that wait for one another.
            name: The name of the addition within this job. Default: the number of the call, from 1. Give a name if the
                calls of two runs may differ.
            after_this: Start the added jobs only when this job has completed.
            join: Have the jobs that wait for this job wait for added jobs too: for all of them (True), or for the given
                nodes of `more`.

        Returns:
            The id of the job; for a `Flow`, the ids of its jobs in the order in which they were added to it.

        Raises:
            InvalidJob: This job belongs to no flow, the addition is wrong, or a joining job has started already;
                nothing is added then.
            EncodingError: An argument cannot be encoded; nothing is added then.
            JobCancelled: This job must stop.
            TypeError: No event loop runs in this thread.
        """
        if running_loop() is None:
            raise TypeError("ctx.flow.add is awaited in an async def job; a def job calls ctx.flow.add_sync.")
        addition = self._addition(more, name, after_this=after_this, join=join)
        return self._add(addition, is_one=isinstance(more, Job))

    @overload
    def add_sync(self, more: Job, *, name: str | None = None, after_this: bool = False, join: bool = False) -> str: ...
    @overload
    def add_sync(
        self,
        more: Flow,
        *,
        name: str | None = None,
        after_this: bool = False,
        join: bool | Node | Iterable[Node] = False,
    ) -> list[str]: ...
    def add_sync(
        self,
        more: Job | Flow,
        *,
        name: str | None = None,
        after_this: bool = False,
        join: bool | Node | Iterable[Node] = False,
    ) -> Any:
        """Add jobs to the flow of a ``def`` job; see `add`.

        Raises:
            TypeError: An event loop runs in this thread; await `add` instead.
        """
        if running_loop() is not None:
            raise TypeError("ctx.flow.add_sync would block the event loop that runs here; await ctx.flow.add.")
        addition = self._addition(more, name, after_this=after_this, join=join)
        return self._port.block(self._add(addition, is_one=isinstance(more, Job)))

    def _addition(
        self, more: Job | Flow, name: str | None, *, after_this: bool, join: bool | Node | Iterable[Node]
    ) -> FlowAddition:
        if self.id is None:
            raise InvalidJob(
                f"{self._job_id} belongs to no flow; enqueue it as part of one to add to it.", field="flow"
            )
        name = str(next(self._numbers)) if name is None else name
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
            raise InvalidJob(f"name is {name!r:.80}; give 1 to {LONGEST_NAME} printable characters.", field="name")
        if isinstance(more, Job):
            flow = Flow(more.name)
            flow.add(more)
        else:
            flow = more
        if flow.on_failure is not None:
            raise InvalidJob(
                "on_failure is for a whole flow, whose callback watches added jobs, too; leave it out of an addition.",
                field="on_failure",
            )
        flow.order()
        if isinstance(join, bool):
            joins = tuple(range(len(flow.nodes))) if join else ()
        else:
            joins = tuple(_number(flow, node) for node in ((join,) if isinstance(join, Node) else join))
        return FlowAddition(flow, name, after_this, joins)

    async def _add(self, addition: FlowAddition, *, is_one: bool) -> str | list[str]:
        await self._port.lease_confirmed()
        check_stop(self._port, self._job_id)
        ids = list(await self._port.extend_flow(addition))
        return ids[0] if is_one else ids


def _number(flow: Flow, node: Node) -> int:
    if node.number >= len(flow.nodes) or flow.nodes[node.number] is not node:
        raise InvalidJob(f"join names {node.job.name!r}, which is not of the flow {flow.name!r}.", field="join")
    return node.number


LIMITS: Final = Limits(max_bytes=64 * 1024, setting="")
"""The limits of a chunk. No setting raises them: a larger output is several chunks, or a file elsewhere."""


class OutputStream:
    """Encodes the chunks of one run, and waits while too many are unsent.

    Args:
        port: The worker.
        job_id: The id of the job, for messages.
    """

    def __init__(self, port: RunPort, job_id: str) -> None:
        self._port = port
        self._job_id = job_id

    async def emit(self, chunk: object) -> None:
        """Add a chunk.

        Raises:
            EncodingError: The chunk cannot be encoded, or is too large.
            JobCancelled: The job must stop, or another run owns it now.
        """
        if not self._add(chunk):
            await self._port.wait_for_room()
            check_stop(self._port, self._job_id)

    def emit_sync(self, chunk: object) -> None:
        """Do the same from a thread; see `emit`."""
        if not self._add(chunk):
            self._port.block(self._port.wait_for_room())
            check_stop(self._port, self._job_id)

    def _add(self, chunk: object) -> bool:
        check_stop(self._port, self._job_id)
        return self._port.emit(encode(chunk, limits=LIMITS, what="chunk"))


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
