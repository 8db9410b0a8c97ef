"""The pages of strict sequences: a list, one of them, and both actions."""

from __future__ import annotations

import pytest

from jobfleet import Fleet, Job, JobContext
from jobfleet.web.safety.access import Role
from tests.web.site import Browser

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")


def enter(fleet: Fleet, count: int) -> list[str]:
    return [fleet.enqueue(Job("x", "app.add", (1, 2), group="account 7", order="strict")) for _ in range(count)]


def test_a_sequence_is_shown_and_its_head_skipped(browser: Browser, fleet: Fleet, tokens: dict[Role, str]) -> None:
    first, second, third = enter(fleet, 3)

    assert first in browser.get("/sequences").text
    former = browser.get("/groups/account%207?queue=default")
    assert (former.status, former.headers["Location"]) == (301, "/sequences/account%207?queue=default")
    page = browser.get(former.headers["Location"]).text
    assert page.index(first) < page.index(second) < page.index(third)

    answer = browser.post("/groups/account%207/skip", browser.csrf("/sequences/account%207"), queue="default")
    assert (answer.status, fleet.groups.show("account 7").head) == (303, second)
    answer = browser.call("/groups/account%207/resume", tokens[Role.OPERATOR], queue="default")
    assert answer.json == {"group": "account 7", "queue": "default", "changed": False}
    assert browser.call("/groups/account%207/skip", tokens[Role.VIEWER], queue="default").status == 403

    fleet.enqueue(Job("x", "app.add", (1, 2), queue="mail", group="account 7", order="strict"))
    refused = browser.call("/groups/account%207/skip", tokens[Role.OPERATOR])
    assert (refused.code, refused.json["error"]["field"]) == ("invalid-request", "queue")


def test_the_pages_say_for_which_signal_a_head_waits(browser: Browser, fleet: Fleet) -> None:
    @fleet.job(name="app.approve")
    async def approve(ctx: JobContext) -> None:
        await ctx.wait_for("approved by ann", "2d")

    head = fleet.enqueue(Job("x", "app.approve", group="account 7", order="strict"))
    fleet.run_worker(burst=True)

    assert "waits for <code>approved by ann</code>" in browser.get("/sequences").text
    assert "waits for signal <code>approved by ann</code> until" in browser.get("/sequences/account%207").text
    assert "Waiting for signal approved by ann until" in browser.get(f"/jobs/{head}").text
