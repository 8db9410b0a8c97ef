"""Shared reads. All open pages with the same address share one reader, which reads while at least one is open.

A reader keeps the last snapshot and its sequence number. A page gets the present snapshot, and then each later one that
differs; a slow page skips those that it was too slow for. So a page is right after a pause of any length.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from typing import Any

from jobfleet.client.output_events import is_stopping
from jobfleet.clock import monotonic
from jobfleet.errors import JobfleetError
from jobfleet.web.errors import Problem, problem_of, refusal

Reading = Callable[[], Awaitable[dict[str, Any]]]
Compared = Callable[[dict[str, Any]], dict[str, Any]]
SEEN_WITHIN = 0.25
"""Seconds after which live updates notice that the server of a host application stops, or that users have changed."""
SHARE = 4
"""A user may have one in so many of all live pages."""
SHARED_FOR = 0.2
"""Seconds for which requests share a read that was made for another one."""
_log = logging.getLogger("jobfleet.web")


def everything(data: dict[str, Any]) -> dict[str, Any]:
    """Compare the whole page data, not a part of it."""
    return data


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was read at one moment.

    Attributes:
        number: The sequence number; it grows with each change.
        data: The data; None if there is a problem.
        problem: Why there is none.
    """

    number: int
    data: dict[str, Any] | None = None
    problem: Problem | None = None


class Reader:
    """Reads one address again and again.

    Args:
        read: Reads the data.
        every: Seconds between two reads.
        numbers: Gives the numbers of snapshots. All readers of a hub share them: a reader that begins again must not
            repeat a number, by which pages and what is rendered for them are known.
        compared: The part of the data whose change makes a new snapshot.
    """

    def __init__(self, read: Reading, every: float, numbers: Iterator[int], compared: Compared) -> None:
        self._read = read
        self._every = every
        self._numbers = numbers
        self._compared = compared
        self._text = ""
        self._changed = asyncio.Event()
        self.snapshot: Snapshot = Snapshot(0)
        self.watchers = 0
        self.reads: int = 0
        self.is_closed: bool = False
        self._hurry = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name="jobfleet-web-reader")

    async def _run(self) -> None:
        while True:
            self._hurry.clear()
            self.reads += 1
            data, problem = await _outcome(self._read)
            text = f"{problem.code} {problem.message}" if problem else json.dumps(self._compared(data or {}))
            if text != self._text:
                self._text = text
                self.snapshot = Snapshot(next(self._numbers), data, problem)
                self._wake()
            else:  # the rest of the data is new for a page that is opened now
                self.snapshot = Snapshot(self.snapshot.number, data, problem)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), self._every)

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def hurry(self) -> None:
        """Read at once."""
        self._hurry.set()

    async def after(self, number: int, timeout: float) -> Snapshot | None:
        """Wait for a snapshot with another number; None if there is none after `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                while self.snapshot.number in (0, number) and not self.is_closed:
                    await self._changed.wait()
        except TimeoutError:
            return None
        return None if self.is_closed else self.snapshot

    def close(self) -> None:
        """Stop reading, and end the pages that watch."""
        self.is_closed = True
        self._task.cancel()
        self._wake()


async def _outcome(read: Reading) -> tuple[dict[str, Any] | None, Problem | None]:
    try:
        return await read(), None
    except Problem as problem:
        return None, problem
    except JobfleetError as error:
        return None, problem_of(error)
    except Exception:  # noqa: BLE001 - a fault of one page is shown there, and logged with its traceback
        _log.exception("A read for a page failed.")
        return None, refusal("internal")


class Hub:
    """The readers of all open pages, and the reads that requests share.

    Args:
        streams: The most pages that are updated live at once.
        changes: Returns another value once a user, a token or a session may have ended.
    """

    def __init__(self, streams: int, changes: Callable[[], object] = lambda: None) -> None:
        self._most = streams
        self._changes = changes
        self._owners: Counter[str] = Counter()
        self._access_changed = asyncio.Event()
        self._numbers = count(1)
        self._readers: dict[Hashable, Reader] = {}
        self._shared: dict[Hashable, tuple[float, asyncio.Future[dict[str, Any]]]] = {}
        self.streams: int = 0
        self.epoch: str = secrets.token_hex(4)
        self.is_closed: bool = False
        self._stop_watch: asyncio.Task[None] | None = None

    async def _watch_ends(self) -> None:
        """End all live updates when the server stops: it waits for open requests, and does not notify them.

        Wake those that look at their users when these have changed.
        """
        seen = self._changes()
        while self.streams and not self.is_closed:
            if is_stopping():
                self.close()
            if (now := self._changes()) != seen:
                seen = now
                changed, self._access_changed = self._access_changed, asyncio.Event()
                changed.set()
            await asyncio.sleep(SEEN_WITHIN)

    async def access_changed(self) -> None:
        """Wait until a user, a token or a session may have ended."""
        await self._access_changed.wait()

    async def watch(
        self, key: Hashable, read: Reading, every: float, *, seen: str = "", beat: float = 10.0,
        compared: Compared = everything, owner: str = "",
    ) -> AsyncGenerator[Snapshot | None, None]:  # fmt: skip
        """Yield the present snapshot of an address, and each later one; None for each `beat` seconds without one.

        Args:
            key: The address.
            read: Reads the data.
            every: Seconds between two reads.
            seen: The id of the last snapshot that the page has, which is not repeated.
            beat: Seconds without a snapshot after which None is yielded.
            compared: Returns the part of the data whose change makes a new snapshot.
            owner: Who has opened the page; empty if that does not count.

        Raises:
            Problem: Too many pages are updated live, or too many of this owner.
        """
        self._take(owner)
        reader = self._readers.get(key)
        if reader is None:
            reader = self._readers[key] = Reader(read, every, self._numbers, compared)
        reader.watchers += 1
        epoch, _, number = seen.partition("-")
        last = int(number) if epoch == self.epoch and number.isdecimal() else 0
        try:
            while not reader.is_closed:
                snapshot = await reader.after(last, beat)
                if snapshot is not None:
                    last = snapshot.number
                if not reader.is_closed:
                    yield snapshot
        finally:
            self._give_back(owner)
            reader.watchers -= 1
            if not reader.watchers:
                reader.close()
                if self._readers.get(key) is reader:
                    del self._readers[key]

    @contextmanager
    def place(self, owner: str) -> Iterator[None]:
        """Count a stream that reads by itself.

        Raises:
            Problem: Too many pages are updated live, or too many of this owner.
        """
        self._take(owner)
        try:
            yield
        finally:
            self._give_back(owner)

    def _take(self, owner: str) -> None:
        if self.streams >= self._most or self.is_closed:
            raise refusal("too-many-streams", headers={"Retry-After": "30"})
        share = max(1, self._most // SHARE)
        if owner and self._owners[owner] >= share:
            text = f"{owner} has {share} live pages open, which is the share of one; close some, or raise web_streams."
            raise refusal("too-many-streams", text, headers={"Retry-After": "30"})
        self.streams += 1
        self._owners[owner] += 1
        if self._stop_watch is None or self._stop_watch.done():
            self._stop_watch = asyncio.create_task(self._watch_ends(), name="jobfleet-web-stop")

    def _give_back(self, owner: str) -> None:
        self.streams -= 1
        self._owners[owner] -= 1
        if not self._owners[owner]:
            del self._owners[owner]

    async def once(self, key: Hashable, read: Reading, *, fresh_for: float = SHARED_FOR) -> dict[str, Any]:
        """Read an address, or share the read of another request that was made a moment ago.

        Raises:
            Problem: The read has failed.
        """
        now = monotonic()
        found = self._shared.get(key)
        if found is None or now - found[0] > fresh_for:
            future: asyncio.Future[dict[str, Any]] = asyncio.ensure_future(_checked(read))
            future.add_done_callback(_retrieved)
            found = (now, future)
            self._shared = {one: kept for one, kept in self._shared.items() if now - kept[0] < 60.0}
            self._shared[key] = found
        return await asyncio.shield(found[1])

    def expire(self) -> None:
        """Something was changed: read everything again."""
        self._shared.clear()
        for reader in self._readers.values():
            reader.hurry()

    def close(self) -> None:
        """End all live updates."""
        self.is_closed = True
        for reader in list(self._readers.values()):
            reader.close()


async def _checked(read: Reading) -> dict[str, Any]:
    data, problem = await _outcome(read)
    if problem is not None:
        raise problem
    return data or {}


def _retrieved(future: asyncio.Future[dict[str, Any]]) -> None:
    """Without this, asyncio would report the error of a read whose request has gone."""
    if not future.cancelled():
        future.exception()
