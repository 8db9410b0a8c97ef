"""TLS: the server's certificate and its host name are checked, a client may have a certificate, settings are clear."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import warnings
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from jobfleet import AsyncFleet, Fleet, Job, JobStatus
from jobfleet.errors import ConfigError, StoreUnavailable
from jobfleet.store.link.aio import AsyncSocketLink
from jobfleet.store.target import Security, target
from tests.support.fleet import LONG, Programs
from tests.support.proxy import Proxy
from tests.support.server import RedisServer

HERE = "127.0.0.1"


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer(tcp=True) as made:
        yield made


@pytest.fixture(autouse=True)
def empty(server: RedisServer) -> None:
    """Begin each test with no keys, whatever ran before it."""
    server.flush()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def context(authority: trustme.CA, name: str, *, asks: bool = False) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(made)
    if asks:
        authority.configure_trust(made)
        made.verify_mode = ssl.CERT_REQUIRED
    return made


@pytest.fixture
def secure(server: RedisServer, authority: trustme.CA) -> Iterator[Proxy]:
    with Proxy(server, tls=context(authority, HERE)) as proxy:
        yield proxy


@pytest.fixture
def asking(server: RedisServer, authority: trustme.CA) -> Iterator[Proxy]:
    with Proxy(server, tls=context(authority, HERE, asks=True)) as proxy:
        yield proxy


def unclosed(work: Callable[[], Coroutine[None, None, None]]) -> list[str]:
    """Run a loop until the work is done; return what the garbage collector then finds open."""
    gc.collect()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        asyncio.run(work())
        gc.collect()
    return [str(one.message) for one in seen if one.category is ResourceWarning]


def test_the_certificate_is_checked_against_the_named_authority(secure: Proxy, ca_file: Path) -> None:
    with Fleet(secure.url, tls_ca_file=ca_file) as fleet:
        assert fleet.statistics()["total"] == 0
    with Fleet(secure.url, patience=0) as stranger, pytest.raises(StoreUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        stranger.statistics()


def test_a_loop_that_ends_leaves_no_connection_open(secure: Proxy, ca_file: Path) -> None:
    async def ask() -> None:
        async with AsyncFleet(secure.url, tls_ca_file=ca_file) as fleet:
            await fleet.statistics()

    assert unclosed(ask) == []


@pytest.mark.parametrize(("text", "held"), [(b"a", "down"), (b"a" * (1 << 25), "up")], ids=["reading", "writing"])
def test_a_cancelled_call_leaves_no_connection_open_when_its_loop_ends(
    secure: Proxy, ca_file: Path, text: bytes, held: str
) -> None:
    async def ask() -> None:
        at = target(secure.url, Security({"ssl_ca_certs": str(ca_file)}))
        link = AsyncSocketLink(at, connect_timeout=LONG, socket_timeout=LONG)
        assert await link.exchange([("ECHO", b"a")]) == [b"a"]
        secure.hold(held)
        asked = asyncio.create_task(link.exchange([("ECHO", text)]))
        await asyncio.sleep(0)  # until it waits for the server
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        await link.close()

    assert unclosed(ask) == []


def test_a_connection_that_is_cancelled_in_its_handshake_is_closed(ca_file: Path) -> None:
    with socket.create_server((HERE, 0)) as mute:
        mute.setblocking(False)

        async def ask() -> None:
            loop = asyncio.get_running_loop()
            async with AsyncFleet(f"rediss://{HERE}:{mute.getsockname()[1]}/0", tls_ca_file=ca_file) as fleet:
                asked = asyncio.create_task(fleet.statistics())
                near, _ = await loop.sock_accept(mute)
                with near:
                    await loop.sock_recv(near, 1)
                    asked.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await asked

        assert unclosed(ask) == []


async def test_an_awaited_client_checks_it_too(secure: Proxy, ca_file: Path) -> None:
    async with AsyncFleet(secure.url, tls_ca_file=ca_file) as fleet:
        assert (await fleet.statistics())["total"] == 0
    async with AsyncFleet(secure.url, patience=0) as stranger:
        with pytest.raises(StoreUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            await stranger.statistics()


def test_a_certificate_of_another_host_is_refused_unless_that_is_spelled_out(
    server: RedisServer, authority: trustme.CA, ca_file: Path
) -> None:
    with Proxy(server, tls=context(authority, "redis.example.com")) as proxy:
        strict = Fleet(proxy.url, tls_ca_file=ca_file, patience=0)
        with strict, pytest.raises(StoreUnavailable, match="Name a host of the server's certificate in the URL"):
            strict.statistics()
        for fleet in (
            Fleet(proxy.url, tls_ca_file=ca_file, tls_check_hostname=False),
            Fleet(f"{proxy.url}?ssl_check_hostname=false", tls_ca_file=ca_file),
        ):
            with pytest.warns(UserWarning, match=r"host name in the certificate of rediss://.* not checked"):
                fleet.statistics()
            fleet.close()


def test_nothing_is_warned_of_while_all_is_checked(secure: Proxy, ca_file: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Fleet(f"{secure.url}?ssl_check_hostname=true", tls_ca_file=ca_file) as fleet:
            fleet.statistics()


def test_a_client_shows_its_certificate(asking: Proxy, authority: trustme.CA, ca_file: Path, tmp_path: Path) -> None:
    mine = authority.issue_cert("worker-7")
    pair, chain, key = tmp_path / "pair.pem", tmp_path / "chain.pem", tmp_path / "key.pem"
    mine.private_key_and_cert_chain_pem.write_to_path(str(pair))
    mine.private_key_pem.write_to_path(str(key))
    for part in mine.cert_chain_pems:
        part.write_to_path(str(chain), append=True)

    with Fleet(asking.url, tls_ca_file=ca_file, tls_cert_file=pair) as fleet:
        fleet.statistics()
    with Fleet(asking.url, tls_ca_file=ca_file, tls_cert_file=chain, tls_key_file=key) as fleet:
        fleet.statistics()
    with Fleet(asking.url, tls_ca_file=ca_file, patience=0) as nobody, pytest.raises(StoreUnavailable):
        nobody.statistics()


def test_a_worker_and_its_children_use_the_settings(secure: Proxy, ca_file: Path, tmp_path: Path) -> None:
    programs = Programs(secure.url, tmp_path)
    try:
        with Fleet(secure.url, tls_ca_file=ca_file) as fleet:
            worker = programs.worker(tls_ca_file=ca_file, with_reaper="true")
            worker.await_line("worker.started")
            ended = fleet.wait(fleet.enqueue(Job("nap", "hist.nap", (0.0,))), timeout=LONG)

            assert ended.status is JobStatus.COMPLETED
            assert "Traceback" not in worker.said
    finally:
        programs.close()


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("redis://u:secret@h", r"redis://u:\*\*\*@h does not use TLS; write rediss://"),
        ("sentinel://h/jobs", "sentinel://h/jobs does not use TLS; write sentinels://"),
    ],
)
def test_settings_of_tls_need_a_url_that_uses_it(url: str, remedy: str, ca_file: Path) -> None:
    with Fleet(url, tls_ca_file=ca_file) as fleet, pytest.raises(ConfigError, match=rf"tls_… is set, but {remedy}"):
        fleet.statistics()


def test_errors_of_real_handshakes_name_the_setting(
    secure: Proxy, asking: Proxy, authority: trustme.CA, ca_file: Path, tmp_path: Path
) -> None:
    def said(url: str, **files: Any) -> str:
        with Fleet(url, patience=0, **files) as fleet, pytest.raises((StoreUnavailable, ConfigError)) as caught:
            fleet.statistics()
        return str(caught.value)

    key, other = tmp_path / "key.pem", tmp_path / "other.pem"
    authority.issue_cert("a").private_key_pem.write_to_path(str(key))
    trustme.CA().cert_pem.write_to_path(str(other))
    broken = tmp_path / "broken.pem"
    broken.write_text("nothing")

    assert "Set tls_ca_file to the certificate of the authority" in said(secure.url, tls_ca_file=other)
    assert "Check tls_ca_file, tls_cert_file and tls_key_file" in said(secure.url, tls_ca_file=broken)
    assert "tls_cert_file" in said(asking.url, tls_ca_file=ca_file)
    assert "tls_key_file is set without tls_cert_file" in said(asking.url, tls_ca_file=ca_file, tls_key_file=key)


def test_a_missing_file_is_named(secure: Proxy, tmp_path: Path) -> None:
    fleet = Fleet(secure.url, tls_ca_file=tmp_path / "no.pem", patience=0)
    with fleet, pytest.raises(ConfigError, match=r"tls_ca_file = '.*no\.pem': there is no such file\."):
        fleet.statistics()
