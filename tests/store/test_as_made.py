"""Calls that are sent as they are made: what is under way, and what becomes of it when something goes wrong."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis
from redis import exceptions

from jobfleet.errors import StoreUnavailable
from jobfleet.store import trip
from jobfleet.store.call import Call, Command
from jobfleet.store.calls.control import pause, resume
from jobfleet.store.calls.enqueue import enqueue
from jobfleet.store.keys import Keyspace
from jobfleet.store.link.aio import AsyncSocketLink
from jobfleet.store.link.sync import SocketLink
from jobfleet.store.records import Entry
from jobfleet.store.sync import Store
from jobfleet.store.target import target
from jobfleet.store.trip import Detours, LazyCalls
from tests.support.faults import Faults, FlakyLink
from tests.support.waiting import wait_until

pytestmark = pytest.mark.not_on("cluster", reason="a link to one server; tests/store/cluster has those of clusters")
LANE = Keyspace("test").lane("mail", 0)
Parts = Iterator[list[Command]]
Calls = Iterator[list[Call[Any]]]


@pytest.fixture
def link(redis_url: str) -> Iterator[SocketLink]:
    made = SocketLink(target(redis_url), connect_timeout=5, socket_timeout=5)
    yield made
    made.close()


@pytest.fixture
async def alink(redis_url: str) -> AsyncIterator[AsyncSocketLink]:
    made = AsyncSocketLink(target(redis_url), connect_timeout=5, socket_timeout=5)
    yield made
    await made.close()


class Talk:
    """Either link under one tongue."""

    def __init__(self, link: SocketLink | AsyncSocketLink) -> None:
        self.link = link

    async def __call__(self, parts: Parts) -> list[Any]:
        if isinstance(self.link, SocketLink):
            return self.link.exchange_as_made(parts)
        return await self.link.exchange_as_made(parts)

    async def echo(self, word: str) -> list[Any]:
        if isinstance(self.link, SocketLink):
            return self.link.exchange(echo(word))
        return await self.link.exchange(echo(word))

    @property
    def idle(self) -> int:
        return len(self.link.pool.idle)


@pytest.fixture(params=["sync", "async"])
def talk(request: pytest.FixtureRequest, link: SocketLink, alink: AsyncSocketLink) -> Talk:
    return Talk(link if request.param == "sync" else alink)


def echo(*words: str) -> list[Command]:
    return [("ECHO", word) for word in words]


def entry(name: str) -> Entry:
    return Entry(LANE.id_prefix + name, 2, "", "", b"x")


def some(*parts: str) -> Calls:
    """Calls that put jobs into the lane, a word of their names a part."""
    return ([enqueue(LANE, [entry(name)]) for name in part] for part in parts)


def waiting(raw: redis.Redis) -> set[str]:
    members: Any = raw.zrange(LANE.ready[2], 0, -1)
    return {member.decode().removeprefix(LANE.id_prefix) for member in members}


# What is under way


async def test_a_part_is_with_the_server_while_the_next_is_made(talk: Talk, raw: redis.Redis) -> None:
    def parts() -> Parts:
        yield [("SET", "first", "1"), ("SET", "second", "2")]
        wait_until(lambda: raw.exists("first", "second") == 2, why="the first part has been run")
        yield [("GET", "second")]

    assert await talk(parts()) == [b"OK", b"OK", b"2"]
    assert talk.idle == 1


async def test_replies_come_in_order_and_an_error_stands_in_its_place(talk: Talk) -> None:
    replies = await talk(iter([echo("a"), [("NOPE",), *echo("b")]]))

    assert (replies[0], type(replies[1]), replies[2]) == (b"a", exceptions.ResponseError, b"b")
    assert await talk.echo("c") == [b"c"]


async def test_nothing_made_needs_no_connection(talk: Talk) -> None:
    assert await talk(iter([])) == []
    assert talk.idle == 0


# What goes wrong


async def test_whoever_is_interrupted_while_making_leaves_no_reply_for_the_next(talk: Talk) -> None:
    def parts() -> Parts:
        yield echo("under way")
        raise KeyboardInterrupt

    await talk.echo("before")
    with pytest.raises(KeyboardInterrupt):
        await talk(parts())

    assert talk.idle == 0
    assert await talk.echo("after") == [b"after"]


async def test_what_a_lost_connection_leaves_over_is_made_and_answered_with_the_loss(
    talk: Talk, raw: redis.Redis
) -> None:
    def parts() -> Parts:
        yield echo("a")
        raw.client_kill_filter(_type="normal", skipme=True)
        for _ in range(100):  # the socket takes some before it knows
            yield [("ECHO", "b" * 10_000)] * 10
        yield echo("c")

    replies = await talk(parts())

    assert len(replies) == 1 + 1000 + 1
    assert isinstance(replies[-1], exceptions.ConnectionError | OSError)
    assert talk.idle == 0
    assert await talk.echo("after") == [b"after"]


async def test_an_exchange_that_is_cancelled_half_way_leaves_no_reply_for_the_next(alink: AsyncSocketLink) -> None:
    await alink.exchange(echo("first"))

    for turns in range(12):
        parts = iter([echo(f"cancelled {turns}"), echo("x" * 1_000_000), echo("too")])
        task = asyncio.create_task(alink.exchange_as_made(parts))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

        assert await alink.exchange(echo(f"next {turns}")) == [f"next {turns}".encode()]


async def test_time_that_making_takes_is_not_the_servers(
    alink: AsyncSocketLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    clock, late = loop.time, [0.0]
    monkeypatch.setattr(loop, "time", lambda: clock() + late[0])

    def parts() -> Parts:
        for word in "abc":
            late[0] += 60
            yield echo(word)

    assert await alink.exchange_as_made(parts()) == [b"a", b"b", b"c"]


# Stores


@pytest.mark.parametrize("seed", range(2))
def test_what_was_not_answered_is_sent_again(seed: int, raw: redis.Redis, redis_url: str) -> None:
    at = target(redis_url)
    faults = Faults(seed=seed, share=0.6, unsent=0.2)
    made = SocketLink(at, connect_timeout=5, socket_timeout=5)
    store = Store(at, link=FlakyLink(made, faults), patience=None)

    answers = store.run_many(LazyCalls(some("abc", "def", "g")))

    assert [len(answer) for answer in answers] == [1] * 7
    assert waiting(raw) == set("abcdefg")
    assert raw.hgetall(LANE.totals) == {b"enqueued": b"7"}
    store.close()


class Failure(Exception):
    """Of whoever makes calls."""


def failing(error: Exception) -> Calls:
    yield from some("a", "b")
    raise error


@pytest.mark.parametrize("error", [Failure(), ConnectionError("the caller's own"), TimeoutError()])
def test_what_making_raises_is_raised_when_the_rest_is_answered(
    error: Exception, raw: redis.Redis, redis_url: str
) -> None:
    store = Store(target(redis_url))
    assert isinstance(store.link, SocketLink)

    with pytest.raises(type(error)) as caught:
        store.run_many(LazyCalls(failing(error)))

    assert caught.value is error
    assert waiting(raw) == {"a", "b"}
    assert len(store.link.pool.idle) == 1
    assert store.run(resume(LANE)) is False
    store.close()


def test_patience_counts_from_the_last_part(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(trip, "monotonic", lambda: next(ticks))
    making = LazyCalls(some("a", "b"))

    told = [making.since for _ in making.commands(Call.by_hash, Detours())]

    assert told == [1, 2]


def test_a_server_that_is_away_is_told_when_patience_ends() -> None:
    store = Store(target("redis://127.0.0.1:1/0"), patience=0)
    making = LazyCalls(some("abc", "def"))

    with pytest.raises(StoreUnavailable):
        store.run_many(making)

    assert len(making.calls) == 6


def test_the_longer_way_is_gone_at_once_where_it_is_remembered(raw: redis.Redis, redis_url: str) -> None:
    store = Store(target(redis_url))
    store.run(pause(LANE, by=None))
    unknown, known = LazyCalls(some("ab", "c")), LazyCalls(some("de", "f"))

    answers = [*store.run_many(unknown), *store.run_many(known)]

    assert answers == [[True]] * 6
    assert waiting(raw) == set("abcdef")
    assert [call.script.name for call in unknown.calls] == ["enqueue_plain"] * 3
    assert [call.script.name for call in known.calls] == ["enqueue"] * 3
    store.close()
