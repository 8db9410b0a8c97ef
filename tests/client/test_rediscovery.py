"""A client whose URL no setting names finds a `jobfleet up` that starts after it, or that starts again elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobfleet import AsyncFleet, Fleet, Job, StoreUnavailable
from jobfleet.config.url import DEFAULT_URL
from jobfleet.functions.registry import Registry
from tests.client.either import Either
from tests.support.server import RedisServer, free_port

pytestmark = pytest.mark.not_on("cluster", "sentinel", reason="`jobfleet up` starts one server")

SUM = Job("Sum", "app.add", (1, 2))


@pytest.fixture(params=[Fleet, AsyncFleet], ids=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> type[Fleet | AsyncFleet]:
    made: type[Fleet | AsyncFleet] = request.param
    return made


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, in which no setting is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JOBFLEET_URL", raising=False)
    return tmp_path


def note(folder: Path, url: str) -> None:
    """Write the file of a running `jobfleet up`."""
    (folder / ".jobfleet").mkdir(exist_ok=True)
    (folder / ".jobfleet" / "up.json").write_text(json.dumps({"url": url}))


async def test_up_that_starts_elsewhere_is_found_where_connecting_fails(
    kind: type[Fleet | AsyncFleet], registry: Registry, folder: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = f"redis://127.0.0.1:{free_port()}/0"
    note(folder, old)
    client = Either(kind(registry=registry, patience=0))
    with pytest.raises(StoreUnavailable, match=old):
        await client("enqueue", SUM)

    note(folder, redis_url)
    monkeypatch.chdir("/")  # it looks where it has looked first
    job_id = await client("enqueue", SUM)

    assert (await client("poll", job_id)).queue == "default"
    assert client.fleet.config.url == redis_url
    assert client.fleet.store.at.url == redis_url
    assert client.fleet.target is client.fleet.store.at
    await client.close()


async def test_the_asynchronous_client_of_a_blocking_one_finds_it_too(
    registry: Registry, folder: Path, redis_url: str
) -> None:
    note(folder, f"redis://127.0.0.1:{free_port()}/0")
    with Fleet(registry=registry, patience=0) as fleet:
        other = AsyncFleet.sharing(fleet)
        note(folder, redis_url)

        job_id = await other.enqueue(SUM)

        assert fleet.poll(job_id).queue == "default"
        await other.aclose()


def test_a_buffer_finds_it_too(registry: Registry, folder: Path, redis_url: str) -> None:
    note(folder, f"redis://127.0.0.1:{free_port()}/0")
    with Fleet(registry=registry, patience=0, buffer=10) as fleet:
        job_id = fleet.enqueue(SUM)
        note(folder, redis_url)

        fleet.close(timeout=20)

    with Fleet(redis_url, registry=registry) as fleet:
        assert fleet.poll(job_id).queue == "default"


async def test_it_is_not_looked_for_where_a_setting_names_the_url(
    kind: type[Fleet | AsyncFleet], registry: Registry, folder: Path, redis_url: str
) -> None:
    note(folder, redis_url)
    client = Either(kind(f"redis://127.0.0.1:{free_port()}/0", registry=registry, patience=0))

    with pytest.raises(StoreUnavailable):
        await client("enqueue", SUM)

    await client.close()


def test_a_client_that_has_reached_the_default_server_stays_there(
    registry: Registry, folder: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RedisServer(tcp=True) as server:
        monkeypatch.setattr("jobfleet.client.base.DEFAULT_URL", server.url)
        note(folder, server.url)
        fleet = Fleet(registry=registry, patience=0)
        fleet.enqueue(SUM)
    note(folder, redis_url)

    with fleet, pytest.raises(StoreUnavailable, match=server.url):
        fleet.enqueue(SUM)


def test_a_client_with_the_default_url_looks_for_it(registry: Registry, folder: Path, redis_url: str) -> None:
    with Fleet(registry=registry, patience=0) as fleet:
        assert fleet.config.url == DEFAULT_URL
        note(folder, redis_url)

        found = fleet._found(fleet._open_target())  # not by connecting: a server may be there

        assert found is not None
        assert found.url == redis_url
