"""Priorities and queues with shares, as a worker serves them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jobfleet import Fleet, JobContext, JobFunction, Priority
from jobfleet.functions.registry import Registry

LazyCalls = Callable[..., tuple[Fleet, JobFunction[..., Any, Any], list[str]]]


@pytest.fixture
def making(redis_url: str) -> Iterator[LazyCalls]:
    """Makes a fleet with these settings, a function, and the list of what it was called with."""
    fleets: list[Fleet] = []

    def make(**settings: Any) -> tuple[Fleet, JobFunction[..., Any, Any], list[str]]:
        ran: list[str] = []

        async def note(ctx: JobContext, what: str) -> None:
            ran.append(what)

        fleet = Fleet(redis_url, registry=Registry(), lease=6, **settings)
        fleets.append(fleet)
        return fleet, fleet.context.registry.register(note, name="test.note", fleet=fleet), ran

    yield make
    for fleet in fleets:
        fleet.close()


def enqueue_all(fleet: Fleet, function: JobFunction[..., Any, Any], each: int, option: str, values: list[Any]) -> None:
    jobs = (function.options(**{option: value}).job(str(value)) for value in values for _ in range(each))
    assert sum(1 for _ in fleet.enqueue_many(jobs)) == each * len(values)


BANDS = [Priority.CRITICAL, Priority.HIGH, Priority.NORMAL, Priority.LOW]


@pytest.mark.parametrize("slots", [1, 5])
def test_weighted_priorities_have_their_shares_and_none_starves(making: LazyCalls, slots: int) -> None:
    fleet, function, ran = making(priorities="weighted")
    enqueue_all(fleet, function, 100, "priority", BANDS)

    fleet.run_worker(burst=True, slots=slots)

    shares = Counter(ran[:150])
    for band, share in zip(BANDS, (80, 40, 20, 10), strict=True):
        assert abs(shares[str(band)] - share) <= 2 * slots
    assert Counter(ran) == {str(band): 100 for band in BANDS}


def test_priorities_that_are_empty_give_way(making: LazyCalls) -> None:
    fleet, function, ran = making(priorities="weighted")
    enqueue_all(fleet, function, 30, "priority", [Priority.NORMAL, Priority.LOW])

    fleet.run_worker(burst=True, slots=1)

    assert Counter(ran[:30]) == {str(Priority.NORMAL): 20, str(Priority.LOW): 10}


@pytest.mark.parametrize(
    ("order", "queues", "shares"),
    [
        ("ordered", "mail,bulk", {"mail": 40}),
        ("round-robin", "mail,bulk", {"mail": 20, "bulk": 20}),
        ("weighted", "mail=3,bulk", {"mail": 30, "bulk": 10}),
        ("weighted", "bulk,mail=3", {"mail": 30, "bulk": 10}),
    ],
)
def test_queues_are_served_in_the_order_that_was_chosen(
    making: LazyCalls, order: str, queues: str, shares: dict[str, int]
) -> None:
    fleet, function, ran = making(queue_order=order, queues=queues)
    enqueue_all(fleet, function, 60, "queue", ["bulk", "mail"])

    fleet.run_worker(burst=True, slots=1, queues=fleet.config.queues)

    assert Counter(ran[:40]) == shares
    assert Counter(ran) == {"bulk": 60, "mail": 60}


def test_an_empty_queue_gives_way_whatever_its_weight(making: LazyCalls) -> None:
    fleet, function, ran = making(queue_order="weighted", queues="empty=9,mail=3,bulk")
    enqueue_all(fleet, function, 30, "queue", ["bulk", "mail"])

    fleet.run_worker(burst=True, slots=1, queues=fleet.config.queues)

    assert Counter(ran[:40]) == {"mail": 30, "bulk": 10}
