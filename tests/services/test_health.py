"""What probes are told of duties, of a loop that is stuck, and of a Redis that is away."""

from __future__ import annotations

import asyncio
import logging
import threading
import time

import pytest

from jobfleet.metrics.outage import Outage
from jobfleet.metrics.tally import Tally
from jobfleet.services.endpoint import Heart, healthy, late_duties, read_report, ready, shown_duties
from jobfleet.services.service import DutySeen, Service
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import inspect
from jobfleet.store.keys import Keyspace
from jobfleet.store.target import target
from tests.support.waiting import await_until

KEYS = Keyspace("jobfleet")


def seen(idle: float, spacing: float = 1.0, trouble: str = "") -> DutySeen:
    return DutySeen("cron", idle, spacing, 0.0, trouble)


@pytest.mark.parametrize(
    ("duty", "wrong"),
    [
        (seen(59), []),
        (seen(61), ["cron had no successful turn for 61 s (limit 60 s)."]),
        (seen(61, trouble="Redis is away."), ["cron had no successful turn for 61 s (limit 60 s): Redis is away."]),
        (seen(100, spacing=60), []),
        (seen(181, spacing=60), ["cron had no successful turn for 181 s (limit 180 s)."]),
    ],
    ids=["in time", "late", "late with a reason", "rare", "rare and late"],
)
def test_a_duty_is_late_after_the_limit_or_three_of_its_spacings(duty: DutySeen, wrong: list[str]) -> None:
    assert late_duties([duty], 60) == wrong


def test_duties_are_shown_with_their_troubles() -> None:
    assert shown_duties([seen(1.23, trouble="no")]) == {"cron": {"seconds_since_good_turn": 1.2, "trouble": "no"}}


class Moody(Service):
    name = "moody"
    fails = True

    async def turn(self) -> float:
        if self.fails:
            raise RuntimeError("not now")
        return 0.01


async def test_a_service_tells_of_its_last_good_turn_and_of_what_it_stumbled_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("jobfleet.services.service.AFTER_ERROR", 0.01)
    tally = Tally()
    duty = Moody(tally)
    duty.start()

    async def stumbled() -> bool:
        return duty.seen.trouble == "RuntimeError: not now"

    async def succeeded() -> bool:
        return duty.seen.succeeded_at > 0

    await await_until(stumbled, why="it has stumbled")
    assert duty.seen.succeeded_at == 0
    assert tally.take() == []
    duty.fails = False
    await await_until(succeeded, why="it has succeeded")
    await duty.stop()

    fares = duty.seen
    assert (fares.name, fares.spacing, fares.trouble) == ("moody", 0.01, "")
    assert abs(fares.succeeded_at - time.time()) < 60
    assert tally.take()[0][:2] == ("reaper_runs_total", ("moody",))


async def test_redis_that_answers_makes_ready(store: AsyncStore) -> None:
    assert await asyncio.to_thread(ready, Heart(store, KEYS)) == ([], {"redis": "answers"})


async def test_redis_that_is_away_does_not() -> None:
    store = AsyncStore(target("redis://127.0.0.1:1/0"))
    wrong, shown = await asyncio.to_thread(ready, Heart(store, KEYS))
    await store.close()

    assert len(wrong) == 1
    assert "redis://127.0.0.1:1/0" in wrong[0]
    assert shown == {"redis": wrong[0]}


async def test_a_reaper_is_unwell_if_a_duty_is_late_though_redis_answers(
    store: AsyncStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("jobfleet.metrics.outage.monotonic", lambda: now[0])
    outage = Outage("redis://", logging.getLogger("jobfleet.test"), Tally(), meanwhile=lambda: "")
    heart = Heart(store, KEYS)

    async def verdict() -> tuple[list[str], object]:
        wrong, shown = await asyncio.to_thread(healthy, heart, outage, lambda: [seen(90)], 60)
        return wrong, shown["redis"]

    late = ["cron had no successful turn for 90 s (limit 60 s)."]
    assert await verdict() == (late, "answers")
    outage.stumbled(ConnectionError("away"))
    now[0] += 100
    outage.stumbled(ConnectionError("away"))
    assert await verdict() == ([], "does not answer")
    outage.tripped([inspect.memory(KEYS)], 0.1)
    now[0] += 50
    assert await verdict() == ([], "answers")
    now[0] += 50
    assert await verdict() == (late, "answers")


async def test_a_loop_that_is_stuck_is_told_by_a_thread(store: AsyncStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobfleet.services.endpoint.TURN", 0.1)
    heart, told = Heart(store, KEYS), []
    asking = threading.Thread(target=lambda: told.append(ready(heart)))
    asking.start()
    asking.join(10)  # and meanwhile this loop does not turn

    assert told == [(["The event loop has not turned for 0.1 s."], {"redis": "unknown"})]


@pytest.mark.parametrize("report", [None, [], [[]], [[], [["cron"]]], {"rows": []}, b""], ids=repr)
def test_a_report_that_cannot_be_understood_is_passed_over(report: object) -> None:
    assert read_report(report) is None


def test_a_report_is_read() -> None:
    assert read_report([[["a", [], 1]], [["cron", 1.0, 2.0, 3.0, ""]]]) == (
        [["a", [], 1]],
        [DutySeen("cron", 1.0, 2.0, 3.0, "")],
    )
