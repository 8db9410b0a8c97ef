"""The audit page, and refusals in the audit: each kind is recorded, and nobody can flood the audit with them."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from jobfleet import Fleet, Job
from jobfleet.clock import monotonic
from jobfleet.web.safety import guard
from jobfleet.web.safety.access import Role
from jobfleet.web.safety.guard import Refusals
from tests.cli.hand import Hand
from tests.support.each import each
from tests.web.site import Browser, Site, served


@pytest.fixture(autouse=True)
def world(fleet: Fleet, hand: Hand) -> None:
    fleet.enqueue(Job("x", "demo.add", id="a"))
    fleet.pause("default", by="ann", reason="the provider moves")
    fleet.resume("default", by="bob")


def rows(browser: Browser, query: str = "") -> list[tuple[str, str, str, str]]:
    entries = browser.get(f"/api/v1/audit{query}").json["entries"]
    return [(one["by"], one["action"], one["target"], one["outcome"]) for one in entries]


def test_the_page_shows_who_did_what_to_what(browser: Browser) -> None:
    page = re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", browser.get("/audit").text)))

    for text in ("ann", "bob", "queue.pause", "queue.resume", "default", "done", "the provider moves"):
        assert text in page


def test_filters_and_cursors(browser: Browser) -> None:
    paused = ("ann", "queue.pause", "default", "done")
    resumed = ("bob", "queue.resume", "default", "done")
    assert rows(browser) == [resumed, paused]
    for query in ("by=ann", "action=queue.pause", "since=1h&by=ann", "until=2200-01-01T00:00:00Z&by=ann"):
        assert rows(browser, f"?{query}") == [paused], query
    assert rows(browser, "?action=queue&target=defau&limit=1") == [resumed]
    for query in ("target=nope", "since=2200-01-01T00:00:00Z", "until=1h"):
        assert rows(browser, f"?{query}") == [], query
    now = quote((datetime.now(UTC) - timedelta(hours=1)).isoformat())
    assert len(rows(browser, f"?since={now}")) == 2

    first = browser.get("/api/v1/audit?limit=1").json
    second = browser.get(f"/api/v1/audit?limit=1&cursor={first['cursor']}").json
    assert [one["by"] for one in first["entries"] + second["entries"]] == ["bob", "ann"]
    assert "cursor=" in browser.get("/audit?limit=1&action=queue").text


@each("query", [
        "since=soon", "until=2026-01-01T00:00:00", "since=1y", "cursor=odd", "since=99999999999d",
        "cursor=0-0", "cursor=00-0", "cursor=0-00",
    ])  # fmt: skip
def test_a_wrong_filter_is_refused(browser: Browser, query: str) -> None:
    answer = browser.get(f"/api/v1/audit?{query}")
    assert (answer.status, answer.json["error"]["field"]) == (400, query.partition("=")[0])


def test_a_time_before_all_entries_is_a_time(browser: Browser) -> None:
    for since in ("1970-01-01T00:00:00Z", "1960-01-01T00:00:00Z"):
        assert (len(rows(browser, f"?since={since}")), len(rows(browser, f"?until={since}"))) == (2, 0), since


def test_each_refused_action_is_in_the_audit(site: Site, tokens: dict[Role, str], fleet: Fleet) -> None:
    site.browser().call("/queues/default/pause", tokens[Role.VIEWER], reason="geheim")
    site.browser().call("/queues/default/pause", "jft_wrong")
    site.browser().post("/queues/default/pause")

    entries = fleet.audit(action="web").entries
    assert [(one.by, one.action, one.target, one.outcome, one.error, one.source) for one in entries] == [
        ("web", "web.refuse", "/queues/default/pause", "refused", "cross-site", "web"),
        ("nobody@127.0.0.1", "web.refuse", "/api/v1/queues/default/pause", "refused", "unauthenticated", "web"),
        ("of-viewer", "web.refuse", "/api/v1/queues/default/pause", "refused", "forbidden", "web"),
    ]
    assert "geheim" not in str(entries)


def test_a_refused_login_is_in_the_audit_without_what_was_typed(site: Site, users: None, fleet: Fleet) -> None:
    site.browser().log_in("admin", "geheim")
    known = fleet.audit(action="web.login").entries
    site.browser().log_in("geheim", "geheim")

    assert [(one.by, one.target, one.error) for one in known] == [("nobody@127.0.0.1", "admin", "unauthenticated")]
    assert "geheim" not in str(fleet.audit().entries)


def test_an_unknown_name_may_be_a_password(site: Site, users: None, fleet: Fleet) -> None:
    site.browser().log_in("geheim", "")

    (one,) = fleet.audit(action="web.login").entries
    assert one.target == "a name that no user has"


def test_a_flood_leaves_few_entries_and_they_count_it(
    site: Site, tokens: dict[Role, str], fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = site.browser()
    for _ in range(30):
        viewer.call("/queues/default/pause", tokens[Role.VIEWER])

    assert [one.count for one in fleet.audit(by="of-viewer").entries] == [1]
    assert len(fleet.audit(by="ann").entries) == 1
    monkeypatch.setattr("jobfleet.web.safety.guard.monotonic", _in_a_minute)
    viewer.call("/queues/default/pause", tokens[Role.VIEWER])
    assert [one.count for one in fleet.audit(by="of-viewer").entries] == [30, 1]


def _in_a_minute() -> float:
    return monotonic() + 61


def test_strangers_share_a_bound_whatever_their_address_and_users_have_their_own() -> None:
    found = Refusals()
    strangers = [found.count("", f"198.51.100.{number}") for number in range(200)]

    assert sum(one > 0 for one in strangers) == guard.PER_HOUR
    assert found.count("ann", "192.0.2.1") == 1
    assert found.count("ann", "192.0.2.2") == 0
    assert found.count("bob", "192.0.2.1") == 1


def test_an_audit_that_is_off_or_away_stops_no_refusal(make_fleet: Callable[..., Fleet]) -> None:
    with served(make_fleet(audit_max=0)) as site:
        assert site.browser().post("/queues/default/pause").status == 403


def test_a_wrong_request_that_is_not_a_matter_of_safety_is_not_in_the_audit(
    site: Site, tokens: dict[Role, str], fleet: Fleet
) -> None:
    site.browser().call("/queues/nope/pause", tokens[Role.OPERATOR])
    site.browser().get("/api/v1/settings", Authorization=f"Bearer {tokens[Role.VIEWER]}")

    assert [one.action for one in fleet.audit(action="web").entries] == []
