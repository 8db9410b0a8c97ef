"""The checks of user, TLS, clocks, lanes and scripts, on real servers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from jobfleet import Fleet
from jobfleet.clock import wall_us
from jobfleet.codec import encode
from jobfleet.config import JobConfig
from jobfleet.errors import JobfleetError
from jobfleet.operations.doctor.findings import Finding, Level
from jobfleet.operations.doctor.server import scripts, tls, user
from jobfleet.operations.doctor.snapshot import Checkup
from jobfleet.store.calls.presence import attend, beat
from jobfleet.store.calls.samples import hold_samples
from jobfleet.store.keys import Keyspace
from tests.support import users
from tests.support.each import each
from tests.support.server import RedisServer

KEYS = Keyspace("jobfleet")


def found(fleet: Fleet, check: str) -> Finding:
    (one,) = [one for one in fleet.doctor().findings if one.check == check]
    return one


@pytest.fixture
def guarded() -> Iterator[RedisServer]:
    """A server with the users of all roles, which listens on TCP."""
    with RedisServer(tcp=True) as server:
        users.create(server.client())
        yield server


def test_a_user_that_may_not_do_its_work_is_a_warning(guarded: RedisServer) -> None:
    execute: Any = guarded.client().execute_command
    with Fleet(users.url_as(guarded.url, "web")) as fleet:
        assert (
            "every command that the role web needs" in found(fleet, "user").seen or found(fleet, "user").level == "ok"
        )
        execute("ACL", "SETUSER", "web", "clearselectors", "+@all", "-xrange", "~*", "&*")

        one = found(fleet, "user")

    assert one.level is Level.WARNING
    assert one.seen.startswith("Connected as web. It may not run ")
    assert "XRANGE {jobfleet:x}:dlq" in one.seen


def test_who_may_connect_as_default_is_found_out(guarded: RedisServer) -> None:
    execute: Any = guarded.client().execute_command
    with Fleet(users.url_as(guarded.url, "operator")) as fleet:
        assert found(fleet, "user").seen.endswith("Everybody on this machine can connect as default.")

        execute("ACL", "SETUSER", "default", "resetpass", ">secret")

        assert found(fleet, "user").seen.endswith("It may run every command that the role operator needs.")


def test_a_reaper_as_the_user_of_workers_is_a_warning_until_samples_are_written(guarded: RedisServer) -> None:
    with Fleet(users.url_as(guarded.url, "operator")) as fleet, Fleet(users.url_as(guarded.url, "worker")) as wrong:
        wrong.store.run(attend(KEYS, "r1", "reaper", gone_us=60_000_000))
        with pytest.raises(JobfleetError, match="NOPERM"):
            wrong.store.run(hold_samples(KEYS, "r1", lease_us=1_000_000))
        before = found(fleet, "samples")

        guarded.client().hset(KEYS.samples, "last", wall_us() // 10_000_000)
        after = found(fleet, "samples")

    assert (before.level, after.level) == (Level.WARNING, Level.OK)
    assert before.seen.startswith("reaper r1 is alive, but there is no sample yet")
    assert "Connect it as the Redis user 'reaper'" in before.remedy


def seen(url: str, **fields: Any) -> Checkup:
    return Checkup(JobConfig(url=url), 0, **fields)


def test_default_without_a_password_is_a_warning_if_others_reach_the_server() -> None:
    one = user(seen("redis://ann:x@redis.example.com", is_open=True, lacking=(), role="operator"))

    assert one.level is Level.WARNING
    assert "Connected as ann. Anybody who reaches the server can connect as default" in one.seen
    assert "x@" not in one.seen


@each(
    "url, level",
    [
        ("redis://localhost", Level.OK),
        ("redis://127.0.0.1:6380/0", Level.OK),
        ("redis://ann:x@[::1]:6379", Level.OK),
        ("unix:///run/redis.sock", Level.OK),
        ("rediss://redis.example.com", Level.OK),
        ("sentinels://a,b/jobs", Level.OK),
        ("rediss://redis.example.com?ssl_cert_reqs=none", Level.WARNING),
        ("redis://redis.example.com", Level.WARNING),
        ("sentinel://localhost,b:1/jobs", Level.WARNING),
    ],
)
def test_connections_to_other_machines_are_encrypted(url: str, level: Level) -> None:
    assert tls(seen(url)).level is level


@pytest.mark.parametrize(
    ("by", "level"), [(0.0, Level.OK), (-3.0, Level.OK), (30.0, Level.WARNING), (-30.0, Level.WARNING)]
)
def test_clocks_of_workers_agree_with_the_server(redis_url: str, by: float, level: Level) -> None:
    with Fleet(redis_url) as fleet:
        account = encode({"queues": ["default"], "state": "running", "clock": wall_us() + round(by * 1e6)})
        fleet.store.run(beat(KEYS, "w.1", account=account, gone_us=10**9))

        one = found(fleet, "clocks")

    assert one.level is level
    assert level is Level.OK or "w.1 is " in one.seen


def test_a_lane_that_is_crowded_is_hot(redis_url: str) -> None:
    with Fleet(redis_url, lanes={"wide": 2}) as fleet:
        lane = KEYS.lane("wide", 1)
        raw: Any = fleet.store.link
        raw.exchange([("HSET", KEYS.queues, "wide", "2:2")])
        raw.exchange([("ZADD", lane.ready[2], number, f"wide.1.{number}") for number in range(1, 100)])
        assert found(fleet, "hot").level is Level.OK

        raw.exchange([("ZADD", lane.ready[2], 1, "wide.1.100")])

        assert found(fleet, "hot").seen == "Due jobs crowd in lane 1 of wide (100 due jobs; 0 in each other lane)."


def test_many_scripts_are_noted() -> None:
    info = {"number_of_cached_scripts": "9999", "used_memory_scripts_eval": "5000000"}

    assert scripts(seen("redis://h", info=info)).level is Level.NOTE
    assert scripts(seen("redis://h", info={**info, "number_of_cached_scripts": "12"})).level is Level.OK
