"""Recurring jobs in a real browser."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from jobfleet import Fleet, Job
from tests.support.fleet import LONG
from tests.web.chromium.seen import picture


def test_a_recurring_job_is_added_run_now_paused_and_removed(page: Page, fleet: Fleet) -> None:
    page.goto("/cron")
    page.get_by_label("Name", exact=True).fill("nightly")
    page.get_by_label("Schedule").fill("30 2 * * *")
    page.get_by_label("Time zone").fill("Europe/Berlin")
    page.get_by_label("Function").fill("seed.add")
    page.get_by_label("Arguments").fill("[1, 2]")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("status")).to_have_text("nightly: added.")
    expect(page.get_by_role("heading", level=1)).to_have_text("nightly")
    picture(page, "cron-entry")

    page.get_by_role("button", name="Run now").click()
    expect(page.get_by_role("status")).to_contain_text("is enqueued.")
    job_id = (page.get_by_role("status").text_content() or "").split()[0]
    assert fleet.wait(job_id, timeout=LONG).result == 3

    page.on("dialog", lambda dialog: dialog.accept("the disk is full" if dialog.type == "prompt" else None))
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("status")).to_have_text("nightly is paused.")
    expect(page.locator("#live .state").first).to_have_text("paused")
    expect(page.locator("#live")).to_contain_text("the disk is full")
    fleet.cron.resume("nightly")  # by somebody else
    expect(page.locator("#live .state").first).to_have_text("on")

    page.get_by_label("Schedule").fill("@every 90s")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_have_text("nightly: changed.")
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("No recurring jobs yet.")).to_be_visible()


def test_fires_appear_in_the_ledger_while_one_looks(page: Page, fleet: Fleet) -> None:
    fleet.cron.add("ticks", "* * * * * *", Job("tick", "seed.add", (1, 1)))
    page.goto("/cron")
    expect(page.locator("#cron-ticks .state", has_text="completed")).to_be_visible()
    picture(page, "cron")
    page.get_by_role("link", name="ticks").click()
    expect(page.locator("section").nth(1).locator("tbody tr").nth(2)).to_be_visible()
    picture(page, "cron-ticks")
    fleet.cron.remove("ticks")
    expect(page.get_by_text("No cron entry 'ticks'")).to_be_visible()


def test_failures_in_a_row_are_a_warning_and_a_backfill_is_looked_at_before_it_runs(page: Page, fleet: Fleet) -> None:
    fleet.cron.add("fails", "* * * * * *", Job("fails", "seed.add", (1, "no number")), tz="Europe/Berlin")
    page.goto("/cron")
    expect(page.locator("#cron-fails .state", has_text="failed")).to_be_visible()
    expect(page.locator(".finding.warning")).to_contain_text("jobs of fails failed")
    fleet.cron.pause("fails")
    picture(page, "cron-fails")
    page.goto("/")
    expect(page.locator(".finding.warning", has_text="fires")).to_contain_text(
        "'jobfleet dead replay default.0.cron:fails:"
    )
    picture(page, "overview-cron-fails")

    page.goto("/cron/fails")
    expect(page.locator("section").nth(1).locator(".state.failed").first).to_be_visible()
    expect(page.get_by_role("link", name="The last one")).to_have_attribute(
        "href", re.compile("/jobs/default.0.cron%3Afails%3A")
    )
    picture(page, "cron-entry-fails")
    page.set_viewport_size({"width": 390, "height": 844})
    picture(page, "cron-entry-fails-phone")
    page.goto("/cron")
    picture(page, "cron-fails-phone")
    page.goto("/cron/fails")
    page.get_by_label("From, in Europe/Berlin").fill("2026-03-29T01:59:58")
    page.get_by_label("To (not included)").fill("2026-03-29T03:00:02")  # the clocks go forward between these
    page.get_by_role("button", name="Show the times").click()
    expect(page.locator("tbody tr")).to_have_count(4)
    assert fleet.flows() == []
    picture(page, "backfill-phone")
    page.set_viewport_size({"width": 1280, "height": 800})
    picture(page, "backfill")
    page.get_by_role("button", name="Run 4 jobs, at most 1 at a time").click()
    page.get_by_role("link", name="Show the flow").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("backfill of fails")
    ((flow, _),) = fleet.flows()
    info = fleet.flows.wait(flow, timeout=LONG)
    assert [job.label for job in info.jobs] == ["2026-03-29 01:59", "2026-03-29 01:59", *["2026-03-29 03:00"] * 2]
    assert [job.status for job in info.jobs] == ["failed"] * 4

    page.goto("/cron/fails")
    page.get_by_label("Time in Europe/Berlin").fill("2026-03-30T02:30:00")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("is enqueued.")
    fleet.cron.remove("fails")
