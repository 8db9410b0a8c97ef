"""Jobs that wait for a rate start soon after it has been raised, not when the old rate would have let them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from jobfleet import Fleet
from jobfleet.functions.registry import Registry
from tests.support.waiting import wait_until
from tests.worker.conftest import Working


async def call(n: int) -> int:
    return n


def replace(fleet: Fleet) -> object:
    return fleet.limits.named("api", concurrency=5, replace=True)


@pytest.mark.first(1)
@pytest.mark.parametrize(
    "raise_it",
    [
        lambda fleet: fleet.limits.named("api", rate="100/1s"),
        lambda fleet: fleet.limits.remove("api"),
        replace,
    ],
    ids=["raised", "removed", "replaced"],
)
def test_a_named_limit(fleet: Fleet, registry: Registry, working: Working, raise_it: Callable[[Fleet], object]) -> None:
    function = registry.register(call, name="t.call", fleet=fleet, limits=["api"])
    fleet.limits.named("api", rate="1/1h")
    ids = [function.enqueue(n).id for n in range(3)]
    with working(slots=2):
        fleet.wait(ids[0], timeout=60)

        raise_it(fleet)

        assert [fleet.wait(job_id, timeout=60).result for job_id in ids] == [0, 1, 2]


@pytest.mark.parametrize("group", [None, "acme", "*"], ids=["queue", "group", "all groups"])
def test_the_rate_of_a_queue_or_group(fleet: Fleet, registry: Registry, working: Working, group: str | None) -> None:
    function = registry.register(call, name="t.call", fleet=fleet, group="acme" if group else None)
    fleet.limits.set("default", group=group, rate="1/h")
    ids = [function.enqueue(n).id for n in range(3)]
    with working(slots=2):
        wait_until(lambda: "rate" in str(fleet.explain(ids[-1])), timeout=30, why="the others wait for the rate")

        fleet.limits.set("default", group=group, rate="100/s")

        assert [fleet.wait(job_id, timeout=60).result for job_id in ids] == [0, 1, 2]
