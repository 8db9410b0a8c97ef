"""The pages in a real browser, over a real worker. With SCREENSHOTS=folder its pictures are kept."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from jobfleet import Fleet, Job, JobStatus
from jobfleet.web.app import MENU
from jobfleet.web.endpoints.request import LESS_USED
from tests.support.fleet import LONG, Programs
from tests.support.waiting import wait_until
from tests.web.chromium.seen import barriers, picture
from tests.web.site import Site

HOSTILE = "<img src=x onerror=document.title='hacked'>"


def value_of(page: Page) -> float:
    return float(page.locator("progress").first.get_attribute("value") or 0)


def moves(page: Page, beyond: float) -> float:
    """Wait until the bar shows more, with no hand on the page; answer how much."""
    return wait_until(lambda: value if (value := value_of(page)) > beyond else 0.0, timeout=LONG, why="the bar moves")


def test_every_page_of_the_menu_opens(page: Page, fleet: Fleet) -> None:
    job_id = fleet.enqueue(Job(HOSTILE, "examples.charge", (5,), user=HOSTILE, tags=[HOSTILE]))
    fleet.wait(job_id, timeout=LONG)
    page.goto("/")
    assert page.evaluate("document.querySelector('header').offsetHeight") < 60, "the menu is one line"
    for one, _ in MENU:
        if one.path in LESS_USED:
            page.get_by_role("navigation").get_by_text("More").click()
        page.get_by_role("navigation").get_by_role("link", name=one.title, exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text(one.title)
        expect(page.locator("nav [aria-current=page]")).to_have_text(one.title)
        picture(page, one.title.lower())
    page.goto(f"/jobs/{job_id}")
    expect(page.get_by_text("no account to charge 5 to").first).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_contain_text(HOSTILE)
    expect(page).to_have_title(f"Job {job_id} · jobfleet")
    picture(page, "failed-job")
    page.keyboard.press("g")
    page.keyboard.press("q")
    expect(page).to_have_title("Queues · jobfleet")


def test_a_bar_moves_without_a_reload_and_cancel_stops_the_job(page: Page, fleet: Fleet, programs: Programs) -> None:
    job_id = fleet.enqueue(Job("Report", "seed.steps", (str(programs.folder),)))
    page.goto(f"/jobs/{job_id}")
    page.evaluate("window.isTheSame = true")
    assert moves(page, 0.0) == 0.25
    (programs.folder / "first").touch()
    assert moves(page, 0.25) == 0.75
    assert page.evaluate("window.isTheSame") is True
    picture(page, "running-job")
    page.on("dialog", lambda dialog: dialog.accept())

    page.get_by_role("button", name="Cancel").click()

    expect(page.get_by_role("status")).to_have_text(
        re.compile(r"^It was (asked to stop|cancelled)\.$")
    )  # as soon as it is
    expect(page.locator("h1 .state")).to_have_text("cancelled")
    expect(page.get_by_text("cancelled by web").first).to_be_visible()
    assert fleet.poll(job_id).status is JobStatus.CANCELLED


def test_a_list_is_live_and_a_dead_job_is_retried(page: Page, fleet: Fleet) -> None:
    page.goto("/jobs?user=live")
    expect(page.get_by_text("No jobs match.")).to_be_visible()
    job_id = fleet.enqueue(Job("Charge", "examples.charge", (1,), user="live"))
    page.get_by_role("link", name="Charge").click()
    page.get_by_role("button", name="Replay").click()
    expect(page.get_by_role("status")).to_have_text("It is back in its queue.")
    expect(page.get_by_role("row", name="replayed").get_by_role("cell", name="by web")).to_be_visible()
    wait_until(lambda: fleet.poll(job_id).status is JobStatus.FAILED, why="it has failed again")


def test_a_page_is_live_although_one_of_its_scripts_arrives_late(page: Page, fleet: Fleet) -> None:
    held: list[Route] = []
    page.route("**/hx-sse.min.js*", lambda route: held.append(route))  # noqa: PLW0108 - Playwright looks into a function
    with page.expect_request("**/hx-sse.min.js*"):
        page.goto("/jobs?user=late", wait_until="commit")
    wait_until(lambda: page.evaluate("Boolean(window.htmx)"), why="htmx is there")  # the policy forbids polling by eval
    page.evaluate("new Promise((resolve) => setTimeout(resolve))")  # htmx may begin here, without the late script
    held[0].continue_()
    expect(page.get_by_text("No jobs match.")).to_be_visible()

    fleet.enqueue(Job("Late", "examples.charge", (1,), user="late"))

    expect(page.get_by_role("link", name="Late")).to_be_visible()


def test_a_queue_is_paused_with_a_reason_and_resumed(page: Page, fleet: Fleet) -> None:
    page.goto("/queues/default")
    page.get_by_label("Reason").fill("the provider is <b>down</b>")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("status")).to_have_text("default is paused.")
    expect(page.get_by_text("by web: the provider is <b>down</b>")).to_be_visible()
    picture(page, "queue")

    fleet.resume("default")  # by somebody else

    expect(page.locator("#live .state").first).to_have_text("open")


def test_a_worker_is_quieted_and_resumed(page: Page, fleet: Fleet) -> None:
    page.goto("/workers")
    expect(page.locator("time[data-lasts]")).to_have_text(re.compile(r"^\d+ (s|min)$"))
    page.get_by_role("button", name="Quiet").click()
    expect(page.locator("table .state").first).to_have_text("quiet")
    expect(page.get_by_text("by web")).to_be_visible()
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("table .state").first).to_have_text("running")


@pytest.mark.first(1)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_each_page_within_its_width(browser: Browser, site: Site, fleet: Fleet, scheme: str) -> None:
    chosen = {"light": browser.new_context, "dark": browser.new_context}[scheme](
        viewport={"width": 390, "height": 800}, color_scheme="dark" if scheme == "dark" else "light"
    )
    page = chosen.new_page()
    job_id = fleet.enqueue(Job("Dead", "examples.charge", (5,), tags=["eu"]))
    fleet.wait(job_id, timeout=LONG)
    paths = [(one.path, one.title.lower()) for one, _ in MENU]
    for path, title in (*paths, (f"/jobs/{job_id}", "job"), ("/queues/default", "queue")):
        page.goto(f"http://127.0.0.1:{site.port}{path}")
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, f"{path} is {width} wide"
        assert barriers(page) == [], path
        picture(page, f"{title}-phone-{scheme}")
    chosen.close()
