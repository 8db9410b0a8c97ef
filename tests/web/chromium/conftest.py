"""Chromium, and a dashboard over a real worker; the tests are skipped where Chromium is not installed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from jobfleet import Fleet
from tests.support.chromium import MARKS, launched
from tests.support.fleet import LONG, Programs
from tests.support.server import RedisServer
from tests.web.chromium.seen import Complaints
from tests.web.site import Site, served


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    for item in items:
        if "/web/chromium/" in item.path.as_posix():
            for mark in MARKS:
                item.add_marker(mark)


@pytest.fixture(scope="module")
def programs(server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    """A worker of the example's jobs, and of some that wait for a file."""
    server.flush()
    programs = Programs(server.url, tmp_path_factory.mktemp("browser"))
    programs.ready("seeds", "jobfleet.demo.reports", beat=0.5, gone_after=20)
    yield programs
    programs.close()


@pytest.fixture(scope="module")
def fleet(server: RedisServer, programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    access = tmp_path_factory.mktemp("access") / "web.json"
    with Fleet(server.url, web_access=access, web_open_role="admin", web_open_access=True) as fleet:
        yield fleet


@pytest.fixture(scope="module")
def site(fleet: Fleet) -> Iterator[Site]:
    with served(fleet) as site:
        yield site


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 800}, base_url=f"http://127.0.0.1:{site.port}")
    page.set_default_timeout(LONG * 1000)
    expect.set_options(timeout=LONG * 1000)
    complaints = Complaints(page, site.port)
    yield page
    page.close()
    assert complaints.found == []
