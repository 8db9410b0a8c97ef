"""A fault that repeats: neither silence nor a line per turn."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

import pytest

from jobfleet.errors import ConfigError
from jobfleet.metrics.tally import Tally
from jobfleet.services import long_lived as module
from jobfleet.services import service as service_module
from jobfleet.services.long_lived import RepeatedFault
from jobfleet.services.service import Service
from tests.support.clock import Clock
from tests.support.waiting import await_until


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "monotonic", clock)
    return clock


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(record.levelname, record.getMessage()) for record in caplog.records]


def test_a_fault_is_logged_once_a_minute_and_when_it_is_over(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tests.trouble")
    trouble = RepeatedFault(logging.getLogger("tests.trouble"), "cron")
    trouble.succeeded()
    for _ in range(100):
        trouble.failed("no permission")
        clock.now += 1
    trouble.failed("another reason")
    trouble.succeeded()
    trouble.succeeded()

    assert lines(caplog) == [
        ("WARNING", "cron.stumbled no permission"),
        ("WARNING", "cron.stumbled no permission (failed 61 times in 60 s)"),
        ("WARNING", "cron.stumbled another reason (failed 101 times in 100 s)"),
        ("INFO", "cron.recovered after=100.0s failures=101"),
    ]


class Refused(Service):
    """A duty that Redis refuses until it is allowed."""

    name = "refused"

    def __init__(self) -> None:
        super().__init__(Tally())
        self.turns, self.is_allowed = 0, False

    async def turn(self) -> float:
        self.turns += 1
        if not self.is_allowed:
            raise ConfigError("Redis refused: no permission.")
        return 0.0


async def test_a_duty_that_fails_each_turn_says_so_once_and_says_when_it_is_well(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "jobfleet.reaper")
    monkeypatch.setattr(service_module, "AFTER_ERROR", 0.0)
    duty = Refused()

    async def has_failed() -> bool:
        return duty.turns >= 20

    async def is_well() -> bool:
        return duty.seen.trouble == ""

    duty.start()
    await await_until(has_failed, why="it has failed twenty times")
    duty.is_allowed = True
    await await_until(is_well, why="it is well")
    await duty.stop()

    (first, told), (last, over) = lines(caplog)
    assert (first, told, last) == ("WARNING", "refused.stumbled Redis refused: no permission.", "INFO")
    assert over.startswith("refused.recovered after=")


class Deaf(Service):
    """A duty whose turn swallows its first cancellation, as a client of Redis may."""

    name = "deaf"

    def __init__(self) -> None:
        super().__init__(Tally())
        self.waits, self.ended = asyncio.Event(), False

    async def turn(self) -> float:
        self.waits.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended = True
        return 0.0


async def test_a_duty_stops_though_its_client_of_redis_has_swallowed_the_cancellation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("jobfleet.store.aio.AGAIN", 0.01)
    duty = Deaf()
    duty.start()
    await duty.waits.wait()

    stopping = asyncio.create_task(duty.stop())
    await asyncio.wait((stopping,), timeout=10)

    assert (stopping.done(), duty.ended) == (True, True)
