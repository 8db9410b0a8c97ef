"""The pages of dead letters and rescues, and their API: filters, each action with its record, and their cost."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import redis

from jobfleet import Fleet, Job
from jobfleet.model.signals import fingerprint_of
from jobfleet.web.pages.dead import waits
from jobfleet.web.safety.access import Role
from tests.cli.hand import Hand
from tests.support.each import each
from tests.support.waiting import next_millisecond
from tests.web.site import Answer, Browser

LUCK = fingerprint_of("demo.add", "ValueError", "no luck")
MONEY = fingerprint_of("demo.add", "ValueError", "no money")


@pytest.fixture
def letters(fleet: Fleet, hand: Hand) -> list[str]:
    """Three letters of two groups: two have no luck, of two users; one has no money."""
    ids: list[str] = []
    for number, (user, error) in enumerate([("ann", "no luck"), ("bob", "no luck"), ("bob", "no money")]):
        job_id = fleet.enqueue(Job("x", "demo.add", id=f"d{number}", user=user, tags=[f"t{number}"]))
        hand.fails(hand.claims(job_id), error)
        ids.append(job_id)
        next_millisecond()  # the group of the newest error comes first
    return ids


def groups(browser: Browser, query: str = "") -> list[tuple[str, int, int | None]]:
    rows = browser.get(f"/api/v1/dead{query}").json["groups"]
    return [(one["fingerprint"], one["count"], one["matching"]) for one in rows]


def call(browser: Browser, tokens: dict[Role, str], path: str, **fields: object) -> Answer:
    return browser.call(path, tokens[Role.OPERATOR], **fields)


def audited(fleet: Fleet) -> list[tuple[str, str, str | None, str]]:
    return [(one.action, one.target, one.by, one.source) for one in fleet.audit().entries]


@pytest.mark.usefixtures("letters")
@each(
    "query, found",
    [
        ("", [(MONEY, 1, None), (LUCK, 2, None)]),
        ("?state=new", [(MONEY, 1, None), (LUCK, 2, None)]),
        ("?state=resolved", []),
        ("?function=demo.add", [(MONEY, 1, None), (LUCK, 2, None)]),
        ("?function=demo.fail", []),
        ("?queue=default", [(MONEY, 1, None), (LUCK, 2, None)]),
        ("?user=ann", [(LUCK, 2, 1)]),
        ("?user=bob", [(MONEY, 1, 1), (LUCK, 2, 1)]),
        ("?tag=t2", [(MONEY, 1, 1)]),
        ("?user=bob&state=known", []),
        ("?since=2001-01-01", [(MONEY, 1, 1), (LUCK, 2, 2)]),
        ("?until=2001-01-01T00:00", []),
    ],
)
def test_groups_are_filtered(browser: Browser, query: str, found: list[object]) -> None:
    assert groups(browser, query) == found


@pytest.mark.usefixtures("letters")
def test_the_letters_of_a_group_and_of_a_filter_are_read_page_by_page(browser: Browser) -> None:
    found: list[tuple[str, str]] = []
    cursor = ""
    while True:
        page = browser.get(f"/api/v1/dead/letters?user=bob&limit=1&cursor={cursor}").json
        found += [(one["id"], one["fingerprint"]) for one in page["letters"]]
        if not (cursor := page["cursor"]):
            break

    assert found == [("default.0.d2", MONEY), ("default.0.d1", LUCK)]
    whole = browser.get(f"/api/v1/dead/{LUCK}").json
    assert [one["id"] for one in whole["letters"]] == ["default.0.d1", "default.0.d0"]
    assert (whole["example"], whole["traceback"]) == ("default.0.d1", "Traceback\n  x\n")
    assert whole["rescue"] is None


def test_a_group_whose_last_letter_is_gone_shows_the_traceback_of_another_one(
    browser: Browser, fleet: Fleet, letters: list[str]
) -> None:
    assert fleet.dead_group(LUCK).example == letters[1]
    fleet.purge(letters[1])

    assert browser.get(f"/api/v1/dead/{LUCK}").json["example"] == letters[0]


@pytest.mark.usefixtures("letters")
def test_a_group_is_decided_about(browser: Browser, fleet: Fleet, tokens: dict[Role, str]) -> None:
    answer = call(browser, tokens, f"/dead/{LUCK}/resolve")

    assert answer.json == {"fingerprint": LUCK, "state": "resolved", "changed": True}
    assert call(browser, tokens, f"/dead/{LUCK}/resolve").json["changed"] is False
    assert audited(fleet)[0] == ("dead.resolve", LUCK, "of-operator", "web")


def test_all_letters_of_a_group_are_replayed(
    browser: Browser, fleet: Fleet, tokens: dict[Role, str], letters: list[str]
) -> None:
    assert call(browser, tokens, f"/dead/{LUCK}/replay").json == {"replayed": 2}
    assert [one.id for one in fleet.dead()] == [letters[2]]
    assert audited(fleet) == [("dead.replay", f"fingerprint={LUCK}", "of-operator", "web")]


def test_letters_that_match_are_counted_and_then_replayed(browser: Browser, fleet: Fleet, letters: list[str]) -> None:
    page = browser.get("/dead/letters/count?user=bob&tag=t1").text
    assert "Replay 1 letter<" in page
    assert 'name="user" value="bob"' in page

    answer = browser.post("/dead/letters/replay", browser.csrf("/dead/letters/count?user=bob"), user="bob", tag="t1")

    assert answer.status == 303
    assert "Back+in+their+queues%3A+1+job." in answer.headers["Location"]
    assert [one.id for one in fleet.dead()] == [letters[2], letters[0]]


@pytest.mark.usefixtures("letters")
def test_all_letters_are_replayed_only_if_all_is_given(browser: Browser, fleet: Fleet, tokens: dict[Role, str]) -> None:
    assert call(browser, tokens, "/dead/letters/replay").code == "invalid-request"
    assert call(browser, tokens, "/dead/letters/replay", fresh=True).code == "invalid-request"
    assert len(fleet.dead()) == 3
    assert 'name="all" value="yes"' in browser.get("/dead/letters/count").text
    assert call(browser, tokens, "/dead/letters/replay", all="yes").json == {"replayed": 3, "changed": True}


@pytest.mark.usefixtures("letters")
def test_a_rescue_is_begun_stopped_and_undone(browser: Browser, fleet: Fleet, tokens: dict[Role, str]) -> None:
    begun = call(browser, tokens, f"/dead/{LUCK}/rescue", canary="1,5", rate="5/min", stop_after=3).json
    assert (begun["state"], begun["canary"], begun["stop_after"], begun["total"]) == ("running", [1, 5], 3, 2)
    assert begun["by"] == "of-operator"
    assert browser.get("/api/v1/rescues").json["rescues"] == [begun]
    assert browser.get(f"/api/v1/dead/{LUCK}").json["rescue"]["id"] == begun["id"]

    assert call(browser, tokens, f"/dead/{LUCK}/rescue").code == "config-error"  # it is not over
    stopped = call(browser, tokens, f"/rescues/{begun['id']}/stop").json
    assert (stopped["state"], stopped["why"], stopped["ended_by"]) == ("stopped", "asked", "of-operator")
    undone = call(browser, tokens, f"/rescues/{begun['id']}/undo").json
    assert (undone["state"], undone["undone"]) == ("stopped", 0)  # nothing was in flight
    assert [one[0] for one in audited(fleet)] == ["rescue.undo", "rescue.stop", "rescue.start", "rescue.start"]


@pytest.mark.usefixtures("letters")
@each(
    "fields, code",
    [
        ({"canary": "x"}, "invalid-request"),
        ({"canary": "0"}, "invalid-job"),
        ({"rate": "quick"}, "invalid-job"),
        ({"stop_after": 0}, "invalid-job"),
    ],
)
def test_a_plan_that_is_wrong_begins_no_rescue(
    browser: Browser, fleet: Fleet, tokens: dict[Role, str], fields: dict[str, Any], code: str
) -> None:
    assert call(browser, tokens, f"/dead/{LUCK}/rescue", **fields).code == code
    assert fleet.rescues() == []


@pytest.mark.usefixtures("letters")
def test_a_rescue_that_no_reaper_carries_out_is_noticed(browser: Browser, fleet: Fleet) -> None:
    status = fleet.rescue(LUCK).status()
    assert status.started_at is not None
    old = status.started_at - timedelta(seconds=6)

    assert browser.get(f"/api/v1/rescues/{status.id}").json["is_waiting"] is False  # it has just begun
    assert waits(replace(status, started_at=old)) is True
    assert waits(replace(status, started_at=old, replayed=1)) is False
    assert waits(replace(status, started_at=old, state="stopped")) is False


def test_the_page_of_a_dead_job_leads_to_its_group(browser: Browser, letters: list[str]) -> None:
    assert browser.get(f"/api/v1/jobs/{letters[2]}").json["dead_group"] == MONEY
    assert f'href="/dead/{MONEY}"' in browser.get(f"/jobs/{letters[2]}").text


@pytest.mark.usefixtures("letters")
def test_a_rescue_without_a_canary_is_wanted_by_word(browser: Browser, tokens: dict[Role, str]) -> None:
    assert call(browser, tokens, f"/dead/{LUCK}/rescue", canary="none").json["canary"] == []


def test_a_page_costs_the_same_however_many_letters_there_are(
    browser: Browser, fleet: Fleet, hand: Hand, raw: redis.Redis
) -> None:
    def cost(path: str) -> int:
        raw.config_resetstat()
        assert browser.get(f"/api/v1{path}").status == 200
        stats: Any = raw.info("commandstats")
        return sum(row["calls"] for name, row in stats.items() if name.startswith("cmdstat_evalsha"))

    def bury(begin: int, count: int) -> None:
        for number in range(begin, begin + count):
            job_id = fleet.enqueue(Job("x", "demo.add", id=f"n{number}", user="ann"))
            hand.fails(hand.claims(job_id), "no luck")
        fleet.dead_groups()  # files them

    paths = ("/dead", "/dead?user=ann", f"/dead/{LUCK}", "/dead/letters?user=ann&limit=20", "/rescues")
    bury(0, 210)
    few = {path: cost(path) for path in paths}
    bury(210, 150)

    assert {path: cost(path) for path in paths} == few
    assert max(few.values()) <= 12
