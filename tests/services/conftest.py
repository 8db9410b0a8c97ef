"""What the tests of the duties start from: a fleet and a store on the server of the test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from jobfleet import AsyncFleet
from jobfleet.store.aio import AsyncStore
from jobfleet.store.connect import target


@pytest.fixture
async def fleet(redis_url: str) -> AsyncIterator[AsyncFleet]:
    async with AsyncFleet(redis_url) as fleet:
        yield fleet


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[AsyncStore]:
    store = AsyncStore(target(redis_url))
    yield store
    await store.close()
