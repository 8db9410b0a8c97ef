"""Steps of a job, which run once even if the job runs several times."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from jobfleet.codec import decode, encode
from jobfleet.errors import InvalidJob, JobCancelled
from jobfleet.event_loop import in_thread
from jobfleet.functions.coroutines import is_coroutine_function
from jobfleet.model.signals import WorkerDraining

if TYPE_CHECKING:
    from jobfleet.functions.running.run_port import RunPort

LONGEST_KEY = 200
STEP, CHECKPOINT = "s:", "c:"


def check_key(key: object) -> str:
    """Check the key of a step or checkpoint; return it.

    Raises:
        InvalidJob: It is not a text of 1 to 200 printable characters.
    """
    if not isinstance(key, str) or not 0 < len(key) <= LONGEST_KEY or not key.isprintable():
        raise InvalidJob(
            f"A step's key is a text of 1 to {LONGEST_KEY} printable characters, not {key!r:.80}.", field="step"
        )
    return key


class Steps:
    """The steps of one run.

    Args:
        port: The worker.
        job_id: The id of the job, for messages.
    """

    def __init__(self, port: RunPort, job_id: str) -> None:
        self._port = port
        self._job_id = job_id
        self._kept: dict[str, bytes] | None = None
        self._lock = threading.Lock()
        self._in_flight: dict[str, Future[None]] = {}

    async def step(self, key: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the stored result; if there is none, call the function and store its result.

        Raises:
            InvalidJob: The key is wrong.
            EncodingError: The result cannot be encoded.
            JobCancelled: The job must stop, or another run owns it now.
        """
        key = STEP + check_key(key)
        while (other := self._begin(key)) is not None:
            await asyncio.shield(asyncio.wrap_future(other))
        with self._ended(key):
            kept = await self._known()
            if key not in kept:
                await self._port.lease_confirmed()
                self._check_stop()
                if is_coroutine_function(function):
                    value = await function(*args, **kwargs)
                else:
                    value = await in_thread(function, *args, **kwargs)
                    if inspect.isawaitable(value):
                        value = await value
                await self._keep(key, value)
            return decode(kept[key], what=_named(key))

    def step_sync(self, key: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Do the same from a thread; see `step`."""
        key = STEP + check_key(key)
        while (other := self._begin(key)) is not None:
            other.result()
        with self._ended(key):
            kept = self._port.block(self._known())
            if key not in kept:
                self._port.block(self._port.lease_confirmed())
                self._check_stop()
                value = function(*args, **kwargs)
                if inspect.isawaitable(value):
                    value = self._port.block(_awaited(value))
                self._port.block(self._keep(key, value))
            return decode(kept[key], what=_named(key))

    async def read(self, key: str, default: Any) -> Any:
        """Read the value of a checkpoint; return `default` when none is stored."""
        key = CHECKPOINT + check_key(key)
        record = (await self._known()).get(key)
        return default if record is None else decode(record, what=_named(key))

    async def write(self, key: str, value: Any) -> None:
        """Store the value of a checkpoint."""
        key = CHECKPOINT + check_key(key)
        await self._known()
        self._check_stop()
        await self._keep(key, value)
        self.check()

    async def pass_by(self) -> None:
        """Let other jobs of the event loop run, and end this run if it is to stop or its worker drains."""
        await asyncio.sleep(0)
        self.check()

    def check(self) -> None:
        """End the run if it is to stop, or if its worker drains.

        Raises:
            JobCancelled: The job must stop.
            WorkerDraining: The worker drains.
        """
        self._check_stop()
        if self._port.is_draining:
            raise WorkerDraining

    async def _known(self) -> dict[str, bytes]:
        if self._kept is None:
            found = dict(await self._port.steps())
            if self._kept is None:  # another step of this run may have asked at the same time
                self._kept = found
        return self._kept

    async def _keep(self, key: str, value: Any) -> None:
        record = encode(value, what=_named(key))
        await self._port.keep(key, record)
        (await self._known())[key] = record

    def _begin(self, key: str) -> Future[None] | None:
        """Take a key; return the future to wait for when another call has taken it."""
        with self._lock:
            other = self._in_flight.get(key)
            if other is None:
                self._in_flight[key] = Future()
            return other

    @contextmanager
    def _ended(self, key: str) -> Iterator[None]:
        try:
            yield
        finally:
            with self._lock:
                self._in_flight.pop(key).set_result(None)

    def _check_stop(self) -> None:
        why = self._port.must_stop
        if why is not None:
            raise JobCancelled(f"{self._job_id} is to stop: {why}.", job_id=self._job_id)


async def _awaited(value: Awaitable[Any]) -> Any:
    return await value


def _named(key: str) -> str:
    return f"{'step' if key.startswith(STEP) else 'checkpoint'} {key[2:]!r}"
