"""Subscriptions of a whole client over one connection, on a server that restarts, freezes and talks rubbish."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from jobfleet.clock import monotonic
from jobfleet.store.channels import PART, AsyncChannels, Channels, Message
from jobfleet.store.target import target
from tests.support.server import RedisServer

BAD = b"\xff\xfe"
"""No UTF-8."""
LONG = 20.0


class Blocking:
    """Awaits what blocks, so that one suite holds for both."""

    def __init__(self, channels: Channels) -> None:
        self.subscribe = channels.subscribe
        self.unsubscribe = channels.unsubscribe
        self.wake = channels.wake
        self._channels = channels

    async def read(self, timeout: float) -> list[Message]:
        return await asyncio.to_thread(self._channels.read, timeout)

    async def close(self) -> None:
        self._channels.close()


Either = AsyncChannels | Blocking
Make = Callable[[str], Either]


@pytest.fixture(params=["sync", "async"])
def make(request: pytest.FixtureRequest) -> Make:
    """Make one of both kinds."""
    if request.param == "sync":
        return lambda url: Blocking(Channels(target(url)))
    return lambda url: AsyncChannels(target(url))


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


async def heard(channels: Either, count: int) -> list[tuple[str, str | None]]:
    """Read so many messages."""
    found: list[tuple[str, str | None]] = []
    until = monotonic() + LONG
    while len(found) < count and monotonic() < until:
        found += [(message.channel, message.text) for message in await channels.read(0.5)]
    return found


def subscribers(raw: redis.Redis, channel: str) -> int:
    return int(dict(raw.pubsub_numsub(channel))[channel.encode()])


async def test_it_hears_all_channels_over_one_connection(make: Make, raw: redis.Redis, redis_url: str) -> None:
    before = len(raw.client_list())
    channels = make(redis_url)
    names = [f"c{number}" for number in range(PART + 10)]
    channels.subscribe(names)
    begun = await heard(channels, len(names))
    raw.publish("c0", "first")
    raw.publish(names[-1], BAD)

    assert sorted(begun) == sorted((name, None) for name in names)
    assert {*await heard(channels, 2)} == {("c0", "first"), (names[-1], "\N{REPLACEMENT CHARACTER}" * 2)}
    assert len(raw.client_list()) == before + 1
    await channels.close()


async def test_it_subscribes_while_another_reads(make: Make, raw: redis.Redis, redis_url: str) -> None:
    channels = make(redis_url)
    channels.subscribe(["a"])
    await heard(channels, 1)
    reading = asyncio.create_task(heard(channels, 2))
    await asyncio.sleep(0)

    channels.subscribe(["b", "a"])

    assert sorted(await reading) == [("a", None), ("b", None)]
    await channels.close()


async def test_a_channel_that_nobody_needs_is_unsubscribed(make: Make, raw: redis.Redis, redis_url: str) -> None:
    channels = make(redis_url)
    channels.subscribe(["a", "b"])
    await heard(channels, 2)

    channels.unsubscribe(["a", "b"])
    channels.subscribe(["b"])
    await heard(channels, 1)
    raw.publish("b", "still")

    assert await heard(channels, 1) == [("b", "still")]
    assert (subscribers(raw, "a"), subscribers(raw, "b")) == (0, 1)
    await channels.close()


async def test_it_connects_again_and_says_so(make: Make, raw: redis.Redis, redis_url: str) -> None:
    channels = make(redis_url)
    channels.subscribe(["a"])
    await heard(channels, 1)

    raw.client_kill_filter(_type="pubsub")

    assert await heard(channels, 1) == [("a", None)]
    raw.publish("a", "again")
    assert await heard(channels, 1) == [("a", "again")]
    await channels.close()


async def test_a_subscription_that_cannot_be_sent_loses_no_other(make: Make, raw: redis.Redis, redis_url: str) -> None:
    channels = make(redis_url)
    channels.subscribe(["a"])
    await heard(channels, 1)
    raw.client_kill_filter(_type="pubsub")
    for name in ("b", "c", "d"):  # the first one may still be sent, the others are not
        channels.subscribe([name])
        await asyncio.to_thread(raw.ping)

    begun = await heard(channels, 4)

    assert sorted(begun) == [("a", None), ("b", None), ("c", None), ("d", None)]
    assert [subscribers(raw, name) for name in "abcd"] == [1, 1, 1, 1]
    await channels.close()


@pytest.mark.first(1)
async def test_a_server_that_reads_nothing_ends_no_reader(
    make: Make, own_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobfleet.store.channels.BOUND", 0.2)
    channels = make(own_server.url)
    channels.subscribe(["a"])
    assert await heard(channels, 1) == [("a", None)]
    reading = asyncio.create_task(channels.read(LONG))
    await asyncio.sleep(0)
    own_server.pause()
    wanted = {f"{number}".rjust(1000) for number in range(PART)}
    channels.subscribe(wanted)

    assert await reading == []

    own_server.resume()
    while wanted:  # over a new connection, or over the old one: asyncio in Python 3.12 and 3.13 bounds no `writelines`
        messages = await heard(channels, 1)
        assert messages, f"{len(wanted)} subscriptions are missing"
        wanted -= {channel for channel, _ in messages}
    assert subscribers(own_server.client(), "a") == 1
    await channels.close()


async def test_a_server_that_refuses_subscriptions_is_asked_less_and_less_often(
    make: Make, own_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = own_server.client()
    raw.acl_setuser("default", enabled=True, reset_channels=True)
    now = [1000.0]
    monkeypatch.setattr("jobfleet.store.channels.monotonic", lambda: now[0])
    channels = make(own_server.url)
    channels.subscribe(["a"])
    pauses = []
    for _ in range(5):
        before = connections(raw)
        begun = now[0]
        while connections(raw) == before:
            assert await channels.read(0.01) == []
            now[0] += 0.01
        pauses.append(now[0] - begun)

    assert pauses == sorted(pauses)
    assert pauses[-1] > 4 * pauses[1]
    await channels.close()


def connections(raw: redis.Redis) -> int:
    """How many connections the server has accepted so far."""
    return int(raw.info("stats")["total_connections_received"])


async def test_it_waits_for_a_server_that_is_away(make: Make, own_server: RedisServer) -> None:
    channels = make(own_server.url)
    channels.subscribe(["a"])
    await heard(channels, 1)
    own_server.kill()
    assert [await channels.read(0.01) for _ in range(5)] == [[]] * 5

    own_server.restart()

    assert await heard(channels, 1) == [("a", None)]
    await channels.close()


async def test_a_read_returns_in_time_though_the_server_is_frozen(make: Make, own_server: RedisServer) -> None:
    channels = make(own_server.url)
    channels.subscribe(["a"])
    own_server.pause()
    try:
        async with asyncio.timeout(6.0):
            assert await channels.read(0.05) == []
    finally:
        own_server.resume()
    await channels.close()


async def test_a_connection_that_went_silent_is_replaced(
    make: Make, own_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobfleet.store.channels.SILENCE", 0.1)
    monkeypatch.setattr("jobfleet.store.channels.ANSWER", 0.1)
    channels = make(own_server.url)
    channels.subscribe(["a"])
    await heard(channels, 1)
    own_server.pause()
    for _ in range(5):
        await channels.read(0.1)
    own_server.resume()

    assert await heard(channels, 1) == [("a", None)]
    await channels.close()


async def test_a_caller_that_is_cancelled_breaks_nothing(raw: redis.Redis, redis_url: str) -> None:
    channels = AsyncChannels(target(redis_url))
    channels.subscribe(["a"])
    await heard(channels, 1)
    for _ in range(20):
        reading = asyncio.create_task(channels.read(LONG))
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait((reading,))
    raw.publish("a", "heard")

    assert await heard(channels, 1) == [("a", "heard")]
    await channels.close()


def test_a_waiting_read_of_another_thread_returns_when_it_is_woken(redis_url: str) -> None:
    channels = Channels(target(redis_url))
    channels.subscribe(["a"])
    assert channels.read(LONG) == [Message("a", None)]
    done: list[Any] = []
    thread = threading.Thread(target=lambda: done.append(channels.read(LONG)), daemon=True)
    thread.start()

    channels.wake()

    thread.join(LONG / 2)
    assert done == [[]]
    channels.close()
