"""Let the server confirm what workers and reapers write for durable jobs, and log where it does not.

What they write cannot be refused like an enqueue, so a missing confirmation is only reported. After one, the next waits
are short until a confirmation comes again: otherwise a replica that is away would slow down every job.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

from jobfleet.config import JobConfig
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Barrier, Call, Confirming
from jobfleet.store.calls.enqueue import mark
from jobfleet.store.keys import Lane
from jobfleet.store.trip import only

T = TypeVar("T")
AGAIN = 0.2
"""Seconds until something that must be confirmed is written once more."""
SHORT_MS = 1
"""Time limit of a wait after one that was not confirmed."""


class Confirmations:
    """Confirms the writes of one process.

    Args:
        store: The connection to Redis.
        config: The settings.
        log: The logger of the process.
    """

    def __init__(self, store: AsyncStore, config: JobConfig, log: logging.Logger) -> None:
        self._store = store
        self._replicas = config.confirming_replicas
        self._timeout_ms = round(config.confirm_timeout * 1000)
        self._log = log
        self._missing: frozenset[str] = frozenset()

    async def run_many(
        self, lane: Lane, calls: Sequence[Call[Any]], levels: Collection[str], *, what: str
    ) -> list[Any]:
        """Run calls; if their jobs ask for levels, wait for the confirmation and log if it does not come.

        Args:
            lane: The lane of the calls.
            calls: The calls.
            levels: The levels; empty for none.
            what: What is written, for the log.

        Raises:
            StoreUnavailable: The server was unavailable for longer than the patience of the store.
        """
        answers, _ = await self._run(lane, calls, levels, what)
        return answers

    async def insist(
        self, lane: Lane, call: Call[T], levels: Collection[str], *, what: str, is_over: Callable[[], bool]
    ) -> T:
        """Run a call, again and again until the server confirms it: what follows relies on it.

        Args:
            lane: The lane of the call.
            call: The call; it is safe to repeat.
            levels: The levels; empty for none.
            what: What is written, for the log.
            is_over: Whether nothing relies on it any more.

        Raises:
            StoreUnavailable: The server was unavailable for longer than the patience of the store.
            JobfleetError: The call ended in this error.
        """
        while True:
            answers, is_reached = await self._run(lane, (call,), levels, what)
            answer: T = only(answers)
            if is_reached or is_over():
                return answer
            await asyncio.sleep(AGAIN)

    async def _run(
        self, lane: Lane, calls: Sequence[Call[Any]], levels: Collection[str], what: str
    ) -> tuple[list[Any], bool]:
        if not levels or self._store.at.fake:
            return await self._store.run_many(calls), True
        wanted = frozenset(levels)
        timeout_ms = SHORT_MS if self._missing & wanted else self._timeout_ms
        is_spread = self._store.at.cluster is not None
        batch = Confirming(calls, Barrier(mark(lane), wanted, self._replicas, timeout_ms, is_spread))
        answers = await self._store.run_many(batch)
        self._note(lane, wanted, what, is_reached=batch.is_reached)
        return answers, batch.is_reached

    def _note(self, lane: Lane, levels: frozenset[str], what: str, *, is_reached: bool) -> None:
        names = ",".join(sorted(levels))
        if is_reached and self._missing & levels:
            self._missing -= levels
            self._log.info("redis.confirmed level=%s: writes are confirmed again", names)
        elif not is_reached and not levels <= self._missing:
            self._missing |= levels
            text = (
                "redis.uncertain level=%s lane=%s: %s is written and in force, but was not confirmed within %d ms; "
                "a failover or a crash of the server may undo it, and the job then runs again"
            )
            self._log.warning(text, names, lane.tag, what, self._timeout_ms)
