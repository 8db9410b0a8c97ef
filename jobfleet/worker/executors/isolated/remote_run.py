"""`IsolatedRun`: a run in its isolated process. Requests of its context are sent over the channel."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar, cast

import jobfleet.errors
from jobfleet.codec import Limits, encode
from jobfleet.errors import JobfleetError
from jobfleet.functions.port import FlowAddition, Tracer
from jobfleet.functions.registry import REGISTRY
from jobfleet.model.signals import NotWritten
from jobfleet.store.keys import Lane
from jobfleet.store.records import Grant
from jobfleet.worker.executors.isolated.channel import ChannelEnd, seal_flow_addition
from jobfleet.worker.run.run import Run

if TYPE_CHECKING:
    from jobfleet.worker.run.run import RunBackend

T = TypeVar("T")
MESSAGE_LENGTH = 500
WINDOW = 128 * 1024
"""Bytes of chunks after which the run asks its worker whether it has room for more."""
CHUNK_WEIGHT = 256
"""Bytes that a chunk counts in addition to its own, so that small chunks count, too."""


class IsolatedRun(Run):
    """One claimed job, in its own process.

    Args:
        number: Its number on the channel.
        lane: The lane of its queue.
        grant: What the claim answered.
        talker: Sends frames to the worker's process.
        limits: The limits of a message.
        on_ask: Called after each request to the worker, from any thread.

    Attributes:
        is_stopped: Whether it was interrupted, and not only asked to stop.
    """

    is_stopped = False

    def __init__(
        self,
        number: int,
        lane: Lane,
        grant: Grant,
        talker: ChannelEnd,
        limits: Limits,
        *,
        on_ask: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(lane, grant, 0, 0.0, cast("RunBackend", None))
        self.number = number
        self._talker = talker
        self._limits = limits
        self._on_ask = on_ask
        self._why: str | None = None
        self._is_draining = False
        self._asked: dict[int, Future[Any]] = {}
        self._numbers = itertools.count(1)
        self._unconfirmed = 0

    @property
    def must_stop(self) -> str | None:
        """Why the job is to stop; None when it is not."""
        return self._why

    @property
    def is_draining(self) -> bool:
        """Whether the worker's process drains."""
        return self._is_draining

    def join_trace(self, tracer: Tracer | None, order: Mapping[str, Any]) -> None:
        """Let the code of the run belong to the span that the worker's process has begun, if both have a tracer."""
        if tracer is not None and (carrier := order.get("trace")):
            self.span = tracer.within(carrier)

    def flag(self, cancel_by: str | None, why: str | None, is_draining: bool) -> None:
        """Record who has cancelled it, why it is to stop, and whether the worker drains. Any thread may call this."""
        self.stop.cancel_by = cancel_by
        self._why = why
        self._is_draining = is_draining

    def report(self, value: float, message: str, details: Mapping[str, object] | None) -> None:
        """Send a progress report, from any thread, without waiting.

        Raises:
            EncodingError: `details` cannot be encoded.
        """
        record = encode([value, str(message)[:MESSAGE_LENGTH], dict(details) if details else None], what="progress")
        self._talker.report("report", self.number, record)

    def extend(self, seconds: float) -> None:
        """Ask the worker to extend the time limits, from any thread."""
        self._talker.send("extend", self.number, float(seconds))

    def note(self, at_us: int, level: int, text: str) -> None:
        """Send a line of the job's log, from any thread, without waiting."""
        self._talker.hint("note", self.number, at_us, level, text.encode("utf-8", "replace").decode())

    def emit(self, record: bytes) -> bool:
        """Send a chunk of the job's output, from any thread; return whether more may be sent without a confirmation."""
        self._talker.send("emit", self.number, record)
        self._unconfirmed += len(record) + CHUNK_WEIGHT
        return self._unconfirmed < WINDOW

    async def wait_for_room(self) -> None:
        """Wait until the worker has room for more chunks."""
        self._unconfirmed = 0
        await self._ask("room")

    async def steps(self) -> Mapping[str, bytes]:
        """Ask the worker for the encoded results of the steps."""
        found: dict[str, bytes] = await self._ask("steps")
        return found

    async def keep(self, key: str, record: bytes) -> None:
        """Ask the worker to store the encoded result of a step, and wait until it has."""
        await self._ask("keep", key, record)

    async def extend_flow(self, addition: FlowAddition) -> Sequence[str]:
        """Ask the worker to add jobs to the flow of the job, and wait until it has."""
        record = seal_flow_addition(addition, REGISTRY, limits=self._limits)
        ids: list[str] = await self._ask("extend_flow", record)
        return ids

    async def undo(self, job_id: str, names: Sequence[str]) -> Mapping[str, bytes] | None:
        """Ask the worker to delete records of the steps of another job, and for those that are left."""
        left: dict[str, bytes] | None = await self._ask("undo", job_id, list(names))
        return left

    async def acquire_lock(self, name: str, number: int, limit: int, timeout: float | None) -> int:
        """Ask the worker to take a lock, and wait until it has."""
        try:
            fence: int = await self._ask("acquire_lock", name, number, limit, timeout)
        except asyncio.CancelledError:  # the worker would go on waiting, and hold the lock until the run ends
            self._talker.send("release_lock", self.number, next(self._numbers), name, number)
            raise
        return fence

    async def release_lock(self, name: str, number: int) -> None:
        """Ask the worker to release a lock, and wait until it has."""
        await self._ask("release_lock", name, number)

    async def lease_confirmed(self) -> None:
        """Wait until the worker knows that the lease is valid, or the run is to stop."""
        why: str | None = await self._ask("confirm")
        if why is not None:
            self._why = why

    def block(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on an event loop of its own. A stop of the job interrupts it."""
        return asyncio.run(coroutine)

    async def _ask(self, word: str, *what: Any) -> Any:
        number = next(self._numbers)
        answer: Future[Any] = Future()
        self._asked[number] = answer
        self._talker.send(word, self.number, number, *what)
        self._on_ask()
        return await asyncio.wrap_future(answer)

    def answered(self, number: int, value: Any, error: tuple[str, str] | None) -> None:
        """Receive an answer of the worker. Any thread may call this."""
        asked = self._asked.pop(number, None)
        if asked is None or not asked.set_running_or_notify_cancel():
            return
        if error is None:
            asked.set_result(value)
        else:
            asked.set_exception(_error(*error))


def _error(name: str, text: str) -> Exception:
    """The error of a request. An error that is not one of jobfleet becomes a `JobfleetError` with its name and text."""
    if name == NotWritten.__name__:
        return NotWritten(text)
    kind = getattr(jobfleet.errors, name, None)
    if not isinstance(kind, type) or not issubclass(kind, JobfleetError):
        return JobfleetError(f"{name}: {text}")
    error = kind.__new__(kind, text)
    error.args = (text,)
    return error
