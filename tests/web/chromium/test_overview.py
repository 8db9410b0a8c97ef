"""What an operator finds at night, from the overview with the mouse alone, on a screen and on a phone."""

from __future__ import annotations

from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from jobfleet import Fleet, Job
from tests.support.fleet import LONG
from tests.web.chromium.seen import barriers, picture
from tests.web.site import Site


@pytest.fixture(scope="module", autouse=True)
def night(fleet: Fleet) -> None:
    """A queue is paused while a job waits in it, and a function has failed."""
    fleet.wait(fleet.enqueue(Job("Charge 5", "examples.charge", (5,))), timeout=LONG)
    fleet.enqueue(Job("Waits", "examples.charge", (1,), queue="mail"))
    fleet.pause("mail", by="ann", reason="the provider is down")


@pytest.mark.first(1)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_what_needs_attention_is_in_sight_and_reads_well(
    browser: Browser, site: Site, fleet: Fleet, width: int, scheme: Literal["light", "dark"]
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, base_url=f"http://127.0.0.1:{site.port}"
    )
    page = context.new_page()
    (worker,) = fleet.workers()
    paths = {"overview": "/", "functions": "/functions", "function": "/functions/examples.charge",
             "worker-functions": f"/workers/{worker.id}", "doctor": "/doctor", "sequences": "/sequences"}  # fmt: skip
    for name, path in paths.items():
        page.goto(path)
        page.locator("#live").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert barriers(page) == [], path
        picture(page, f"{name}-{width}-{scheme}")
    context.close()


def test_the_failed_function_its_worker_and_the_paused_queue_are_some_clicks_away(page: Page, fleet: Fleet) -> None:
    (worker,) = fleet.workers()
    page.goto("/")
    dead = page.locator(".finding", has_text="in examples.charge")
    dead.get_by_role("link", name="examples.charge").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("examples.charge")
    page.get_by_role("link", name=worker.id).click()
    expect(page.locator('[id="function-examples.charge"]')).to_contain_text("default")
    page.locator('[id="function-examples.charge"]').get_by_role("link", name="dead letters").click()
    expect(page.get_by_role("link", name="Charge 5")).to_be_visible()

    page.goto("/")
    page.locator(".finding", has_text="is paused by ann").get_by_role("button", name="Resume").click()

    expect(page.get_by_role("status").first).to_have_text("mail is open.")
    assert [one.name for one in fleet.queues() if one.paused is not None] == []
