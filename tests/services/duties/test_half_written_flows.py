"""The calls that write a flow go to the nodes of a cluster at once, so a sweep may find a job before its parent.

A node may answer late, or its calls may be sent again. The sweep judges no job before its flow is wholly written.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import redis

from jobfleet import Fleet, Flow, Job
from jobfleet.codec import decode, encode
from jobfleet.config import JobConfig
from jobfleet.metrics.tally import Mute
from jobfleet.operations.flows.unblock import RECORD
from jobfleet.services.duties.relay import Relay
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import flow as calls
from jobfleet.store.target import target

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
LATE_US = 9 * 10**15
"""A time at which the producer of every flow counts as dead."""


@pytest.fixture
async def relay(redis_url: str, fleet: Fleet) -> AsyncIterator[Relay]:
    store = AsyncStore(target(redis_url))
    yield Relay(store, fleet.context.keys, JobConfig(), Mute())
    await store.close()


@pytest.fixture
def fleet(redis_url: str) -> Iterator[Fleet]:
    with Fleet(redis_url) as fleet:
        yield fleet


@pytest.fixture
def flow(fleet: Fleet, raw: redis.Redis) -> Flow:
    """A flow of a parent and a child in two lanes, as it is before the call that writes the parent has arrived."""
    flow = Flow("two lanes")
    first = flow.add(Job("parent", "t.a", queue="one"))
    flow.add(Job("child", "t.b", queue="two"), after=first)
    parent, _ = (job.id for job in fleet.flows.enqueue(flow).jobs)
    keys = fleet.context.keys
    lane = keys.lane_of(parent)
    raw.delete(lane.job(parent), lane.parents(parent), lane.dependants(parent), lane.watched, *lane.ready)
    fields = decode(fleet.store.run(calls.read_flow(keys, flow.id)).record, limits=RECORD)
    record = encode({**fields, "whole": False}, limits=RECORD, what="flow")
    fleet.store.run(calls.keep_flow(keys, flow.id, record, ttl_ms=60_000))
    return flow


async def sweep(relay: Relay, fleet: Fleet, now_us: int) -> None:
    for queue in ("one", "two"):
        await relay._sweep(fleet.context.keys.lane(queue, 0), now_us)


def statuses(fleet: Fleet, flow: Flow) -> dict[str, str]:
    return {job.name: str(job.result.status) for job in fleet.flows.get(flow.id).jobs if job.result}


async def test_a_job_is_not_judged_before_its_parent_of_another_lane_is_written(
    fleet: Fleet, relay: Relay, flow: Flow
) -> None:
    await sweep(relay, fleet, 0)
    assert statuses(fleet, flow) == {"child": "blocked"}

    fleet.flows.enqueue(flow)  # its calls are sent again
    await sweep(relay, fleet, LATE_US)

    assert statuses(fleet, flow) == {"parent": "queued", "child": "blocked"}


async def test_a_job_whose_parent_was_never_written_is_cancelled_after_its_producer_has_died(
    fleet: Fleet, relay: Relay, flow: Flow
) -> None:
    await sweep(relay, fleet, LATE_US)

    assert statuses(fleet, flow) == {"child": "cancelled"}
