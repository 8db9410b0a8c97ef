"""Channels on a cluster: a client listens at any node, and hears what happens at each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pytest

from jobfleet import Fleet, Job
from jobfleet.store.calls.control import listen
from jobfleet.store.channels import Channels, Message
from jobfleet.store.target import Target
from tests.support.cluster import ClusterServers, Node
from tests.support.waiting import wait_until

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
QUEUES = ("default", "mail", "a")  # each is on another node


def read(channels: Channels, count: int, *, of: str | None = None) -> list[str]:
    """The next messages of a job, or beginnings of subscriptions, by their channel.

    Several nodes know no common order, and the last messages of another test may still be under way to this node.
    """
    found: list[Message] = []

    def is_all() -> bool:
        found.extend(one for one in channels.read(0.1) if (one.text is None if of is None else of in (one.text or "")))
        return len(found) >= count

    wait_until(is_all, timeout=10, why=f"{count} come")
    return sorted(message.channel for message in found)


@contextmanager
def listening(node: Node, names: Iterable[str]) -> Iterator[Channels]:
    """Subscriptions at one node."""
    channels = Channels(Target(node.direct, node.direct))
    channels.subscribe(names)
    assert read(channels, len(QUEUES)) == sorted(names)
    yield channels
    channels.close()


@pytest.mark.parametrize("at", range(6))
def test_a_listener_at_any_node_hears_the_events_of_all_lanes_and_jobs(cluster: ClusterServers, at: int) -> None:
    with Fleet(cluster.url) as fleet:
        lanes = [fleet.context.keys.lane(queue, 0) for queue in QUEUES]
        assert len({cluster.owner(lane.listeners).port for lane in lanes}) == 3
        of_lanes = [lane.events for lane in lanes]
        of_jobs = [lane.job_events(f"{lane.queue}.0.job{at}") for lane in lanes]
        with listening(cluster.nodes[at], of_lanes) as all_jobs, listening(cluster.nodes[at], of_jobs) as each_job:
            fleet.store.run_many([listen(lane) for lane in lanes])

            for queue in QUEUES:
                fleet.enqueue(Job("a", "test.a", id=f"job{at}", queue=queue))

            assert read(all_jobs, len(QUEUES), of=f"job{at}") == sorted(of_lanes)
            assert read(each_job, len(QUEUES), of=f"job{at}") == sorted(of_jobs)
