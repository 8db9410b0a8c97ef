"""The pages of flows, and their API: the states of jobs, each action with its record, and the cost of large flows."""

from __future__ import annotations

import re
from typing import Any

import pytest
import redis

from jobfleet import Fleet, Flow, InvalidJob, Job
from jobfleet.operations.flows.unblock import unblock
from jobfleet.store.calls.flow import ParentEnd
from jobfleet.web.pages import flows
from jobfleet.web.safety.access import Role
from tests.cli.hand import Hand
from tests.web.site import Answer, Browser

HOSTILE = "<img src=x onerror=alert(1)>\u202e"


@pytest.fixture
def etl(fleet: Fleet, hand: Hand) -> Flow:
    """A flow: two parts wait for a list, and the end waits for both; the list has completed."""
    flow = Flow("Nightly")
    first = flow.add(Job("List", "demo.add", id="list"))
    parts = flow.map(lambda n: Job("Part", "demo.fail", (n,), id=f"part{n}"), range(2), after=first)
    flow.add(Job("End", "demo.add", id="end"), after=parts, otherwise="wait")
    fleet.flows.enqueue(flow)
    return flow


def call(browser: Browser, tokens: dict[Role, str], path: str, **fields: object) -> Answer:
    return browser.call(path, tokens[Role.OPERATOR], **fields)


def audited(fleet: Fleet) -> list[tuple[str, str, str | None, str]]:
    return [(one.action, one.target, one.by, one.source) for one in fleet.audit().entries]


def test_a_flow_has_its_jobs_with_what_they_wait_for(browser: Browser, etl: Flow) -> None:
    answer = browser.get(f"/api/v1/flows/{etl.id}").json

    assert (answer["flow"]["name"], answer["flow"]["status"], answer["is_done"]) == ("Nightly", "queued", False)
    assert answer["flow"]["states"] == {"blocked": 3, "queued": 1}
    rows = [(one["number"], one["name"], one["label"], one["status"], one["parents"]) for one in answer["jobs"]]
    assert rows == [
        (0, "List", "", "queued", []), (1, "Part", "0", "blocked", [0]), (2, "Part", "1", "blocked", [0]),
        (3, "End", "", "blocked", [1, 2]),
    ]  # fmt: skip
    assert answer["jobs"][3]["after"] == ["default.0.part0", "default.0.part1"]
    assert answer["jobs"][3]["otherwise"] == ["wait", "wait"]


def test_the_graph_and_the_list_have_the_same_jobs(browser: Browser, etl: Flow) -> None:
    page = browser.get(f"/flows/{etl.id}").text
    _, *graphs = page.split('<svg class="flow ')  # one for a wide page, and one for a phone
    rest = page.rpartition("</svg>")[2]

    for graph in graphs:
        assert re.findall(r'<g class="node (\w+)"', graph) == ["queued", "blocked", "blocked", "blocked"]
        assert graph.count('<path class="waits"') == 4
    assert [graph.partition('"')[0] for graph in graphs] == ["across", "down"]
    assert re.findall(r'<tr id="job-(\d)"', rest) == ["0", "1", "2", "3"]
    assert "style=" not in page


def test_the_page_of_a_job_leads_to_its_flow(browser: Browser, fleet: Fleet, etl: Flow) -> None:
    assert f'href="/flows/{etl.id}"' in browser.get("/jobs/default.0.part0").text
    assert fleet.details("default.0.part0").flow == etl.id
    assert fleet.details(fleet.enqueue(Job("x", "demo.add"))).flow is None


def test_the_newest_flows_are_listed_page_by_page(browser: Browser, fleet: Fleet, hand: Hand) -> None:
    for number in range(15):
        flow = Flow(f"f{number}")
        flow.add(Job("x", "demo.add"))
        fleet.flows.enqueue(flow)

    first = browser.get("/api/v1/flows").json
    second = browser.get(f"/api/v1/flows?skip={first['next']}").json

    assert [one["name"] for one in first["flows"]] == [f"f{number}" for number in range(14, 4, -1)]
    assert [one["name"] for one in second["flows"]] == [f"f{number}" for number in range(4, -1, -1)]
    assert second["next"] == 0
    assert first["flows"][0]["made"] > second["flows"][0]["made"]
    assert 'rel="next"' in browser.get("/flows").text


def test_the_open_jobs_of_a_flow_are_cancelled(
    browser: Browser, fleet: Fleet, tokens: dict[Role, str], etl: Flow
) -> None:
    assert call(browser, tokens, f"/flows/{etl.id}/cancel").json == {"id": etl.id, "cancelled": 4, "changed": True}
    assert fleet.flows.get(etl).status == "cancelled"
    assert audited(fleet) == [("flow.cancel", etl.id, "of-operator", "web")]
    assert "Cancel<" not in browser.get(f"/flows/{etl.id}").text


def test_the_failed_jobs_of_a_flow_are_retried(
    browser: Browser, fleet: Fleet, hand: Hand, tokens: dict[Role, str]
) -> None:
    flow = Flow("One")
    flow.add(Job("x", "demo.fail", id="x"))
    fleet.flows.enqueue(flow)
    hand.fails(hand.claims("default.0.x"))
    assert "Retry the flow" in browser.get(f"/flows/{flow.id}").text

    assert call(browser, tokens, f"/flows/{flow.id}/retry").json == {"id": flow.id, "again": 1, "changed": True}
    assert fleet.flows.get(flow).status == "queued"
    assert audited(fleet)[0] == ("flow.retry", flow.id, "of-operator", "web")


def test_the_answer_to_a_replay_has_the_flow_that_is_to_be_continued(
    browser: Browser, fleet: Fleet, hand: Hand, tokens: dict[Role, str]
) -> None:
    flow, lone = Flow("Album"), Flow("Lone")
    first = flow.add(Job("thumb", "demo.fail", id="a"))
    flow.add(Job("mail", "demo.add", id="mail"), after=first)
    lone.add(Job("thumb", "demo.fail", id="b"))
    for each in (flow, lone):
        fleet.flows.enqueue(each)
    for job_id in ("default.0.a", "default.0.b"):
        hand.fails(hand.claims(job_id))
    fleet._do(unblock(fleet.context.keys, [ParentEnd("default.0.mail", "default.0.a", "failed", b"")], ttl_ms=60_000))

    mail = browser.get("/jobs/default.0.mail").text
    assert 'because <a href="/jobs/default.0.a">demo.add</a> failed: ValueError: no luck.' in mail
    assert mail.count("Retry the flow") == 1
    answers = [call(browser, tokens, f"/jobs/default.0.{name}/replay").json for name in ("a", "b")]
    assert [answer["flow"] for answer in answers] == [flow.id, None]
    page = browser.get(f"/flows/{flow.id}")
    assert (page.text.count("Retry the flow"), browser.get(f"/api/v1/flows/{flow.id}").json["stopped"]) == (1, 1)
    assert call(browser, tokens, f"/flows/{flow.id}/retry").json["again"] == 1
    assert "Retry the flow" not in browser.get("/jobs/default.0.mail").text + browser.get(f"/flows/{flow.id}").text


def test_the_jobs_of_a_flow_are_filtered_and_sorted(browser: Browser, fleet: Fleet, hand: Hand) -> None:
    flow = Flow("Album")
    thumbs = flow.map(lambda n: Job(f"thumb {n}", "demo.fail", id=f"t{n}"), range(9, 12))
    flow.add(Job("album", "demo.add", id="album"), after=thumbs, otherwise="wait")
    fleet.flows.enqueue(flow)
    hand.fails(hand.claims("default.0.t10"))
    hand.completes(hand.claims("default.0.t11"), 1)

    def listed(query: str) -> list[int]:
        page = browser.get(f"/flows/{flow.id}{query}").text
        shown = [int(one) for one in re.findall(r'<tr id="job-(\d)"', page)]
        if "sort" in query:  # without, the page begins with the worst
            assert browser.get(f"/api/v1/flows/{flow.id}{query}").json["listed"] == shown
        return shown

    assert listed("") == [1, 0, 3, 2]
    assert listed("?sort=number") == [0, 1, 2, 3]
    assert listed("?sort=name") == [3, 0, 1, 2]
    assert listed("?sort=took") == [1, 2, 0, 3]
    assert listed("?status=failed") == [1]
    assert listed("?name=THUMB&sort=state") == [1, 0, 2]
    assert listed("?name=1&status=completed&unfold=0,x") == [2]
    assert "No job of the flow is like that." in browser.get(f"/flows/{flow.id}?name=nothing").text
    assert browser.get(f"/api/v1/flows/{flow.id}?status=odd").code == "invalid-request"


def test_a_large_flow_is_read_in_parts_at_a_bounded_cost(
    browser: Browser, fleet: Fleet, hand: Hand, raw: redis.Redis
) -> None:
    flow = Flow("Large")
    first = flow.add(Job("First", "demo.add"))
    flow.map(lambda n: Job("Part", "demo.add", (n,)), range(700), after=first)
    fleet.flows.enqueue(flow)
    raw.config_resetstat()
    one = browser.get(f"/api/v1/flows/{flow.id}").json
    stats: Any = raw.info("commandstats")
    scripts = [row for name, row in stats.items() if name.startswith("cmdstat_eval")]
    calls = sum(row["calls"] - row["failed_calls"] for row in scripts)  # without those whose source was to be sent
    two = browser.get(f"/api/v1/flows/{flow.id}?begin={one['next']}").json

    assert (one["flow"]["jobs"], one["flow"]["read"], one["flow"]["status"]) == (701, 300, "unknown")
    assert [len(one["jobs"]), len(two["jobs"]), two["next"]] == [300, 300, 600]
    assert two["jobs"][0]["after"] == [one["jobs"][0]["id"]]
    assert calls <= 9
    page = browser.get(f"/flows/{flow.id}").text
    assert "299 blocked" in page
    assert "300 of 701 jobs read: 0 completed, 299 blocked, 1 queued" in page
    assert len(page) < 400_000
    (row,) = browser.get("/api/v1/flows").json["flows"]
    assert (row["jobs"], row["read"]) == (701, 40)
    assert "40 of 701 jobs read" in browser.get("/flows").text


def with_a_late_failure(fleet: Fleet, hand: Hand, name: str, jobs: int) -> None:
    """Enqueue a flow whose jobs complete, except the last one, which fails."""
    flow = Flow(name)
    ids = [f"{name}{number:02}" for number in range(jobs)]
    for job_id in ids:
        flow.add(Job("Part", "demo.add", id=job_id))
    fleet.flows.enqueue(flow)
    for job_id in ids[:-1]:
        hand.completes(hand.claims(f"default.0.{job_id}"), 1)
    hand.fails(hand.claims(f"default.0.{ids[-1]}"))


def test_the_list_has_the_state_of_a_flow_whose_late_job_has_failed(browser: Browser, fleet: Fleet, hand: Hand) -> None:
    with_a_late_failure(fleet, hand, "Late", 45)

    (row,) = browser.get("/api/v1/flows").json["flows"]

    assert (row["status"], row["read"], row["states"]) == ("failed", 45, {"completed": 44, "failed": 1})
    assert "44 of 45 completed, 1 failed" in browser.get("/flows").text


def test_the_list_claims_no_state_of_a_flow_that_it_has_not_read(
    browser: Browser, fleet: Fleet, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobfleet.web.pages.flows.JOBS_MORE", 44)
    with_a_late_failure(fleet, hand, "Late", 45)

    (row,) = browser.get("/api/v1/flows").json["flows"]
    page = browser.get("/flows").text

    assert (row["status"], row["read"], row["states"]) == ("unknown", 40, {"completed": 40})
    assert "40 of 45 jobs read: 40 completed" in page
    assert '<span class="state unknown">unknown</span>' in page


def test_a_flow_with_a_failed_and_an_open_job_is_failing_however_large_it_is(
    browser: Browser, fleet: Fleet, hand: Hand
) -> None:
    flow = Flow("Large")
    flow.add(Job("First", "demo.fail", id="first"))
    flow.map(lambda n: Job("Part", "demo.add", (n,), id=f"part{n:03}"), range(700))
    fleet.flows.enqueue(flow)
    hand.fails(hand.claims("default.0.first"))

    (row,) = browser.get("/api/v1/flows").json["flows"]

    assert (row["status"], row["read"]) == ("failing", 40)


def test_a_part_of_a_flow_is_chosen_by_numbers(fleet: Fleet, etl: Flow) -> None:
    part = fleet.flows.part(etl, begin=1, limit=2)

    assert (part.id, part.name, part.begin, len(part.ids)) == (etl.id, "Nightly", 1, 4)
    assert [job.name for job in part.jobs] == ["Part", "Part"]
    assert part.whole is None
    whole = fleet.flows.part(etl).whole
    assert whole is not None
    assert whole == fleet.flows.get(etl)
    for wrong in ({"begin": -1}, {"limit": 0}):
        with pytest.raises(InvalidJob):
            fleet.flows.part(etl, **wrong)


def test_hostile_names_become_text(browser: Browser, fleet: Fleet, hand: Hand) -> None:
    flow = Flow("<b>x</b>")
    flow.add(Job("<script>alert(1)</script>", "demo.fail", id="x"))
    fleet.flows.enqueue(flow)
    hand.fails(hand.claims("default.0.x"), HOSTILE)

    for path in ("/flows", f"/flows/{flow.id}"):
        page = browser.get(path).text
        assert "<b>x" not in page
        assert "<script>alert" not in page
        assert "<img" not in page
        assert "\u202e" not in page


def test_only_open_flows_are_listed_among_those_that_are_looked_at(
    browser: Browser, fleet: Fleet, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(30):
        flow = Flow(f"f{number}")
        flow.add(Job("x", "demo.add", id=f"j{number}"))
        fleet.flows.enqueue(flow)
        if number % 3:
            fleet.flows.cancel(flow)

    answer = browser.get("/api/v1/flows?open=yes").json
    assert [one["name"] for one in answer["flows"]] == [f"f{number}" for number in range(27, -1, -3)]
    assert (answer["looked"], answer["next"]) == (30, 0)
    monkeypatch.setattr(flows, "JOBS_LOOKED", 12)
    first = browser.get("/api/v1/flows?open=yes").json
    assert [one["name"] for one in first["flows"]] == ["f27", "f24", "f21", "f18"]
    assert (first["looked"], first["next"]) == (12, 12)
    second = browser.get("/api/v1/flows?open=yes&skip=12").json
    assert [one["name"] for one in second["flows"]] == ["f15", "f12", "f9", "f6"]
    page = browser.get("/flows?open=yes").text
    assert 'rel="next" href="/flows?open=yes&amp;skip=12"' in page
    assert '<a href="/flows?open=yes" aria-current="true">Open</a>' in page


def test_a_large_flow_is_open_unless_all_of_it_was_read(browser: Browser, fleet: Fleet, hand: Hand) -> None:
    large, done = Flow("Large"), Flow("Done")
    large.map(lambda n: Job("x", "demo.add", id=f"l{n}", queue="a"), range(60))
    done.map(lambda n: Job("x", "demo.add", id=f"d{n}", queue="b"), range(3))
    for flow in (large, done):
        fleet.flows.enqueue(flow)
    for number in range(40):
        fleet.cancel(f"a.0.l{number}")
    fleet.flows.cancel(done)

    found = browser.get("/api/v1/flows?open=yes").json["flows"]

    assert [(one["name"], one["status"], one["read"], one["jobs"]) for one in found] == [("Large", "unknown", 40, 60)]
    fleet.flows.cancel(large)
    assert "unknown" in browser.get("/flows?open=yes").text


def test_the_page_says_if_no_flow_is_open(browser: Browser, fleet: Fleet, etl: Flow) -> None:
    fleet.flows.cancel(etl)

    assert "No flow is open among the 1 that were looked at." in browser.get("/flows?open=yes").text
