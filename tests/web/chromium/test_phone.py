"""The pages of one thing on a phone, and in both schemes."""

from __future__ import annotations

from typing import Literal

import pytest
from playwright.sync_api import Browser

from jobfleet import Fleet, Flow, Job
from tests.support.fleet import Programs, settle_all
from tests.web.chromium.seen import barriers, picture
from tests.web.site import Site


@pytest.fixture(scope="module")
def paths(fleet: Fleet, programs: Programs) -> dict[str, str]:
    """The pages of a group of dead letters, of a rescue, a flow and a recurring job, with long names."""
    path = str(programs.folder / "a-file-with-quite-a-long-name-that-does-not-exist")
    jobs = [Job(f"Read number {number}", "seed.read", (path,), user="ann@example.org") for number in range(3)]
    settle_all(fleet, [receipt.id for receipt in fleet.enqueue_many(jobs)])
    (group,) = fleet.dead_groups()
    rescue = fleet.rescue(group.fingerprint)
    flow = Flow("Nightly import of everything")
    parts = flow.map(lambda n: Job(f"Import the part {n} of the data", "seed.add", (n, 1)), range(4))
    flow.add(Job("Sum up", "seed.read", (path,)), after=parts)
    fleet.flows.wait(fleet.flows.enqueue(flow), timeout=60)
    fleet.cron.add("nightly-import-of-everything", "30 2 28 3 *", Job("x", "seed.add", (1, 1)), tz="Europe/Berlin")
    return {
        "group": f"/dead/{group.fingerprint}",
        "letters": "/dead/letters",
        "count": "/dead/letters/count",
        "rescues": "/rescues",
        "rescue": f"/rescues/{rescue.id}",
        "flow": f"/flows/{flow.id}",
        "cron-entry": "/cron/nightly-import-of-everything",
        "all-dead": "/dead",
        "all-flows": "/flows",
        "all-cron": "/cron",
    }


@pytest.mark.first(1)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_each_page_is_within_the_width(
    browser: Browser, site: Site, paths: dict[str, str], scheme: Literal["light", "dark"], width: int
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    for name, path in paths.items():
        page.goto(f"http://127.0.0.1:{site.port}{path}")
        found = page.evaluate("document.documentElement.scrollWidth")
        assert found <= width, f"{path} is {found} wide"
        if width > 390:  # where nothing is left out
            assert barriers(page) == [], path
        picture(page, f"{name}-{width}-{scheme}")
    context.close()


def test_a_long_message_of_progress_is_within_the_width_of_a_phone(
    browser: Browser, site: Site, fleet: Fleet, paths: dict[str, str]
) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 800}, base_url=f"http://127.0.0.1:{site.port}")
    page.goto(f"/jobs/{fleet.dead(limit=1)[0].id}")
    page.locator(".bar .dim").wait_for(state="attached")

    width = page.evaluate(
        "document.querySelector('.bar .dim').textContent = 'x'.repeat(80), document.documentElement.scrollWidth"
    )

    assert width <= 390
    page.close()


@pytest.mark.parametrize("name", ["jobs", "group", "letters"])
def test_a_generated_id_is_in_one_line_on_a_wide_page(
    browser: Browser, site: Site, paths: dict[str, str], name: str
) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 800}, base_url=f"http://127.0.0.1:{site.port}")
    page.goto({"jobs": "/jobs", **paths}[name])
    ids = page.locator("td.job .mono")
    ids.first.wait_for()

    assert set(ids.evaluate_all("all => all.map(one => one.getClientRects().length)")) == {1}
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    page.close()


@pytest.mark.usefixtures("programs")
def test_the_workers_fit_a_phone_with_the_names_of_their_columns(browser: Browser, site: Site) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 800}, base_url=f"http://127.0.0.1:{site.port}")
    page.goto("/workers")
    page.locator('tr[id^="worker-"]').first.wait_for()

    table = page.locator(".table").first
    assert table.evaluate("one => one.scrollWidth") <= table.evaluate("one => one.clientWidth")
    heads = table.locator("thead th").evaluate_all("all => all.map(one => one.textContent)")
    names = (
        table.locator('tr[id^="worker-"]')
        .first.locator("td")
        .evaluate_all("all => all.map(one => getComputedStyle(one, '::before').content.replaceAll('\"', '').trim())")
    )
    shown = {head: name for head, name in zip(heads, names, strict=True) if name not in {"none", "normal"}}
    assert set(shown) >= {"Children", "Running", "Memory", "CPU", "Heard"}
    assert all(head == name for head, name in shown.items()), shown
    for button in table.locator("button").all():
        box = button.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= 390
    picture(page, "workers-390")
    page.close()
