"""A worker in a burst goes when nothing is left to do, and not before."""

from __future__ import annotations

import pytest

from jobfleet import Fleet, JobStatus
from jobfleet.client.registry import Registry

ROUNDS = 10


@pytest.mark.parametrize("group", ["acme", None])
def test_a_limit_that_is_full_ends_no_burst(fleet: Fleet, registry: Registry, group: str | None) -> None:
    """The slot is free once the end is settled; a claim that came before it has found nothing."""
    function = registry.register(lambda: 7, name="test.seven", group="acme", fleet=fleet)
    function.enqueue()
    fleet.limits.set("default", group=group, concurrency=1)

    for _ in range(ROUNDS):
        handles = [function.enqueue() for _ in range(5)]
        fleet.run_worker(burst=True)
        assert {handle.poll().status for handle in handles} == {JobStatus.COMPLETED}
