"""The example page in a real browser, over a real worker. With SCREENSHOTS=folder its pictures are kept."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from jobfleet import Fleet, Job, JobStatus
from tests.support.chromium import MARKS, launched
from tests.support.fleet import LONG, ROOT, Programs
from tests.support.pages import DOCS, blocks_of
from tests.support.server import RedisServer, free_port
from tests.support.waiting import wait_until

PICTURES = os.environ.get("SCREENSHOTS")
SINGLE = """
import streamlit as st
from jobfleet.panels import render_job_progress

render_job_progress(st.query_params["job"], poll_interval=0.1)
st.text_input("Meanwhile")
"""

pytestmark = list(MARKS)


@pytest.fixture(scope="module")
def programs(server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    """A worker of the example's jobs, and of some that can be told how to go on."""
    server.flush()
    programs = Programs(server.url, tmp_path_factory.mktemp("browser"))
    for block in blocks_of(DOCS / "howto" / "streamlit.md"):
        if block.file:
            (programs.folder / block.file).write_text(block.body)
    programs.ready("seeds", "jobfleet.demo.reports")
    programs.ready("reports", app_dir=programs.folder)
    yield programs
    programs.close()


@pytest.fixture(scope="module")
def fleet(server: RedisServer, programs: Programs) -> Iterator[Fleet]:
    with Fleet(server.url) as fleet:
        yield fleet


class Served:
    """A page that Streamlit serves."""

    def __init__(self, script: Path, url: str, log: Path) -> None:
        self.port = free_port()
        self.folder = log.parent
        options = {
            "server.headless": "true", "server.address": "127.0.0.1", "server.port": str(self.port),
            "server.fileWatcherType": "none", "browser.gatherUsageStats": "false", "client.toolbarMode": "minimal",
        }  # fmt: skip
        flags = [f"--{name}={value}" for name, value in options.items()]
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "streamlit", "run", str(script), *flags],
                cwd=ROOT, env={**os.environ, "JOBFLEET_URL": url, "PYTHONPATH": str(ROOT)}, stdout=out, stderr=out,
            )  # fmt: skip
        wait_until(self._is_there, timeout=LONG, why="the page is served")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _is_there(self) -> bool:
        with suppress(URLError, ConnectionError), urlopen(f"{self.url}/_stcore/health", timeout=5) as answer:
            return bool(answer.status == 200)
        return False

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(30)


@pytest.fixture(scope="module")
def example(programs: Programs) -> Iterator[Served]:
    served = Served(ROOT / "jobfleet/panels/demo.py", programs.url, programs.folder / "example.log")
    yield served
    served.close()


@pytest.fixture(scope="module")
def printed(programs: Programs) -> Iterator[Served]:
    """The page of the how-to that enqueues at once, exactly as it is printed."""
    served = Served(programs.folder / "at_once.py", programs.url, programs.folder / "printed.log")
    yield served
    served.close()


@pytest.fixture(scope="module")
def single(programs: Programs) -> Iterator[Served]:
    script = programs.folder / "single.py"
    script.write_text(SINGLE)
    served = Served(script, programs.url, programs.folder / "single.log")
    yield served
    served.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(LONG * 1000)
    expect.set_options(timeout=LONG * 1000)
    yield page
    page.close()


def picture(page: Page, name: str) -> None:
    """Keep what the page looks like, where that is asked for."""
    if PICTURES:
        page.wait_for_timeout(800)  # Streamlit fades new things in
        page.screenshot(path=Path(PICTURES) / f"{name}.png", animations="disabled")


def value_of(bar: Locator) -> int:
    return int(bar.get_attribute("aria-valuenow") or 0)


def moves(bar: Locator, beyond: int) -> int:
    """Wait until a bar shows more, with no hand on the page; answer how much."""
    return wait_until(lambda: value if (value := value_of(bar)) > beyond else 0, timeout=LONG, why="the bar moves")


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).first.click()


def test_a_bar_moves_without_a_click_to_its_end(example: Served, page: Page) -> None:
    page.goto(example.url)
    press(page, "Write a report")
    bar = page.get_by_role("progressbar").first
    expect(bar).to_be_visible()

    moves(bar, 40 if PICTURES else 0)
    picture(page, "streamlit-progress")

    expect(page.get_by_text("Result: 8 chapters")).to_be_visible()
    assert value_of(page.get_by_role("progressbar").first) == 100


def at_most(page: Page, label: str) -> None:
    """Push a slider to its end."""
    slider = page.get_by_role("slider", name=label)
    slider.press("End")
    expect(slider).to_have_value(slider.get_attribute("max") or "?")


def test_cancel_stops_what_runs(example: Served, page: Page, fleet: Fleet) -> None:
    page.goto(example.url)
    at_most(page, "Chapters")  # else it is written before the button is pressed, on a busy machine
    at_most(page, "Seconds per chapter")
    press(page, "Write a report")
    moves(page.get_by_role("progressbar").first, 0)

    press(page, "Cancel")

    expect(page.get_by_text("cancelled by ann").first).to_be_visible()
    expect(page.get_by_role("button", name="Cancel", exact=True).first).to_be_disabled()
    ended = fleet.ended(limit=1)[0]
    assert (ended.status, ended.error, ended.name) == (JobStatus.CANCELLED, "cancelled by ann", "Report")


def test_a_failure_is_shown_and_the_dashboard_counts_it(example: Served, page: Page, fleet: Fleet) -> None:
    page.goto(example.url)
    press(page, "Charge, and fail")
    expect(page.get_by_text("ValueError: no account to charge 5 to").first).to_be_visible()
    running = fleet.enqueue(Job("Long report", "examples.report", (100, 0.5), user="ann"))

    page.get_by_role("tab", name="Fleet").click()

    bar = page.get_by_role("tabpanel", name="Fleet").get_by_role("progressbar").first
    moves(bar, 30 if PICTURES else 0)
    picture(page, "streamlit-dashboard")
    assert fleet.cancel(running)


def test_a_page_that_enqueues_at_once_enqueues_one_job_and_shows_its_result(
    printed: Served, page: Page, fleet: Fleet
) -> None:
    page.goto(printed.url)
    moves(page.get_by_role("progressbar").first, 0)

    expect(page.get_by_text("Done: 4 chapters")).to_be_visible()
    wait_until(lambda: not looks_again(page, fleet), timeout=LONG, why="the page rests")
    expect(page.get_by_text("Done: 4 chapters")).to_be_visible()
    assert len(fleet.jobs(function="reports.report").jobs) == 1

    page.reload()  # another session
    expect(page.get_by_text("Done: 4 chapters")).to_be_visible()
    assert len(fleet.jobs(function="reports.report").jobs) == 2


def test_the_page_is_not_blocked_while_a_bar_moves_and_is_left_alone_when_the_job_has_ended(
    single: Served, page: Page, fleet: Fleet
) -> None:
    gates = single.folder
    job_id = fleet.enqueue(Job("Report", "seed.steps", (str(gates),)))
    page.goto(f"{single.url}/?job={job_id}")
    bar = page.get_by_role("progressbar").first
    assert moves(bar, 0) == 25

    box = page.get_by_label("Meanwhile")
    box.fill("typed while it ran")
    box.press("Enter")
    (gates / "first").touch()
    assert moves(bar, 25) == 75
    assert box.input_value() == "typed while it ran"
    (gates / "second").touch()

    expect(page.get_by_test_id("stMarkdownContainer").filter(has_text="completed")).to_be_visible()
    assert box.input_value() == "typed while it ran"
    assert fleet.poll(job_id).status is JobStatus.COMPLETED
    wait_until(lambda: not looks_again(page, fleet), timeout=LONG, why="nobody looks at the job any more")


def looks_again(page: Page, fleet: Fleet) -> bool:
    """Whether scripts that read are called while the page is only open: ten looks' worth of time."""
    before = _reads(fleet)
    page.wait_for_timeout(1000)
    return _reads(fleet) != before


def _reads(fleet: Fleet) -> int:
    import redis

    path = fleet.config.url.removeprefix("unix://")
    with redis.Redis(unix_socket_path=path, protocol=2) as raw:
        stats = cast(dict[str, Any], raw.info("commandstats"))
    return int(stats.get("cmdstat_evalsha_ro", {}).get("calls", 0))
