"""Recurring jobs in a real browser."""

from __future__ import annotations

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

    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("status")).to_have_text("nightly is paused.")
    expect(page.locator("#live .state").first).to_have_text("paused")
    fleet.cron.resume("nightly")  # by somebody else
    expect(page.locator("#live .state").first).to_have_text("on")

    page.get_by_label("Schedule").fill("@every 90s")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_have_text("nightly: changed.")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("No recurring jobs yet.")).to_be_visible()


def test_fires_appear_in_the_ledger_while_one_looks(page: Page, fleet: Fleet) -> None:
    fleet.cron.add("ticks", "* * * * * *", Job("tick", "seed.add", (1, 1)))
    page.goto("/cron")
    expect(page.locator("#cron-ticks .state", has_text="fired")).to_be_visible()
    picture(page, "cron")
    page.get_by_role("link", name="ticks").click()
    expect(page.locator("section").nth(1).locator("tbody tr").nth(2)).to_be_visible()
    picture(page, "cron-ticks")
    fleet.cron.remove("ticks")
    expect(page.get_by_text("No cron entry 'ticks'")).to_be_visible()
