"""What an open page says while Redis or the dashboard is away, and after the login has ended."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from jobfleet import Fleet, Job
from jobfleet.functions.registry import Registry
from jobfleet.web.app import WebApp
from jobfleet.web.safety.access import AccessFile, Role
from tests.support.fleet import LONG
from tests.support.server import RedisServer
from tests.web.chromium.seen import barriers, picture
from tests.web.site import Site, served

PASSWORD = "correct horse"
pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")


@pytest.fixture(scope="module")
def store() -> Iterator[RedisServer]:
    """A server that a test may end."""
    store = RedisServer("--appendonly", "yes", "--appendfsync", "always")
    yield store
    store.stop()


@pytest.fixture
def fleet(store: RedisServer, tmp_path: Path) -> Iterator[Fleet]:
    """A fleet with a queue."""
    store.flush()
    with Fleet(
        store.url, registry=Registry(), web_access=tmp_path / "web.json", web_open_role="admin", web_open_access=True
    ) as fleet:
        fleet.enqueue(Job("x", "demo.add", queue="orders"))
        yield fleet


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that may complain."""
    page = browser.new_page()
    page.set_default_timeout(LONG * 1000)
    expect.set_options(timeout=LONG * 1000)
    yield page
    page.close()


def url_of(site: Site, path: str) -> str:
    return f"http://127.0.0.1:{site.port}{path}"


def test_a_page_says_that_the_dashboard_is_away_and_is_live_again_after_its_restart(page: Page, fleet: Fleet) -> None:
    with served(fleet) as site:
        page.goto(url_of(site, "/queues"))
        expect(page.locator("#queue-orders .state")).to_have_text("open")
    notice = page.get_by_role("status")
    expect(notice).to_have_text(re.compile(r"^Not live since \S+\. The dashboard does not answer\. Trying again\.$"))
    expect(page.locator("#queue-orders .state")).to_have_text("open")
    assert barriers(page) == []
    picture(page, "not-live")

    again = Site(WebApp(fleet), site.port)
    expect(notice).to_have_count(0)
    fleet.pause("orders")
    expect(page.locator("#queue-orders .state")).to_have_text("paused")
    again.close()


def test_a_page_says_that_its_login_has_ended(page: Page, fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobfleet.web.safety.access.N", 2**10)
    assert fleet.config.web_access is not None
    AccessFile(fleet.config.web_access).add_user("ann", Role.OPERATOR, PASSWORD)
    with served(fleet) as site:
        page.goto(url_of(site, "/queues"))
        page.get_by_label("Name").fill("ann")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        expect(page.locator("#queue-orders .state")).to_have_text("open")

    again = Site(WebApp(fleet), site.port)  # which knows no session
    expect(page.get_by_role("status")).to_have_text(
        re.compile(r"^Not live since \S+\. Your login has ended\. Log in again\.$")
    )
    page.get_by_role("link", name="Log in again.").click()
    expect(page.get_by_label("Password")).to_be_visible()
    again.close()


def test_a_page_keeps_what_it_showed_while_redis_is_away(page: Page, fleet: Fleet, store: RedisServer) -> None:
    with served(fleet) as site:
        page.goto(url_of(site, "/queues"))
        expect(page.locator("#queue-orders .state")).to_have_text("open")
        page.evaluate("window.isTheSame = true")
        store.kill()

        expect(page.get_by_role("status")).to_have_text(re.compile(r"^Not live since \S+\. .*Redis"))
        expect(page.locator("#queue-orders .state")).to_have_text("open")
        picture(page, "no-redis")

        store.restart()
        expect(page.get_by_role("status")).to_have_count(0)
        assert page.evaluate("window.isTheSame") is True


def test_a_page_that_redis_could_not_serve_loads_itself(page: Page, fleet: Fleet, store: RedisServer) -> None:
    with served(fleet) as site:
        store.kill()
        answer = page.goto(url_of(site, "/queues"))
        assert answer is not None
        assert answer.status == 503
        expect(page.get_by_text("This page loads itself as soon as that works again.")).to_be_visible()

        store.restart()
        expect(page.locator("#queue-orders .state")).to_have_text("open")


def test_a_page_that_is_refused_live_updates_keeps_what_it_showed(
    page: Page, store: RedisServer, tmp_path: Path
) -> None:
    with Fleet(
        store.url, registry=Registry(), web_access=tmp_path / "web.json", web_streams=1, web_open_access=True
    ) as fleet:
        fleet.enqueue(Job("x", "demo.add", queue="orders"))
        with served(fleet) as site, site.browser().stream("/workers") as events:
            next(events)
            page.goto(url_of(site, "/queues"))
            expect(page.get_by_role("status")).to_have_text(re.compile("status 503. Trying again.$"))
            expect(page.locator("#queue-orders .state")).to_have_text("open")
