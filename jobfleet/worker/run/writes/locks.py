"""The locks of running jobs. A run holds a place of a lock for as long as it holds the lease of its job.

A place has no lease of its own: a run that finds all places taken asks whether the runs that hold them still own their
jobs, and takes the place of one that does not. So the renewal of a job's lease also renews its locks, in any kind of
process.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

from jobfleet.clock import monotonic, wall_us
from jobfleet.errors import JobfleetError, LockConflict, LockTimeout
from jobfleet.services.places import ended_holders
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import run as calls
from jobfleet.store.calls.run import Acquired, Holder
from jobfleet.store.channels import AsyncChannels
from jobfleet.store.keys import Keyspace
from jobfleet.worker.run.run import Key, Run

POLL = 2.0
"""Seconds between two attempts to take a lock that nobody announces as free, such as that of a run that has crashed."""
NOTED_AFTER = 2.0
"""Seconds of a wait after which it is noted in the job's log and for `explain`, and between two notes for `explain`."""


class Locks:
    """Takes and releases the locks of the runs of a child.

    Per lock, one run of the child asks Redis at a time, in the order of their calls. The others wait for their turn.

    Args:
        store: The connection, with endless patience.
        keys: The fleet's keys.
    """

    def __init__(self, store: AsyncStore, keys: Keyspace) -> None:
        self._store = store
        self._keys = keys
        self._turns: dict[str, asyncio.Lock] = {}
        self._waiting: dict[str, int] = {}
        self._freed = Freed(store)
        self._attempts: dict[tuple[Key, int], asyncio.Task[object]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def acquire(self, run: Run, name: str, number: int, limit: int, timeout: float | None) -> int:
        """Take a lock, or wait for it; return the fencing token. See `JobContext.lock`."""
        key = (run.key, number)
        task = asyncio.current_task()
        if task is not None:
            self._attempts[key] = task
        late = LockTimeout(f"Lock {name!r} (limit {limit}) had no free place within {timeout or 0:g} s.")
        try:
            async with asyncio.timeout(timeout or None) as bound:
                fence = await self._take(run, name, number, limit, is_patient=timeout != 0)
        except TimeoutError:
            if bound.expired():
                raise late from None
            raise
        finally:
            self._attempts.pop(key, None)
        if not fence:
            raise late
        return fence

    async def release(self, run: Run, name: str, number: int) -> None:
        """Release a lock, even if the awaiting task is cancelled; end the attempt to take it if it is not taken yet."""
        attempt = self._attempts.get((run.key, number))
        if attempt is not None and attempt is not asyncio.current_task():
            attempt.cancel()
        await asyncio.shield(self._give_back(name, Holder(run.token, number, run.id)))

    async def _take(self, run: Run, name: str, number: int, limit: int, *, is_patient: bool) -> int:
        """Take a lock; return 0 if it is not free, and the caller has no patience."""
        holder = Holder(run.token, number, run.id)
        if not is_patient or name not in self._turns:
            fence = await self._attempt(name, holder, limit)
            if fence or not is_patient:
                return fence
        noting = asyncio.ensure_future(self._note(run, name, holder, limit))
        try:
            async with self._turn(name):
                with self._freed.listening(self._keys.lock_freed(name)) as freed:
                    return await self._wait(name, holder, limit, freed)
        finally:
            noting.cancel()

    async def _wait(self, name: str, holder: Holder, limit: int, freed: asyncio.Event) -> int:
        while True:
            freed.clear()
            if fence := await self._attempt(name, holder, limit):
                return fence
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL):
                    await freed.wait()

    async def _note(self, run: Run, name: str, holder: Holder, limit: int) -> None:
        """Note that a run waits for a lock, until this task is cancelled. A note is missing if it cannot be written."""
        began = monotonic()
        await asyncio.sleep(NOTED_AFTER)
        run.note(wall_us(), logging.INFO, f"waits for lock {name!r} (limit {limit})")
        try:
            while True:
                waited_us = round((monotonic() - began) * 1e6)
                with suppress(JobfleetError):
                    await self._store.run(calls.note_wait(self._keys, name, holder, limit, waited_us=waited_us))
                await asyncio.sleep(NOTED_AFTER)
        finally:
            self._start(self._end_note(holder))

    async def _end_note(self, holder: Holder) -> None:
        with suppress(JobfleetError):
            await self._store.run(calls.end_wait(self._keys, holder))

    @asynccontextmanager
    async def _turn(self, name: str) -> AsyncIterator[None]:
        """Wait until no other run of this child asks for the lock."""
        turn = self._turns.setdefault(name, asyncio.Lock())
        self._waiting[name] = self._waiting.get(name, 0) + 1
        try:
            async with turn:
                yield
        finally:
            self._waiting[name] -= 1
            if not self._waiting[name]:
                del self._waiting[name], self._turns[name]

    async def _attempt(self, name: str, holder: Holder, limit: int) -> int:
        """Try once; return 0 if all places are taken.

        Raises:
            LockConflict: Others hold the lock with another limit.
        """
        found = await self._try(name, holder, limit)
        if found.holders and (ended := await ended_holders(self._store, self._keys, found.holders)):
            found = await self._try(name, holder, limit, ended)
        if found.limit:
            raise LockConflict(
                f"Lock {name!r} is held with the limit {found.limit}, not {limit}: give all its uses the same limit."
            )
        return found.fence

    async def _try(self, name: str, holder: Holder, limit: int, ended: Sequence[str] = ()) -> Acquired:
        call = calls.acquire(self._keys, name, holder, limit, ended=ended)
        task = asyncio.ensure_future(self._store.run(call))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._give_back(name, holder, after=task)
            raise

    def _give_back(
        self, name: str, holder: Holder, *, after: asyncio.Task[Acquired] | None = None
    ) -> asyncio.Task[None]:
        """Start to release a place, if need be after the request that may take it."""

        async def given_back() -> None:
            if after is not None:
                with suppress(JobfleetError):
                    await after
            await self._store.run(calls.release(self._keys, name, holder))

        return self._start(given_back())

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task that does not end with the run."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class Freed:
    """Listens to the releases of locks, over one connection while a run waits.

    Args:
        store: Has the address of the server.
    """

    def __init__(self, store: AsyncStore) -> None:
        self._store = store
        self._events: dict[str, asyncio.Event] = {}
        self._channels: AsyncChannels | None = None
        self._reader: asyncio.Task[None] | None = None

    @contextmanager
    def listening(self, channel: str) -> Iterator[asyncio.Event]:
        """Listen to a channel within the block; the event is set when the lock may be free."""
        event = self._events[channel] = asyncio.Event()
        if self._channels is None:
            self._channels = AsyncChannels(self._store.at)
            self._reader = asyncio.ensure_future(self._read(self._channels))
        channels = self._channels
        channels.subscribe((channel,))
        try:
            yield event
        finally:
            del self._events[channel]
            channels.unsubscribe((channel,))

    async def _read(self, channels: AsyncChannels) -> None:
        try:
            while self._events:
                for message in await channels.read(POLL):
                    if (event := self._events.get(message.channel)) is not None:
                        event.set()
        finally:
            self._channels = None
            await channels.close()
