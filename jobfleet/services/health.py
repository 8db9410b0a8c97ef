"""The checks of health probes: whether duties run, whether the event loop turns, and whether Redis replies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from threading import Event, Lock

from jobfleet.clock import monotonic
from jobfleet.errors import JobfleetError
from jobfleet.metrics.server import Verdict
from jobfleet.services.service import DutySeen
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import inspect
from jobfleet.store.keys import Keyspace

FRESH = 1.0
TURN = 2.0
PATIENCE = 1.0
ANSWER = 3.0
SPACINGS = 3
"""A duty with a long spacing counts as late after this number of spacings."""


class Heart:
    """Checks whether this process's event loop turns and whether Redis replies. Create it on that loop.

    Args:
        store: The connection to Redis.
        keys: The fleet's keys.
    """

    def __init__(self, store: AsyncStore, keys: Keyspace) -> None:
        self._store = store
        self._call = inspect.memory(keys)
        self._loop = asyncio.get_running_loop()
        self._lock = Lock()
        self._looked_at = float("-inf")
        self._stuck = self._away = ""

    def look(self) -> tuple[str, str]:
        """Return the problems of the loop and of Redis, each a sentence or empty; at most one check per second."""
        with self._lock:
            if monotonic() - self._looked_at >= FRESH:
                self._stuck = self._ask_loop()
                self._away = "" if self._stuck else self._ask_redis()
                self._looked_at = monotonic()
            return self._stuck, self._away

    def stuck(self) -> str:
        """Return the problem of the loop, or an empty text; Redis is not asked, so a healthy loop answers at once."""
        return self._ask_loop()

    def _ask_loop(self) -> str:
        turned = Event()
        self._loop.call_soon_threadsafe(turned.set)
        return "" if turned.wait(TURN) else f"The event loop has not turned for {TURN:g} s."

    def _ask_redis(self) -> str:
        asking = asyncio.run_coroutine_threadsafe(self._store.run(self._call, patience=PATIENCE), self._loop)
        try:
            asking.result(ANSWER)
        except TimeoutError:
            asking.cancel()
            return f"Redis has not answered for {ANSWER:g} s."
        except JobfleetError as error:
            return str(error)
        return ""


def late_duties(duties: Iterable[DutySeen], within: float) -> list[str]:
    """Return a sentence for each duty that had no successful turn within its limit.

    Args:
        duties: The state of each duty.
        within: The minimum limit in seconds.
    """
    wrong = []
    for duty in duties:
        limit = max(within, SPACINGS * duty.spacing)
        if duty.idle > limit:
            why = f": {duty.trouble}" if duty.trouble else "."
            wrong.append(f"{duty.name} had no successful turn for {duty.idle:.0f} s (limit {limit:.0f} s){why}")
    return wrong


def shown_duties(duties: Iterable[DutySeen]) -> dict[str, object]:
    """Format duties for the reply of a probe."""
    return {duty.name: {"seconds_since_good_turn": round(duty.idle, 1), "trouble": duty.trouble} for duty in duties}


def healthy(duties: Callable[[], list[DutySeen]], within: float) -> Verdict:
    """Whether each duty had a successful turn within the limit in seconds."""
    seen = duties()
    return Verdict(late_duties(seen, within), {"duties": shown_duties(seen)})


def ready(heart: Heart) -> Verdict:
    """Whether Redis replies."""
    stuck, away = heart.look()
    return Verdict([one for one in (stuck, away) if one], {"redis": "unknown" if stuck else away or "answers"})
