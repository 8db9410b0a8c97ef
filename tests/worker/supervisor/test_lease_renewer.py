"""Leases and the timeout of renewals follow the time that Redis takes for a reply."""

from __future__ import annotations

import asyncio

from jobfleet import Fleet
from jobfleet.store.aio import AsyncStore
from jobfleet.store.keys import Keyspace
from jobfleet.worker.ipc.lease_board import Phase, Posted
from jobfleet.worker.supervisor.leases import MOST, QUICK, LeaseRenewer, Pace
from tests.support.cluster import ClusterServers
from tests.support.proxy import Proxy
from tests.support.seed import S, Seed
from tests.support.server import RedisServer


def seen(pace: Pace) -> tuple[float, float]:
    return (pace.lease, pace.timeout)


def test_slow_replies_lengthen_the_lease_until_replies_are_quick_again() -> None:
    pace = Pace(6.0, 1.0)
    pace.answered(0.4)
    states = [seen(pace)]
    for seconds in (0.7, 1.5, *[0.1] * (QUICK - 1), 1.5, *[0.1] * QUICK):
        pace.answered(seconds)
    states.append(seen(pace))
    for _ in range(QUICK):
        pace.answered(0.1)

    assert [*states, seen(pace)] == [(6.0, 1.0), (12.0, 2.0), (6.0, 1.0)]


def test_silence_lengthens_the_timeout_alone_and_a_quick_reply_ends_that() -> None:
    pace = Pace(6.0, 1.0)
    states = []
    for _ in range(5):
        pace.missed()
        states.append(seen(pace))
    pace.answered(0.1)

    assert [*states, seen(pace)] == [(6.0, 2.0), (6.0, 4.0), (6.0, 8.0), (6.0, 8.0), (6.0, 8.0), (6.0, 1.0)]


def test_a_slow_reply_after_silence_keeps_the_timeout_and_lengthens_the_lease() -> None:
    pace = Pace(6.0, 1.0)
    pace.missed()
    pace.missed()
    pace.answered(1.4)

    assert seen(pace) == (12.0, 4.0)


async def test_a_reply_that_comes_after_the_timeout_still_counts() -> None:
    held = [Posted(Phase.STARTED, "default.0.a", 7)]
    with RedisServer(tcp=True) as server, Proxy(server) as proxy, Fleet(proxy.url) as fleet:
        store = AsyncStore(fleet.store.at, patience=None, socket_timeout=MOST * 0.5)
        renewer = LeaseRenewer(store, Keyspace("jobfleet"), lease=6.0, timeout=0.5)
        await renewer.renew(held)
        proxy.delay(0.4)

        news = await asyncio.wait_for(renewer.renew(held), 30)
        proxy.pass_all()
        await store.close()

    assert ([one.lost for one in news], renewer.longest) == ([[held[0].key]], 12.0)


async def test_a_slow_node_of_a_cluster_gets_longer_leases_and_the_others_do_not_wait_for_it() -> None:
    keys = Keyspace("jobfleet")
    with ClusterServers(replicas=0) as cluster, Fleet(cluster.url) as fleet:
        lanes = {cluster.owner(lane.lane).port: lane for lane in (keys.lane("q", number) for number in range(20))}
        quick, slow = list(lanes.values())[:2]
        server = cluster.owner(slow.lane)
        seeds = [Seed(cluster.owner(lane.lane).client(), lane) for lane in (quick, slow)]
        held = [Posted(Phase.STARTED, seed.running("a", deadline=0), 7) for seed in seeds]
        store = AsyncStore(fleet.store.at, patience=None, socket_timeout=MOST * 0.5)
        renewer = LeaseRenewer(store, keys, lease=3.0, timeout=0.5)
        await renewer.renew(held)

        server.asked("CLIENT PAUSE", 2000)
        meanwhile = await renewer.renew(held)
        await asyncio.to_thread(server.asked, "PING")  # it is answered at the end of the pause
        later = await renewer.renew(held)
        await renewer.renew(held)
        ends = [seed.raw.zscore(seed.lane.lease, one.id) or 0.0 for seed, one in zip(seeds, held, strict=True)]
        await store.close()

    assert [key for news in meanwhile for key in news.standing] == [held[0].key]
    assert not all(news.is_whole for news in meanwhile)
    assert [key for news in later for key in news.standing].count(held[1].key) == 2
    assert all(news.is_whole for news in later)
    assert ends[1] - ends[0] > 1.5 * S, "a lease of 6 s beside one of 3 s"
