"""Changes of many jobs with their number first, and of one job; through forms as a browser sends them."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import pytest

from jobfleet import Fleet, Job, JobResult, JobStatus
from jobfleet.archive import JobRepository, init_job_tables
from jobfleet.client.json_form import JsonForm
from jobfleet.secret import Redaction
from jobfleet.web.errors import Problem
from jobfleet.web.pages.job import restored
from jobfleet.web.safety.access import Role
from tests.cli.hand import Hand
from tests.support.each import each
from tests.web.site import Answer, Browser, Site, served


@pytest.fixture(autouse=True)
def world(fleet: Fleet, hand: Hand) -> None:
    """Five waiting jobs of two users, and two dead ones."""
    for number in range(5):
        user = "ann" if number < 3 else "bob"
        fleet.enqueue(Job("x", "demo.add", (number,), {"token": "geheim"}, id=f"w{number}", user=user, delay=600))
    hand.buries("d0", queue="other")
    hand.buries("d1", queue="other")


def note(answer: Answer) -> str:
    """What the page says after an action."""
    assert answer.status == 303, answer.text
    found = re.search(r"[?&]note=([^&]*)", str(answer.headers["Location"]))
    assert found
    return unquote_plus(found[1])


def sends_on(browser: Browser, page: Answer) -> Answer:
    """Send the form of confirmation as it is."""
    found: list[tuple[str, str]] = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page.text)
    fields = {name: html.unescape(value) for name, value in found}
    return browser.post("/jobs/bulk/confirm", fields.pop("csrf"), None, **fields)


def test_matching_jobs_are_counted_and_then_cancelled(browser: Browser, fleet: Fleet) -> None:
    page = browser.post("/jobs/bulk/preview", browser.csrf("/jobs?user=ann"), verb="cancel", user="ann")
    assert "<h1>Cancel 3 jobs?</h1>" in page.text
    assert "<dt>User</dt><dd>ann</dd>" in page.text
    assert len(fleet.newest(status=JobStatus.SCHEDULED)) == 5, "nothing has changed yet"

    done = sends_on(browser, page)

    assert note(done) == "3 jobs were cancelled."
    assert str(done.headers["Location"]).startswith("/jobs?user=ann&")
    assert {job.user for job in fleet.newest(status=JobStatus.SCHEDULED)} == {"bob"}


def test_dead_jobs_are_retried_and_waiting_ones_rescheduled_and_moved(browser: Browser, fleet: Fleet) -> None:
    csrf = browser.csrf()
    page = browser.post("/jobs/bulk/preview", csrf, verb="replay", status="failed")
    assert note(sends_on(browser, page)) == "2 jobs were put back."
    page = browser.post("/jobs/bulk/preview", csrf, verb="reschedule", user="ann", delay="0", priority="high")
    assert "<h1>Reschedule 3 jobs?</h1>" in page.text
    assert note(sends_on(browser, page)) == "3 jobs were rescheduled."
    page = browser.post("/jobs/bulk/preview", csrf, verb="move", user="bob", to="mail")
    assert note(sends_on(browser, page)) == "2 jobs were moved."

    waiting = {queue.name: (queue.queued, queue.scheduled) for queue in fleet.queues()}
    assert waiting == {"default": (3, 0), "mail": (0, 2), "other": (2, 0)}


def test_chosen_jobs_are_changed_and_the_others_are_counted(browser: Browser, fleet: Fleet) -> None:
    ids = "default.0.w0,default.0.w4,other.0.d0"
    page = browser.post("/jobs/bulk/preview", browser.csrf(), verb="cancel", ids=ids)
    assert "<h1>Cancel 3 jobs?</h1>" in page.text
    assert note(sends_on(browser, page)) == (
        "2 jobs were cancelled. 1 could not be: they run, have ended, or are unknown."
    )


def test_checkboxes_of_a_form_are_taken_together(browser: Browser) -> None:
    body = f"csrf={browser.csrf()}&verb=cancel&ids=default.0.w0&ids=default.0.w1".encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": browser.origin}
    assert "<h1>Cancel 2 jobs?</h1>" in browser.send("POST", "/jobs/bulk/preview", headers, body).text


def test_a_queue_is_purged_after_its_number_was_shown(browser: Browser, fleet: Fleet) -> None:
    page = browser.post("/jobs/bulk/preview", browser.csrf("/queues/default"), verb="purge", queue="default")
    assert "<h1>Purge 5 jobs?</h1>" in page.text
    assert note(sends_on(browser, page)) == "5 jobs were cancelled."
    assert [queue.scheduled for queue in fleet.queues() if queue.name == "default"] == [0]


def test_jobs_are_listed_by_group_and_time_and_found_by_a_text_in_the_archive(
    browser: Browser, fleet: Fleet, make_fleet: Callable[..., Fleet], tmp_path: Path
) -> None:
    fleet.enqueue(Job("Grouped", "demo.add", id="g", group="acme"))
    assert [job["id"] for job in browser.get("/api/v1/jobs?group=acme").json["jobs"]] == ["default.0.g"]
    assert browser.get("/api/v1/jobs?until=2020-01-01").json["jobs"] == []
    assert browser.get("/api/v1/jobs?since=soon").code == "invalid-request"
    assert browser.get("/api/v1/jobs?text=x").code == "config-error"
    page = browser.post("/jobs/bulk/preview", browser.csrf(), verb="cancel", group="acme")
    assert "<h1>Cancel 1 job?</h1>" in page.text

    url = f"sqlite:///{tmp_path}/archive.db"
    init_job_tables(url)
    with JobRepository(url) as archive:
        archive.save(
            JobResult[Any](
                id="mail.0.old", status=JobStatus.COMPLETED, queue="mail", function="f", name="Ünfound",
                enqueued_at=datetime.now(UTC),
            )
        )  # fmt: skip
    without = browser.get("/jobs").text
    assert 'name="text"' not in without
    assert "There is no archive, so jobs cannot be found by a text." in without
    with served(make_fleet(archive_url=url)) as site:
        assert 'name="text"' in site.browser().get("/jobs").text
        assert "There is no archive" not in site.browser().get("/jobs").text
        assert "Ünfound" in site.browser().get("/jobs?text=nfou").text
        assert "No jobs match." in site.browser().get("/jobs?text=nfou&queue=other").text


@each(
    "fields, text",
    [
        ({}, "verb: use cancel"),
        ({"verb": "cancel"}, "Nothing says which jobs are meant"),
        ({"verb": "retry"}, "Nothing says which jobs are meant"),
        ({"verb": "retry", "session": "s"}, "retry: it has no filter session"),
        ({"verb": "cancel", "status": "failed"}, "such jobs have ended"),
        ({"verb": "move", "user": "ann"}, "to is missing: The new queue."),
        ({"verb": "reschedule", "user": "ann"}, "Nothing to change; give at, delay or priority."),
        ({"verb": "reschedule", "user": "ann", "delay": "soon"}, "delay is 'soon'"),
        ({"verb": "purge", "queue": "default", "user": "ann"}, "purge: it has no filter user; it has queue."),
        ({"verb": "purge", "user": "ann"}, "give the queue alone"),
        ({"verb": "purge", "queue": "nope"}, "No queue 'nope'"),
        ({"verb": "cancel", "ids": ",".join(map(str, range(300)))}, "at most 200 ids"),
    ],
)
def test_what_is_not_clear_is_refused(browser: Browser, fields: dict[str, str], text: str) -> None:
    answer = browser.post("/jobs/bulk/preview", browser.csrf(), None, **fields)
    assert answer.status in {400, 404}
    assert text in html.unescape(answer.text)


@pytest.mark.parametrize("delay", [5, 5.5, "5", "5s"])
def test_a_program_may_give_a_delay_as_everywhere(
    site: Site, fleet: Fleet, tokens: dict[Role, str], delay: object
) -> None:
    browser, path = site.browser(), "/jobs/default.0.w0/reschedule"

    moved = browser.call(path, tokens[Role.OPERATOR], delay=delay)
    wrong = browser.call(path, tokens[Role.OPERATOR], delay=[delay])

    assert (moved.status, moved.json) == (200, {"id": "default.0.w0", "changed": True})
    assert (wrong.status, wrong.json["error"]["field"]) == (400, "delay")
    due = fleet.poll("default.0.w0").scheduled_at
    assert due is not None
    assert (due - datetime.now(UTC)).total_seconds() <= 5.5


def test_one_job_is_rescheduled_edited_and_moved(browser: Browser, fleet: Fleet) -> None:
    csrf = browser.csrf("/jobs/default.0.w0")
    assert "Reschedule" in browser.get("/jobs/default.0.w0").text
    assert note(browser.post("/jobs/default.0.w0/reschedule", csrf, delay="2h")) == "It was changed."
    edited = browser.post("/jobs/default.0.w0/edit", csrf, args="[7]", kwargs='{"token": "***", "b": 2}')
    assert note(edited) == "It was changed."
    details = fleet.details("default.0.w0")
    assert (details.args, details.kwargs) == ((7,), {"token": "geheim", "b": 2})
    moved = browser.post("/jobs/default.0.w0/move", csrf, to="mail")
    assert note(moved) == "This job continues default.0.w0."
    assert str(moved.headers["Location"]).startswith("/jobs/mail.0.")


def test_a_dead_job_is_edited_and_replayed_and_another_one_deleted(browser: Browser, fleet: Fleet) -> None:
    csrf = browser.csrf("/jobs/other.0.d0")
    assert "Edit and replay" in browser.get("/jobs/other.0.d0").text
    assert note(browser.post("/jobs/other.0.d0/edit", csrf, args="[1]")) == "It was changed."
    assert fleet.details("other.0.d0").args == (1,)
    assert note(browser.post("/jobs/other.0.d1/purge", csrf)) == "The dead letter was deleted."
    assert fleet.dead() == []


@each("args", ["[", "{}", "[NaN]", '["***", 2]'])
def test_arguments_that_cannot_be_meant_are_refused(browser: Browser, args: str) -> None:
    answer = browser.post("/jobs/default.0.w0/edit", browser.csrf(), args=args)
    assert (answer.status, "args" in answer.text) == (400, True)


def test_values_that_were_not_changed_keep_their_type() -> None:
    form, at = JsonForm(Redaction(["token"])), datetime(2026, 1, 2, tzinfo=UTC)
    old = [at, {"token": 5, "deep": [{"token": b"x"}]}, 1]

    assert restored([at.isoformat(), {"token": "***", "deep": [{"token": "***"}]}, True], old, form, "args") == [
        at, {"token": 5, "deep": [{"token": b"x"}]}, True,
    ]  # fmt: skip
    with pytest.raises(Problem, match=r"args\[0\]\.token is hidden here"):
        restored([{"token": "***"}], old, form, "args")


def test_a_worker_is_scaled_by_an_admin(browser: Browser, fleet: Fleet) -> None:
    answer = browser.post("/workers/w1/scale", browser.csrf(), processes="0")
    assert (answer.status, "use a whole number from 1 to 1,024" in answer.text) == (400, True)
    assert "give the number of children" in browser.post("/workers/w1/scale", browser.csrf()).text


def test_a_pause_from_the_list_keeps_its_reason_and_stays_on_the_list(browser: Browser, fleet: Fleet) -> None:
    listed = browser.get("/queues").text
    paused = browser.post("/queues/other/pause", browser.csrf(), stay="/queues", reason="the disk is full")
    kept = next(one.paused_reason for one in fleet.queues() if one.name == "other")
    foreign = {
        stay: str(browser.post("/queues/other/resume", browser.csrf(), stay=stay).headers["Location"]).partition("?")[0]
        for stay in ("https://example.org/", "//example.org/queues", "/no-such-page", "/jobs?queue=other&x=1")
    }

    assert '<input type="hidden" name="stay" value="/queues">' in listed
    assert 'data-asks="reason"' in listed
    assert note(paused) == "other is paused."
    assert str(paused.headers["Location"]).startswith("/queues?note=")
    assert foreign == {
        "https://example.org/": "/", "//example.org/queues": "/queues", "/no-such-page": "/queues/other",
        "/jobs?queue=other&x=1": "/jobs",
    }  # fmt: skip
    assert kept == "the disk is full"
