"""What a failover may cost: nothing that was confirmed, whatever else the old primary has acknowledged."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from jobfleet import AsyncFleet, DurabilityUnavailable, DurabilityUncertain, Fleet, Job, JobfleetError
from jobfleet.functions.registry import Registry
from jobfleet.model.option_types import Durability
from jobfleet.store.call import Command, KnownHeirs
from jobfleet.store.keys import Keyspace
from jobfleet.store.link.sync import Link
from tests.client.either import Either
from tests.support.replicated import ReplicatedServer
from tests.support.sentinel import SERVICE, STAY_MS, SentinelServers
from tests.support.server import RedisServer
from tests.support.waiting import wait_until

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

    def greet(self, *, leaves: bool) -> Mapping[str, str] | BaseException:
        """What the server of a new connection says of itself."""
        return self._way.greet(leaves=leaves)

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


PRODUCERS = 6
BEFORE, AFTER = 300, 100
"""How many jobs are confirmed before a failover begins, and after it."""


@pytest.mark.parametrize("how", ["planned", "frozen"])
def test_a_failover_loses_no_confirmed_job(registry: Registry, how: str) -> None:
    """The replica that takes over stops following first; the other one still confirms for the old primary."""
    with SentinelServers(down_after_ms=STAY_MS if how == "planned" else 500) as group:
        old = group.await_whole().primary
        confirmed: list[str] = []
        over = threading.Event()

        def produce(name: int) -> None:
            with Fleet(group.url, registry=registry, durability="replicated", durability_timeout=0.5) as fleet:
                number = 0
                while not over.wait(0.002):
                    number += 1
                    with suppress(JobfleetError):
                        confirmed.append(fleet.enqueue(Job("Sum", "app.add", (1, 2), id=f"n{name}-{number}")))

        producers = [threading.Thread(target=produce, args=(name,)) for name in range(PRODUCERS)]
        for producer in producers:
            producer.start()
        try:
            wait_until(lambda: len(confirmed) >= BEFORE, why="jobs are confirmed")
            if how == "planned":
                group.sentinels[0].asked("SENTINEL", "FAILOVER", SERVICE)
            else:
                old.pause()
                heirs = [node for node in group.nodes if node is not old]
                wait_until(lambda: any(heir.role == "master" for heir in heirs), timeout=30, why="one takes over")
                old.resume()
            group.await_other_primary(old)
            wait_until(lambda: old.role == "slave", timeout=60, why="the old primary is demoted")
            known = len(confirmed)
            wait_until(lambda: len(confirmed) >= known + AFTER, timeout=60, why="the new primary's jobs are confirmed")
        finally:
            over.set()
            for producer in producers:
                producer.join()

        kept = group.primary.client()
        assert [one for one in confirmed if not kept.exists(LANE.job(one))] == []


async def test_who_still_reaches_the_old_primary_is_confirmed_nothing_and_moves(registry: Registry) -> None:
    with SentinelServers(lines=(f"sentinel failover-timeout {SERVICE} 600000",)) as group:
        old = group.await_whole().nodes[0]
        producer = Either(AsyncFleet(group.url, registry=registry, durability="replicated", durability_timeout=0.3))
        first = await producer("submit", Job("Sum", "app.add", (1, 2)))
        for node in group.nodes[1:]:  # the Sentinels can promote one, and cannot make the other one follow it
            node.client().acl_setuser("default", enabled=True, commands=["-slaveof", "+slaveof|no"])
        group.sentinels[0].asked("SENTINEL", "FAILOVER", SERVICE)
        new = group.await_other_primary(old)
        assert first.durability == "replicated"
        assert old.role == "master"
        assert len(old.client().role()[2]) == 1  # one replica follows it still, and confirms

        with pytest.raises(DurabilityUncertain):  # by what the producer knows of the heirs
            await producer("submit", Job("Sum", "app.add", (1, 2), id="n1"))
        producer.fleet.store.heirs = KnownHeirs()
        with pytest.raises(DurabilityUncertain):  # by what the Sentinels say now
            await producer("submit", Job("Sum", "app.add", (1, 2), id="n1"))
        receipts = await producer.all("enqueue_many", [Job("Sum", "app.add", (1, 2), id="n2")])
        await producer.close()

        assert new.client().exists(LANE.job("default.0.n1"))
        assert [type(one.error) for one in receipts] == [DurabilityUnavailable]  # nobody follows the new one


async def test_a_silent_replica_is_waited_for_until_most_sentinels_call_it_down(registry: Registry) -> None:
    with SentinelServers(down_after_ms=STAY_MS) as group:
        silent = group.await_whole().nodes[1]
        producer = Either(AsyncFleet(group.url, registry=registry, durability="replicated", durability_timeout=0.3))
        await producer("submit", Job("Sum", "app.add", (1, 2)))
        silent.pause()
        wanted = Job("Sum", "app.add", (1, 2), id="n1")

        for sentinel in group.sentinels:
            producer.fleet.store.heirs = KnownHeirs()  # ask now
            if sentinel is not group.sentinels[2]:
                with pytest.raises(DurabilityUncertain, match="not all replicas confirmed it"):
                    await producer("submit", wanted)
            sentinel.asked("SENTINEL", "SET", SERVICE, "down-after-milliseconds", "1000")
            wait_until(partial(_calls_down, sentinel, silent.port), timeout=30, why="the Sentinel calls it down")
        receipt = await producer("submit", wanted)
        silent.resume()
        await producer.close()

        assert (receipt.created, receipt.durability) == (False, "replicated")


def _calls_down(sentinel: Any, port: int | None) -> bool:
    rows = [dict(zip(row[::2], row[1::2], strict=True)) for row in sentinel.asked("SENTINEL", "REPLICAS", SERVICE)]
    return any("s_down" in row["flags"] for row in rows if row["port"] == str(port))
