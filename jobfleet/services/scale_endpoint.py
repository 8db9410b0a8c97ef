"""Answers for an autoscaler: how many workers a queue needs. Served on the metrics port of a reaper."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from http import HTTPStatus
from threading import Lock
from typing import Any

from jobfleet.clock import monotonic
from jobfleet.config import JobConfig
from jobfleet.errors import InvalidJob, JobfleetError, UnknownQueue
from jobfleet.model.scale import Scale, ScaleRule
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import drive
from jobfleet.operations.scale import scale, scale_rule
from jobfleet.store.aio import AsyncStore

SCALE = "/scale/"
FRESH = 1.0
"""Seconds for which an answer is repeated, and for which Redis is not asked again after it has not replied."""
READS = 50
"""Answers that are computed within a second at most, so that the port cannot be used to load Redis."""
KEPT = 100
"""Answers that are kept."""
ANSWER = 4.0
"""Seconds for which a request waits for Redis."""
NUMBERS, DURATIONS = ("least", "most"), ("wait", "hold")
Answer = tuple[HTTPStatus, Mapping[str, object]]


class ScaleAnswers:
    """Computes the answers. Create it on the store's event loop, and call it from other threads.

    Args:
        store: The connection to Redis.
        config: The settings.
    """

    def __init__(self, store: AsyncStore, config: JobConfig) -> None:
        self._store = store
        self._context = FleetContext(config)
        self._loop = asyncio.get_running_loop()
        self._lock = Lock()
        self._kept: dict[tuple[str, ScaleRule], tuple[float, Answer]] = {}
        self._failed: tuple[float, Answer] | None = None
        self._read_at: deque[float] = deque(maxlen=READS)

    def __call__(self, queue: str, query: Mapping[str, str]) -> Answer:
        """Answer for a queue.

        Args:
            queue: The name of the queue.
            query: ``least``, ``most``, ``wait`` and ``hold``; see `Fleet.scale`.
        """
        try:
            rule = rule_of(query)
        except InvalidJob as error:
            return _refusal(HTTPStatus.BAD_REQUEST, error)
        if not self._lock.acquire(timeout=ANSWER):
            return _refusal(HTTPStatus.SERVICE_UNAVAILABLE, TimeoutError())
        try:
            return self._answer(queue, rule)
        finally:
            self._lock.release()

    def _answer(self, queue: str, rule: ScaleRule) -> Answer:
        """Return an answer that is known, or compute it."""
        now = monotonic()
        for at, answer in filter(None, (self._kept.get((queue, rule)), self._failed)):
            if now - at < FRESH:
                return answer
        if len(self._read_at) == READS and now - self._read_at[0] < 1.0:
            return _refusal(HTTPStatus.TOO_MANY_REQUESTS, InvalidJob(f"More than {READS} questions within a second."))
        self._read_at.append(now)
        answer = self._read(queue, rule)
        if answer[0] == HTTPStatus.SERVICE_UNAVAILABLE:
            self._failed = (monotonic(), answer)
            return answer
        if len(self._kept) >= KEPT:
            self._kept.clear()
        self._kept[queue, rule] = (monotonic(), answer)
        return answer

    def _read(self, queue: str, rule: ScaleRule) -> Answer:
        reading = asyncio.run_coroutine_threadsafe(drive(self._store, scale(self._context, queue, rule)), self._loop)
        try:
            return HTTPStatus.OK, scale_data(reading.result(ANSWER))
        except UnknownQueue as error:
            return _refusal(HTTPStatus.NOT_FOUND, error)
        except InvalidJob as error:
            return _refusal(HTTPStatus.BAD_REQUEST, error)
        except (JobfleetError, TimeoutError) as error:
            reading.cancel()
            return _refusal(HTTPStatus.SERVICE_UNAVAILABLE, error)


def scale_data(found: Scale) -> dict[str, object]:
    """The JSON form of an answer, with durations in seconds."""
    rows = asdict(found).items()
    return {name: value.total_seconds() if isinstance(value, timedelta) else value for name, value in rows}


def rule_of(query: Mapping[str, str]) -> ScaleRule:
    """Read the parameters of a request.

    Raises:
        InvalidJob: One is not known, or not valid.
    """
    given: dict[str, Any] = {}
    for name, text in query.items():
        if name not in NUMBERS + DURATIONS:
            known = ", ".join(NUMBERS + DURATIONS)
            raise InvalidJob(f"There is no parameter {name!r:.100}; there are: {known}.", field=name)
        if name in NUMBERS and not (text.isascii() and text.isdecimal() and len(text) <= 10):
            raise InvalidJob(f"{name} is {text!r:.100}; give a whole number.", field=name)
        given[name] = int(text) if name in NUMBERS else text
    return scale_rule(**given)


def _refusal(status: HTTPStatus, error: Exception) -> Answer:
    return status, {"wrong": [str(error) or "Redis did not answer in time."]}
