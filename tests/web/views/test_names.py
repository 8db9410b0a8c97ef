"""Names with any characters have addresses that work: of recurring jobs, groups, functions, tags and users."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from urllib.parse import quote, urlsplit

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from jobfleet import Fleet, Job
from jobfleet.web import app
from jobfleet.web.route import segment
from jobfleet.web.safety.access import Role
from tests.cli.hand import Hand
from tests.web.site import Browser, Site

NAMES = [
    "a/b", "/", "a//b/", ".", "..", "a/../b", "50%", "%2F", "~2F", "~", "a?b=c", "a#b", "a&b=c;d", "a+b", "a\\b",
    "ü/漢字", "'\"<b>", "run", "x/run", "entries/add",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_recurring_job_of_any_name_has_a_page_and_its_buttons_work(
    browser: Browser, fleet: Fleet, hand: Hand, tokens: dict[Role, str], name: str
) -> None:
    fleet.cron.add(name, "@daily", Job("x", "demo.add"))
    listed = html.unescape(browser.get("/cron").text)
    (address,) = set(re.findall(r'<td class="name"><a href="(/cron/[^"]+)">', listed))

    page = browser.get(address)

    assert page.status == 200, address
    shown = html.unescape(page.text)
    assert f"<h1>{name}</h1>" in shown
    assert f'action="{address}/pause"' in shown
    paused = browser.post(f"{address}/pause", browser.csrf(address))
    assert paused.status == 303
    assert urlsplit(str(paused.headers["Location"])).path == address
    assert fleet.cron.get(name).paused == "web"
    with browser.stream(address) as events:
        assert "paused" in next(events)["data"]
    assert browser.get(f"/api/v1{address}").json["entry"]["name"] == name
    assert browser.call(f"{address}/resume", tokens[Role.OPERATOR]).json["name"] == name


def test_the_title_of_a_page_names_what_it_shows(browser: Browser, fleet: Fleet, hand: Hand) -> None:
    job_id = fleet.enqueue(Job("x", "demo.add", id="own"))
    fleet.cron.add("a<b>", "@daily", Job("x", "demo.add"))

    titles = [
        html.unescape(browser.get(path).text.partition("<title>")[2].partition("</title>")[0])
        for path in (f"/jobs/{job_id}", "/queues/default", "/workers/w1", "/cron/a%3Cb%3E", "/jobs")
    ]

    things = ["Job default.0.own", "Queue default", "Worker w1", "Recurring job a<b>", "Jobs"]
    assert titles == [f"{thing} · jobfleet" for thing in things]


@pytest.mark.parametrize("name", ["a/b", "50%/~", "ü/漢字"])
def test_a_program_may_send_an_encoded_slash(browser: Browser, fleet: Fleet, hand: Hand, name: str) -> None:
    fleet.cron.add(name, "@daily", Job("x", "demo.add"))

    assert browser.get(f"/api/v1/cron/{quote(name, safe='').replace('~', '~7E')}").json["entry"]["name"] == name
    assert browser.get(f"/cron/{quote(name, safe='').replace('~', '~7E')}").status == 200


def test_names_work_under_a_path_of_another_application(fleet: Fleet, hand: Hand) -> None:
    fleet.cron.add("a/b ü".replace(" ", "-"), "@daily", Job("x", "demo.add"))
    site = Site(Starlette(routes=[Mount("/jobs", app(fleet, identify=lambda _: ("ann", "admin")))]))
    try:
        browser = site.browser()
        for address in ("/jobs/cron/a~2Fb-%C3%BC", "/jobs/cron/a%2Fb-%C3%BC"):
            assert browser.get(address).status == 200
    finally:
        site.close()


def test_names_work_behind_a_proxy_with_a_root_path(make_fleet: Callable[..., Fleet], fleet: Fleet, hand: Hand) -> None:
    fleet.cron.add("a/b", "@daily", Job("x", "demo.add"))
    site = Site(app(make_fleet(web_open_role="admin", web_root_path="/ops/jobs")))
    try:
        browser = site.browser()
        for address in ("/ops/jobs/cron/a%2Fb", "/ops/jobs/cron/a~2Fb", "/cron/a%2Fb", "/cron/a~2Fb"):
            assert browser.get(address).status == 200, address
    finally:
        site.close()


@pytest.mark.parametrize("name", ["a/b", "..", "50%", "a?b#c", "ü漢字", "a&b=c", "a+b", "'\"<b>"])
def test_other_names_are_filters_and_fields(browser: Browser, fleet: Fleet, hand: Hand, name: str) -> None:
    fleet.enqueue(Job("x", "demo.add", id="one", group=name, tags=[name], user=name, session=name))
    fleet.limits.set("default", group=name, concurrency=2)
    fleet.pause("default", group=name, by="ann")

    tag = re.findall(r'href="(/jobs\?tag=[^"]+)"', browser.get("/jobs/default.0.one").text)
    assert "default.0.one" in browser.get(html.unescape(tag[0])).text
    for field in ("group", "tag", "user", "session"):
        query = f"{field}={quote(name, safe='')}"
        assert [one["id"] for one in browser.get(f"/api/v1/jobs?{query}").json["jobs"]] == ["default.0.one"], field
        value = re.search(rf'name="{field}" value="([^"]*)"', browser.get(f"/jobs?{query}").text)
        assert value
        assert html.unescape(value[1]) == name
    done = browser.post("/queues/default/resume", browser.csrf("/limits"), None, group=name)
    assert done.status == 303
    assert [one.paused for one in fleet.limits("default") if one.group == name] == [None]


def test_a_segment_survives_what_browsers_and_proxies_do() -> None:
    for name in NAMES:
        made = segment(name)
        assert "/" not in made
        assert made not in {"", ".", ".."}
        assert not re.search("%2[EFef]|%5[Cc]|%25", made), made
