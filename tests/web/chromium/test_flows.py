"""A flow in a real browser: its graph changes while it runs."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from jobfleet import Fleet, Flow, Job
from tests.support.fleet import Programs
from tests.web.chromium.seen import picture


def nightly(programs: Programs, gate: str, missing: str) -> Flow:
    """A flow: two parts wait for a list; one of them for a file, and one fails until there is a file."""
    flow = Flow("Nightly")
    first = flow.add(Job("List", "seed.add", (1, 2)))
    held = flow.add(Job("Load", "seed.hold", (str(programs.folder / gate),)), after=first)
    read = flow.add(Job("Read", "seed.read", (str(programs.folder / missing),)), after=first)
    flow.add(Job("Sum up", "seed.add", (3, 4)), after=(held, read))
    return flow


def test_a_graph_changes_while_the_flow_runs_and_its_failed_jobs_are_retried(
    page: Page, fleet: Fleet, programs: Programs
) -> None:
    flow = nightly(programs, "gate", "missing")
    page.goto("/flows")
    expect(page.get_by_text("No flows yet.")).to_be_visible()
    fleet.flows.enqueue(flow)
    page.get_by_role("link", name="Nightly").click()
    page.evaluate("window.isTheSame = true")
    node = page.locator("svg.flow g.node")
    expect(node.filter(has_text="Load")).to_contain_text("▶ running")
    expect(node.filter(has_text="Read")).to_contain_text("✗ failed")
    expect(node.filter(has_text="List")).to_contain_text("✓ completed")
    expect(node.filter(has_text="Sum up")).to_contain_text("⊘ cancelled")
    expect(page.locator("h1 .state")).to_have_text("failing")
    picture(page, "flow-failing")

    (programs.folder / "gate").touch()
    expect(page.locator("h1 .state")).to_have_text("failed")
    expect(page.locator("#job-1 .state")).to_have_text("completed")
    assert page.evaluate("window.isTheSame") is True

    (programs.folder / "missing").write_text("here")
    page.get_by_role("button", name="Retry the failed jobs").click()
    expect(page.get_by_role("status")).to_have_text("Run again: 2 jobs.")
    expect(page.locator("h1 .state")).to_have_text("completed")
    picture(page, "flow-completed")


def test_the_open_jobs_of_a_flow_are_cancelled(page: Page, fleet: Fleet, programs: Programs) -> None:
    flow = nightly(programs, "never", "never")
    fleet.flows.enqueue(flow)
    page.goto(f"/flows/{flow.id}")
    expect(page.locator("svg.flow g.node.running")).to_have_count(1)
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("status")).to_contain_text("asked to stop")
    expect(page.locator("svg.flow g.node.running")).to_have_count(0)
    page.goto("/flows")
    expect(page.locator(f"#flow-{flow.id} .state")).to_have_text("failed")
    picture(page, "flows")


def test_many_jobs_of_a_name_are_one_node(page: Page, fleet: Fleet) -> None:
    flow = Flow("Wide")
    first = flow.add(Job("Split", "seed.add", (1, 1)))
    parts = flow.map(lambda n: Job("Part", "seed.add", (n, n)), range(60), after=first)
    flow.add(Job("Join", "seed.add", (0, 0)), after=parts)
    fleet.flows.enqueue(flow)
    page.goto(f"/flows/{flow.id}")
    expect(page.locator("svg.flow g.node")).to_have_count(3)
    expect(page.locator("svg.flow g.node", has_text="Part")).to_contain_text("60 of 60 completed")
    picture(page, "flow-wide")
