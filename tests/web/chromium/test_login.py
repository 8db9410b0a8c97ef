"""Log in and out in a browser: by the printed address, by its token, and by a password."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from jobfleet import Fleet, Job
from jobfleet.functions.registry import Registry
from jobfleet.web.app import WebApp
from jobfleet.web.safety.access import AccessFile, Role
from tests.support.fleet import LONG
from tests.support.server import RedisServer
from tests.web.chromium.seen import Complaints, barriers, picture
from tests.web.site import Site

PASSWORD = "correct horse"
pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")


@pytest.fixture
def closed(server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A dashboard with nobody in its access file, as `jobfleet web` serves it."""
    access = tmp_path_factory.mktemp("login") / "web.json"
    with Fleet(server.url, registry=Registry(), namespace="login", web_access=access) as fleet:
        fleet.enqueue(Job("x", "demo.add", queue="orders"))
        site = Site(WebApp(fleet))
        yield site
        site.close()


def opened(browser: Browser, site: Site) -> tuple[Page, Complaints]:
    """A page of a browser without cookies, and what it complains of."""
    page = browser.new_context(base_url=f"http://127.0.0.1:{site.port}").new_page()
    page.set_default_timeout(LONG * 1000)
    expect.set_options(timeout=LONG * 1000)
    return page, Complaints(page, site.port)


def test_the_printed_address_opens_the_dashboard_and_leaves_no_token(browser: Browser, closed: Site) -> None:
    assert isinstance(closed.application, WebApp)
    identity = closed.application.dashboard.identity
    printed: list[str] = []
    identity.on_link = lambda _, token: printed.append(token)
    token = identity.new_link()
    page, complaints = opened(browser, closed)

    page.goto(f"/?token={token}")

    expect(page.locator(".who")).to_contain_text("web · operator")
    assert (page.url, page.evaluate("history.length")) == (f"http://127.0.0.1:{closed.port}/", 2)  # and about:blank
    page.goto("/queues")
    expect(page.locator("#queue-orders .state")).to_have_text("open")
    page.go_back()
    assert token not in page.url
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Token")).to_be_focused()
    assert complaints.found == []
    assert barriers(page) == []
    picture(page, "login-token")

    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("The token is wrong, or was used before")
    picture(page, "login-token-used")
    page.get_by_label("Token").fill(printed[-1])
    page.get_by_role("button", name="Log in").click()
    expect(page.locator(".who")).to_contain_text("web · operator")
    page.context.close()


def test_a_user_logs_in_with_a_password_and_a_removed_one_is_shown_the_door(
    browser: Browser, closed: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobfleet.web.safety.access.N", 2**10)
    assert isinstance(closed.application, WebApp)
    access = AccessFile(closed.application.dashboard.config.web_access)
    access.add_user("ann", Role.OPERATOR, PASSWORD)
    access.add_user("bob", Role.VIEWER, PASSWORD)
    page, complaints = opened(browser, closed)
    page.goto("/queues")
    picture(page, "login-password")
    page.get_by_label("Name").fill("ann")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("#queue-orders .state")).to_have_text("open")
    assert complaints.found == []

    access.remove_user("ann")

    expect(page.get_by_role("status")).to_have_text(
        re.compile(r"^Not live since \S+\. Your login has ended\. Log in again\.$")
    )
    picture(page, "login-removed")
    page.context.close()
