"""Charts, keys, and changes of many jobs in a real browser."""

from __future__ import annotations

import re

import redis
from playwright.sync_api import Page, expect

from jobfleet import Fleet, Job, JobStatus
from jobfleet.samples import COMPLETED, FAILED, FIRST_GAUGE, TOTAL
from tests.support.fleet import LONG
from tests.support.sampled import store_samples
from tests.support.server import RedisServer
from tests.support.waiting import wait_until
from tests.web.chromium.seen import picture

COLORED = """element => {
  const canvas = element.querySelector("canvas");
  if (!canvas) return 0;
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let found = 0;
  for (let at = 0; at < data.length; at += 4)
    if (data[at + 3] > 200 && Math.abs(data[at] - data[at + 1]) > 40) found += 1;
  return found;
}"""
"""Counts the points of a chart that have a color: its lines; its grid and its texts are gray."""

ROOM = """element => {
  const canvas = element.querySelector("canvas").getBoundingClientRect();
  const plot = element.querySelector(".u-over").getBoundingClientRect();
  const text = document.createElement("canvas").getContext("2d");
  text.font = "12px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";
  return canvas.right - plot.right - text.measureText("00:00").width / 2;
}"""
"""How much wider the right margin of a chart is than half a label of its time axis, which may end there, in pixels."""


def test_charts_are_drawn_and_their_time_is_in_the_address(page: Page, fleet: Fleet, server: RedisServer) -> None:
    with redis.Redis.from_url(server.url) as raw:
        for ago in range(30, 130, 10):
            store_samples(raw, fleet, {TOTAL: {COMPLETED: ago, FAILED: 20, FIRST_GAUGE: 7}}, ago=ago)
    page.goto("/")
    page.get_by_role("navigation", name="Time of the charts").get_by_role("link", name="10 min").click()
    expect(page).to_have_url("/?since=10m")
    chart = page.locator("#chart-throughput .plot")
    wait_until(lambda: chart.evaluate(COLORED) > 50, timeout=LONG, why="the lines are drawn")
    assert "failed: last 2/s, at most 2/s" in str(chart.get_attribute("aria-label"))
    assert chart.evaluate(ROOM) >= 0
    page.get_by_role("link", name="The history as a table").click()
    expect(page.get_by_role("cell", name="30", exact=True).first).to_be_visible()


def test_a_list_is_changed_with_keys_and_its_number_is_shown_first(page: Page, fleet: Fleet) -> None:
    for number in range(3):
        fleet.enqueue(Job(f"Many {number}", "examples.charge", (1,), id=f"many{number}", user="many", delay=3600))
    page.goto("/jobs?user=many")
    for key in ("j", "x", "j", "j", "x"):
        page.keyboard.press(key)
    fleet.enqueue(Job("Many 3", "examples.charge", (1,), id="many3", user="many", delay=3600))
    expect(page.get_by_role("link", name="Many 3")).to_be_visible()
    expect(page.get_by_role("checkbox", checked=True)).to_have_count(2)
    expect(page.locator("[data-chosen]")).to_have_text("2 selected")
    page.get_by_role("button", name="Count").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Cancel 2 jobs?")
    picture(page, "bulk")
    page.get_by_role("button", name="Cancel 2 jobs").click()
    expect(page.get_by_role("status")).to_have_text("2 jobs were cancelled.")
    assert len(fleet.jobs(user="many", status=JobStatus.SCHEDULED).jobs) == 2
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Many")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Next and previous row")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_columns_and_filters_are_kept_by_the_browser(page: Page, fleet: Fleet) -> None:
    fleet.enqueue(Job("Kept", "examples.charge", (1,), user="kept", delay=3600, metadata={"customer": "acme"}))
    page.goto("/jobs?user=kept&where=customer%3Dacme")
    expect(page.get_by_text("open jobs that were read")).to_be_visible()
    page.on("dialog", lambda dialog: dialog.accept("Of acme"))
    page.get_by_role("button", name="Save these filters").click()
    page.get_by_text("Columns").click()
    page.get_by_role("checkbox", name="Queue", exact=True).uncheck()
    expect(page.get_by_role("columnheader", name="Queue", exact=True)).to_be_hidden()
    picture(page, "columns")

    page.goto("/jobs")

    expect(page.get_by_role("columnheader", name="Queue", exact=True)).to_be_hidden()
    page.get_by_label("Saved filters").select_option("Of acme")
    expect(page).to_have_url("/jobs?user=kept&where=customer%3Dacme")
    expect(page.get_by_role("link", name="Kept")).to_be_visible()
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_label("Saved filters")).to_have_value("")


def test_a_queue_is_paused_on_the_list_with_a_reason_on_a_phone(page: Page, fleet: Fleet) -> None:
    fleet.enqueue(Job("Held", "examples.charge", (1,), queue="phone", delay=3600))
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto("/queues")
    page.on("dialog", lambda dialog: dialog.accept("the provider is down"))
    row = page.locator("#queue-phone")
    button = row.get_by_role("button", name="Pause")
    box = button.bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= 390
    button.click()
    expect(page.get_by_role("status").first).to_have_text("phone is paused.")
    expect(page).to_have_url(re.compile("/queues[?]note="))
    expect(page.locator("#queue-phone")).to_contain_text("the provider is down")
    page.get_by_role("button", name="Menu").click()
    picture(page, "queues-menu-phone")
    page.get_by_role("navigation").get_by_role("link", name="Jobs", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Jobs")
