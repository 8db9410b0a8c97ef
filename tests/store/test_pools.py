"""Pools on a real server: bounded, shrinking, and never stuck."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator, Sequence

import pytest
import redis
from redis import exceptions

from jobfleet.store.call import Command
from jobfleet.store.link.aio import AsyncSocketLink
from jobfleet.store.link.sync import SocketLink
from jobfleet.store.target import target
from tests.support.waiting import wait_until

pytestmark = pytest.mark.not_on("cluster", reason="a link to one server; tests/store/cluster has those of clusters")
MOST = 4
LONG = 20.0


@pytest.fixture
def link(redis_url: str) -> Iterator[SocketLink]:
    made = SocketLink(target(redis_url), connect_timeout=5, socket_timeout=5, max_connections=MOST)
    yield made
    made.close()


def alink(redis_url: str, *, socket_timeout: float = 5) -> AsyncSocketLink:
    return AsyncSocketLink(target(redis_url), connect_timeout=5, socket_timeout=socket_timeout, max_connections=MOST)


def connected(raw: redis.Redis) -> int:
    return len(raw.client_list(_type="normal")) - 1


def test_a_burst_of_threads_waits_for_few_connections(link: SocketLink, raw: redis.Redis) -> None:
    most: list[int] = []
    replies: list[list[object]] = []
    barrier = threading.Barrier(60)

    def work(number: int) -> None:
        barrier.wait()
        replies.extend(link.exchange([("ECHO", f"{number}-{turn}")]) for turn in range(20))

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(60)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        most.append(connected(raw))
    assert sorted(replies) == sorted([f"{number}-{turn}".encode()] for number in range(60) for turn in range(20))
    assert 1 <= max(most) <= MOST
    assert len(link.pool.idle) <= MOST


async def test_a_burst_of_tasks_waits_for_few_connections(redis_url: str, raw: redis.Redis) -> None:
    link = alink(redis_url)

    replies = await asyncio.gather(*(link.exchange([("ECHO", str(number))]) for number in range(500)))

    assert replies == [[str(number).encode()] for number in range(500)]
    assert connected(raw) <= MOST
    await link.close()


def test_a_thread_that_waits_in_vain_gets_an_error_and_breaks_nothing(redis_url: str) -> None:
    link = SocketLink(target(redis_url), connect_timeout=5, socket_timeout=0.05, max_connections=1)
    connection = link.pool.take()

    (reply,) = link.exchange([("PING",)])

    assert isinstance(reply, exceptions.TimeoutError)
    assert str(reply) == "all 1 connections were in use for 0.05 s"
    link.pool.give(connection)
    assert link.exchange([("PING",)]) == [b"PONG"]
    link.close()


async def test_a_task_that_waits_in_vain_gets_an_error_and_breaks_nothing(redis_url: str) -> None:
    link = alink(redis_url, socket_timeout=0.1)
    connections = [await link.pool.take() for _ in range(MOST)]

    (reply,) = await link.exchange([("PING",)])

    assert isinstance(reply, TimeoutError)
    for connection in connections:
        await link.pool.give(connection)
    assert await link.exchange([("PING",)]) == [b"PONG"]
    await link.close()


async def test_a_cancelled_task_passes_its_turn_on(redis_url: str) -> None:
    link = alink(redis_url)
    connections = [await link.pool.take() for _ in range(MOST)]
    waiting = [asyncio.create_task(link.exchange([("PING",)])) for _ in range(3)]
    await asyncio.sleep(0)

    await link.pool.give(connections.pop())
    waiting[0].cancel()

    assert await asyncio.gather(*waiting[1:]) == [[b"PONG"], [b"PONG"]]
    for connection in connections:
        await link.pool.give(connection)
    await link.close()


def test_broken_connections_make_room_for_others(link: SocketLink, raw: redis.Redis) -> None:
    for _ in range(MOST * 3):
        taken = [link.pool.take() for _ in range(MOST)]
        for connection in taken:
            link.pool.drop(connection)

    assert link.exchange([("PING",)]) == [b"PONG"]
    wait_until(lambda: connected(raw) == 1, why="the others are closed")


async def test_a_refused_connection_costs_no_place(redis_url: str) -> None:
    link = AsyncSocketLink(target("unix:///nowhere.sock"), connect_timeout=1, socket_timeout=1, max_connections=MOST)

    replies = [await link.exchange([("PING",)]) for _ in range(MOST * 2)]

    assert all(isinstance(reply, exceptions.ConnectionError) for (reply,) in replies)
    await link.close()


def test_idle_connections_are_closed_except_one(
    link: SocketLink, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobfleet.store.link.sync.LOOK_EVERY", 0.01)
    for connection in [link.pool.take() for _ in range(MOST)]:
        link.pool.give(connection)

    wait_until(lambda: connected(raw) == 1, why="the unused ones are closed")

    assert len(link.pool.idle) == 1
    assert link.exchange([("PING",)]) == [b"PONG"]


async def test_idle_connections_of_a_loop_are_closed_except_one(
    redis_url: str, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobfleet.store.link.aio.LOOK_EVERY", 0.01)
    link = alink(redis_url)
    for connection in [await link.pool.take() for _ in range(MOST)]:
        await link.pool.give(connection)

    await asyncio.to_thread(wait_until, lambda: connected(raw) == 1, why="the unused ones are closed")

    assert await link.exchange([("PING",)]) == [b"PONG"]
    await link.close()


def test_a_call_inside_a_call_gets_a_connection_although_none_is_free(link: SocketLink, raw: redis.Redis) -> None:
    """Hooks run while jobs are written, and may enqueue jobs themselves."""
    others = [link.pool.take() for _ in range(MOST - 1)]

    def parts() -> Iterator[Sequence[Command]]:
        yield [("ECHO", "outer")]
        assert link.exchange([("ECHO", "inner")]) == [b"inner"]
        yield [("ECHO", "last")]

    assert link.exchange_as_made(parts()) == [b"outer", b"last"]
    for connection in others:
        link.pool.give(connection)
    wait_until(lambda: connected(raw) <= MOST, why="the additional one is closed")


def test_a_reply_is_not_lost_when_no_thread_can_be_started(link: SocketLink, monkeypatch: pytest.MonkeyPatch) -> None:
    spare, other = link.pool.take(), link.pool.take()
    link.pool.give(spare)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    link.pool.give(other)
    assert link.exchange([("PING",)]) == [b"PONG"]
    monkeypatch.undo()
    monkeypatch.setattr("jobfleet.store.link.sync.LOOK_EVERY", 0.01)
    assert link.exchange([("PING",)]) == [b"PONG"]

    wait_until(lambda: len(link.pool.idle) == 1, why="a later call has the unused one closed")


def test_a_forked_child_begins_with_an_empty_pool(link: SocketLink) -> None:
    for connection in [link.pool.take() for _ in range(MOST)]:
        link.pool.give(connection)
    taken = [link.pool.take() for _ in range(MOST)]
    pid = os.fork()
    if pid == 0:  # pragma: no cover - another process
        os._exit(0 if link.exchange([("PING",)]) == [b"PONG"] else 1)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    for connection in taken:
        link.pool.give(connection)
