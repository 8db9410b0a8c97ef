"""The overview: what needs attention, with a link or a button to what helps; and the words that it explains."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import get_args

import pytest

from jobfleet import Fleet, Job
from jobfleet.operations.doctor.doctor import CHECKS
from jobfleet.operations.doctor.findings import Kind
from jobfleet.web import findings
from jobfleet.web.app import PAGES
from jobfleet.web.display import TERMS
from jobfleet.web.route import page_at
from tests.cli.hand import ROOT, Hand
from tests.web.site import Browser, Site


def rows(page: str) -> list[str]:
    """What needs attention, as text."""
    found = re.findall(r'<div class="finding [\w ]+">(.*?)</div>', page, re.DOTALL)
    return [" ".join(html.unescape(re.sub(r"<[^>]+>", "", one)).split()) for one in found]


def row_of(page: str, text: str) -> str:
    found: list[str] = re.findall(r'<div class="finding [\w ]+">.*?</div>', page, re.DOTALL)
    return next(one for one in found if text in one)


@pytest.fixture
def night(fleet: Fleet, hand: Hand) -> str:
    """A paused queue in which a job waits, a new group of dead letters, and a job whose queue nobody serves."""
    fleet.enqueue(Job("x", "demo.add", (1,), id="held", queue="mail"))
    fleet.pause("mail", by="ann", reason="the provider is down")
    fleet.enqueue(Job("x", "demo.add", (1,), id="due", queue="slow"))
    letter = hand.buries("dead")
    (group,) = fleet.dead_groups()
    assert group.example == letter
    return group.fingerprint


def test_the_overview_shows_what_needs_attention_with_links(browser: Browser, night: str) -> None:
    page = browser.get("/").text

    paused, dead = rows(page)[:2]
    assert paused == "paused mail is paused by ann: the provider is down. 1 due job waits. Resume"
    assert re.fullmatch(r"new ValueError in demo\.add: 1 dead letter, the last .* UTC\. no luck", dead)
    assert 'href="/jobs?queue=mail&amp;status=queued"' in row_of(page, "is paused by")
    assert f'href="/dead/{night}"' in row_of(page, "no luck")
    service = row_of(page, "No live worker takes jobs of")
    assert re.findall(r'href="([^"]+)"', service) == ["/queues/slow", "/queues/slow", "/workers"]
    shown = {one["check"]: one["level"] for one in browser.get("/api/v1/overview").json["findings"]}
    assert shown.items() >= {"service": "warning", "paused": "note", "dead": "note"}.items()
    assert not any(row.startswith(("note paused", "note dead")) for row in rows(page)), "they are there, with more"
    tiles = re.findall(r'<a href="([^"]+)"[^>]*><b>(\w[\w ]*)</b><strong>([^<]+)</strong>', page)
    assert [(text, number, path) for path, text, number in tiles] == [
        ("Waiting", "2", "/jobs?status=queued"), ("Later", "0", "/jobs?status=scheduled"),
        ("Running", "0", "/jobs?status=running"), ("Workers", "1", "/workers"), ("Dead letters", "1", "/dead"),
        ("Completed", "0", "/jobs?status=completed"), ("Failed", "1", "/jobs?status=failed"),
        ("Success", "0%", "/history?since=10m"), ("Average run", "5 ms", "/functions"),
    ]  # fmt: skip
    for path in {one.partition("?")[0] for one in re.findall(r'href="(/(?!static|api)[^"]*)"', page)}:
        assert browser.get(path).status == 200 or path == "/settings", path


@pytest.mark.usefixtures("night")
def test_the_button_of_a_paused_queue_resumes_it(browser: Browser, fleet: Fleet) -> None:
    (action,) = re.findall(r'action="([^"]+)"', row_of(browser.get("/").text, "is paused by"))

    answer = browser.post(action, browser.csrf("/"))

    assert answer.status == 303
    assert [one.name for one in fleet.queues() if one.paused is not None] == []


def test_names_in_a_finding_are_links_and_their_parts_are_not() -> None:
    about = [
        {"kind": "queue", "name": "mail"}, {"kind": "job", "name": "mail.0.1"},
        {"kind": "child", "name": "box:1:a.2"}, {"kind": "function", "name": "<b>"},
    ]  # fmt: skip
    found = findings.linked("mail, mail-2, e-mail, mail.0.1, box:1:a.2 and <b>.", about, lambda path: f"/root{path}")

    assert str(found) == (
        '<a href="/root/queues/mail">mail</a>, mail-2, e-mail, <a href="/root/jobs/mail.0.1">mail.0.1</a>, '
        '<a href="/root/workers/box%3A1%3Aa">box:1:a.2</a> and <a href="/root/functions/%3Cb%3E">&lt;b&gt;</a>.'
    )


def test_each_check_leads_to_a_page_that_exists() -> None:
    assert findings.PAGES.keys() <= {one.__name__ for one in CHECKS} | {"payloads"}
    assert findings.PLACES.keys() == set(get_args(Kind))
    assert all(page_at(PAGES, path.partition("?")[0]) for path, _ in findings.PAGES.values())


def test_the_words_of_pages_are_those_of_the_glossary() -> None:
    glossary = Path(ROOT / "docs/reference/glossary.md").read_text(encoding="utf-8").replace("*", "")
    plain = re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", glossary)
    for word, meaning in TERMS.items():
        assert re.search(rf"^\| {word}[^|]*\| {re.escape(meaning)}", plain, re.MULTILINE), word


@pytest.mark.usefixtures("night")
def test_a_paused_function_is_shown_beside_a_paused_queue(browser: Browser, fleet: Fleet) -> None:
    fleet.pause("slow", function="demo.add")

    assert any(
        row.startswith("note paused Paused: queue mail, function demo.add in slow.")
        for row in rows(browser.get("/").text)
    )


@pytest.mark.usefixtures("night")
def test_a_viewer_has_no_button_on_the_overview(site: Site, tokens: dict[str, str]) -> None:
    page = site.browser().send("GET", "/", {"Authorization": f"Bearer {tokens['viewer']}"}).text

    assert "is paused by ann" in page
    assert "Resume</button>" not in page
