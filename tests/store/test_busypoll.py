"""Busy polling: when a reply is looked for, and that looking changes nothing but the time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis
from redis import exceptions

from jobfleet import AsyncFleet, Fleet
from jobfleet.store.link.aio import AsyncSocketLink
from jobfleet.store.link.sync import Odds, SocketLink
from jobfleet.store.target import target
from tests.support.waiting import wait_until

pytestmark = pytest.mark.not_on("cluster", reason="a link to one server; tests/store/cluster has those of clusters")
LONG = 60.0
SHORT = 0.02
FOREVER = ("BLPOP", "never", "0")


class Looks:
    """A connection that counts how often it was asked whether it can be read."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.count = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def can_read(self, timeout: float) -> bool:
        self.count += 1
        return bool(self._connection.can_read(timeout))


def sync_link(url: str, limit: float) -> tuple[SocketLink, Looks]:
    link = SocketLink(target(url), connect_timeout=5, socket_timeout=60, busy_poll=limit)
    link.exchange([("PING",)])
    looks = Looks(link.pool.idle.pop())
    link.pool.idle.append(looks)
    return link, looks


@pytest.fixture
def link_and_looks(redis_url: str) -> Iterator[tuple[SocketLink, Looks]]:
    link, looks = sync_link(redis_url, LONG)
    yield link, looks
    link.close()


@pytest.fixture
async def alink(redis_url: str) -> AsyncIterator[AsyncSocketLink]:
    made = AsyncSocketLink(target(redis_url), connect_timeout=5, socket_timeout=5, busy_poll=LONG)
    yield made
    await made.close()


def blocked(raw: redis.Redis) -> list[int]:
    clients: Any = raw.client_list()
    return [int(client["id"]) for client in clients if client["cmd"] == "blpop"]


def has_missed(link: SocketLink | AsyncSocketLink) -> bool:
    return link.busy_poll.odds._misses == 1


# Odds


def left_out(odds: Odds) -> int:
    """How many exchanges go by until one is looked for again; that one is taken."""
    count = 0
    while not odds.are_good():
        count += 1
    return count


def test_while_replies_come_in_time_each_is_looked_for() -> None:
    odds = Odds(0.1)

    for _ in range(5):
        assert left_out(odds) == 0
        odds.found()


def test_each_time_in_vain_is_left_out_longer_up_to_a_bound() -> None:
    odds, seen = Odds(0.1), []

    for _ in range(11):
        odds.missed()
        seen.append(left_out(odds))

    assert seen == [1, 3, 7, 15, 31, 63, 127, 255, 255, 255, 255]


def test_after_a_reply_in_time_a_miss_is_forgiven_soon() -> None:
    odds = Odds(0.1)
    for _ in range(6):
        odds.missed()
    assert left_out(odds) == 63

    odds.found()
    odds.missed()

    assert left_out(odds) == 1


def test_without_a_limit_nothing_is_looked_for(redis_url: str) -> None:
    link, looks = sync_link(redis_url, 0.0)

    assert link.exchange([("PING",)]) == [b"PONG"]
    assert (looks.count, Odds(0.0).are_good()) == (0, False)
    link.close()


# Links that block


def test_a_reply_is_looked_for_and_read(link_and_looks: tuple[SocketLink, Looks]) -> None:
    link, looks = link_and_looks

    assert link.exchange([("ECHO", "a"), ("NOPE",), ("ECHO", "b")])[::2] == [b"a", b"b"]
    assert looks.count >= 1


def test_a_reply_that_comes_late_is_waited_for_and_the_next_not_looked_for(redis_url: str, raw: redis.Redis) -> None:
    link, looks = sync_link(redis_url, SHORT)
    answers: list[Any] = []
    raw.client_pause(60_000, all=False)
    late = threading.Thread(target=lambda: answers.extend(link.exchange([("SET", "late", "x")])))
    late.start()
    wait_until(lambda: has_missed(link), why="the look was in vain")
    seen = looks.count
    raw.client_unpause()
    late.join()

    assert link.exchange([("ECHO", "next")]) == [b"next"]

    assert (answers, seen > 1, looks.count) == ([b"OK"], True, seen)
    link.close()


def test_one_thread_at_a_time_looks(link_and_looks: tuple[SocketLink, Looks], raw: redis.Redis) -> None:
    link, _ = link_and_looks
    answers: list[Any] = []
    first = threading.Thread(target=lambda: answers.extend(link.exchange([("BLPOP", "list", "0")])))
    first.start()
    wait_until(lambda: blocked(raw) and link.busy_poll._turn.locked(), why="one blocks, and looks")
    assert link.exchange([("PING",)]) == [b"PONG"]
    others = Looks(link.pool.idle.pop())
    link.pool.idle.append(others)

    assert link.exchange([("PING",)]) == [b"PONG"]
    raw.rpush("list", "x")
    first.join()

    assert (others.count, answers) == (0, [[b"list", b"x"]])


def test_a_connection_that_is_closed_while_it_is_looked_at_is_an_answer(
    link_and_looks: tuple[SocketLink, Looks], raw: redis.Redis
) -> None:
    link, _ = link_and_looks
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.extend(link.exchange([FOREVER])))
    thread.start()
    wait_until(lambda: blocked(raw), why="it blocks")

    raw.client_kill_filter(_id=str(blocked(raw)[0]))
    thread.join()

    assert [type(answer) for answer in answers] == [exceptions.ConnectionError]
    assert link.exchange([("ECHO", "again")]) == [b"again"]


# Links that await


def looks(link: AsyncSocketLink) -> bool:
    """Whether the loop is kept awake for a reply."""
    return link.busy_poll._until > 0


async def test_a_loop_that_looks_lets_everything_else_go_on(alink: AsyncSocketLink, raw: redis.Redis) -> None:
    waiting = asyncio.create_task(alink.exchange([("BLPOP", "list", "0")]))
    await asyncio.to_thread(wait_until, lambda: blocked(raw), why="it blocks")
    turns = 0
    for _ in range(1000):
        await asyncio.sleep(0)
        turns += 1
    was_looking = looks(alink)
    others = await asyncio.gather(*(alink.exchange([("ECHO", str(n))]) for n in range(5)))

    raw.rpush("list", "x")

    assert await waiting == [[b"list", b"x"]]
    assert (was_looking, turns, others) == (True, 1000, [[str(n).encode()] for n in range(5)])
    assert not looks(alink)


async def test_a_cancelled_exchange_ends_the_looking(alink: AsyncSocketLink, raw: redis.Redis) -> None:
    waiting = asyncio.create_task(alink.exchange([FOREVER]))
    await asyncio.to_thread(wait_until, lambda: blocked(raw), why="it blocks")
    was_looking = looks(alink)

    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    assert (was_looking, looks(alink)) == (True, False)
    assert await alink.exchange([("ECHO", "again")]) == [b"again"]


async def test_an_awaited_reply_that_comes_late_is_waited_for_and_the_next_not_looked_for(
    redis_url: str, raw: redis.Redis
) -> None:
    link = AsyncSocketLink(target(redis_url), connect_timeout=5, socket_timeout=60, busy_poll=SHORT)
    await link.exchange([("PING",)])
    raw.client_pause(60_000, all=False)
    late = asyncio.create_task(link.exchange([("SET", "late", "x")]))
    await asyncio.to_thread(wait_until, lambda: has_missed(link), why="the look was in vain")
    raw.client_unpause()
    answers = await late

    waiting = asyncio.create_task(link.exchange([("BLPOP", "list", "0")]))
    await asyncio.to_thread(wait_until, lambda: blocked(raw), why="it blocks")
    was_looking = looks(link)
    raw.rpush("list", "x")

    assert (answers, await waiting, was_looking) == ([b"OK"], [[b"list", b"x"]], False)
    await link.close()


# Clients


@pytest.mark.parametrize("limit", [0.0, 0.0002, 0.5])
async def test_producers_look_for_as_long_as_they_are_told(redis_url: str, limit: float) -> None:
    with Fleet(redis_url, busy_poll=limit) as fleet:
        async with AsyncFleet(redis_url, busy_poll=limit) as awaiting:
            found: list[Any] = [fleet.store.link, awaiting.store.link]
            assert [link.busy_poll.odds.limit for link in found] == [limit] * 2


def test_by_default_producers_look_for_a_fifth_of_a_millisecond(redis_url: str) -> None:
    with Fleet(redis_url) as fleet:
        link: Any = fleet.store.link
        assert link.busy_poll.odds.limit == 0.0002
