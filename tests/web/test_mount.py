"""The dashboard under a path: in another application, and behind a proxy."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from starlette.applications import Starlette
from starlette.requests import HTTPConnection
from starlette.routing import Mount

from jobfleet import AsyncFleet, Fleet, Job, web
from jobfleet.errors import ConfigError
from tests.cli.hand import Hand
from tests.web.site import Browser, Site, served


def login_of_host(connection: HTTPConnection) -> tuple[str, str] | None:
    """The login of the host application: a header stands for its session."""
    name = connection.headers.get("x-host-user")
    return None if name is None else (name, "operator" if name == "ann" else "viewer")


@pytest.fixture
def mounted(fleet: Fleet) -> Iterator[Site]:
    site = Site(Starlette(routes=[Mount("/jobs", web.app(fleet, identify=login_of_host))]))
    yield site
    site.close()


def links(page: str) -> list[str]:
    return re.findall(r'(?:href|src|action|hx-sse:connect|data-root)="([^#"][^"]*)"', page)


def test_all_addresses_are_under_the_path(mounted: Site, fleet: Fleet, hand: Hand) -> None:
    fleet.enqueue(Job("x", "demo.add", id="a"))
    browser = mounted.browser(host="shop.example")
    for path in ("/", "/queues", "/queues/default", "/jobs", "/jobs/default.0.a", "/workers", "/limits", "/doctor"):
        answer = browser.get(f"/jobs{path}", X_Host_User="ann")
        assert answer.status == 200, path
        assert links(answer.text)
        assert [link for link in links(answer.text) if not link.startswith("/jobs")] == []
    assert browser.get("/jobs/static/app.css").status == 200
    assert browser.get("/jobs/healthz").json["status"] == "ok"


def test_the_login_of_the_host_decides(mounted: Site, fleet: Fleet, hand: Hand) -> None:
    fleet.enqueue(Job("x", "demo.add", id="a"))
    browser = mounted.browser(host="shop.example")
    assert browser.get("/jobs/api/v1/queues").status == 401
    assert browser.get("/jobs/queues").status == 401
    assert browser.get("/jobs/login").headers["Location"] == "/jobs/"
    page = browser.get("/jobs/queues", X_Host_User="ann")
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', page.text)
    assert found is not None

    refused = browser.post("/jobs/queues/default/pause", found[1], {"X-Host-User": "bob"})
    done = browser.post("/jobs/queues/default/pause", found[1], {"X-Host-User": "ann"}, reason="for a test")

    assert refused.status == 403
    assert (done.status, done.headers["Location"].partition("?")[0]) == (303, "/jobs/queues/default")
    (queue,) = fleet.queues()
    assert (queue.paused, queue.paused_reason) == ("ann", "for a test")
    noted = browser.get(done.headers["Location"], X_Host_User="ann").text
    assert "default is paused." in noted
    forged = browser.get("/jobs/queues/default?note=You+won&mark=" + "0" * 32, X_Host_User="ann").text
    assert "You won" not in forged


@pytest.mark.parametrize("prefix", ["", "/ops/jobs"])
def test_a_proxy_may_remove_the_path_or_not(make_fleet: Callable[..., Fleet], prefix: str) -> None:
    with served(make_fleet(web_root_path="/ops/jobs/")) as site:
        browser = site.browser()
        answer = browser.get(f"{prefix}/queues")
        assert answer.status == 200
        assert [link for link in links(answer.text) if not link.startswith("/ops/jobs")] == []
        assert "Path=/ops/jobs" in str(answer.headers["Set-Cookie"])
        assert browser.get(f"{prefix}/static/app.js").status == 200
        assert browser.get(f"{prefix}/api/v1/queues").json == {"queues": []}


@pytest.mark.parametrize("path", ["jobs", "/a b", "https://x", "//x", '/"'])
def test_a_wrong_root_path_is_refused(make_fleet: Callable[..., Fleet], path: str) -> None:
    with pytest.raises(ConfigError, match="use a path such as /jobs"):
        web.app(make_fleet(web_root_path=path))


def test_it_takes_an_async_fleet(redis_url: str, fleet: Fleet, hand: Hand) -> None:
    fleet.enqueue(Job("x", "demo.add", id="a"))
    site = Site(web.app(AsyncFleet(redis_url)))
    browser: Browser = site.browser()
    try:
        assert [one["name"] for one in browser.get("/api/v1/queues").json["queues"]] == ["default"]
    finally:
        site.close()
