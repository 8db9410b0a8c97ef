"""Leases and the timeout of renewals follow the time that Redis takes for a reply."""

from __future__ import annotations

import asyncio

from jobfleet import Fleet
from jobfleet.store.aio import AsyncStore
from jobfleet.store.keys import Keyspace
from jobfleet.worker.ipc.lease_board import Phase, Posted
from jobfleet.worker.supervisor.lease_renewer import MOST, QUICK, LeaseRenewer, Pace
from tests.support.proxy import Proxy
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
