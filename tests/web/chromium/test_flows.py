"""A flow in a real browser: its graph changes while it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Page, expect

from jobfleet import Fleet, Flow, Job
from tests.support.fleet import Programs
from tests.web.chromium.seen import barriers, picture


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
    node = page.locator("svg.across g.node")
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
    page.get_by_role("button", name="Retry the flow").click()
    expect(page.get_by_role("status")).to_have_text("Run again: 2 jobs.")
    expect(page.locator("h1 .state")).to_have_text("completed")
    picture(page, "flow-completed")


def test_the_open_jobs_of_a_flow_are_cancelled(page: Page, fleet: Fleet, programs: Programs) -> None:
    flow = nightly(programs, "never", "never")
    fleet.flows.enqueue(flow)
    page.goto(f"/flows/{flow.id}")
    expect(page.locator("svg.across g.node.running")).to_have_count(1)
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("status")).to_contain_text("asked to stop")
    expect(page.locator("svg.across g.node.running")).to_have_count(0)
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
    expect(page.locator("svg.across g.node")).to_have_count(3)
    expect(page.locator("svg.across g.node", has_text="Part × 60")).to_contain_text("60 completed")
    picture(page, "flow-wide")


def album(programs: Programs, name: str) -> tuple[Flow, Path]:
    """Sixteen thumbs, the thirteenth of which has the path of no file, then a check, and a mail; and the right path."""
    flow, folder = Flow(name), programs.folder
    paths = [folder / f"{name}-{n}.png" for n in range(1, 17)]
    for path in paths:
        path.write_text("picture")
    wrong = str(paths[12]).replace(".png", ".jpg")
    thumbs = [
        flow.add(Job(f"thumb {n}", "seed.read", (wrong if n == 13 else str(path),)))
        for n, path in enumerate(paths, start=1)
    ]
    check = flow.add(Job("check", "seed.add", (1, 2)), after=thumbs)
    flow.add(Job("mail", "seed.add", (3, 4)), after=check)
    return flow, paths[12]


def pictures(page: Page, name: str, *, is_new: bool = False) -> None:
    """Keep what the page looks like in both schemes; nothing is wider than the page, and a new one has no barrier."""
    width = page.viewport_size["width"] if page.viewport_size else 0
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for scheme in schemes:
        page.emulate_media(color_scheme=scheme)
        picture(page, f"{name}-{width}-{scheme}")
        if is_new and width > 390:
            assert barriers(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [1280, 390])
def test_a_flow_is_repaired_by_mouse_alone(page: Page, fleet: Fleet, programs: Programs, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    graph = page.locator("svg.across" if width > 640 else "svg.down")
    flow, right = album(programs, f"Album {width}")
    fleet.flows.enqueue(flow)
    fleet.flows.wait(flow, timeout=60)
    page.goto("/flows")
    page.get_by_role("link", name=flow.name).click()
    failed = graph.locator("g.node.failed")
    expect(failed).to_have_count(1)
    expect(page.locator("#live .problem")).to_contain_text("thumb 13 failed: FileNotFoundError")
    if width > 640:
        expect(failed).to_be_in_viewport()
    expect(graph.locator("g.box")).to_contain_text("thumb × 16")
    expect(graph.locator("g.box")).to_contain_text("15 completed, 1 failed")
    expect(page.locator("tbody tr").first).to_contain_text("thumb 13")
    pictures(page, "album-failed")
    graph.locator("g.box text").first.click()
    expect(graph.locator("g.node")).to_have_count(18)
    expect(failed).to_be_in_viewport()  # the address leads to the graph
    pictures(page, "album-unfolded", is_new=True)

    page.locator("#graph svg:visible g.node.cancelled", has_text="mail").click()
    expect(page.locator(".notice").first).to_contain_text("because thumb 13 failed: FileNotFoundError:")
    expect(page.get_by_role("button", name="Retry the flow")).to_be_visible()
    pictures(page, "album-mail", is_new=True)
    page.get_by_role("link", name="thumb 13").first.click()
    page.get_by_text("Edit the arguments and replay").click()
    page.get_by_label("Positional arguments").fill(json.dumps([str(right)]))
    page.get_by_role("button", name="Edit and replay").click()
    expect(page.get_by_role("status")).to_contain_text("Its flow has stopped: retry it too")
    expect(page.locator("h1 .state")).to_have_text("completed")
    pictures(page, "album-replayed")
    page.get_by_role("button", name="Retry the flow").click()
    expect(page.get_by_role("status")).to_have_text("Run again: 2 jobs.")
    expect(page.locator("h1 .state")).to_have_text("completed")
    expect(graph.locator("g.node", has_text="thumb × 16")).to_contain_text("16 completed")
    expect(page.get_by_role("button", name="Retry the flow")).to_have_count(0)
    pictures(page, "album-completed")


def test_the_graph_is_zoomed_and_moved(page: Page, fleet: Fleet) -> None:
    flow = Flow("Long")
    flow.chain(*[Job(f"step {n}", f"seed.{'add' if n % 2 else 'compute'}", (n, n)) for n in range(12)])
    fleet.flows.enqueue(flow)
    page.goto(f"/flows/{flow.id}")
    svg, box = page.locator("svg.across"), page.locator(".graph")
    fitting = svg.evaluate("one => one.clientWidth")
    page.get_by_role("button", name="Zoom in").click()
    assert svg.evaluate("one => one.clientWidth") == pytest.approx(fitting * 1.25, abs=2)

    there = box.bounding_box()
    assert there is not None
    svg.locator("g.node").nth(3).hover()
    before = box.evaluate("one => one.scrollLeft")
    page.mouse.down()
    page.mouse.move(there["x"] + 40, there["y"] + 20, steps=4)
    page.mouse.up()
    assert box.evaluate("one => one.scrollLeft") > before
    assert page.url.endswith(flow.id), "the end of a drag opens no job"
    page.get_by_role("button", name="Fit").click()
    assert svg.evaluate("one => one.clientWidth") == fitting
