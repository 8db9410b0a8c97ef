"""Producers while the server is away."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest

from jobfleet import AsyncFleet, Fleet, Job, JobStatus, StoreUnavailable
from jobfleet.config import JobConfig
from jobfleet.functions.registry import Registry
from jobfleet.store.replies import unavailable
from tests.client.either import Either
from tests.support.server import RedisServer, free_port
from tests.support.waiting import wait_until

REMEDY = "Start it there, or correct the URL."


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    with RedisServer("--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


@pytest.fixture(params=[Fleet, AsyncFleet], ids=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> type[Fleet | AsyncFleet]:
    made: type[Fleet | AsyncFleet] = request.param
    return made


async def test_nobody_at_the_port_is_told_with_the_remedy_and_without_the_password(
    kind: type[Fleet | AsyncFleet], registry: Registry
) -> None:
    port = free_port()
    client = Either(kind(f"redis://ann:hunter2@127.0.0.1:{port}/0", registry=registry, patience=0.1))

    with pytest.raises(StoreUnavailable) as caught:
        await client("enqueue", Job("Sum", "app.add", (1, 2)))

    assert str(caught.value) == f"No Redis at redis://ann:***@127.0.0.1:{port}/0 (connection refused). {REMEDY}"
    assert "hunter2" not in repr(client.fleet)
    await client.close()


async def test_no_socket_is_told_with_the_remedy(kind: type[Fleet | AsyncFleet], registry: Registry) -> None:
    client = Either(kind("unix:///nowhere/server.sock", registry=registry, patience=0))

    with pytest.raises(StoreUnavailable) as caught:
        await client("poll", "default.0.x")

    assert str(caught.value) == f"No Redis at unix:///nowhere/server.sock (no such socket). {REMEDY}"
    await client.close()


async def test_a_server_that_accepts_and_says_nothing_is_given_up(
    kind: type[Fleet | AsyncFleet], registry: Registry
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"redis://127.0.0.1:{mute.getsockname()[1]}/0"
        client = Either(kind(url, registry=registry, patience=0, connect_timeout=0.1, socket_timeout=0.1))

        with pytest.raises(StoreUnavailable, match=r"\((Timeout|timed out)"):
            await client("enqueue", Job("Sum", "app.add", (1, 2)))

        await client.close()


@pytest.mark.parametrize("is_known", [True, False], ids=["in the middle", "from the start"])
async def test_an_outage_shorter_than_patience_is_survived(
    kind: type[Fleet | AsyncFleet], registry: Registry, own_server: RedisServer, is_known: bool
) -> None:
    client = Either(kind(own_server.url, registry=registry, patience=30, namespace="short"))
    if is_known:
        await client("enqueue", Job("Sum", "app.add", (0, 0)))
    stumbles: list[BaseException] = []

    class Stumbles:
        def tripped(self, *_: object) -> None:
            pass

        def stumbled(self, error: BaseException) -> None:
            stumbles.append(error)

        def counted(self, *_: object) -> None:
            pass

    client.fleet.recorder = client.fleet.store.recorder = Stumbles()
    own_server.kill()
    sending = asyncio.create_task(client("submit", Job("Sum", "app.add", (1, 2), id="one")))
    await asyncio.to_thread(wait_until, lambda: len(stumbles) > 1, why="the outage is noticed")
    await asyncio.to_thread(own_server.restart)

    receipt = await sending
    assert (receipt.id, receipt.created) == ("default.0.one", True)
    assert (await client("poll", "default.0.one")).status is JobStatus.QUEUED
    await client.close()


def test_a_waiting_program_goes_on_after_an_outage(own_server: RedisServer, registry: Registry) -> None:
    fleet = Fleet(own_server.url, registry=registry, patience=30)
    job_id = fleet.enqueue(Job("Sum", "app.add", (1, 2)))
    ended: list[object] = []
    waiting = threading.Thread(target=lambda: ended.append(fleet.wait(job_id).result), daemon=True)
    waiting.start()
    with own_server.client() as raw:
        wait_until(raw.pubsub_channels, why="the program listens")

    own_server.kill()
    own_server.restart()
    fleet.run_worker(burst=True)
    waiting.join(20)

    assert ended == [3]
    fleet.close()


async def test_a_wait_in_an_outage_says_that_the_job_continues(
    kind: type[Fleet | AsyncFleet], registry: Registry, own_server: RedisServer
) -> None:
    client = Either(kind(own_server.url, registry=registry, patience=0.3))
    job_id = await client("enqueue", Job("Sum", "app.add", (1, 2)))
    waiting = asyncio.create_task(client("wait", job_id, timeout=200))
    with own_server.client() as raw:
        await asyncio.to_thread(wait_until, raw.pubsub_channels, why="the program listens")

    own_server.kill()
    told = (
        r"^No Redis at .* Redis was away for \d+ ms, as long as the setting patience allows; this ends the wait, "
        r"whatever its timeout\. The job continues: wait for it again, or raise patience\.$"
    )
    with pytest.raises(StoreUnavailable, match=told):
        await waiting
    with pytest.raises(StoreUnavailable, match=told):
        await client("wait", job_id, timeout=200)
    await client.close()


def test_a_default_url_is_told_with_the_ways_to_another_server() -> None:
    told = str(unavailable(JobConfig().url, ConnectionRefusedError()))

    assert told.endswith(" Try 'jobfleet up MODULE', or set --url / JOBFLEET_URL.")
