"""Pages read through the Redis user of `web_viewer_url`, and writes do not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from jobfleet import Fleet, Job
from jobfleet.web.app import PAGES
from tests.cli.hand import Hand
from tests.support.users import create, denials, url_as
from tests.web.site import Site, served

UNFILED = "web: key {jobfleet}:dead-groups"
"""A reader would record letters that no reaper has recorded yet. Without the right to, it leaves that to them."""
pytestmark = pytest.mark.not_on("users", "cluster", "sentinel", "tls", reason="it has Redis users of its own")


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    """A server with the users of all roles."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        create(client)
        client.execute_command("ACL", "LOG", "RESET")
        yield client


@pytest.fixture
def split(client: Any, redis_url: str, make_fleet: Any) -> Iterator[Site]:
    """A dashboard with two Redis users."""
    fleet = make_fleet(web_open_role="admin", web_viewer_url=url_as(redis_url, "web"))
    with served(fleet) as site:
        yield site


def test_all_pages_read_as_the_user_that_can_only_read(
    split: Site, client: Any, fleet: Fleet, hand: Hand, redis_url: str
) -> None:
    fleet.enqueue(Job("x", "demo.add", id="a", tags=["eu"]))
    grant = hand.claims("default.0.a")
    hand.reports(grant, 0.5, "half")
    hand.buries("dead", queue="other")
    browser = split.browser()
    client.config_resetstat()
    users_before = names(client)
    for page in PAGES:
        if not page.has_events and "{" not in page.path:
            answer = browser.get(f"/api/v1{page.api_path}")
            assert answer.status == 200, (page.path, answer.text)
    for path in ("/jobs/default.0.a", "/jobs/default.0.a/logs", "/queues/default", "/jobs?tag=eu"):
        assert browser.get(f"/api/v1{path}").status == 200, path
    assert browser.get("/queues").status == 200
    with browser.stream("/queues") as events:
        next(events)
        assert "web" in names(client)

    assert "web" not in users_before
    assert set(denials(client)) <= {UNFILED}


def names(client: Any) -> set[str]:
    """The Redis users of the connections that are open."""
    return {one["user"] for one in client.client_list()}


def test_a_page_that_is_open_uses_no_other_user(client: Any, redis_url: str, make_fleet: Any) -> None:
    """The user of the writes cannot connect; so only the other one can have read."""
    fleet = make_fleet(web_open_role="admin", web_viewer_url=url_as(redis_url, "web"))
    client.execute_command("ACL", "SETUSER", "default", "nopass", "on")
    with served(fleet) as site:
        before = {one["id"] for one in client.client_list()}
        assert site.browser().get("/api/v1/queues").status == 200
        made = [one["user"] for one in client.client_list() if one["id"] not in before]

    assert made
    assert set(made) == {"web"}


def test_an_action_has_the_rights_of_the_dashboard(split: Site, client: Any, fleet: Fleet, hand: Hand) -> None:
    fleet.enqueue(Job("x", "demo.add", id="a"))
    browser = split.browser()

    assert browser.post("/queues/default/pause", browser.csrf()).status == 303
    assert [one.paused for one in fleet.queues()] == ["web"]
    assert denials(client) == []
