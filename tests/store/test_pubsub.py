"""Listeners on a real server: what a foreign client publishes does not end them."""

from __future__ import annotations

import redis

from jobfleet.store.pubsub import AsyncListener, Listener
from jobfleet.store.server.connect import target

BAD = b"\xff\xfe"
"""No UTF-8."""


def test_bytes_that_are_not_text_are_a_message_like_others(raw: redis.Redis, redis_url: str) -> None:
    listener = Listener(target(redis_url), ("c",)).subscribed()
    raw.publish("c", BAD)
    raw.publish("c", "after")

    assert [listener.get(30.0), listener.get(30.0)] == ["\N{REPLACEMENT CHARACTER}" * 2, "after"]
    listener.close()


async def test_bytes_that_are_not_text_are_a_message_like_others_when_awaited(raw: redis.Redis, redis_url: str) -> None:
    listener = await AsyncListener(target(redis_url), ("c",)).subscribed()
    raw.publish("c", BAD)
    raw.publish("c", "after")

    assert [await listener.get(30.0), await listener.get(30.0)] == ["\N{REPLACEMENT CHARACTER}" * 2, "after"]
    await listener.close()
