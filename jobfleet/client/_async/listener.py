"""The listener of a client: one connection and one background task for all its waits, events and logs."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection
from functools import partial
from typing import Self

from jobfleet.client._async.background import AsyncBackground, AsyncChannels, AsyncMailbox
from jobfleet.client.base import still_running
from jobfleet.client.wait_list import Outcome, WaitList
from jobfleet.clock import monotonic
from jobfleet.errors import JobfleetError, StoreUnavailable
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.poll import poll_ended
from jobfleet.operations.operation import AsyncDriver
from jobfleet.store.target import Target

IDLE = 10.0
"""Seconds without any wait after which the task ends and closes its connection."""
CONFIRMATION = 2.0
"""Time limit for a subscription, in seconds."""
MOST_UNREAD = 10_000
"""Messages that a subscription keeps for a slow reader; older ones are dropped."""


class AsyncWatch:
    """The jobs for which one caller waits.

    Args:
        listener: The listener of the client.
    """

    def __init__(self, listener: AsyncSharedListener) -> None:
        self._listener = listener
        self._mailbox: AsyncMailbox[tuple[str, Outcome]] = AsyncMailbox()
        self._open: set[str] = set()

    def add(self, ids: Collection[str]) -> None:
        """Wait for more jobs.

        Raises:
            JobNotFound: A text is not a job id.
        """
        self._open.update(ids)
        self._listener.watch(self, ids)

    def ended(self, job_id: str, outcome: Outcome) -> None:
        """Receive the end of a job."""
        self._mailbox.put((job_id, outcome))

    async def next(self, timeout: float | None) -> tuple[str, Outcome] | None:
        """Return the next job that has ended; None after `timeout` seconds."""
        found = await self._mailbox.get(timeout)
        if found is not None:
            self._open.discard(found[0])
        return found

    def close(self) -> None:
        """Wait for nothing any more."""
        self._listener.forget(self, self._open)


class AsyncSubscription:
    """The messages of some channels, for one caller.

    Args:
        listener: The listener of the client.
        channels: The channels.
    """

    def __init__(self, listener: AsyncSharedListener, channels: Collection[str]) -> None:
        self._listener = listener
        self._channels = channels
        self._mailbox: AsyncMailbox[str] = AsyncMailbox(MOST_UNREAD)
        self._early: deque[str] = deque()

    def hear(self, text: str | None) -> None:
        """Receive a message; None when a subscription begins."""
        self._mailbox.put(text or "")

    async def subscribed(self) -> Self:
        """Wait until no message that is published later can be missed, or the server does not reply in time."""
        self._early.extend(await self._until_confirmed())
        return self

    async def some(self, timeout: float) -> list[str]:
        """Return the messages that are there, or else the next one within `timeout` seconds."""
        texts: list[str] = []
        message = await self.get(timeout)
        while message is not None:
            texts.append(message)
            message = await self.get(0.0)
        return texts

    async def rest(self) -> list[str]:
        """Return the messages that were published until now and not read yet."""
        self._listener.confirm(self._channels)  # the confirmation comes after them
        early = list(self._early)
        self._early.clear()
        return early + await self._until_confirmed()

    async def _until_confirmed(self) -> list[str]:
        texts: list[str] = []
        until, missing = monotonic() + CONFIRMATION, len(self._channels)
        while missing > 0 and (left := until - monotonic()) > 0:
            text = await self._mailbox.get(left)
            if text:
                texts.append(text)
            elif text is not None:
                missing -= 1
        return texts

    async def get(self, timeout: float) -> str | None:
        """Return the next message; None after `timeout` seconds, or when messages may have been missed."""
        if self._early:
            return self._early.popleft()
        return await self._mailbox.get(timeout) or None

    def close(self) -> None:
        """Stop listening."""
        self._listener.ignore(self, self._channels)


class AsyncSharedListener:
    """Serves all waits and subscriptions of a client.

    Args:
        context: The names and settings of the fleet.
        do: Runs an operation.
        at: Returns the server.
    """

    def __init__(self, context: FleetContext, do: AsyncDriver, at: Callable[[], Target]) -> None:
        self._context = context
        self._do = do
        self._at = at
        self._lock = threading.Lock()
        self._list = WaitList(context.keys, context.config)
        self._background = AsyncBackground()
        self._channels: AsyncChannels | None = None
        self._leaving: deque[Callable[[], list[str]]] = deque()
        self._empty_since = 0.0
        self._is_closed = False

    @property
    def is_foreign(self) -> bool:
        """Whether it belongs to another event loop or another process, and cannot serve this one."""
        return self._background.is_foreign

    def watch(self, watch: AsyncWatch, ids: Collection[str]) -> None:
        """Wait for jobs. Raises `JobNotFound` if a text is not a job id."""
        at = self._at()
        with self._lock:
            self._subscribe(at, self._list.watch(watch, ids, monotonic()))

    def forget(self, watch: AsyncWatch, ids: Collection[str]) -> None:
        """End the waits of a caller, soon. The garbage collector may call this in any thread, so it takes no lock."""
        self._leaving.append(partial(self._list.forget, watch, tuple(ids)))

    def listen(self, channels: Collection[str]) -> AsyncSubscription:
        """Hear the messages of channels."""
        made, at = AsyncSubscription(self, channels), self._at()
        with self._lock:
            self._list.listen(made, channels)
            self._subscribe(at, channels)
        return made

    def confirm(self, channels: Collection[str]) -> None:
        """Have the server confirm subscriptions once more."""
        at = self._at()
        with self._lock:
            self._subscribe(at, channels)

    def ignore(self, subscription: AsyncSubscription, channels: Collection[str]) -> None:
        """Do not hear channels any more, soon; like `forget`."""
        self._leaving.append(partial(self._list.ignore, subscription, tuple(channels)))

    async def aclose(self) -> None:
        """End the task; who still waits gets an error."""
        if self.is_foreign:  # its lock and its connection belong to the parent process, or to another loop
            return
        with self._lock:
            self._is_closed = True
            if self._channels is not None:
                self._channels.wake()
        await self._background.aclose()

    def _subscribe(self, at: Target, channels: Collection[str]) -> None:
        if self._channels is None:
            made = AsyncChannels(at)
            made.subscribe(self._list.channels())
            self._background.start(partial(self._run, made))  # if it fails, the next caller tries again
            self._channels = made
        else:
            self._channels.subscribe(channels)

    async def _run(self, channels: AsyncChannels) -> None:
        """Listen and poll until nobody waits any more."""
        error: Exception = StoreUnavailable("The client was closed while it waited for jobs.")
        try:
            while (pause := self._next_pause(channels)) is not None:
                messages = await channels.read(pause)
                with self._lock:
                    self._list.hear(messages)
                await self._poll(channels)
        except Exception as wrong:
            error = wrong
            raise
        finally:
            with self._lock:
                if self._channels is channels:  # closed or broken, not idle
                    self._channels = None
                    self._list.fail(error)
            await channels.close()

    def _next_pause(self, channels: AsyncChannels) -> float | None:
        """Return the seconds to wait for messages; None to end. Then the next caller starts another task."""
        with self._lock:
            while self._leaving:
                channels.unsubscribe(self._leaving.popleft()())
            now = monotonic()
            if not self._list.is_empty:
                self._empty_since = now
            if self._is_closed:
                return None
            if now - self._empty_since >= IDLE:
                self._channels = None
                return None
            return self._list.pause(now)

    async def _poll(self, channels: AsyncChannels) -> None:
        """Poll the jobs that are due, all in one pipeline, and pass on which of them have ended."""
        with self._lock:
            now = monotonic()
            jobs = [] if self._is_closed else self._list.take_due(now)
            if not jobs:
                return
            marks = self._list.marks_due(jobs, now)
        try:
            outcomes: dict[str, Outcome] = await self._do(
                poll_ended(self._context, [(job.lane, job.job_id) for job in jobs], marks=marks)
            )
        except JobfleetError as error:
            self._list.unmark(marks)
            shown = still_running(error, now) if isinstance(error, StoreUnavailable) else error
            outcomes = dict.fromkeys((job.job_id for job in jobs), shown)
        with self._lock:
            channels.unsubscribe(self._list.polled(jobs, outcomes, monotonic()))
