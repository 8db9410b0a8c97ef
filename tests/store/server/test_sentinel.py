"""Sentinel groups: clients and workers follow the primary, whatever node it is."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from jobfleet import AsyncFleet, Fleet, Job, JobStatus
from jobfleet.config import mask_url
from jobfleet.errors import ConfigError, StoreUnavailable
from jobfleet.store.connect import Inquiry, Named
from jobfleet.store.link.sync import SocketLink
from jobfleet.store.target import Security, SentinelGroup, target
from tests.support.fleet import LONG, Programs
from tests.support.replicated import confirms
from tests.support.sentinel import SERVICE, STAY_MS, SentinelServer, SentinelServers
from tests.support.server import RedisServer
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def group() -> Iterator[SentinelServers]:
    with SentinelServers() as made:
        yield made


def read(url: str, security: Security | None = None) -> SentinelGroup:
    found = target(url, security or Security()).sentinels
    assert found is not None
    return found


def test_a_url_names_sentinels_service_user_password_and_database() -> None:
    found = read("sentinel://ann:p%40ss@one:26380,[::1],two/jobs?db=3&sentinel_username=s&sentinel_password=t")

    assert found.hosts == (("one", 26380), ("::1", 26379), ("two", 26379))
    assert found.service == "jobs"
    assert found.options == {"username": "ann", "password": "p@ss", "db": 3, "ssl": False}
    assert found.own_options == {"username": "s", "password": "t", "ssl": False}


def test_tls_and_the_password_of_the_sentinels_come_from_the_settings() -> None:
    security = Security({"ssl_ca_certs": "ca.pem"}, "sam", "secret")

    found = read("sentinels://one/jobs?ssl_check_hostname=false", security)

    tls = {"ssl": True, "ssl_ca_certs": "ca.pem", "ssl_check_hostname": False}
    assert found.options == tls
    assert found.own_options == {**tls, "username": "sam", "password": "secret"}
    assert "secret" not in repr(found)
    assert "secret" not in repr(security)


MODEL = "sentinel://HOST:26379,HOST:26379/SERVICE"
NO_SERVICE = f"the name of the service is missing after the hosts, or not valid; write it as {MODEL}"
NO_HOST = f"a host is not valid; write the hosts as {MODEL}"


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("sentinel://one", NO_SERVICE),
        ("sentinel://one:1/", NO_SERVICE),
        ("sentinel://one:1/a b", NO_SERVICE),
        ("sentinel:///jobs", NO_HOST),
        ("sentinel://one,,two/jobs", NO_HOST),
        ("sentinel://one:0/jobs", NO_HOST),
        ("sentinel://one:99999/jobs", NO_HOST),
        ("sentinel://one:x/jobs", NO_HOST),
        ("sentinel://one/jobs?db=x", "Invalid value for 'db' in connection URL"),
        ("sentinel://one/jobs?colour=red", "an option after its '?' is not an option of a connection"),
        (
            "sentinel://u:p/w@one/jobs",
            "write '/', '?', '#' and '@' in a user or a password as %2F, %3F, %23 and %40",
        ),
    ],
)
def test_a_url_that_cannot_be_meant_is_refused_without_its_text(url: str, wrong: str) -> None:
    with pytest.raises(ConfigError) as refused:
        target(url)

    assert str(refused.value) == f"Cannot read the URL {mask_url(url)}: {wrong}."


def test_a_client_runs_jobs_on_the_primary(group: SentinelServers) -> None:
    with Fleet(group.url) as fleet:
        fleet.limits.set("mail", concurrency=3)

        assert fleet.limits("mail")[0].concurrency == 3
        assert group.primary.client().exists("{jobfleet:mail:0}:conf") == 1


async def test_an_awaited_client_does_too(group: SentinelServers) -> None:
    async with AsyncFleet(group.url) as fleet:
        await fleet.limits.set("post", concurrency=3)

        assert (await fleet.limits("post"))[0].concurrency == 3


def test_an_option_of_the_url_wins_over_the_same_setting(group: SentinelServers) -> None:
    with Fleet(f"{group.url}?socket_timeout=7") as fleet:
        fleet.statistics()
        link = fleet.store.link
        assert isinstance(link, SocketLink)
        (connection,) = link.pool.idle

    assert connection.socket_timeout == 7


def test_a_sentinel_that_does_not_reply_delays_but_stops_nobody(group: SentinelServers) -> None:
    frozen = group.sentinels[0].process
    frozen.send(signal.SIGSTOP)
    try:
        with Fleet(group.url, connect_timeout=1, socket_timeout=1) as fleet:
            assert fleet.statistics()["total"] == 0
    finally:
        frozen.send(signal.SIGCONT)


@pytest.fixture
def torn() -> Iterator[SentinelServers]:
    """A group in the middle of a failover: the new primary works, and the old one still calls itself one.

    The Sentinels cannot reconfigure the other replica, so they stay there.
    """
    with SentinelServers(lines=(f"sentinel failover-timeout {SERVICE} 600000",)) as made:
        for node in made.await_whole().nodes[1:]:
            node.client().acl_setuser("default", enabled=True, commands=["-slaveof", "+slaveof|no"])
        made.sentinels[0].asked("SENTINEL", "FAILOVER", SERVICE)
        made.await_other_primary(made.nodes[0])
        assert made.nodes[0].role == "master"
        yield made


async def test_clients_find_the_new_primary_while_the_old_one_still_calls_itself_one(torn: SentinelServers) -> None:
    with Fleet(torn.url) as fleet:
        fleet.limits.set("mail", concurrency=3)
    async with AsyncFleet(torn.url) as fleet:
        await fleet.limits.set("post", concurrency=3)

    for queue in ("mail", "post"):
        key = f"{{jobfleet:{queue}:0}}:conf"
        assert [node.client().exists(key) for node in (torn.nodes[0], torn.primary)] == [0, 1]


async def test_the_sentinel_that_knows_the_latest_failover_decides() -> None:
    with SentinelServers() as made, RedisServer(tcp=True) as old:
        late = SentinelServer(old.port, 2, (), STAY_MS, None)  # it knows of no failover, and names another server
        try:
            made.await_whole().sentinels[0].asked("SENTINEL", "FAILOVER", SERVICE)
            made.await_other_primary(made.nodes[0])
            hosts = [f"127.0.0.1:{port}" for port in (late.port, *(one.port for one in made.sentinels))]
            for url in (f"sentinel://{','.join(order)}/{SERVICE}" for order in (hosts, hosts[::-1])):
                with Fleet(url) as fleet:
                    fleet.limits.set("mail", concurrency=3)
                async with AsyncFleet(url) as fleet:
                    await fleet.limits.set("post", concurrency=3)

            assert old.client().dbsize() == 0
        finally:
            late.stop()


def test_a_sentinel_that_did_not_reply_is_only_asked_if_no_other_replies() -> None:
    inquiry = Inquiry(read("sentinel://one,two,three/jobs"), timeout=1)
    one, two, three = ((name, 26379) for name in ("one", "two", "three"))
    assert inquiry.hosts() == ([one, two, three], [])

    assert isinstance(inquiry.named("jobs", two, [RedisTimeoutError("late")]), RedisTimeoutError)
    assert isinstance(inquiry.named("jobs", three, [RedisConnectionError("refused")]), RedisConnectionError)
    assert inquiry.hosts() == ([one, three], [two])

    state = {"ip": "ten", "port": 1, "is_sdown": False, "is_odown": False, "config-epoch": 4}
    assert inquiry.named("jobs", two, [{"jobs": state}, ("ten", 1)]) == Named(4, ("ten", 1))
    assert inquiry.hosts() == ([one, two, three], [])


def test_an_unknown_service_and_a_host_that_is_no_sentinel_are_named(group: SentinelServers) -> None:
    hosts = group.url.rpartition("/")[0]
    with (
        Fleet(f"{hosts}/other", patience=0) as fleet,
        pytest.raises(StoreUnavailable, match="no Sentinel replied, or none knows a primary 'other' that is alive"),
    ):
        fleet.statistics()
    node = Fleet(f"sentinel://127.0.0.1:{group.nodes[0].port}/jobs")
    with node, pytest.raises(ConfigError, match="A host of the URL is not a Sentinel"):
        node.statistics()


def test_sentinels_with_a_password_refuse_a_client_without_it() -> None:
    with SentinelServers(lines=("requirepass s3cret", "sentinel sentinel-pass s3cret")) as guarded:
        with Fleet(guarded.url, sentinel_password="s3cret") as fleet:
            assert fleet.statistics()["total"] == 0
        for url in (guarded.url, f"{guarded.url}?sentinel_password=wrong"):
            with Fleet(url) as fleet, pytest.raises(ConfigError, match="The Sentinels refuse the user or the password"):
                fleet.statistics()


def test_a_fleet_survives_the_loss_of_its_primary(tmp_path: Path) -> None:
    with SentinelServers() as group, Fleet(group.url, patience=30) as fleet:
        programs = Programs(group.await_whole().url, tmp_path)
        try:
            worker = programs.ready(with_reaper="true")
            first = fleet.wait(fleet.enqueue(Job("nap", "hist.nap", (0.0,))), timeout=LONG)
            gate = tmp_path / "gate"
            held = fleet.enqueue(Job("gate", "hist.gate", (str(gate),)))
            programs.history.await_start(held)

            before = group.primary
            wait_until(lambda: confirms(before.client(), 2), why="the replicas have the job")
            before.kill()
            later = fleet.enqueue(Job("nap", "hist.nap", (0.0,)))  # waits until there is a primary
            after = group.await_other_primary(before)
            gate.touch()

            results = {one: fleet.wait(one, timeout=LONG) for one in (held, later)}
            assert first.status is JobStatus.COMPLETED
            assert {one.status for one in results.values()} == {JobStatus.COMPLETED}
            assert programs.history.starts()[held] == 1  # its lease was renewed on the new primary
            assert programs.history.fences(later)[0] > programs.history.fences(held)[0]
            assert after.client().exists(f"{{jobfleet:default:0}}:result:{later}") == 1
            # A gap of less than half a second is no outage; one that was logged has an end.
            ends = ("redis.lost", "redis.back")
            wait_until(lambda: len({worker.said.count(one) for one in ends}) == 1, why="the end of an outage is logged")
            assert not worker.is_over, worker.said
            assert "Traceback" not in worker.said
        finally:
            programs.close()
