"""Pages of workers: what each child uses and runs, and the stacks of a child."""

from __future__ import annotations

import html
import re

import pytest

from jobfleet import Fleet, Job
from jobfleet.codec import encode
from jobfleet.store.calls.presence import beat
from jobfleet.web.safety.access import Role
from tests.cli.hand import Hand
from tests.web.site import Browser, Site

MIB = 1024**2


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<(?!progress)[^>]+>", " ", page)))


@pytest.fixture
def reporting(fleet: Fleet, hand: Hand) -> str:
    """A worker with two children, which reports what they use."""
    worker = "box:1:a"
    rows = [(f"{worker}.1", 71, "running", 1, 4, 50 * MIB, 0.25), (f"{worker}.2", 72, "hung", 4, 4, 2048 * MIB, 1.5)]
    account = encode({"host": "box", "pid": 70, "queues": ["default"], "slots": 8, "running": 5, "children": 2,
                      "cpus": 4, "started": 1_700_000_000_000_000, "state": "running", "version": "0.1.0",
                      "memory": 2150 * MIB, "cpu": 1.75, "processes": rows})  # fmt: skip
    hand.run(beat(fleet.context.keys, worker, account=account, gone_us=20_000_000))
    return worker


def test_each_worker_and_child_is_shown_with_what_it_uses(browser: Browser, reporting: str) -> None:
    every = text_of(browser.get("/workers").text)
    one = text_of(browser.get(f"/workers/{reporting}").text)

    assert "w1 ▶" not in every
    assert "5 of 8 62% 2.1 GiB 175%" in every
    assert "└ 2 hung 4 of 4 100% 2 GiB 150%" in every
    assert "└ 1 running 1 of 4 25% 50 MiB 25%" in every
    assert f"{reporting}.2 hung 4 of 4 100% 2 GiB 150% 72" in one
    assert "175% of one processor; it may use 4" in one
    data = browser.get(f"/api/v1/workers/{reporting}").json["worker"]
    assert (data["memory"], data["cpu"], data["busy"]) == (2150 * MIB, 1.75, 0.625)
    assert [(one["state"], one["busy"], one["cpu"]) for one in data["processes"]] == [
        ("running", 0.25, 0.25), ("hung", 1.0, 1.5),
    ]  # fmt: skip


def test_the_jobs_of_a_worker_are_shown_with_their_child(browser: Browser, fleet: Fleet, hand: Hand) -> None:
    fleet.enqueue(Job("Mine", "demo.add", id="mine"))
    child = hand.claims("default.0.mine")
    fleet.enqueue(Job("Waits", "demo.add", id="waits"))
    assert child is not None

    every, mine = browser.get("/api/v1/workers").json["running"], browser.get("/api/v1/workers/w1").json

    assert [one["id"] for one in every] == ["default.0.mine"]
    assert ([one["id"] for one in mine["running"]], mine["is_complete"]) == (["default.0.mine"], True)
    assert "Mine" in text_of(browser.get("/workers/w1").text)


def test_a_worker_that_is_not_there(browser: Browser) -> None:
    answer = browser.get("/api/v1/workers/nobody")
    assert (answer.status, answer.code) == (404, "worker-not-found")
    assert browser.get("/workers/nobody").status == 404


def stacks_page(browser: Browser, worker: str, child: str) -> tuple[int, str]:
    answer = browser.post(f"/workers/{worker}/stacks", browser.csrf("/workers"), child=child)
    return answer.status, text_of(answer.text)


def test_the_stacks_of_a_child_that_cannot_answer(browser: Browser, hand: Hand, reporting: str) -> None:
    assert "w1.1 Its worker is of an older version: 'jobfleet workers dump'" in stacks_page(browser, "w1", "1")[1]
    assert stacks_page(browser, "nobody", "1")[0] == 404
    assert "child: give the number of the child" in stacks_page(browser, "w1", "")[1]
    assert stacks_page(browser, "w1", "x")[0] == 400
    assert 'action="/workers/box:1:a/stacks"' in html.unescape(browser.get(f"/workers/{reporting}").text).replace(
        "%3A", ":"
    )


def test_stacks_are_for_operators_and_audited(
    site: Site, fleet: Fleet, hand: Hand, tokens: dict[Role, str], browser: Browser
) -> None:
    answers = {role: site.browser().call("/workers/w1/stacks", token, child=1) for role, token in tokens.items()}
    assert {role: answer.status for role, answer in answers.items()} == {
        Role.VIEWER: 403, Role.PRODUCER: 403, Role.APPROVER: 403, Role.OPERATOR: 200, Role.ADMIN: 200,
    }  # fmt: skip
    data = answers[Role.OPERATOR].json
    assert (data["child"], data["worker"], data["text"], data["is_known"]) == ("w1.1", "w1", "", True)
    done = [(one.action, one.by, one.target, one.outcome) for one in fleet.audit().entries if one.outcome != "refused"]
    assert sorted(done) == [("worker.stacks", f"of-{role}", "w1.1", "unknown") for role in ("admin", "operator")]
