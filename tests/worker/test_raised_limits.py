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


WAYS: dict[str, Callable[[Fleet], object]] = {
    "raised": lambda fleet: fleet.limits.named("raised", rate="100/1s"),
    "removed": lambda fleet: fleet.limits.remove("removed"),
    "replaced": lambda fleet: fleet.limits.named("replaced", concurrency=5, replace=True),
}


@pytest.mark.first(1)
def test_a_named_limit(fleet: Fleet, registry: Registry, working: Working) -> None:
    ids: dict[str, list[str]] = {}
    for name in WAYS:
        function = registry.register(call, name=f"t.{name}", fleet=fleet, limits=[name])
        fleet.limits.named(name, rate="1/1h")
        ids[name] = [function.enqueue(n).id for n in range(3)]
    with working(slots=2):
        for some in ids.values():
            fleet.wait(some[0], timeout=60)

        for raise_it in WAYS.values():
            raise_it(fleet)

        found = {name: [fleet.wait(job_id, timeout=60).result for job_id in some] for name, some in ids.items()}
    assert found == {name: [0, 1, 2] for name in WAYS}


@pytest.mark.parametrize("group", [None, "acme", "*"], ids=["queue", "group", "all groups"])
def test_the_rate_of_a_queue_or_group(fleet: Fleet, registry: Registry, working: Working, group: str | None) -> None:
    function = registry.register(call, name="t.call", fleet=fleet, group="acme" if group else None)
    fleet.limits.set("default", group=group, rate="1/h")
    ids = [function.enqueue(n).id for n in range(3)]
    with working(slots=2):
        wait_until(lambda: "rate" in str(fleet.explain(ids[-1])), timeout=30, why="the others wait for the rate")

        fleet.limits.set("default", group=group, rate="100/s")

        assert [fleet.wait(job_id, timeout=60).result for job_id in ids] == [0, 1, 2]
