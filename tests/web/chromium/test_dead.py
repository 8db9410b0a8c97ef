"""Dead letters and their rescue in a real browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Dialog, Page, expect

from jobfleet import Fleet, Job
from tests.support.fleet import Programs, settle_all
from tests.web.chromium.seen import picture

COUNT = 15


@pytest.fixture(scope="module", autouse=True)
def reaper(programs: Programs) -> None:
    """Rescues are carried out by a reaper."""
    programs.reaper(beat=0.5)


def die(fleet: Fleet, programs: Programs, name: str) -> str:
    """Letters of one group, whose cause is a file that is missing; answer its fingerprint."""
    path = str(programs.folder / name)
    jobs = [Job(f"Read {number}", "seed.read", (path,), user="ann") for number in range(COUNT)]
    settle_all(fleet, [receipt.id for receipt in fleet.enqueue_many(jobs)])
    return next(one.fingerprint for one in fleet.dead_groups() if name in one.error)


def test_a_rescue_that_fails_again_stops_by_itself_before_the_eyes(
    page: Page, fleet: Fleet, programs: Programs
) -> None:
    die(fleet, programs, "absent")
    page.goto("/dead")
    expect(page.get_by_text("seed.read").first).to_be_visible()
    picture(page, "dead")
    page.locator("tr", has_text="absent").get_by_role("link").first.click()
    page.get_by_label("Canary").fill("1,10")
    page.get_by_role("button", name="Start a rescue").click()

    expect(page.get_by_text("It has stopped by itself: 1 job has failed again.")).to_be_visible()
    expect(page.locator("#live .state").nth(1)).to_have_text("stopped")
    expect(page.get_by_text(f"1 of {COUNT}")).to_be_visible()
    picture(page, "dead-group")
    page.get_by_role("link", name=re.compile("^[0-9a-f]{16}-[0-9a-f]{6}$")).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Rescue")
    picture(page, "rescue")


def test_a_rescue_is_live_until_all_jobs_have_completed(page: Page, fleet: Fleet, programs: Programs) -> None:
    fingerprint = die(fleet, programs, "late")
    (programs.folder / "late").write_text("here")
    page.goto(f"/dead/{fingerprint}")
    page.get_by_label("rate").fill("50/s")
    page.get_by_role("button", name="Start a rescue").click()
    page.evaluate("window.isTheSame = true")

    expect(page.locator("#live .state").nth(1)).to_have_text("completed")
    expect(page.get_by_text(f"{COUNT} of {COUNT}")).to_be_visible()
    expect(page.get_by_text("No letters now.")).to_be_visible()
    assert page.evaluate("window.isTheSame") is True
    page.get_by_role("button", name="Resolve").click()
    expect(page.get_by_role("status")).to_contain_text("is resolved.")
    expect(page.locator("h1 .state")).to_have_text("resolved")


def test_letters_that_match_are_counted_before_they_are_replayed(page: Page, fleet: Fleet, programs: Programs) -> None:
    die(fleet, programs, "counted")
    (programs.folder / "counted").write_text("here")
    page.goto("/dead?user=ann&function=seed.read")
    page.get_by_role("link", name="List the letters").click()
    expect(page.get_by_text("counted").first).to_be_visible()
    picture(page, "letters")
    page.get_by_role("link", name="Replay all that match").click()
    expect(page.locator(".notice")).to_contain_text(re.compile(r"\d+ dead letters match: function seed.read, user ann"))
    picture(page, "letters-count")
    page.get_by_role("button", name="Replay").click()
    expect(page.get_by_role("status")).to_contain_text("Back in their queues: ")


def test_a_whole_group_is_replayed_after_the_question_with_its_count(
    page: Page, fleet: Fleet, programs: Programs
) -> None:
    fingerprint = die(fleet, programs, "asked")
    (programs.folder / "asked").write_text("here")
    page.goto(f"/dead/{fingerprint}")
    asked: list[str] = []

    def refuse(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.dismiss()

    page.once("dialog", refuse)
    page.get_by_role("button", name=f"Replay all {COUNT} letters").click()
    assert asked == [f"Put {COUNT} dead letters back into the queue at once?"]
    assert fleet.dead_group(fingerprint).count == COUNT
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name=f"Replay all {COUNT} letters").click()
    expect(page.get_by_role("status")).to_have_text(f"Back in their queues: {COUNT} jobs.")
