"""The number that is shown before many jobs are changed: bounded, and honest about what it counts."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
import redis

from jobfleet import Fleet, Job, Priority
from jobfleet.web.pages import jobs as bulk
from jobfleet.web.safety.access import Role
from tests.cli.hand import Hand
from tests.web.site import Answer, Browser


@pytest.fixture(autouse=True)
def world(fleet: Fleet, hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    """650 waiting jobs, of which every tenth is of another function; of them 300 may be read."""
    monkeypatch.setattr(bulk, "READ_MOST", 300)
    hand.knows("demo.add", "demo.fail", "demo.rare")
    jobs = [Job("x", f"demo.{'fail' if number % 10 == 0 else 'add'}") for number in range(650)]
    assert all(receipt.created for receipt in fleet.enqueue_many(jobs))


def counted(browser: Browser, **fields: str) -> Answer:
    return browser.post("/jobs/bulk/preview", browser.csrf("/jobs"), None, **fields)


def calls(raw: redis.Redis) -> int:
    stats: Any = raw.info("commandstats")
    return sum(row["calls"] for name, row in stats.items() if name.startswith("cmdstat_evalsha"))


@pytest.mark.parametrize(
    "fields",
    [{"verb": "cancel"}, {"verb": "move", "to": "other"}, {"verb": "reschedule", "priority": "high"},
     {"verb": "reschedule", "delay": "5m"}],
)  # fmt: skip
def test_few_jobs_are_read_to_count_many(browser: Browser, raw: redis.Redis, fields: dict[str, str]) -> None:
    csrf = browser.csrf("/jobs")
    raw.config_resetstat()
    page = browser.post("/jobs/bulk/preview", csrf, None, **fields, function="demo.fail")

    assert calls(raw) <= 300 / 50 + 15, "full pages, and one of each section"
    verb = fields["verb"].capitalize()
    assert f"<h1>{verb} at least 30 jobs?</h1>" in page.text
    assert "300 jobs were read, and there are more." in page.text
    assert f"{verb} all that match</button>" in page.text


def test_all_that_match_are_changed_also_those_that_were_not_read(browser: Browser, fleet: Fleet) -> None:
    page = counted(browser, verb="cancel", function="demo.fail")
    found: list[tuple[str, str]] = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page.text)
    fields = {name: html.unescape(value) for name, value in found}
    done = browser.post("/jobs/bulk/confirm", fields.pop("csrf"), None, **fields)

    assert "65+jobs+were+cancelled." in str(done.headers["Location"])


def test_a_match_that_was_not_read_can_be_confirmed(browser: Browser, fleet: Fleet) -> None:
    fleet.enqueue(Job("x", "demo.rare", id="rare", priority=Priority.LOW))
    page = counted(browser, verb="cancel", function="demo.rare").text

    assert "<h1>Cancel jobs?</h1>" in page
    assert "300 jobs were read, of which none matches, and there are more." in page
    assert "Cancel all that match</button>" in page
    assert "No such job matches" not in page


def test_a_number_that_is_exact_says_so(browser: Browser, fleet: Fleet, tokens: dict[Role, str]) -> None:
    jobs = [Job("x", "demo.add", user="ann", priority=Priority.HIGH) for _ in range(120)]
    assert all(receipt.created for receipt in fleet.enqueue_many(jobs))
    call = {"verb": "cancel", "user": "ann"}

    assert "<h1>Cancel 120 jobs?</h1>" in counted(browser, **call).text
    answer = browser.call("/jobs/bulk/preview", tokens[Role.OPERATOR], **call).json
    assert (answer["count"], answer["read"], answer["is_all"]) == (120, 120, True)
    assert "<h1>Purge 770 jobs?</h1>" in counted(browser, verb="purge", queue="default").text
    change = {"verb": "reschedule", "user": "ann", "priority": "high"}
    assert "<h1>Reschedule 0 jobs</h1>" in counted(browser, **change).text, "they have this priority already"
    assert "No such job matches now." in counted(browser, **change).text


def test_dead_letters_are_counted_in_the_same_way(browser: Browser, hand: Hand, raw: redis.Redis) -> None:
    for number in range(12):
        hand.buries(f"d{number}", queue="sunk")

    assert "<h1>Retry 12 jobs?</h1>" in counted(browser, verb="retry", queue="sunk").text
    assert "<h1>Retry 12 jobs?</h1>" in counted(browser, verb="retry", function="demo.add", queue="sunk").text


def test_more_dead_letters_than_are_read_are_at_least_so_many(
    browser: Browser, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "LETTERS_AT_ONCE", 5)
    monkeypatch.setattr(bulk, "READ_MOST", 10)
    for number in range(12):
        hand.buries(f"d{number}", queue="sunk")

    assert "<h1>Retry at least 10 jobs?</h1>" in counted(browser, verb="retry", function="demo.add").text
