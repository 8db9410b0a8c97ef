"""What the page of a job says about its retries, and the buttons that it offers."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from datetime import timedelta

import pytest
from markupsafe import escape

from jobfleet import Fleet, Flow, Job
from jobfleet.clock import wall_us
from jobfleet.codec import seal_record
from jobfleet.retry.tries import Tries
from jobfleet.store.calls.settle import fail, park, release, settle
from jobfleet.web.app import WebApp
from jobfleet.web.display import TERMS
from tests.cli.hand import Hand
from tests.web.site import Browser, Site

PARKED = "no worker knows 'demo.nope'"


def text_of(browser: Browser, job_id: str) -> str:
    page = html.unescape(browser.get(f"/jobs/{job_id}").text)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.replace("<wbr>", "")))


def buttons_of(browser: Browser, site: Site, job_id: str) -> set[str]:
    """The buttons of the page that change the job, as it is now."""
    assert isinstance(site.application, WebApp)
    site.application.dashboard.hub.expire()
    page = browser.get(f"/jobs/{job_id}").text
    return set(re.findall(rf'action="/jobs/{re.escape(job_id)}/(\w+)"', page.replace("%3A", ":")))


def test_no_retry_follows_a_permanent_error(browser: Browser, fleet: Fleet, hand: Hand) -> None:
    job_id = fleet.enqueue(Job("x", "demo.fail", id="dead", max_retries=3))
    hand.fails(hand.claims(job_id))

    text = text_of(browser, job_id)
    assert "1; no retry follows, because the error is permanent" in text
    assert "of 3 retries" not in text
    assert "Crashes 1 of 3" in text  # as the hand's ending has it


def test_a_job_whose_retries_are_used_says_so(browser: Browser, fleet: Fleet, hand: Hand) -> None:
    job_id = fleet.enqueue(Job("x", "demo.fail", id="dead", max_retries=3))
    grant = hand.claims(job_id)
    record = seal_record({"function": "demo.fail", "name": "x", "attempt": 4, "retry_count": 3, "error": "no luck",
                          "error_class": "OSError", "error_type": "transient"})  # fmt: skip
    item = fail(grant.id, grant.token, record=record, ttl_ms=60_000, duration_us=5, reason="error", tries="3:0:0:0:0")
    hand.run(settle(fleet.context.keys.lane_of(job_id), [item]))

    assert "4; 3 of 3 retries used" in text_of(browser, job_id)


@pytest.fixture
def parked(fleet: Fleet, hand: Hand) -> str:
    """A job that a worker could not run."""
    job_id = fleet.enqueue(Job("x", "demo.add", id="parked"))
    grant = hand.claims(job_id)
    now = wall_us()
    tries = replace(Tries().noting(now, PARKED), parked_since=now).dump()
    hand.run(settle(fleet.context.keys.lane_of(job_id), [park(job_id, grant.token, delay_us=60_000_000, tries=tries)]))
    return job_id


def test_a_parked_job_is_called_parked_with_the_reason(browser: Browser, site: Site, parked: str) -> None:
    page = browser.get(f"/jobs/{parked}").text

    state = f'<span class="state parked" title="{escape(TERMS["parked"])}">parked</span>'
    assert f"{state}</h1>" in page
    assert PARKED in html.unescape(page)
    assert state in browser.get("/jobs").text
    assert {"cancel", "reschedule", "move", "edit"} <= buttons_of(browser, site, parked)
    assert "retry" not in buttons_of(browser, site, parked)


def test_buttons_are_offered_where_they_have_an_effect(browser: Browser, site: Site, fleet: Fleet, hand: Hand) -> None:
    waiting = fleet.enqueue(Job("x", "demo.add", id="waiting"))
    assert buttons_of(browser, site, waiting) == {"cancel", "reschedule", "move", "edit"}
    grant = hand.claims(waiting)
    assert buttons_of(browser, site, waiting) == {"cancel"}
    fleet.cancel(waiting)
    assert buttons_of(browser, site, waiting) == set()
    assert '<span class="state stopping">' in browser.get("/jobs").text
    hand.completes(grant, 1)
    assert buttons_of(browser, site, waiting) == {"forget"}
    dead = hand.buries("dead")
    assert buttons_of(browser, site, dead) == {"replay", "purge", "edit", "forget"}
    fleet.purge(dead)
    assert buttons_of(browser, site, dead) == {"forget"}
    cancelled = fleet.enqueue(Job("x", "demo.add", id="cancelled", delay=timedelta(hours=1)))
    fleet.cancel(cancelled)
    assert buttons_of(browser, site, cancelled) == {"forget"}


def test_a_blocked_job_is_neither_moved_nor_given_a_time(
    browser: Browser, site: Site, fleet: Fleet, hand: Hand
) -> None:
    flow = Flow("f")
    flow.chain(Job("x", "demo.add", id="first"), Job("x", "demo.add", id="second"))
    fleet.flows.enqueue(flow)

    assert buttons_of(browser, site, "default.0.second") == {"cancel", "reschedule", "edit"}
    page = browser.get("/jobs/default.0.second").text
    assert 'name="delay"' not in page
    assert 'name="priority"' in page
    assert 'name="delay"' in browser.get("/jobs/default.0.first").text


def test_a_long_name_of_a_function_may_break_after_dots_and_underscores(
    browser: Browser, fleet: Fleet, hand: Hand
) -> None:
    hand.knows("a_package.of_jobs.do_it")
    fleet.enqueue(Job("x", "a_package.of_jobs.do_it", id="one"))

    broken = "a_<wbr>package.<wbr>of_<wbr>jobs.<wbr>do_<wbr>it"
    for path in ("/jobs", "/jobs/default.0.one"):
        assert broken in browser.get(path).text, path


def test_who_did_what_to_a_job_stays_on_its_page(browser: Browser, fleet: Fleet, hand: Hand) -> None:
    job_id = hand.buries("dead")
    fleet.replay(job_id, args=[9], by="ann")
    fleet.edit(job_id, kwargs={"to": "<b>"}, by="bob")
    fleet.signal(job_id, "go", by="boss")
    grant = hand.claims(job_id)
    fleet.cancel(job_id, by="carl")
    hand.run(settle(fleet.context.keys.lane_of(job_id), [release(job_id, grant.token)]))

    page = html.unescape(browser.get(f"/jobs/{job_id}").text)
    rows = re.findall(r"<tr><td.*?</tr>", page.partition("What happened")[2].partition("</table>")[0])
    cells = [[re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row)] for row in rows]
    assert [(cell[0], cell[3], cell[4]) for cell in cells] == [
        ("replayed", "", "by ann, with other arguments: args[0]"),
        ("edited", "", "by bob: to"),
        ("signalled", "", "by boss: go"),
        ("cancel requested", "", "by carl"),
        ("run 1", "w1.0", "cancelled"),
    ]
