"""The output stream of a job: on its page, and in the API as server-sent events."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import redis

from jobfleet import Fleet, Job
from jobfleet.codec import encode
from jobfleet.store.calls.run import Emission, emit_chunks
from jobfleet.store.records import Grant
from jobfleet.web.safety.access import Role
from tests.cli.hand import Hand
from tests.support.waiting import wait_until
from tests.web.site import Browser, Site, served


def emits(hand: Hand, grant: Grant, *values: Any, first: int = 1) -> None:
    """A run emits chunks."""
    emission = Emission(grant.id, grant.token, 60_000, first, [encode(value) for value in values])
    lane = hand.fleet.context.keys.lane_of(grant.id)
    hand.run(emit_chunks(lane, [emission], most=100, most_bytes=10_000))


@pytest.fixture
def grant(fleet: Fleet, hand: Hand) -> Grant:
    return hand.claims(fleet.enqueue(Job("x", "demo.add", id="a")))


def values(events: list[dict[str, str]]) -> list[Any]:
    return [json.loads(event["data"])["value"] for event in events if event.get("event") is None]


def test_chunks_are_sent_as_they_come_until_the_job_ends(browser: Browser, hand: Hand, grant: Grant) -> None:
    emits(hand, grant, "Hello", {"token": "geheim", "sum": 3})
    with browser.stream(f"/jobs/{grant.id}/stream", "/api/v1") as stream:
        first = [next(stream), next(stream)]
        emits(hand, grant, b"raw", first=3)
        third = next(stream)
        hand.completes(grant, 3)
        rest = list(stream)

    assert json.loads(first[0]["data"]) == {
        "value": "Hello", "position": first[0]["id"], "epoch": grant.token, "number": 1, "is_restart": False,
        "dropped": 0,
    }  # fmt: skip
    assert values([*first, third]) == ["Hello", {"token": "***", "sum": 3}, "cmF3"]
    assert [(one["event"], one["id"]) for one in rest] == [("end", "end")]


def test_a_client_continues_where_it_was(browser: Browser, hand: Hand, grant: Grant) -> None:
    emits(hand, grant, "a", "b", "c")
    hand.completes(grant, 3)
    path = f"/jobs/{grant.id}/stream"
    with browser.stream(path, "/api/v1") as stream:
        position = next(stream)["id"]

    with browser.stream(path, "/api/v1", Last_Event_ID=position) as stream:
        assert values(list(stream)) == ["b", "c"]
    with browser.stream(f"{path}?tail=1", "/api/v1") as stream:
        assert values(list(stream)) == ["c"]
    assert browser.get(f"/api/v1{path}", Last_Event_ID="end").status == 204
    refused = browser.get(f"/api/v1{path}", Last_Event_ID="7")
    assert (refused.status, refused.code, refused.json["error"]["field"]) == (400, "invalid-job", "after")
    assert browser.get("/api/v1/jobs/default.0.nope/stream").code == "job-not-found"


def test_the_page_of_a_job_shows_its_output(browser: Browser, fleet: Fleet, hand: Hand, grant: Grant) -> None:
    silent = fleet.enqueue(Job("x", "demo.add", id="b"))
    emits(hand, grant, "<b>bold", " text\n", {"password": "geheim"})

    page = browser.get(f"/jobs/{grant.id}").text

    assert "<h2>Output</h2>" not in browser.get(f"/jobs/{silent}").text
    assert "&lt;b&gt;bold text\n{" in page
    assert "geheim" not in page


def test_a_viewer_may_read_it_and_a_revoked_token_ends_it(
    site: Site, access: Any, tokens: dict[Role, str], hand: Hand, grant: Grant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobfleet.client.output_events.BEAT", 0.05)
    emits(hand, grant, "a")
    path = f"/jobs/{grant.id}/stream"
    assert site.browser().get(f"/api/v1{path}", Authorization="Bearer wrong").code == "unauthenticated"
    with site.browser().stream(path, "/api/v1", Authorization=f"Bearer {tokens[Role.VIEWER]}") as stream:
        next(stream)
        access.revoke_token("of-viewer")
        assert list(stream) == []


def test_streams_are_bounded_and_give_their_place_back(
    make_fleet: Callable[..., Fleet], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobfleet.client.output_events.BEAT", 0.05)
    fleet = make_fleet(web_streams=1)
    hand = Hand(fleet)
    hand.knows("demo.add")
    grant = hand.claims(fleet.enqueue(Job("x", "demo.add", id="a")))
    emits(hand, grant, "a")
    with served(fleet) as site:
        hub = site.application.dashboard.hub  # type: ignore[union-attr]  # it is ours
        with site.browser().stream(f"/jobs/{grant.id}/stream", "/api/v1") as stream:
            next(stream)
            assert site.browser().get(f"/api/v1/jobs/{grant.id}/stream").code == "too-many-streams"
        wait_until(lambda: hub.streams == 0, why="it is noticed as gone")


def test_an_outage_is_one_problem_and_the_stream_continues(
    browser: Browser, hand: Hand, grant: Grant, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobfleet.client.output_events.AGAIN_AFTER", 0.05)
    emits(hand, grant, "a")
    with browser.stream(f"/jobs/{grant.id}/stream", "/api/v1") as stream:
        next(stream)
        raw.client_pause(4000, all=True)
        problem = next(stream)
        raw.client_unpause()
        emits(hand, grant, "b", first=2)
        second = next(stream)

    assert problem["event"] == "problem"
    assert json.loads(problem["data"])["error"]["code"] == "store-unavailable"
    assert values([second]) == ["b"]
