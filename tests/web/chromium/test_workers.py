"""What a worker uses and runs, and the stacks of a child, in a real browser."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import Page, expect

from jobfleet import Fleet, Job, JobStatus
from tests.support.fleet import LONG
from tests.support.waiting import wait_until
from tests.web.chromium.seen import barriers, picture


def test_an_operator_sees_what_a_child_does_now(page: Page, fleet: Fleet, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    job_id = fleet.enqueue(Job("Waits for a file", "seed.hold", (str(gate),)))
    wait_until(lambda: fleet.poll(job_id).status is JobStatus.RUNNING, timeout=LONG, why="it runs")
    (worker,) = fleet.workers()
    address = f"/workers/{quote(worker.id, safe='')}"
    page.goto("/workers")
    page.get_by_role("link", name=worker.id, exact=True).click()
    expect(page).to_have_url(address)
    child = page.locator(f"[id='child-{worker.processes[0].id}']")
    expect(child).to_contain_text("MiB")
    expect(page.get_by_role("link", name="Waits for a file")).to_be_visible()
    assert barriers(page) == []
    picture(page, "worker")

    child.get_by_role("button", name="Stacks").click()

    expect(page.get_by_role("heading", level=1)).to_have_text(f"Stacks of {worker.processes[0].id}")
    expect(page.locator("pre")).to_contain_text(f"job {job_id}")
    assert barriers(page) == []
    picture(page, "stacks")
    page.get_by_role("link", name="Back").click()
    expect(page).to_have_url(address)
    gate.touch()
    fleet.wait(job_id, timeout=LONG)
