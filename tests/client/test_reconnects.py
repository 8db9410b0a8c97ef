"""Clients that live long lose many connections."""

from __future__ import annotations

import pytest
import redis

from jobfleet import AsyncFleet, Fleet, Job
from jobfleet.functions.registry import Registry
from tests.client.either import Either

TIMES = 120
"""More than a pool of redis-py allows by itself."""


@pytest.mark.first(1)
@pytest.mark.parametrize("kind", [Fleet, AsyncFleet])
async def test_a_client_goes_on_however_many_connections_it_has_lost(
    kind: type[Fleet | AsyncFleet], redis_url: str, raw: redis.Redis, registry: Registry
) -> None:
    registry.register(lambda: None, name="app.nothing")
    client = Either(kind(redis_url, registry=registry))
    ids = set()

    for _ in range(TIMES):
        ids.add(await client("enqueue", Job("nothing", "app.nothing")))
        raw.client_kill_filter(_type="normal", skipme=True)

    assert len(ids) == TIMES
    assert await client("poll_many", sorted(ids))
    await client.close()
