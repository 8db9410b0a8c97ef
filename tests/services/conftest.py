"""What the tests of the duties start from: a fleet and a store on the server of the test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from jobfleet import AsyncFleet
from jobfleet.config import JobConfig
from jobfleet.metrics.tally import Tally
from jobfleet.notify import NotificationChannel
from jobfleet.notify.registry import Channels
from jobfleet.services.duties.notify import Notify
from jobfleet.store.aio import AsyncStore
from tests.services.telling import KEYS, Made


@pytest.fixture
def fleet(afleet: AsyncFleet) -> AsyncFleet:
    """The fleet of these tests is awaited."""
    return afleet


@pytest.fixture
async def duty(store: AsyncStore, redis_url: str) -> AsyncIterator[Made]:
    """Makes duties with one channel, or with a manager; they stop with the test."""
    made: list[Notify] = []

    def make(channel: NotificationChannel | Channels, **rule: Any) -> Notify:
        manager = channel if isinstance(channel, Channels) else Channels()
        if isinstance(channel, NotificationChannel):
            manager.add_notification_channel(channel, **rule)
        consumer = f"test-{len(made)}"
        made.append(Notify(store, KEYS, JobConfig(url=redis_url), Tally(), manager, consumer=consumer))
        return made[-1]

    yield make
    for one in made:
        await one.stop()
