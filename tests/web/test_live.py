"""Live updates: shared reads, numbers, limits, and pages that come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import pytest

from jobfleet import Fleet, Job
from jobfleet.errors import StoreUnavailable
from jobfleet.web.app import WebApp
from jobfleet.web.errors import Problem
from jobfleet.web.live import Hub, Snapshot
from jobfleet.web.safety.access import AccessFile, Role
from tests.cli.hand import Hand
from tests.support.waiting import await_until, wait_until
from tests.web.site import Browser, Site, served


class Source:
    """What a hub reads."""

    def __init__(self) -> None:
        self.value: Any = 1
        self.reads = 0

    async def read(self) -> dict[str, Any]:
        self.reads += 1
        if isinstance(self.value, Exception):
            raise self.value
        return {"value": self.value}


async def following(stream: AsyncGenerator[Snapshot | None, None]) -> Snapshot:
    """The next snapshot."""
    while (found := await anext(stream)) is None:
        pass
    return found


async def test_a_hundred_pages_share_one_reader() -> None:
    hub, source = Hub(200), Source()
    streams = [hub.watch("queues", source.read, 0.01) for _ in range(100)]
    first = await asyncio.gather(*map(following, streams))
    assert {one.number for one in first} == {1}
    before, pause = source.reads, asyncio.create_task(asyncio.sleep(0.2))
    await pause
    assert source.reads - before <= 21  # those of one reader

    source.value = 2
    second = await asyncio.gather(*map(following, streams))

    assert {(one.number, one.data["value"]) for one in second if one.data} == {(2, 2)}
    for stream in streams:
        await stream.aclose()
    assert (hub.streams, hub._readers) == (0, {})


async def test_a_reader_that_begins_again_repeats_no_number() -> None:
    """What is rendered is kept by number, and a page that comes back names the last one that it has."""
    hub, source = Hub(1), Source()
    stream = hub.watch("x", source.read, 0.01)
    first = await following(stream)
    await stream.aclose()
    source.value = 2

    again = hub.watch("x", source.read, 0.01, seen=f"{hub.epoch}-{first.number}", beat=60.0)
    second = await asyncio.wait_for(anext(again), 30)

    assert second is not None
    assert (second.data, second.number > first.number) == ({"value": 2}, True)
    await again.aclose()


@pytest.mark.usefixtures("hand")  # its worker knows the function
def test_a_page_that_is_opened_again_shows_what_has_changed(site: Site, browser: Browser, fleet: Fleet) -> None:
    fleet.enqueue(Job("x", "demo.add", queue="default"))
    with browser.stream("/queues/default") as events:
        assert "open" in next(events)["data"]
    hub = site.application.dashboard.hub  # type: ignore[union-attr]  # it is ours
    wait_until(lambda: hub.streams == 0, why="the page is closed")
    fleet.pause("default", reason="the provider is down")

    with browser.stream("/queues/default") as events:
        assert "the provider is down" in next(events)["data"]


async def test_a_slow_page_gets_the_last_snapshot_only() -> None:
    hub, source = Hub(1), Source()
    stream = hub.watch("x", source.read, 0.001)
    await following(stream)
    reader = hub._readers["x"]
    for value in range(2, 6):
        source.value = value
        await await_until(partial(_has, reader, value))

    last = await following(stream)
    assert (last.number, last.data) == (5, {"value": 5})
    await stream.aclose()


async def _has(reader: Any, value: int) -> bool:
    return bool(reader.snapshot.data == {"value": value})


async def test_a_page_that_comes_back_gets_only_what_it_has_not_seen() -> None:
    async with AsyncExitStack() as stack:
        hub, source = Hub(9), Source()
        keeps = hub.watch("x", source.read, 0.001)
        stack.push_async_callback(keeps.aclose)
        number = (await following(keeps)).number

        again = hub.watch("x", source.read, 0.001, seen=f"{hub.epoch}-{number}", beat=0.05)
        stack.push_async_callback(again.aclose)
        assert await anext(again) is None
        source.value = 2
        assert (await following(again)).data == {"value": 2}
        other = hub.watch("x", source.read, 0.001, seen=f"00-{number + 1}")
        stack.push_async_callback(other.aclose)
        assert (await following(other)).number == number + 1


async def test_a_page_that_comes_later_gets_what_is_not_compared_too() -> None:
    hub, source = Hub(2), Source()
    streams = [hub.watch("x", source.read, 0.001, compared=lambda _: {}) for _ in range(2)]
    first = await following(streams[0])
    reader = hub._readers["x"]
    source.value = 2
    await await_until(partial(_has, reader, 2))

    second = await following(streams[1])

    assert (first.data, second.data, second.number) == ({"value": 1}, {"value": 2}, first.number)
    for stream in streams:
        await stream.aclose()


async def test_a_failed_read_is_shown_and_the_next_one_counts() -> None:
    hub, source = Hub(1), Source()
    stream = hub.watch("x", source.read, 0.001)
    await following(stream)
    source.value = StoreUnavailable("No Redis.")

    failed = await following(stream)
    assert failed.problem is not None
    assert (failed.number, failed.problem.code, failed.data) == (2, "store-unavailable", None)
    source.value = 3
    assert (await following(stream)).data == {"value": 3}
    await stream.aclose()


async def test_streams_are_limited() -> None:
    hub, source = Hub(1), Source()
    stream = hub.watch("x", source.read, 1)
    await following(stream)

    with pytest.raises(Problem, match="Too many pages"):
        await anext(hub.watch("y", source.read, 1))
    await stream.aclose()
    free = hub.watch("y", source.read, 1)
    await following(free)
    hub.close()
    assert [one async for one in free] == []


async def test_requests_share_a_read_until_something_changes() -> None:
    hub, source = Hub(1), Source()
    await asyncio.gather(*(hub.once("x", source.read, fresh_for=60) for _ in range(50)))
    assert source.reads == 1
    hub.expire()
    assert await hub.once("x", source.read, fresh_for=60) == {"value": 1}
    assert source.reads == 2


def test_a_page_is_updated_when_something_changes(browser: Browser, fleet: Fleet, hand: Hand) -> None:
    fleet.enqueue(Job("x", "demo.add", id="a"))
    browser.get("/queues")
    with browser.stream("/queues") as events:
        first = next(events)
        assert ">default</a>" in first["data"]
        fleet.pause("default", by="ann", reason="<b>")
        second = next(event for event in events if "by ann" in event["data"])

    assert ": &lt;b&gt;" in second["data"]
    assert int(second["id"].rpartition("-")[2]) > int(first["id"].rpartition("-")[2])
    assert "Content-Security" not in second["data"]


def test_the_forms_of_a_live_part_have_the_token_of_their_browser(site: Site, fleet: Fleet, hand: Hand) -> None:
    fleet.enqueue(Job("x", "demo.add", id="a"))
    found = []
    for browser in (site.browser(), site.browser()):
        csrf = browser.csrf()
        with browser.stream("/queues", Cookie=browser.cookie) as events:
            data = next(events)["data"]
        assert f'value="{csrf}"' in data
        found.append(csrf)

    assert found[0] != found[1]


def test_progress_moves_in_the_live_part(browser: Browser, fleet: Fleet, hand: Hand) -> None:
    job_id = fleet.enqueue(Job("x", "demo.add", id="a"))
    grant = hand.claims(job_id)
    with browser.stream(f"/jobs/{job_id}") as events:
        next(events)
        hand.reports(grant, 0.25, "a quarter")
        assert any('value="0.25"' in event["data"] and "a quarter" in event["data"] for event in events)


def test_a_connection_that_is_gone_gives_its_place_back(
    make_fleet: Callable[..., Fleet], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobfleet.web.endpoints.reading.BEAT", 0.05)
    monkeypatch.setattr("jobfleet.web.live.SHARE", 1)
    with served(make_fleet(web_streams=2)) as site:
        assert isinstance(site.application, WebApp)
        hub = site.application.dashboard.hub
        browser = site.browser()
        with browser.stream("/queues") as one, browser.stream("/workers") as two:
            next(one)
            next(two)
            refused = browser.get("/live/jobs")
            assert (refused.status, refused.code, refused.headers["Retry-After"]) == (503, "too-many-streams", "30")
        wait_until(lambda: hub.streams == 0, why="both are noticed as gone")
        assert hub._readers == {}


def test_a_session_that_ends_ends_the_live_page(site: Site, users: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobfleet.web.endpoints.reading.BEAT", 0.05)
    browser = site.browser()
    browser.log_in("viewer", "correct horse")
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    with browser.stream("/queues", Cookie=cookie) as events:
        next(events)
        browser.post("/logout", browser.csrf("/queues"))
        assert list(events) == []


def test_a_revoked_token_ends_the_live_page(
    site: Site, access: AccessFile, tokens: dict[Role, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobfleet.web.endpoints.reading.BEAT", 0.05)
    with site.browser().stream("/queues", Authorization=f"Bearer {tokens[Role.VIEWER]}") as events:
        next(events)
        access.revoke_token("of-viewer")
        assert list(events) == []


def test_the_end_of_the_server_ends_the_live_pages(fleet: Fleet, hand: Hand) -> None:
    with served(fleet) as site:
        stream = site.browser().stream("/queues")
        events = stream.__enter__()
        next(events)
    assert list(events) == []
    stream.__exit__(None, None, None)
