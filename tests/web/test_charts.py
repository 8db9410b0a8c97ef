"""Charts in numbers, in words and as a drawing; and the pages that have them."""

from __future__ import annotations

import html
import json
import re
from datetime import UTC, datetime

import pytest
import redis

from jobfleet import Fleet, Job
from jobfleet.samples import COMPLETED, FAILED, FIRST_GAUGE, RUN, STARTED, TOTAL, function_series, queue_series
from jobfleet.web import drawing
from tests.cli.hand import Hand
from tests.support.sampled import store_samples
from tests.web.site import Browser, served

EMPTY: dict[str, object] = {
    "enqueued": None, "completed": None, "failed": None, "waiting": None, "running": None, "oldest_wait": None,
    "wait": None, "run": None,
}  # fmt: skip
FULL: dict[str, object] = {
    "enqueued": 20, "completed": 10, "failed": 0, "waiting": 6, "running": 2, "oldest_wait": 3.5,
    "wait": {"p50": 0.1, "p95": 0.2, "p99": 0.004}, "run": None,
}  # fmt: skip


def history(*points: dict[str, object], function: str | None = None, deploys: object = ()) -> dict[str, object]:
    times = [datetime.fromtimestamp(1_000_000 + 10 * n, UTC).isoformat() for n in range(len(points))]
    rows = [{"at": at, **point} for at, point in zip(times, points, strict=True)]
    return {"points": rows, "deploys": deploys, "step": 10.0, "function": function}


def test_a_chart_has_rates_gaps_and_words() -> None:
    found = {one.name: one for one in drawing.figures(history(FULL, EMPTY, {**FULL, "completed": 5}))}

    numbers = json.loads(found["throughput"].numbers)
    assert numbers["data"] == [[1_000_000, 1_000_010, 1_000_020], [2, None, 2], [1, None, 0.5], [0, None, 0]]
    assert found["throughput"].words == (
        "Jobs per second. enqueued: last 2/s, at most 2/s; completed: last 0.5/s, at most 1/s; "
        "failed: last 0/s, at most 0/s."
    )
    assert json.loads(found["backlog"].numbers)["data"][1] == [6, None, 12]
    assert [line.last for line in found["wait"].lines] == ["100 ms", "200 ms", "4 ms"]
    assert found["run"].words == "Run time. No samples in this time."
    assert found["throughput"].svg.count("M") == 6, "a gap begins a line again"


def test_the_backlog_of_a_queue_that_does_not_move_is_not_known() -> None:
    assert drawing.backlog({"waiting": 5, "completed": 0, "failed": 0}, 10) is None
    assert drawing.backlog({"waiting": 0, "completed": 0, "failed": 0}, 10) == 0


def test_a_function_has_no_depth_and_a_version_is_marked() -> None:
    at = datetime.fromtimestamp(1_000_010, UTC).isoformat()
    found = drawing.figures(history(FULL, FULL, FULL, function="f", deploys=[{"at": at, "version": "<2>"}]))

    assert [one.name for one in found] == ["throughput", "wait", "run"]
    assert json.loads(found[0].numbers)["marks"] == [[1_000_010, "<2>"]]
    assert 'class="mark" d="M150.0 0V60"' in found[0].svg


@pytest.fixture
def sampled(fleet: Fleet, raw: redis.Redis, hand: Hand) -> None:
    """A step half a minute ago: ten runs, of which two have failed."""
    fleet.enqueue(Job("x", "demo.add", id="a"))
    point = {STARTED: 10, COMPLETED: 8, FAILED: 2, FIRST_GAUGE: 7, RUN: {40: 10}}
    names = (TOTAL, queue_series("default"), function_series("demo.add"))
    store_samples(raw, fleet, dict.fromkeys(names, point), ago=30)


@pytest.mark.usefixtures("sampled")
def test_pages_show_the_past_with_words_and_without_a_script(browser: Browser) -> None:
    for path in ("/", "/queues/default?since=6h", "/history?function=demo.add"):
        page = browser.get(path).text
        assert re.search(r'role="img" aria-label="Jobs per second\. [^"]*failed: last', page), path
        assert '<svg viewBox="0 0 300 60"' in page
        assert "data-chart=" in page

    overview = browser.get("/").text.replace("<wbr>", "")
    assert re.search(r'demo\.add</a></td><td class="number">10</td><td class="number">2</td>', overview)
    assert re.search(r'since=10m" aria-current="true"', overview), "no sample is older than ten minutes"
    assert "The first sample of this time was taken <time" in overview
    assert "90 d" not in overview, "there is no archive"
    table = browser.get("/history?since=10m").text
    assert '<td colspan="10" class="dim">no sample' in table
    assert table.count("<th class=") + table.count("<th>") == 11
    assert '<td colspan="6" class="dim">no sample' in browser.get("/history?since=10m&function=demo.add").text
    assert re.search(r'<td class="number">10</td><td class="number">8</td><td class="number">2</td>', table)


def test_the_range_of_the_charts_follows_from_the_samples(
    browser: Browser, fleet: Fleet, hand: Hand, raw: redis.Redis
) -> None:
    fleet.enqueue(Job("x", "demo.add", id="a"))
    point = {TOTAL: {COMPLETED: 8, FAILED: 2}}
    ranges = []
    for ago in (30, 1800):
        store_samples(raw, fleet, point, ago=ago)
        with served(fleet) as fresh:  # another dashboard has no shared reads
            data, page = fresh.browser().get("/api/v1/overview").json, fresh.browser().get("/").text
        ranges.append((data["range"], data["ended"]))

    assert ranges == [
        ("10m", {"completed": 8, "failed": 2}), ("1h", {"completed": 16, "failed": 4}),
    ]  # fmt: skip
    numbers = html.unescape(re.findall(r'data-chart="([^"]*)"', page)[0])
    assert 60 <= len(json.loads(numbers)["data"][0]) <= 62, "the half of the hour without samples is left out"
    assert "in the last 1 h; 0 since the queues were created" in page


@pytest.mark.usefixtures("sampled")
def test_the_live_part_has_the_numbers_but_not_the_drawing(browser: Browser) -> None:
    browser.get("/")
    with browser.stream("/") as events:
        data = next(events)["data"]
    assert "data-chart=" in data
    assert "<svg" not in data


@pytest.mark.usefixtures("sampled")
def test_the_api_has_the_history(browser: Browser) -> None:
    found = browser.get("/api/v1/history?since=10m&step=30").json
    assert (found["step"], sum(one["completed"] or 0 for one in found["points"])) == (30.0, 8)
    assert browser.get("/api/v1/history?since=soon").code == "invalid-job"
    assert browser.get("/api/v1/history?queue=nope").code == "unknown-queue"
    assert browser.get("/api/v1/overview?since=5m").code == "invalid-request"


def test_the_list_of_queues_shows_the_last_hour_of_each(
    browser: Browser, fleet: Fleet, hand: Hand, raw: redis.Redis
) -> None:
    for queue in ("quiet", "mail"):
        fleet.enqueue(Job("x", "demo.add", queue=queue))
    for ago in (400, 300):
        store_samples(raw, fleet, {queue_series("mail"): {COMPLETED: 1500, FAILED: 2, FIRST_GAUGE: 7}}, ago=ago)

    data, page = browser.get("/api/v1/queues").json, browser.get("/queues").text

    assert [one["queue"] for one in data["trends"]] == [one["name"] for one in data["queues"]]
    (row,) = re.findall(r'<tr id="queue-mail">.*?</tr>', page, re.DOTALL)
    assert 'class="spark"' in row
    assert 'aria-label="The last hour. ended per minute: last 1,502, at most 1,502; waiting: last 7, at most 7."' in row
    assert row.count('<path class="line good"') == row.count('<path class="line warn"') == 1


def test_a_queue_without_samples_has_no_drawing() -> None:
    assert drawing.sparkline({"ended": [None, None], "waiting": [None, None]}) == ""


def test_the_first_page_counts_due_jobs_as_waiting_and_others_as_later(
    browser: Browser, fleet: Fleet, hand: Hand
) -> None:
    for number in range(2):
        fleet.enqueue(Job("x", "demo.add", id=f"due{number}"))
    for number in range(3):
        fleet.enqueue(Job("x", "demo.add", id=f"later{number}", delay=3600))

    page = browser.get("/").text

    assert re.findall(r"<b>(Waiting|Later)</b><strong>(\d+)</strong>", page) == [("Waiting", "2"), ("Later", "3")]
