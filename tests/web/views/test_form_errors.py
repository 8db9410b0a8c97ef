"""A form with a wrong value: the page that it was sent from comes back, with the error and with what was typed."""

from __future__ import annotations

import html
import logging

import pytest

from jobfleet import Fleet, Job
from jobfleet.web.safety.access import Role
from tests.cli.hand import Hand
from tests.support.each import each
from tests.web.conftest import PASSWORD
from tests.web.site import Answer, Browser, Site


@pytest.fixture(autouse=True)
def world(fleet: Fleet, hand: Hand) -> None:
    fleet.enqueue(Job("Later", "demo.add", (1,), id="later", delay=600))
    fleet.cron.add("a/b", "@daily", Job("x", "demo.add"))


def sends(browser: Browser, page: str, path: str, **fields: str) -> Answer:
    """Send a form of a page."""
    return browser.post(path, browser.csrf(page), {"Referer": f"{browser.origin}{page}"}, **fields)


FORMS = {
    "limits": (
        "/limits", "/limits/set", {"queue": "mail", "concurrency": "many", "rate": "5/s"},
        "concurrency is 'many'; give a whole number, or none.", 'name="concurrency" value="many"', "Set a limit",
    ),
    "engine": (
        "/limits", "/limits/set", {"queue": "mail", "rate": "fast"}, "rate", 'name="rate" value="fast"', "Set a limit",
    ),
    "cron add": (
        "/cron", "/cron/entries/add", {"name": "daily", "expression": "often", "function": "demo.add", "args": "[1]"},
        "often", 'name="expression" value="often"', "Add a recurring job",
    ),
    "cron edit": (
        "/cron/a~2Fb", "/cron/a~2Fb/edit", {"expression": "61 * * * *", "tz": "UTC"}, "61",
        'name="expression" value="61 * * * *"', "Change the schedule",
    ),
    "reschedule": (
        "/jobs/default.0.later", "/jobs/default.0.later/reschedule", {"delay": "soon", "priority": "high"}, "'soon'",
        'name="delay" value="soon"', "<option selected>high</option>",
    ),
    "edit": (
        "/jobs/default.0.later", "/jobs/default.0.later/edit", {"args": "[1,\n 2", "kwargs": "{}"}, "args is not JSON",
        ">[1,\n 2</textarea>", "<details open>",
    ),
    "bulk": (
        "/jobs?user=ann", "/jobs/bulk/preview", {"verb": "move", "user": "ann", "delay": "5m"}, "to is missing",
        'name="delay" value="5m"', 'name="user" value="ann"',
    ),
    "pause": (
        "/queues/default", "/queues/default/pause", {"group": "g", "function": "f"}, "not both.",
        'name="group" value="g"', "Queue default",
    ),
}  # fmt: skip


@each("name", FORMS)
@each("has_referer", [True, False])
def test_the_page_comes_back_with_the_error_and_what_was_typed(browser: Browser, name: str, has_referer: bool) -> None:
    page, path, fields, error, kept, also = FORMS[name]
    headers = {"Referer": f"{browser.origin}{page}"} if has_referer else {}

    answer = browser.post(path, browser.csrf(page), headers, **fields)

    assert answer.status == 400, answer.text
    text = html.unescape(answer.text)
    assert 'role="alert" id="wrong"' in text
    assert error in text.partition('id="wrong">')[2].partition("</p>")[0]
    for one in (kept, also, "hx-sse:connect="):
        assert one in text, text


def test_the_field_that_is_wrong_is_marked(browser: Browser) -> None:
    text = sends(browser, "/limits", "/limits/set", queue="mail", concurrency="many").text

    assert text.count('aria-invalid="true"') == 1
    assert 'size="8" aria-invalid="true" aria-describedby="wrong" autofocus' in text


def test_the_form_can_be_corrected_and_sent_again(browser: Browser, fleet: Fleet) -> None:
    csrf = browser.csrf("/limits")
    again = {"Referer": f"{browser.origin}/limits/set"}
    assert browser.post("/limits/set", csrf, None, queue="mail", concurrency="many").status == 400
    assert browser.post("/limits/set", csrf, again, queue="mail", concurrency="some").status == 400
    assert browser.post("/limits/set", csrf, again, queue="mail", concurrency="3").status == 303

    assert [one.concurrency for one in fleet.limits("mail")] == [3]


def test_what_was_typed_becomes_text(browser: Browser) -> None:
    evil = '"><img src=x onerror=alert(1)>'
    for path, fields in {"/limits/set": {"queue": "q", "concurrency": evil}, "/jobs/default.0.later/edit": {
        "args": f"</textarea>{evil}", "kwargs": "{}"}}.items():  # fmt: skip
        answer = browser.post(path, browser.csrf("/limits"), None, **fields)
        assert answer.status == 400
        assert "<img" not in answer.text
        assert "</textarea>&" not in answer.text


@each(
    "referer",
    [
        "http://evil.example/limits",
        "http://[",
        "//",
        "/x",
        "",
        "/jobs/default.0.gone-for-good",
        "/queues/%ff",
        "/jobs?status=odd",
    ],
)
def test_another_referer_leads_to_the_page_of_the_form(browser: Browser, referer: str) -> None:
    sent = referer if referer.startswith("http") else f"{browser.origin}{referer}"
    answer = browser.post("/limits/set", browser.csrf("/limits"), {"Referer": sent}, queue="q", concurrency="many")

    assert answer.status == 400
    assert 'name="concurrency" value="many"' in answer.text


@pytest.mark.usefixtures("users")
def test_a_page_above_the_role_is_not_shown(site: Site) -> None:
    browser = site.browser()
    browser.log_in(str(Role.OPERATOR), PASSWORD)
    answer = sends(browser, "/limits", "/limits/set", queue="q", concurrency="many")
    assert answer.status == 400
    csrf = browser.csrf("/limits")
    sneaky = browser.post("/limits/set", csrf, {"Referer": f"{browser.origin}/settings"}, queue="q", concurrency="many")

    assert "web_access" not in sneaky.text
    assert "<h1>Limits</h1>" in sneaky.text


def test_an_unknown_job_has_no_page_to_come_back_to(browser: Browser) -> None:
    answer = browser.post("/jobs/default.0.gone/reschedule", browser.csrf("/limits"), None, delay="5m")

    assert answer.status == 404
    assert "Something is missing" in answer.text


def test_a_refused_form_is_in_the_log(browser: Browser, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "jobfleet.web"):
        sends(browser, "/limits", "/limits/set", queue="q", concurrency="many")

    assert "Refused: POST /limits/set from 127.0.0.1: concurrency is 'many'; give a whole number" in caplog.text
