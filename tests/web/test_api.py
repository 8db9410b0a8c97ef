"""The API: each route, its document, and its errors. Pages show the same data."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from operator import attrgetter
from typing import Any

import jsonschema
import pytest

from jobfleet import Fleet, Flow, Job, errors
from jobfleet.cli import fail
from jobfleet.functions.registry import Registry
from jobfleet.model.signals import fingerprint_of
from jobfleet.web.app import ACTIONS, PAGES
from jobfleet.web.errors import OWN, code_of, problem_of
from jobfleet.web.openapi import Document
from jobfleet.web.safety.access import AccessFile, Role
from tests.cli.hand import Hand
from tests.support.each import each
from tests.support.server import free_port
from tests.web.site import Browser, Site, served

DOCUMENT = Document(PAGES, ACTIONS).made("v1")
GROUP = fingerprint_of("demo.add", "ValueError", "no luck")
NAMES = {
    "{name}": "default",
    "{id}": "default.0.run",
    "{fingerprint}": GROUP,
    "{rescue}": GROUP,
    "{entry}": "nightly",
    "{flow}": "etl",
    "{function}": "demo.add",
}


@pytest.fixture
def world(fleet: Fleet, hand: Hand) -> None:
    """A job of each kind."""
    fleet.enqueue(Job("Run", "demo.add", (1, {"password": "geheim"}), id="run", user="ann", tags=["eu"]))
    grant = hand.claims("default.0.run")
    hand.reports(grant, 0.25, "a quarter")
    fleet.enqueue(Job("Dead", "demo.fail", (2,), id="dead", queue="other"))
    hand.fails(hand.claims("other.0.dead"))
    fleet.rescue(GROUP)
    fleet.enqueue(Job("Done", "demo.add", (3,), id="done", queue="other"))
    hand.completes(hand.claims("other.0.done"), {"token": "geheim", "sum": 3})
    fleet.enqueue(Job("Later", "demo.add", (4,), id="later", delay=3600))
    fleet.cron.add("nightly", "30 2 * * *", Job("x", "demo.add", ({"token": "geheim"},)), tz="Europe/Berlin")
    flow = Flow("Daily")
    flow.id = "etl"
    flow.chain(Job("Read", "demo.add", (1,), queue="other"), Job("Write", "demo.add", (2,), queue="other"))
    fleet.flows.enqueue(flow)
    fleet.enqueue(Job("Turn", "demo.add", (5,), queue="other", group="default", order="strict", delay=3600))
    fleet.limits.set("default", group="ann", concurrency=2)
    fleet.pause("other", function="demo.add", by="ann", reason="because")


def place(path: str) -> str:
    for name, value in {**NAMES, **({"{id}": "w1"} if path.startswith("/workers") else {})}.items():
        path = path.replace(name, value)
    return path


def schema(path: str, method: str) -> dict[str, Any]:
    answer = DOCUMENT["paths"][path][method]["responses"]["200"]["content"]["application/json"]["schema"]
    return {**answer, "components": DOCUMENT["components"]}


@pytest.mark.usefixtures("world")
@each("page", [page for page in PAGES if not page.has_events], show=attrgetter("api_path"))
def test_each_read_answers_as_the_document_describes(browser: Browser, page: Any) -> None:
    answer = browser.get(f"/api/v1{place(page.api_path)}")

    assert answer.status == 200, answer.text
    jsonschema.validate(answer.json, schema(page.api_path, "get"), format_checker=jsonschema.FormatChecker())
    assert set(answer.json) == set(page.answer)
    assert "geheim" not in answer.text


@pytest.mark.usefixtures("world")
@each("page", [page for page in PAGES if page.template], show=attrgetter("path"))
def test_each_page_is_whole_and_has_the_headers_of_safety(browser: Browser, page: Any) -> None:
    answer = browser.get(place(page.path))

    assert answer.status == 200
    assert answer.text.startswith("<!doctype html>")
    assert answer.text.count("<h1>") == 1
    assert "geheim" not in answer.text
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Server"] is None


@pytest.mark.usefixtures("world")
@each(
    "path, texts",
    [
        ("/", ["Dead letters", "default", "other"]),
        ("/queues", ["demo.add paused by ann: because"]),
        ("/queues/default", ["ann", "Run", "25%", "a quarter"]),
        ("/jobs", ["Run", "Later", "default.0.run", "other.0.done"]),
        ("/jobs?status=failed", ["other.0.dead"]),
        ("/jobs?tag=eu", ["default.0.run"]),
        ("/jobs/default.0.run", ["a quarter", 'value="0.25"', "Cancel", "password", "***", "running"]),
        ("/jobs/other.0.dead", ["ValueError", "no luck", "Replay", "run 1"]),
        ("/jobs/other.0.done", ["&#34;sum&#34;: 3", "***"]),
        ("/approvals", ["No job waits for a signal."]),
        ("/dead", ["ValueError", "no luck", "new", "demo.add", "Empty groups", "0 of 1"]),
        (f"/dead/{GROUP}", ["ValueError in demo.add", "Resolve", "Replay the letter", "other.0.dead", "Traceback"]),
        ("/dead/letters", ["other.0.dead", "no luck", "Replay all that match"]),
        ("/dead/letters/count?function=demo.add", ["1 dead letter matches : function demo.add", "Replay 1 letter"]),
        (f"/rescues/{GROUP}", ["running", "canary 1 of 2", "0 of 1", "1, then 10, then 10 per second", "Stop"]),
        ("/flows", ["Daily", "queued", "0 of 2 completed, 1 blocked, 1 queued", "etl"]),
        ("/flows/etl", ["Daily", "Read", "Write", "○ queued", "… blocked", "Cancel"]),
        ("/cron", ["nightly", "30 2 * * *", "Europe/Berlin", "never", "on", "Nothing fires them"]),
        (
            "/cron/nightly",
            ["02:30:00 +0", "It has not fired yet.", "Run now", "Pause", "Remove", "nobody in particular"],
        ),
        ("/workers", ["w1", "Quiet", "Stop", "Run", "2 of 10 20% – –"]),
        ("/workers/w1", ["running", "2 of 10 slots, 20%", "Memory –", "an older version", "default"]),
        ("/limits", ["ann"]),
        ("/doctor", ["lanes"]),
        ("/settings", ["web_port", "8,765"]),
    ],
)
def test_a_page_shows(browser: Browser, path: str, texts: list[str]) -> None:
    body = browser.get(path).text.replace("<wbr>", "")
    page = re.sub(r"\s+", " ", html.unescape(re.sub(r"<(?!progress)[^>]+>", " ", body)))
    for text in texts:
        assert html.unescape(text).replace("8,765", "8765") in page, (text, page)


def test_empty_pages_tell_what_to_do_next(browser: Browser) -> None:
    for path, text in {"/queues": "jobfleet worker MODULE", "/jobs": "jobfleet enqueue NAME", "/limits": "limits set",
                       "/workers": "jobfleet worker MODULE", "/dead": "jobfleet notify", "/rescues": "Open a group",
                       "/flows": 'flow = Flow("etl")', "/cron": '@job(cron="0 2 * * *")',
                       "/dead/letters": "look at the groups"}.items():  # fmt: skip
        assert text in html.unescape(re.sub(r"<[^>]+>", "", browser.get(path).text))


@pytest.mark.usefixtures("world")
def test_all_jobs_of_a_user_are_read_page_by_page(browser: Browser, fleet: Fleet) -> None:
    for number in range(5):
        fleet.enqueue(Job("x", "demo.add", (number,), id=f"n{number}", user="bob"))
    found: list[str] = []
    cursor = ""
    while True:
        answer = browser.get(f"/api/v1/jobs?user=bob&limit=2&cursor={cursor}").json
        found += [job["id"] for job in answer["jobs"]]
        if not (cursor := answer["cursor"]):
            break

    assert found == [f"default.0.n{number}" for number in (4, 3, 2, 1, 0)]
    first = browser.get("/jobs?user=bob&limit=2").text
    assert 'rel="next"' in first
    assert "user=bob" in first.split('rel="next"')[1]


@each(
    "path, status, code",
    [
        ("/queues/nope", 404, "unknown-queue"),
        ("/jobs/default.0.nope", 404, "job-not-found"),
        ("/jobs/default.0.nope/logs", 404, "job-not-found"),
        ("/jobs?status=odd", 400, "invalid-request"),
        ("/jobs?limit=0", 400, "invalid-request"),
        ("/jobs?limit=1_0", 400, "invalid-request"),
        ("/jobs?cursor=odd&user=ann", 400, "config-error"),
        ("/jobs?order=urgency&function=demo.add", 400, "invalid-request"),
        ("/jobs?queue=nope", 404, "unknown-queue"),
        ("/dead?queue=nope", 404, "unknown-queue"),
        ("/dead?state=odd", 400, "invalid-request"),
        ("/dead?since=yesterday", 400, "invalid-request"),
        ("/dead?cursor=odd", 400, "config-error"),
        ("/dead/letters?since=2026-01-02&until=2026-01-01", 400, "invalid-job"),
        ("/dead/0123456789abcdef", 404, "unknown-group"),
        ("/dead/odd", 400, "invalid-job"),
        ("/rescues/0123456789abcdef", 404, "unknown-rescue"),
        ("/flows/none", 404, "job-not-found"),
        ("/flows?skip=-1", 400, "invalid-request"),
        ("/cron/none", 404, "job-not-found"),
        ("/functions/none", 404, "function-not-found"),
        ("/functions?queue=nope", 404, "unknown-queue"),
        ("/functions?worker=nope", 400, "config-error"),
        (f"/jobs?tag={'x' * 2000}", 400, "invalid-request"),
        ("/nope", 404, "not-found"),
    ],
)
def test_a_wrong_request_has_a_stable_code(browser: Browser, path: str, status: int, code: str) -> None:
    answer = browser.get(f"/api/v1{path}")

    assert (answer.status, answer.code) == (status, code)
    jsonschema.validate(answer.json, DOCUMENT["components"]["schemas"]["Problem"])
    page = browser.get(path.removesuffix("/logs"))
    assert page.status == status
    assert code in page.text


def test_the_methods_of_a_route_are_the_documented_ones(browser: Browser) -> None:
    refused = browser.send("DELETE", "/api/v1/queues")
    assert (refused.code, {*refused.headers["Allow"].split(", ")}) == ("method-not-allowed", {"GET", "HEAD"})
    assert browser.send("PUT", "/queues").status == 405


def test_an_error_has_the_text_that_the_command_line_prints(browser: Browser, fleet: Fleet, hand: Hand) -> None:
    fleet.enqueue(Job("x", "demo.add", id="a"))
    calls: dict[str, Callable[[], object]] = {
        "/jobs/default.0.zzz/logs": lambda: fleet.poll("default.0.zzz"),
        "/queues/none": lambda: fleet.limits("none"),
        "/jobs?user=ann&cursor=odd": lambda: fleet.jobs(user="ann", cursor="odd"),
    }
    for path, call in calls.items():
        with pytest.raises(errors.JobfleetError) as caught:
            call()
        assert browser.get(f"/api/v1{path}").json["error"]["message"] == str(caught.value)


def test_each_error_of_jobfleet_has_a_status_that_fits_its_exit_code() -> None:
    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.JobfleetError)
    ]
    for kind in kinds:
        error = kind.__new__(kind)
        Exception.__init__(error, "text")
        problem, exit_code = problem_of(error), fail.code_of(error)
        assert problem.code == code_of(kind)
        assert problem.message == "text"
        wanted = {fail.NOT_FOUND: {404}, fail.UNREACHABLE: {503}, fail.TIMED_OUT: {504}, fail.WRONG: {400}}
        assert problem.status in wanted.get(exit_code, {500, 409, 507}), kind


def test_the_document_is_served_and_describes_every_route(browser: Browser) -> None:
    served_document = browser.get("/api/openapi.json").json
    operations = [one for path in served_document["paths"].values() for one in path.values()]

    assert served_document == DOCUMENT
    assert served_document["openapi"] == "3.1.0"
    assert len(operations) == len(PAGES) + len(ACTIONS)
    assert len({one["operationId"] for one in operations}) == len(operations)
    assert all(one["summary"].endswith(".") for one in operations)
    for name, one in DOCUMENT["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(one)
        assert one["properties"], name
    codes = DOCUMENT["components"]["schemas"]["Problem"]["properties"]["error"]["properties"]["code"]["examples"]
    assert codes == sorted(OWN)


@pytest.mark.usefixtures("world")
def test_the_data_of_a_page_are_those_of_the_api(browser: Browser) -> None:
    for page in PAGES:
        if page.template:
            assert set(browser.get(f"/api/v1{place(page.api_path)}").json) == set(page.answer)


def test_an_outage_is_a_page_and_an_answer(access: AccessFile) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    with (
        Fleet(url, registry=Registry(), patience=0.1, web_access=access.path, web_open_access=True) as away,
        served(away) as site,
    ):
        answer = site.browser().get("/api/v1/queues")
        page = site.browser().get("/queues")
        healthy = site.browser().get("/healthz")

    assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "store-unavailable", "2")
    assert page.status == 503
    assert "No Redis at" in page.text
    assert healthy.json["status"] == "ok"


def test_hostile_data_become_text(browser: Browser, fleet: Fleet, hand: Hand) -> None:
    bad = "<script>alert(1)</script><img src=x onerror=alert(2)>\u202e\x1b[2J"
    job_id = fleet.enqueue(
        Job(
            "<b>x</b>",
            "demo.add",
            (bad,),
            {"<i>": bad},
            id="bad",
            user="<u>",
            tags=["<t>"],
            metadata={"m": bad},
        )
    )
    grant = hand.claims(job_id)
    hand.reports(grant, 0.5, bad)
    for path in ("/jobs", f"/jobs/{job_id}", "/workers", "/queues/default"):
        page = browser.get(path).text
        assert "<script>alert" not in page
        assert "<img" not in page
        assert "<b>x" not in page
        assert "\u202e" not in page
        assert "\x1b" not in page
    hand.fails(grant, error=bad + "z" * 100_000)
    page = browser.get(f"/jobs/{job_id}").text
    assert "<script>alert" not in page
    assert len(page) < 100_000
    assert browser.get(f"/api/v1/jobs/{job_id}").json["job"]["error"].startswith("<script>alert(1)")


def test_a_role_sees_what_it_may_do(site: Site, tokens: dict[Role, str], fleet: Fleet, hand: Hand) -> None:
    fleet.enqueue(Job("x", "demo.add", id="a"))
    seen = {
        role: site.browser().send("GET", "/workers", {"Authorization": f"Bearer {token}"}).text
        for role, token in tokens.items()
    }

    assert ["Quiet<" in seen[role] for role in Role] == [False, False, False, True, True]
    assert ["Stop<" in seen[role] for role in Role] == [False, False, False, False, True]
    assert ["/settings" in seen[role] for role in Role] == [False, False, False, False, True]


def test_a_misspelled_filter_is_refused_by_the_api(browser: Browser) -> None:
    answer = browser.get("/api/v1/jobs?statu=failed")

    assert (answer.status, answer.code, answer.json["error"]["field"]) == (400, "invalid-request", "statu")
    assert "there are: queue, function," in answer.json["error"]["message"]
    assert browser.get("/api/v1/queues?a=1").json["error"]["message"] == "There is no parameter 'a'; there are none."


@pytest.mark.usefixtures("world")
@each("path", [f"/dead/{GROUP}", "/dead/letters/count", f"/rescues/{GROUP}", "/flows/etl", "/cron", "/cron/nightly"])
def test_a_viewer_sees_no_form_that_changes_something(site: Site, tokens: dict[Role, str], path: str) -> None:
    def forms(role: Role) -> int:
        page = site.browser().send("GET", path, {"Authorization": f"Bearer {tokens[role]}"})
        assert page.status == 200
        return page.text.count('method="post"')

    assert (forms(Role.VIEWER), forms(Role.PRODUCER)) == (0, 0)
    assert forms(Role.OPERATOR) > 0
