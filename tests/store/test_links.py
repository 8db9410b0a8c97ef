"""Links on real servers: threads, forks, frozen servers, lost replies, cancelled callers, refused connections."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import warnings
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis
from redis import exceptions

from jobfleet import Job
from jobfleet.config import JobConfig
from jobfleet.errors import ConfigError, StoreUnavailable
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.prepare import Resolved, submission_in
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.control import pause, resume
from jobfleet.store.calls.enqueue import enqueue
from jobfleet.store.connect import check_version
from jobfleet.store.keys import Keyspace
from jobfleet.store.link import aio as aio_link
from jobfleet.store.link import sync as sync_link
from jobfleet.store.link.aio import AsyncSocketLink
from jobfleet.store.link.sync import SocketLink
from jobfleet.store.sync import Store
from jobfleet.store.target import target
from tests.support.faults import Faults, FlakyLink
from tests.support.server import RedisServer
from tests.support.waiting import await_until, wait_until

pytestmark = pytest.mark.not_on("cluster", reason="a link to one server; tests/store/cluster has those of clusters")
LANE = Keyspace("test").lane("mail", 0)
PASSWORD = "hunter2"
BLOCKING = ("BZPOPMIN", "wake", "5")


BUSY_POLLS = (0.0, 0.0002, 5.0)
"""Replies are not looked for, for so short a time that some come later, and until they come."""


@pytest.fixture(params=BUSY_POLLS, ids=lambda limit: f"busy-poll-{limit:g}")
def link(redis_url: str, request: pytest.FixtureRequest) -> Iterator[SocketLink]:
    made = SocketLink(target(redis_url), connect_timeout=5, socket_timeout=5, busy_poll=request.param)
    yield made
    made.close()


@pytest.fixture(params=BUSY_POLLS, ids=lambda limit: f"busy-poll-{limit:g}")
async def alink(redis_url: str, request: pytest.FixtureRequest) -> AsyncIterator[AsyncSocketLink]:
    made = AsyncSocketLink(target(redis_url), connect_timeout=5, socket_timeout=5, busy_poll=request.param)
    yield made
    await made.close()


@pytest.fixture(scope="module")
def own_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def frozen(own_server: RedisServer) -> Iterator[RedisServer]:
    own_server.pause()
    yield own_server
    own_server.resume()


@pytest.fixture(scope="module")
def guarded() -> Iterator[RedisServer]:
    with RedisServer() as server:
        with redis.Redis.from_url(server.url, protocol=2) as client:
            client.config_set("requirepass", PASSWORD)
        yield server


def echo(*words: str) -> list[tuple[str, ...]]:
    return [("ECHO", word) for word in words]


def entries(count: int) -> list[Any]:
    context = FleetContext(JobConfig(namespace="test"))
    context.remember("mail", (1, 1))
    jobs = [Job("Mail", "mail.send", (n,), queue="mail") for n in range(count)]
    return [submission_in(context, job, Resolved("mail.send", {})).entry for job in jobs]


def waiting(raw: redis.Redis) -> set[str]:
    members: Any = raw.zrange(LANE.ready[2], 0, -1)
    return {member.decode() for member in members}


def is_blocking(raw: redis.Redis) -> bool:
    return any(client["cmd"] == "bzpopmin" for client in raw.client_list())


# Pipelines


def test_replies_come_in_order_and_an_error_stands_in_its_place(link: SocketLink) -> None:
    replies = link.exchange([*echo("a"), ("NOPE",), *echo("b")])

    assert (replies[0], type(replies[1]), replies[2]) == (b"a", exceptions.ResponseError, b"b")
    assert link.exchange(echo("c")) == [b"c"]


async def test_awaited_replies_come_in_order_and_an_error_stands_in_its_place(alink: AsyncSocketLink) -> None:
    replies = await alink.exchange([*echo("a"), ("NOPE",), *echo("b")])

    assert (replies[0], type(replies[1]), replies[2]) == (b"a", exceptions.ResponseError, b"b")
    assert await alink.exchange(echo("c")) == [b"c"]


async def test_an_exchange_of_nothing_needs_no_connection(link: SocketLink, alink: AsyncSocketLink) -> None:
    assert link.exchange([]) == await alink.exchange([]) == []
    assert link.pool.idle == alink.pool.idle == []


def test_arguments_may_be_texts_bytes_and_numbers(link: SocketLink) -> None:
    link.exchange([("SET", "Zoë", b"\x00\xff"), ("SET", "n", 7)])

    assert link.exchange([("GET", "Zoë"), ("GET", "n")]) == [b"\x00\xff", b"7"]


def test_threads_share_a_link(link: SocketLink) -> None:
    wrong: list[object] = []

    def talk(name: int) -> None:
        for turn in range(100):
            words = [f"{name}-{turn}-{place}" for place in range(3)]
            replies = link.exchange(echo(*words))
            if replies != [word.encode() for word in words]:
                wrong.append((words, replies))

    threads = [threading.Thread(target=talk, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
    assert 1 <= len(link.pool.idle) <= 6


def test_a_forked_child_takes_connections_of_its_own(link: SocketLink) -> None:
    assert link.exchange(echo("before")) == [b"before"]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads
        fork = os.fork()
    if fork == 0:
        try:
            same = [link.exchange(echo(f"child {n}")) == [f"child {n}".encode()] for n in range(50)]
            link.close()
        finally:
            os._exit(0 if all(same) else 1)
    ours = [link.exchange(echo(f"parent {n}")) for n in range(50)]
    _, status = os.waitpid(fork, 0)

    assert ours == [[f"parent {n}".encode()] for n in range(50)]
    assert os.waitstatus_to_exitcode(status) == 0


# Servers that do not answer


@pytest.mark.parametrize("is_connected", [True, False])
def test_a_frozen_server_costs_one_time_out(own_server: RedisServer, is_connected: bool) -> None:
    link = SocketLink(target(own_server.url), connect_timeout=0.2, socket_timeout=0.2)
    if is_connected:
        wait_until(lambda: link.exchange(echo("a")) == [b"a"], why="it is connected")

    own_server.pause()
    started = time.monotonic()
    try:
        replies = link.exchange(echo("b", "c"))
    finally:
        spent = time.monotonic() - started
        own_server.resume()

    assert [type(reply) for reply in replies] == [exceptions.TimeoutError] * 2
    assert 0.15 < spent < 3
    wait_until(lambda: link.exchange(echo("d")) == [b"d"], why="it answers again")
    link.close()


@pytest.mark.parametrize("is_connected", [True, False])
async def test_a_frozen_server_costs_an_awaiting_caller_one_time_out(
    own_server: RedisServer, is_connected: bool
) -> None:
    link = AsyncSocketLink(target(own_server.url), connect_timeout=0.2, socket_timeout=0.2)

    async def answers() -> bool:
        return await link.exchange(echo("a")) == [b"a"]

    if is_connected:
        await await_until(answers, why="it is connected")

    own_server.pause()
    started = time.monotonic()
    try:
        replies = await link.exchange(echo("b", "c"))
    finally:
        spent = time.monotonic() - started
        own_server.resume()

    assert [type(reply) for reply in replies] == [TimeoutError] * 2
    assert 0.15 < spent < 3
    await await_until(answers, why="it answers again")
    await link.close()


async def test_a_connection_whose_server_reads_no_more_is_closed_with_what_was_not_sent(
    own_server: RedisServer,
) -> None:
    """A transport that is only asked to close waits for its buffer, for as long as the server is frozen."""
    link = AsyncSocketLink(target(own_server.url), connect_timeout=5, socket_timeout=0.2)
    await await_until(lambda: _answers(link), why="it is connected")
    (connection,) = link.pool.idle
    transport = connection._writer.transport
    own_server.pause()

    try:
        replies = await link.exchange(echo("x" * 10_000_000))
        await link.close()
        await asyncio.sleep(0)
    finally:
        own_server.resume()

    assert [type(reply) for reply in replies] == [TimeoutError]
    assert transport.get_extra_info("socket").fileno() == -1


async def _answers(link: AsyncSocketLink) -> bool:
    return await link.exchange(echo("a")) == [b"a"]


def test_a_store_gives_up_on_a_frozen_server_when_its_patience_ends(frozen: RedisServer) -> None:
    store = Store(target(frozen.url), patience=0.3, connect_timeout=0.1, socket_timeout=0.1)

    with pytest.raises(StoreUnavailable, match=r"^No Redis at unix://.*server\.sock \(Timeout"):
        store.run(resume(LANE))


# Lost replies


@pytest.mark.parametrize("seed", range(2))
def test_a_job_whose_reply_was_lost_is_there_once(seed: int, raw: redis.Redis, redis_url: str) -> None:
    at = target(redis_url)
    faults = Faults(seed=seed, share=0.6)
    made = SocketLink(at, connect_timeout=5, socket_timeout=5)
    store = Store(at, link=FlakyLink(made, faults), patience=None)
    jobs = entries(12)

    answers = store.run_many([enqueue(LANE, jobs[place : place + 4]) for place in (0, 4, 8)])

    assert [len(answer) for answer in answers] == [4, 4, 4]
    assert waiting(raw) == {job[0] for job in jobs}
    assert raw.hgetall(LANE.totals) == {b"enqueued": b"12"}
    assert len(faults.exchanges) >= faults.lost + 1
    store.close()


def test_a_script_that_the_server_forgot_is_sent_again(raw: redis.Redis, redis_url: str) -> None:
    store = Store(target(redis_url))
    assert store.run(pause(LANE, by="ann")) is True

    raw.script_flush()

    assert store.run_many([pause(LANE, by="ann"), resume(LANE)]) == [False, True]
    store.close()


# Cancelled callers


@pytest.mark.parametrize("is_connected", [True, False])
async def test_a_cancelled_exchange_leaves_no_reply_for_the_next(alink: AsyncSocketLink, is_connected: bool) -> None:
    if is_connected:
        await alink.exchange(echo("first"))

    for turns in range(25):
        task = asyncio.create_task(alink.exchange(echo(f"cancelled {turns}", "too")))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

        assert await alink.exchange(echo(f"next {turns}")) == [f"next {turns}".encode()]


async def test_a_cancelled_block_takes_no_marker(alink: AsyncSocketLink, raw: redis.Redis) -> None:
    task = asyncio.create_task(alink.block((BLOCKING,), 5.0))
    await asyncio.to_thread(wait_until, lambda: is_blocking(raw), why="it blocks")

    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.to_thread(wait_until, lambda: not is_blocking(raw), why="it has hung up")
    raw.zadd("wake", {"marker": 1})

    assert await alink.block((BLOCKING,), 5.0) == [[b"wake", b"marker", b"1"]]


async def test_a_closed_link_stays_closed(alink: AsyncSocketLink) -> None:
    await alink.exchange(echo("a"))
    await alink.close()

    replies = await alink.exchange(echo("b"))

    assert [str(reply) for reply in replies] == ["this store is closed"]


# Servers that are refused


@pytest.mark.parametrize("version", ["7.2.0", "7.4.1", "8.0", "9.1.2", "255.255.255", "", "unknown"])
def test_a_server_that_is_new_enough_or_does_not_say_is_taken(version: str) -> None:
    check_version({"redis_version": version})


@pytest.mark.parametrize(
    ("version", "told"), [("6.2.14", "6.2"), ("7.0.15", "7.0"), ("7.1.999", "7.1"), ("2.8", "2.8")]
)
def test_a_server_that_is_too_old_is_refused(version: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_version({"redis_version": version})

    assert str(caught.value) == f"Redis {told} found; jobfleet needs 7.2 or later."


def test_a_store_refuses_a_server_that_is_too_old(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync_link, "info_of", lambda _: {"redis_version": "6.2.14"})
    store = Store(target(redis_url))

    with pytest.raises(ConfigError, match=r"^Redis 6\.2 found; jobfleet needs 7\.2 or later\.$"):
        store.run(resume(LANE))


async def test_an_awaiting_store_refuses_a_server_that_is_too_old_and_hangs_up(
    alink: AsyncSocketLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aio_link, "info_of", lambda _: {"redis_version": "6.2.14"})
    connection = alink._make()
    monkeypatch.setattr(alink, "_make", lambda: connection)

    with pytest.raises(ConfigError, match=r"^Redis 6\.2 found; jobfleet needs 7\.2 or later\.$"):
        await alink.exchange(echo("a"))
    is_left_open = connection.is_connected
    await connection.disconnect(nowait=True)

    assert not is_left_open


@pytest.mark.parametrize(
    ("user", "said"), [("", "Authentication required"), (":wr0ng@", "invalid"), ("bob:wr0ng@", "invalid")]
)
def test_a_wrong_password_is_told_at_once_and_never_shown(guarded: RedisServer, user: str, said: str) -> None:
    store = Store(target(guarded.url.replace("unix://", f"unix://{user}")), patience=None)

    with pytest.raises(ConfigError) as caught:
        store.run(resume(LANE))

    text = str(caught.value)
    assert text.startswith(f"Redis refuses: {said}")
    assert text.endswith(". Check user and password in --url / JOBFLEET_URL.")
    assert "wr0ng" not in text + store.at.shown


async def test_a_wrong_password_is_told_to_an_awaiting_caller(guarded: RedisServer) -> None:
    store = AsyncStore(target(guarded.url.replace("unix://", "unix://:wr0ng@")), patience=None)

    with pytest.raises(ConfigError, match=r"^Redis refuses: invalid"):
        await store.run(resume(LANE))


def test_the_right_password_opens(guarded: RedisServer) -> None:
    store = Store(target(guarded.url.replace("unix://", f"unix://:{PASSWORD}@")))

    assert store.run(resume(LANE)) is False
    store.close()
