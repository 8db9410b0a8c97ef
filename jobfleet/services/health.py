"""What probes ask: whether duties turn, whether the loop does, and whether Redis answers."""

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
"""A duty that turns rarely is late after so many of its own spacings."""


class Heart:
    """Whether this process's event loop turns and its Redis answers. Made on that loop.

    Args:
        store: How.
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
        """What is wrong with the loop, and with Redis, in a sentence each; at most one look a second."""
        with self._lock:
            if monotonic() - self._looked_at >= FRESH:
                self._stuck = self._ask_loop()
                self._away = "" if self._stuck else self._ask_redis()
                self._looked_at = monotonic()
            return self._stuck, self._away

    def stuck(self) -> str:
        """What is wrong with the loop; Redis is not asked, so it answers at once unless something is."""
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
    """A sentence for each duty that has not turned well in time.

    Args:
        duties: How they fare.
        within: Seconds each has at least.
    """
    wrong = []
    for duty in duties:
        limit = max(within, SPACINGS * duty.spacing)
        if duty.idle > limit:
            why = f": {duty.trouble}" if duty.trouble else "."
            wrong.append(f"{duty.name} has not turned well for {duty.idle:.0f} s (limit {limit:.0f} s){why}")
    return wrong


def shown_duties(duties: Iterable[DutySeen]) -> dict[str, object]:
    """Duties as a probe's answer shows them."""
    return {duty.name: {"seconds_since_good_turn": round(duty.idle, 1), "trouble": duty.trouble} for duty in duties}


def healthy(duties: Callable[[], list[DutySeen]], within: float) -> Verdict:
    """Whether each duty turned well within so many seconds."""
    seen = duties()
    return Verdict(late_duties(seen, within), {"duties": shown_duties(seen)})


def ready(heart: Heart) -> Verdict:
    """Whether Redis answers."""
    stuck, away = heart.look()
    return Verdict([one for one in (stuck, away) if one], {"redis": "unknown" if stuck else away or "answers"})
