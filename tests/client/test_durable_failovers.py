"""What a failover may cost: nothing that was confirmed, whatever else the old primary has acknowledged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from jobfleet import DurabilityUncertain, Fleet, Job
from jobfleet.functions.registry import Registry
from jobfleet.model.option_types import Durability
from jobfleet.store.call import Command
from jobfleet.store.keys import Keyspace
from jobfleet.store.link.protocol import Link
from tests.support.replicated import ReplicatedServer
from tests.support.server import RedisServer

LANE = Keyspace("jobfleet").lane("default", 0)


class Failover:
    """A link that loses the reply to the first wait, and leads to another primary from then on.

    The old primary has executed everything before that wait.

    Args:
        old: The way to the old primary.
        new: The way to the new one, which lacks the last writes of the old one.

    Attributes:
        lost: How many waits were lost.
    """

    def __init__(self, old: Link, new: Link) -> None:
        self._way, self._new = old, new
        self.lost = 0

    def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands; lose the first wait and what follows it."""
        names = [command[0] for command in commands]
        if self.lost or "WAIT" not in names:
            return self._way.exchange(commands)
        replies = self._way.exchange(commands[: names.index("WAIT")])
        self.lost, self._way = 1, self._new
        error = RedisConnectionError("Connection closed by server.")
        return replies + [error] * (len(commands) - len(replies))

    def exchange_as_made(self, parts: Iterator[Sequence[Command]]) -> list[Any]:
        """Send commands; lose the first wait and what follows it."""
        return self.exchange(list(chain.from_iterable(parts)))

    def close(self) -> None:
        """Close the connections."""
        self._way.close()


@pytest.fixture(scope="module")
def servers() -> Iterator[ReplicatedServer]:
    with ReplicatedServer() as servers:
        yield servers


@pytest.mark.parametrize("count", [1, 120])
def test_a_failover_during_the_wait_loses_no_job(servers: ReplicatedServer, registry: Registry, count: int) -> None:
    with RedisServer() as old, Fleet(servers.url, registry=registry) as new, Fleet(old.url, registry=registry) as fleet:
        servers.primary.flush()
        fleet.enqueue(Job("Sum", "app.add", (1, 2)))
        new.enqueue(Job("Sum", "app.add", (1, 2), durability="replicated"))
        fleet.context.facts = new.context.facts  # the old primary had a replica a moment ago
        way = fleet.store.link = Failover(fleet.store.link, new.store.link)
        jobs = [Job("Sum", "app.add", (1, 2), durability="replicated", id=f"n{number}") for number in range(count)]

        receipts = [fleet.submit(jobs[0])] if count == 1 else list(fleet.enqueue_many(jobs))

    assert way.lost == 1
    assert {(one.created, one.durability, one.error) for one in receipts} == {(True, "replicated", None)}
    assert servers.raw.exists(*[LANE.job(one.id) for one in receipts]) == count
    assert servers.replica.client().exists(*[LANE.job(one.id) for one in receipts]) == count


def test_a_replica_that_takes_over_has_all_confirmed_jobs(registry: Registry) -> None:
    with ReplicatedServer() as servers, Fleet(servers.url, registry=registry, durability_timeout=0.2) as fleet:
        jobs = [Job("Sum", "app.add", (1, 2), id=f"n{number}") for number in range(200)]
        confirmed: set[str] = set()
        fast: set[str] = set()
        for number, job in enumerate(jobs):
            if number == 150:  # the replica hears nothing any more
                servers.link.silence()
            level: Durability = "fast" if number % 2 else "replicated"
            try:
                receipt = fleet.submit(Job(job.name, job.function, job.args, id=job.id, durability=level))
            except DurabilityUncertain:
                break
            (confirmed if receipt.durability == "replicated" else fast).add(receipt.id)
        fast |= {fleet.enqueue(job) for job in jobs[160:]}

        heir = servers.promote()

        kept = {job_id for job_id in confirmed | fast if heir.exists(LANE.job(job_id))}
        assert len(confirmed) >= 70
        assert confirmed <= kept
        assert fast > kept & fast  # they were acknowledged, and are lost
