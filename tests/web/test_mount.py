"""The dashboard under a path: in another application, and behind a proxy."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import HTTPConnection
from starlette.routing import Mount

from jobfleet import AsyncFleet, Fleet, Job, web
from jobfleet.errors import ConfigError
from tests.cli.hand import Hand
from tests.support.each import each
from tests.support.server import free_port
from tests.support.waiting import wait_until
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
        assert browser.get(f"{prefix}/api/v1/queues").json == {"queues": [], "trends": []}


@each("path", ["jobs", "/a b", "https://x", "//x", '/"'])
def test_a_wrong_root_path_is_refused(make_fleet: Callable[..., Fleet], path: str) -> None:
    with pytest.raises(ConfigError, match="use a path such as /jobs"):
        web.app(make_fleet(web_root_path=path))


def test_it_takes_an_async_fleet(redis_url: str, fleet: Fleet, hand: Hand) -> None:
    fleet.enqueue(Job("x", "demo.add", id="a"))
    site = Site(web.app(AsyncFleet(redis_url, web_open_access=True)))
    browser: Browser = site.browser()
    try:
        assert [one["name"] for one in browser.get("/api/v1/queues").json["queues"]] == ["default"]
    finally:
        site.close()


# ------------------------------------------------------------------------------------------ FastAPI

HOST = """
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from jobfleet import Fleet, web
from jobfleet.functions.registry import Registry

STAFF = {"secret-of-ann": ("ann", "operator"), "secret-of-bob": ("bob", "viewer")}
app = FastAPI()


def who(connection):
    return STAFF.get(connection.cookies.get("shop_session", ""))


@app.post("/login", response_class=HTMLResponse)
async def login(request: Request) -> HTMLResponse:
    answer = HTMLResponse("hello")
    answer.set_cookie("shop_session", f"secret-of-{(await request.json())['name']}", httponly=True)
    return answer


@app.get("/shop")
async def shop() -> dict[str, str]:
    return {"shop": "open"}


app.mount("/jobs", web.app(Fleet(%r, registry=Registry()), identify=who))
"""


@pytest.fixture
def host(redis_url: str, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A FastAPI application with a login of its own, which uvicorn serves as its documentation says."""
    (tmp_path / "shop_app.py").write_text(HOST % redis_url)
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "shop_app:app", "--port", str(port), "--log-level", "warning"]
    process = subprocess.Popen(command, cwd=tmp_path)
    try:
        wait_until(lambda: _answers(port), timeout=60, why="the application is served")
        yield process, port
    finally:
        process.kill()
        process.wait(30)


def _answers(port: int) -> bool:
    with suppress(OSError):
        return Browser(port).get("/shop").status == 200
    return False


def test_a_fastapi_application_has_the_dashboard_behind_its_own_login(
    host: tuple[subprocess.Popen[bytes], int], fleet: Fleet, hand: Hand
) -> None:
    job_id = fleet.enqueue(Job("x", "demo.add", id="a"))
    _, port = host
    stranger, ann = Browser(port), Browser(port)
    assert stranger.get("/jobs/queues").status == 401
    assert stranger.get("/jobs/api/v1/queues").code == "unauthenticated"
    ann.send("POST", "/login", {"Content-Type": "application/json"}, b'{"name": "ann"}')

    page = ann.get("/jobs/queues")
    assert page.status == 200
    assert [link for link in links(page.text) if not link.startswith("/jobs")] == []
    assert ann.get("/jobs/static/app.css").status == 200
    assert ann.get("/shop").json == {"shop": "open"}
    assert [one["name"] for one in ann.get("/jobs/api/v1/queues").json["queues"]] == ["default"]

    cookies = "; ".join(f"{name}={value}" for name, value in ann.cookies.items())
    with ann.stream("/queues", "/jobs/live", Cookie=cookies) as events:
        assert "default" in next(events)["data"]
        done = ann.post("/jobs/queues/default/pause", ann.csrf("/jobs/queues"), reason="for a test")
        assert (done.status, done.headers["Location"].partition("?")[0]) == (303, "/jobs/queues/default")
        assert any("for a test" in event["data"] for event in events)
    with ann.stream(f"/jobs/{job_id}/events", "/jobs/api/v1", Cookie=cookies) as events:
        assert '"queued"' in next(events)["data"]
    assert [(one.paused, one.paused_reason) for one in fleet.queues()] == [("ann", "for a test")]

    bob = Browser(port)
    bob.send("POST", "/login", {"Content-Type": "application/json"}, b'{"name": "bob"}')
    assert "Pause<" not in bob.get("/jobs/queues").text
    assert [one.by for one in fleet.audit(action="queue").entries] == ["ann"]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_an_application_stops_although_a_page_is_open(
    host: tuple[subprocess.Popen[bytes], int], signum: signal.Signals
) -> None:
    process, port = host
    ann = Browser(port, {"shop_session": "secret-of-ann"})
    with ann.stream("/queues", "/jobs/live", Cookie="shop_session=secret-of-ann") as events:
        next(events)
        process.send_signal(signum)
        process.wait(30)
        assert list(events) == []
