"""The scripts as a library of functions: loaded by an administrator, called by stores whose setting says so."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from click.testing import CliRunner, Result

from jobfleet import ConfigError, Fleet, Job
from jobfleet.cli.main import main
from jobfleet.config import JobConfig
from jobfleet.functions.registry import Registry
from jobfleet.store import script
from jobfleet.store.link.watched import install
from jobfleet.store.script import load, names
from jobfleet.store.sync import Store
from jobfleet.store.target import target_of
from tests.support.server import RedisServer


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """A server of its own: functions outlive FLUSHALL."""
    with RedisServer() as made:
        yield made


@pytest.fixture
def admin(server: RedisServer) -> redis.Redis:
    client = server.client()
    execute: Any = client.execute_command
    execute("FUNCTION", "FLUSH")
    client.flushall()
    return client


@pytest.fixture
def become(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Give the scripts another text, as another revision has."""

    def forget() -> None:
        script.mark.cache_clear()
        script.function_of.cache_clear()

    def made(text: str) -> None:
        forget()
        monkeypatch.setattr(script, "raw_texts", lambda: iter([text]))

    yield made
    forget()


def cli(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="jobfleet")


def add(x: int, y: int) -> int:
    return x + y


def listed(client: Any, *arguments: str) -> list[dict[bytes, Any]]:
    rows = client.execute_command("FUNCTION", "LIST", *arguments)
    return [row if isinstance(row, dict) else dict(zip(row[::2], row[1::2], strict=True)) for row in rows]


def test_jobs_run_by_functions_alone_and_damage_is_repaired(admin: redis.Redis, server: RedisServer) -> None:
    registry = Registry()
    registry.register(add, name="app.add")
    done = cli("--url", server.url, "acl", "install", "-o", "json")
    assert json.loads(done.stdout) == {
        "library": script.library_name(),
        "functions": len(script.library().functions),
        "others": [],
    }
    admin.set("{jobfleet:default:0}:ready:2", "not a set")

    with Fleet(server.url, registry=registry, scripts="functions") as fleet:
        job_id = fleet.enqueue(Job("Sum", "app.add", (1, 2)))
        fleet.run_worker(burst=True)
        assert fleet.wait(job_id, timeout=30).result == 3

    stats: Any = admin.info("commandstats")
    assert {name for name in stats if "eval" in name or "script" in name} == set()


def test_each_function_has_the_flags_of_its_script(admin: redis.Redis, server: RedisServer) -> None:
    install(Store(target_of(JobConfig(url=server.url))).link)

    (library,) = listed(admin)
    found: dict[str, set[str]] = {}
    for row in library[b"functions"]:
        one = row if isinstance(row, dict) else dict(zip(row[::2], row[1::2], strict=True))
        found[one[b"name"].decode()] = {flag.decode() for flag in one[b"flags"]}
    forms = [load(name, is_exempt=is_exempt) for name in names() for is_exempt in (False, True)]
    assert found == {script.function_of(one.name, is_exempt=one.is_exempt): set(one.flags) for one in forms}


def test_without_the_library_the_error_names_the_command(
    admin: redis.Redis, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Fleet(server.url, scripts="functions") as fleet, pytest.raises(ConfigError, match="'jobfleet acl install'"):
        fleet.enqueue(Job("Sum", "app.add", (1, 2)))

    done = cli("--url", server.url, "doctor")
    assert (done.exit_code, "acl install" in done.output) == (0, False)
    monkeypatch.setenv("JOBFLEET_SCRIPTS", "functions")
    done = cli("--url", server.url, "doctor")
    assert done.exit_code != 0
    assert "acl install" in done.output


def test_the_library_of_another_revision_stays_beside_it(
    admin: redis.Redis, server: RedisServer, become: Callable[[str], None]
) -> None:
    link = Store(target_of(JobConfig(url=server.url))).link
    become("another")
    other = install(link)
    become("this one")

    done = install(link)
    again = install(link)

    assert done == again
    assert (done.name, done.others) == (script.library_name(), (other.name,))
    assert {row[b"library_name"].decode() for row in listed(admin)} == {done.name, other.name}
