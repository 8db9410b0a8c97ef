"""The calls that write a flow go to the nodes of a cluster at once, so a sweep may find a job before its parent.

A node may answer late, or its calls may be sent again. The sweep judges no job before its flow is wholly written.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from jobfleet import Fleet, Flow, Job
from jobfleet.config import JobConfig
from jobfleet.metrics.tally import Mute
from jobfleet.operations.flows import flow as flows
from jobfleet.services.duties.relay import GUARD_US, Relay
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Call
from jobfleet.store.server.target import target

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
LATE = 2 * 10**15
"""A time (µs) at which the producer of every flow counts as dead."""


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[AsyncStore]:
    store = AsyncStore(target(redis_url))
    yield store
    await store.close()


@pytest.fixture
def fleet(redis_url: str) -> Iterator[Fleet]:
    with Fleet(redis_url) as fleet:
        yield fleet


def two_lanes() -> Flow:
    flow = Flow("two lanes")
    first = flow.add(Job("parent", "t.a", queue="one"))
    flow.add(Job("child", "t.b", queue="two"), after=first)
    return flow


def is_for_parent(call: Call[Any]) -> bool:
    return call.script.name == "block_many" and "{jobfleet:one:0}" in call.keys[0]


async def written(fleet: Fleet, flow: Flow, before_the_parent: Callable[[], Awaitable[bool]]) -> None:
    """Write a flow; the node of its parent is slow. Stop if the callback returns False."""
    operation: Any = flows.enqueue(fleet.context, flow)
    calls = next(operation)
    while True:
        late = [call for call in calls if is_for_parent(call)]
        answers = {id(call): fleet.store.run_many([call])[0] for call in calls if call not in late}
        if late and not await before_the_parent():
            return
        answers |= {id(call): fleet.store.run_many([call])[0] for call in late}
        try:
            calls = operation.send([answers[id(call)] for call in calls])
        except StopIteration:
            return


async def sweep(fleet: Fleet, store: AsyncStore, now_us: int) -> None:
    relay = Relay(store, fleet.context.keys, JobConfig(), Mute())
    for queue in ("one", "two"):
        await relay._sweep(fleet.context.keys.lane(queue, 0), now_us)


def statuses(fleet: Fleet, flow: Flow) -> dict[str, str]:
    return {job.name: str(job.result.status) for job in fleet.flows.get(flow.id).jobs if job.result}


async def test_a_job_is_not_judged_before_its_parent_of_another_lane_is_written(
    fleet: Fleet, store: AsyncStore
) -> None:
    flow = two_lanes()

    async def swept() -> bool:
        await sweep(fleet, store, 0)
        assert statuses(fleet, flow) == {"child": "blocked"}
        return True

    await written(fleet, flow, swept)

    assert statuses(fleet, flow) == {"parent": "queued", "child": "blocked"}


async def test_a_job_whose_parent_was_never_written_is_cancelled_after_its_producer_has_died(
    fleet: Fleet, store: AsyncStore
) -> None:
    flow = two_lanes()

    async def died() -> bool:
        return False

    await written(fleet, flow, died)
    assert LATE > GUARD_US
    await sweep(fleet, store, LATE)

    assert statuses(fleet, flow) == {"child": "cancelled"}
