"""Worker processes whose flags give every priority and every queue a share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest

from jobfleet import Fleet, Job, Priority
from tests.support.fleet import Programs, settle_all


def started(programs: Programs, fleet: Fleet, kinds: dict[str, Any], *flags: str) -> list[Any]:
    """The kinds of the jobs, in the order in which a worker with one slot has started them."""
    programs.start("worker", "histories", "-p1", "-c1", "--burst", *flags)
    settle_all(fleet, kinds)
    return [kinds[entry.id] for entry in programs.history.entries() if entry.event == "start"]


def enqueued(fleet: Fleet, option: str, values: Iterable[Any], each: int) -> dict[str, Any]:
    """So many jobs of each kind."""
    return {
        fleet.enqueue(Job("nap", "hist.nap", (0,), **{option: value})): value for value in values for _ in range(each)
    }


def test_a_worker_with_weighted_priorities_starves_none(programs: Programs, fleet: Fleet) -> None:
    kinds = enqueued(fleet, "priority", [Priority.CRITICAL, Priority.LOW], 27)

    order = started(programs, fleet, kinds, "--priorities", "weighted")

    assert Counter(order[:27]) == {Priority.CRITICAL: 24, Priority.LOW: 3}
    assert Counter(order) == {Priority.CRITICAL: 27, Priority.LOW: 27}


def test_a_worker_with_weighted_queues_serves_each_by_its_weight(programs: Programs, fleet: Fleet) -> None:
    kinds = enqueued(fleet, "queue", ["bulk", "mail"], 20)

    order = started(programs, fleet, kinds, "-Q", "bulk,mail=3", "--queue-order", "weighted")

    assert Counter(order[:20]) == {"mail": 15, "bulk": 5}
    assert Counter(order) == {"mail": 20, "bulk": 20}


@pytest.mark.parametrize("flags", [(), ("--queue-order", "round-robin"), ("--queue-order", "weighted")])
def test_the_backlog_of_a_queue_hides_no_job_of_another_that_was_empty(
    programs: Programs, fleet: Fleet, flags: tuple[str, ...]
) -> None:
    programs.start("worker", "histories", "-p1", "-c2", "-Q", "high,low", *flags)
    low = [
        receipt.id for receipt in fleet.enqueue_many(Job("nap", "hist.nap", (0.02,), queue="low") for _ in range(2000))
    ]
    programs.history.await_start(low[10])

    for _ in range(3):
        settle_all(fleet, [fleet.enqueue(Job("nap", "hist.nap", (0,), queue="high"))])

    assert next(queue.queued for queue in fleet.queues() if queue.name == "low") > 0


def test_weights_without_a_weighted_order_are_refused_at_the_start(programs: Programs) -> None:
    worker = programs.start("worker", "histories", "-Q", "mail=3,bulk")

    assert worker.exit_code() == 2
    assert "queue_order = 'ordered': use 'weighted', because queues has weights." in worker.said
