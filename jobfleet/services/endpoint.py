"""The HTTP endpoint of a reaper: metrics, health, and answers for an autoscaler."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from threading import Event, Lock
from typing import Any

import msgpack

from jobfleet.clock import monotonic
from jobfleet.config import JobConfig
from jobfleet.errors import InvalidJob, JobfleetError, UnknownQueue
from jobfleet.metrics.exporter import Exporter
from jobfleet.metrics.outage import Outage
from jobfleet.metrics.server import MetricsServer, Verdict
from jobfleet.metrics.tally import Tally
from jobfleet.model.scale import Scale, ScaleRule
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import drive
from jobfleet.operations.scale import scale, scale_rule
from jobfleet.services.gauges import FleetGauges
from jobfleet.services.service import DutySeen, Service
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import inspect
from jobfleet.store.keys import Keyspace

log = logging.getLogger("jobfleet.reaper")
REPORT_EVERY = 1.0


class MetricsEndpoint:
    """Serves the metrics, the health and the scaling answers of a reaper. A hosted one reports to its worker instead.

    Args:
        port: The port to serve on.
        config: The settings.
        store: The connection to Redis; it belongs to the running loop.
        duties: The duties of the reaper.
        tally: Counts the metrics of the duties.
        outage: Knows whether Redis replies.

    Raises:
        ConfigError: The port is in use.
    """

    def __init__(
        self,
        port: int,
        config: JobConfig,
        store: AsyncStore,
        duties: Sequence[Service],
        tally: Tally,
        outage: Outage,
    ) -> None:
        self._outage = outage
        self._duties = duties
        self._tally = tally
        self._exporter = Exporter(namespace=config.namespace)
        self._fleet = FleetGauges(store, config, self._exporter)
        heart = Heart(store, Keyspace.of(config))
        self._server = MetricsServer(
            self._exporter,
            port,
            config.metrics_host,
            refresh=self._refresh,
            probes={
                "/healthz": partial(
                    healthy, heart, outage, lambda: [duty.seen for duty in duties], config.healthy_within
                ),
                "/readyz": partial(ready, heart),
            },
            lookups={SCALE: ScaleAnswers(store, config)},
        )
        log.info("metrics.serving port=%d", self._server.port)

    def _refresh(self) -> None:
        self._fleet.refresh()
        self._exporter.merge(self._tally.take())
        self._exporter.set("redis_connected", (), float(self._outage.is_connected))
        show_duties(self._exporter, [duty.seen for duty in self._duties])

    def close(self) -> None:
        """Stop serving."""
        self._server.close()


def show_duties(exporter: Exporter, duties: Sequence[DutySeen]) -> None:
    """Set the time of each duty's last success."""
    for duty in duties:
        if duty.succeeded_at:
            exporter.set("reaper_last_success_timestamp_seconds", (duty.name,), duty.succeeded_at)


async def report_on(pipe: int, duties: Sequence[Service], tally: Tally) -> None:
    """Report the counts and the state of the duties every second to the process that hosts this reaper."""
    os.set_blocking(pipe, False)
    unsent = b""
    while True:
        if not unsent:
            unsent = msgpack.packb([tally.take(), [duty.seen for duty in duties]])
        try:
            unsent = unsent[os.write(pipe, unsent) :]
        except BrokenPipeError:  # the host is gone, so this reaper stops too
            return
        except BlockingIOError:
            pass
        await asyncio.sleep(REPORT_EVERY if not unsent else 0.05)


def read_report(report: Any) -> tuple[list[Any], list[DutySeen]] | None:
    """Read the output of `report_on`; return None if it is not valid."""
    match report:
        case [[*rows], [*duties]]:
            with suppress(TypeError):
                return rows, [DutySeen(*duty) for duty in duties]
    return None


# The checks of health probes: whether duties run, whether the event loop turns, and whether Redis replies.


FRESH = 1.0
TURN = 2.0
PATIENCE = 1.0
HEALTH_ANSWER = 3.0
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
            asking.result(HEALTH_ANSWER)
        except TimeoutError:
            asking.cancel()
            return f"Redis has not answered for {HEALTH_ANSWER:g} s."
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


def healthy(heart: Heart, outage: Outage, duties: Callable[[], list[DutySeen]], within: float) -> Verdict:
    """Whether the event loop turns, and each duty had a successful turn within the limit in seconds.

    The time for which Redis does not reply, or is full, does not count: a restart would not help, and Kubernetes starts
    a program that has failed some times minutes later only.
    """
    seen, reached = duties(), outage.seconds_connected
    wrong = [stuck] if (stuck := heart.stuck()) else []
    wrong += late_duties([duty._replace(idle=min(duty.idle, reached)) for duty in seen], within)
    return Verdict(wrong, {"duties": shown_duties(seen), "redis": "answers" if reached else "does not answer"})


def ready(heart: Heart) -> Verdict:
    """Whether Redis replies."""
    stuck, away = heart.look()
    return Verdict([one for one in (stuck, away) if one], {"redis": "unknown" if stuck else away or "answers"})


# Answers for an autoscaler: how many workers a queue needs. Served on the metrics port of a reaper.


SCALE = "/scale/"
READS = 50
"""Answers that are computed within a second at most, so that the port cannot be used to load Redis."""
KEPT = 100
"""Answers that are kept."""
SCALE_ANSWER = 4.0
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
        if not self._lock.acquire(timeout=SCALE_ANSWER):
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
            return HTTPStatus.OK, scale_data(reading.result(SCALE_ANSWER))
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
