"""An error that is answered as a value holds nobody's variables: they go when the caller has gone."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from jobfleet.store.link.aio import AsyncSocketLink
from jobfleet.store.link.sync import SocketLink
from jobfleet.store.target import target

NOWHERE = "redis://127.0.0.1:1/0"
WRONG = [("NOPE",)]


class Thing:
    """What a caller holds while it waits for replies."""


@pytest.fixture
def uncollected() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(params=["server", "connection"])
def url(request: pytest.FixtureRequest, redis_url: str) -> str:
    """Where an exchange ends in an error: of the server's, or of the connection's."""
    return redis_url if request.param == "server" else NOWHERE


@pytest.mark.usefixtures("uncollected")
def test_a_caller_that_kept_the_replies_is_let_go_without_the_garbage_collector(url: str) -> None:
    link = SocketLink(target(url), connect_timeout=5, socket_timeout=5)

    def ask() -> weakref.ref[Thing]:
        thing = Thing()
        replies = link.exchange(WRONG)
        assert isinstance(replies[0], Exception)
        return weakref.ref(thing)

    gone = ask()
    link.close()

    assert gone() is None


@pytest.mark.usefixtures("uncollected")
async def test_an_awaiting_caller_that_kept_the_replies_is_let_go_without_the_garbage_collector(url: str) -> None:
    link = AsyncSocketLink(target(url), connect_timeout=5, socket_timeout=5)

    async def ask() -> weakref.ref[Thing]:
        thing = Thing()
        replies = await link.exchange(WRONG)
        assert isinstance(replies[0], Exception)
        return weakref.ref(thing)

    gone = await ask()
    await link.close()

    assert gone() is None


@pytest.mark.usefixtures("uncollected")
async def test_whoever_blocked_in_vain_is_let_go_without_the_garbage_collector(url: str) -> None:
    link = AsyncSocketLink(target(url), connect_timeout=5, socket_timeout=5)

    async def ask() -> weakref.ref[Thing]:
        thing = Thing()
        (reply,) = await link.block(WRONG[:1], 0.1)
        assert isinstance(reply, Exception)
        return weakref.ref(thing)

    gone = await ask()
    await link.close()

    assert gone() is None
