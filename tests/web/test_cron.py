"""The pages of recurring jobs, and their API: previews over changes of the clocks, and each action with its record."""

from __future__ import annotations

import html
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_plus

import pytest
import redis

from jobfleet import Cron, Fleet, Job
from jobfleet.store.calls.cron import ledger
from jobfleet.web.pages.cron import preview
from jobfleet.web.safety.access import Role
from tests.cli.hand import Hand
from tests.support.each import each
from tests.web.site import Answer, Browser

MISSED_AT = 1_790_000_000_000_000


@pytest.fixture(autouse=True)
def nightly(fleet: Fleet, hand: Hand) -> str:
    """A recurring job whose last but one fire was missed."""
    fleet.cron.add("nightly", "30 2 * * *", Job("x", "demo.add", (7,)), tz="Europe/Berlin", by="ann")
    notes = [
        (MISSED_AT, f"missed - {MISSED_AT}"),
        (MISSED_AT + 60_000_000, f"fired default.0.x {MISSED_AT} as planned"),
    ]
    hand.run(ledger(fleet.context.keys, "nightly", notes))
    return "nightly"


def call(browser: Browser, tokens: dict[Role, str], path: str, **fields: object) -> Answer:
    return browser.call(path, tokens[Role.OPERATOR], **fields)


def audited(fleet: Fleet) -> list[tuple[str, str, str | None, str]]:
    return [(one.action, one.target, one.by, one.source) for one in fleet.audit().entries]


def test_an_entry_has_its_next_fires_and_its_ledger(browser: Browser) -> None:
    answer = browser.get("/api/v1/cron/nightly").json

    assert (answer["entry"]["name"], answer["entry"]["tz"], answer["entry"]["last"]["outcome"]) == (
        "nightly", "Europe/Berlin", "fired",
    )  # fmt: skip
    assert len(answer["fires"]) == 20
    assert answer["fires"][0]["at"] == answer["entry"]["next"]
    assert [(one["outcome"], one["job_id"], one["note"]) for one in answer["ledger"]] == [
        ("fired", "default.0.x", "as planned"), ("missed", None, ""),
    ]  # fmt: skip
    assert answer["missed"] == 1
    assert "1 missed" in browser.get("/cron/nightly").text


def test_changes_of_the_clocks_are_marked_in_a_preview() -> None:
    def notes(expression: str, *day: int) -> list[str]:
        year, month, date = day
        fires = preview(Cron(expression, "Europe/Berlin"), datetime(year, month, date, 12, tzinfo=UTC))
        return [one["note"] for one in fires[:4]]

    assert notes("30 2 * * *", 2027, 3, 26)[1:3] == [
        "2027-03-28 02:30 does not exist in Europe/Berlin: fires 03:00",
        "",
    ]
    assert notes("0 9 * * *", 2027, 3, 26)[:3] == ["", "the clocks change before: +01:00 to +02:00", ""]
    assert notes("0 9 * * *", 2027, 10, 29)[:3] == ["", "the clocks change before: +02:00 to +01:00", ""]


def test_its_schedule_is_edited_and_what_is_not_given_stays(
    browser: Browser, fleet: Fleet, tokens: dict[Role, str]
) -> None:
    answer = call(browser, tokens, "/cron/nightly/edit", expression="0 4 * * *", overlap="skip").json

    assert (answer["name"], answer["change"]) == ("nightly", "changed")
    assert fleet.cron.get("nightly").cron == Cron("0 4 * * *", "Europe/Berlin", overlap="skip")
    assert audited(fleet)[0] == ("cron.edit", "nightly", "of-operator", "web")
    assert fleet.details(fleet.cron.run("nightly")).args == (7,)
    assert call(browser, tokens, "/cron/nightly/edit", expression="61 * * * *").code == "invalid-job"
    assert call(browser, tokens, "/cron/nightly/edit", tz="Mars/Base").code == "invalid-job"


def test_one_is_added_with_a_form(browser: Browser, fleet: Fleet) -> None:
    answer = browser.post(
        "/cron/entries/add", browser.csrf("/cron"), name="daily", expression="0 9 * * *", tz="Europe/Berlin",
        function="demo.add", args='[1, "two"]', kwargs='{"x": null}', queue="late", misfire="all", overlap="queue",
    )  # fmt: skip

    assert answer.status == 303
    assert answer.headers["Location"].startswith("/cron/daily?note=daily%3A+added.")
    info = fleet.cron.get("daily")
    assert info.cron == Cron("0 9 * * *", "Europe/Berlin", misfire="all", overlap="queue")
    assert (info.queue, info.function, info.origin) == ("late", "demo.add", "web")
    details = fleet.details(fleet.cron.run("daily"))
    assert (details.args, details.kwargs) == ((1, "two"), {"x": None})


@pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
def test_the_page_warns_of_a_function_that_no_worker_has_published(
    browser: Browser, fleet: Fleet, tokens: dict[Role, str]
) -> None:
    csrf, fields = browser.csrf("/cron"), {"expression": "@daily", "function": "demo.ad"}
    note = "No worker has published 'demo.ad'; did you mean 'demo.add'? The job is parked until one does."
    answer = browser.post("/cron/entries/add", csrf, name="daily", expression="@daily", function="demo.ad")

    assert f"note={quote_plus('daily: added.')}" in answer.headers["Location"]
    assert fleet.cron.get("daily").function == "demo.ad"
    for _ in range(2):  # the warning stays
        page = html.unescape(browser.get(answer.headers["Location"]).text)
        assert f'<p class="problem" role="status">{note}</p>' in page
    assert "not published" in browser.get("/cron").text
    assert 'class="problem" role="status">No worker' not in browser.get("/cron/nightly").text
    assert browser.get("/api/v1/cron/daily").json["entry"]["doubt"] == note
    assert call(browser, tokens, "/cron/entries/add", **fields, name="other").json["doubt"] == note
    assert (
        call(browser, tokens, "/cron/entries/add", **fields | {"function": "demo.add", "name": "right"}).json["doubt"]
        == ""
    )


def test_a_program_gives_arguments_as_they_are(browser: Browser, fleet: Fleet, tokens: dict[Role, str]) -> None:
    fields = {"name": "daily", "expression": "@daily", "function": "demo.add", "args": [1, ["x"]], "kwargs": {"y": {}}}
    assert call(browser, tokens, "/cron/entries/add", **fields).json["change"] == "added"

    details = fleet.details(fleet.cron.run("daily"))
    assert (details.args, details.kwargs) == ((1, ["x"]), {"y": {}})


@each(
    "fields, code",
    [
        ({"name": "nightly"}, "invalid-job"),  # it exists
        ({"name": "two words"}, "invalid-job"),
        ({"name": None}, "invalid-request"),
        ({"function": ""}, "invalid-request"),
        ({"expression": "often"}, "invalid-job"),
        ({"args": "[1"}, "invalid-request"),
        ({"args": "{}"}, "invalid-request"),
        ({"kwargs": "[]"}, "invalid-request"),
        ({"kwargs": [1]}, "invalid-request"),
        ({"args": 7}, "invalid-request"),
        ({"misfire": "never"}, "invalid-request"),
    ],
)
def test_what_is_wrong_is_not_added(
    browser: Browser, fleet: Fleet, tokens: dict[Role, str], fields: dict[str, Any], code: str
) -> None:
    given = {"name": "daily", "expression": "@daily", "function": "demo.add", **fields}

    assert call(browser, tokens, "/cron/entries/add", **given).code == code
    assert [one.name for one in fleet.cron()] == ["nightly"]


def test_entries_are_listed_page_by_page_at_a_bounded_cost(browser: Browser, fleet: Fleet, raw: redis.Redis) -> None:
    for number in range(120):
        fleet.cron.add(f"n{number:03}", "@daily", Job("x", "demo.add"))

    def cost(path: str) -> int:
        raw.config_resetstat()
        assert browser.get(f"/api/v1{path}").status == 200
        stats: Any = raw.info("commandstats")
        return sum(row["calls"] for name, row in stats.items() if name.startswith("cmdstat_evalsha"))

    first = browser.get("/api/v1/cron").json
    second = browser.get(f"/api/v1/cron?cursor={first['cursor']}").json
    third = browser.get(f"/api/v1/cron?cursor={second['cursor']}").json

    assert [len(one["entries"]) for one in (first, second, third)] == [50, 50, 21]
    assert (first["cursor"], second["cursor"], third["cursor"]) == ("n049", "n099", "")
    assert 'rel="next"' in browser.get("/cron").text
    assert cost("/cron") == 4 + 51
    assert cost("/cron/nightly") == 7 + 4  # and the states of the jobs of its last fires, of one lane


def test_hostile_names_become_text(browser: Browser, fleet: Fleet) -> None:
    name = "<img/src=x>'\"&"
    fleet.cron.add("<b>'\"&", "@daily", Job("x", "demo.add"), by=name)

    for path in ("/cron", "/cron/%3Cb%3E'%22%26"):
        page = browser.get(path)
        assert page.status == 200
        assert "<b>'" not in page.text
        assert "<img" not in page.text


def test_an_entry_is_paused_run_and_resumed_from_the_list_which_stays(browser: Browser, fleet: Fleet) -> None:
    listed = browser.get("/cron").text
    answers = [
        browser.post("/cron/nightly/run", browser.csrf(), stay="/cron"),
        browser.post("/cron/nightly/pause", browser.csrf(), stay="/cron", reason="the disk is full"),
    ]
    paused = fleet.cron.get("nightly")
    answers.append(browser.post("/cron/nightly/resume", browser.csrf(), stay="/cron"))

    assert listed.count('<input type="hidden" name="stay" value="/cron">') == 2
    assert 'data-asks="reason"' in listed
    assert [str(one.headers["Location"]).partition("?")[0] for one in answers] == ["/cron"] * 3
    assert (paused.paused, paused.paused_reason) == ("web", "the disk is full")
    assert fleet.cron.get("nightly").paused is None
