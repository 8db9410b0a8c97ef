"""The graph of a flow: layers, edges, and many jobs of a name as one node; and the timeline of a job."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobfleet.model.life import HANDED_BACK, event_of
from jobfleet.web import flow_graph
from jobfleet.web.drawing import BAR_LEAST, TIMELINE_WIDTH, timeline
from jobfleet.web.flow_graph import ACROSS_MOST, DOWN_MOST, HIGH, NODES_MOST, TEXT_MOST, WIDE, Drawing


def job(id: str, *after: str, name: str = "", status: str = "queued", added_by: str | None = None) -> dict[str, Any]:
    return {
        "number": 0, "id": id, "name": name or id, "label": "", "function": "f", "status": status,
        "after": list(after), "added_by": added_by,
    }  # fmt: skip


def drawn(jobs: list[dict[str, Any]], unfolded: Collection[int] = (), way: str = "across") -> Drawing:
    return flow_graph.drawn([{**one, "number": number} for number, one in enumerate(jobs)], unfolded, way)


def album(way: str = "across", *unfolded: int) -> Drawing:
    """Sixteen thumbs after one job, one of which has failed, and a job after them."""
    thumbs = [
        job(f"{n}", "a", name=f"thumb {n}", status="failed" if n == 13 else "completed") for n in range(1, 17)
    ]  # fmt: skip
    end = job("end", *(one["id"] for one in thumbs), status="cancelled")
    return drawn([job("a", status="completed"), *thumbs, end], unfolded, way)


def test_each_job_is_right_of_those_that_it_waits_for() -> None:
    drawing = drawn([job("a"), job("b", "a"), job("c", "a"), job("d", "b", "c"), job("e", "a", "d")])

    places = {node.name: (node.x, node.y) for node in drawing.nodes}
    assert places["a"][0] < places["b"][0] == places["c"][0] < places["d"][0] < places["e"][0]
    assert places["b"][1] + HIGH < places["c"][1]
    assert len(drawing.lines) == 6
    assert {line.kind for line in drawing.lines} == {"waits"}
    assert all(0 <= x <= drawing.width - WIDE and 0 <= y <= drawing.height - HIGH for x, y in places.values())


def test_a_node_is_near_those_before_it_and_a_failed_one_is_first() -> None:
    drawing = drawn([job("a"), job("b"), job("c", status="failed"), job("of c", "c"), job("of a", "a")])
    heights = {node.name: node.y for node in drawing.nodes}

    assert heights["c"] < heights["a"] < heights["b"]
    assert heights["of c"] < heights["of a"]


def test_a_job_that_another_one_has_added_follows_it() -> None:
    drawing = drawn([job("a"), job("b", added_by="a"), job("c", added_by="elsewhere")])
    places = {node.name: node.x for node in drawing.nodes}

    assert places["a"] == places["c"] < places["b"]
    assert [line.kind for line in drawing.lines] == ["adds"]


def test_jobs_of_another_page_have_no_edge() -> None:
    assert drawn([job("b", "a")]).lines == []
    assert drawn([]).nodes == []


@pytest.mark.parametrize(("way", "most"), [("across", ACROSS_MOST), ("down", DOWN_MOST)])
def test_siblings_are_one_box_with_the_failed_one_in_it_until_they_are_unfolded(way: str, most: int) -> None:
    folded, unfolded = album(way), album(way, 1)

    for drawing in (folded, unfolded):
        ((box, text),) = [(one.name, one.text) for one in drawing.boxes]
        assert (box, text) == ("thumb × 16", "15 completed, 1 failed")
        assert len(drawing.lines) == 2
        assert drawing.width <= most
        assert drawing.height < 1200
    assert [node.name for node in folded.nodes] == ["a", "thumb 13", "end"]
    assert [node.name for node in unfolded.nodes[:4]] == ["a", "thumb 13", "thumb 1", "thumb 2"]
    assert len({(node.x, node.y) for node in unfolded.nodes}) == 18


def test_many_jobs_of_a_name_are_one_node_without_a_failure() -> None:
    parts = [job(f"p{n}", "a", name="part", status="running" if n < 2 else "completed") for n in range(500)]
    drawing = drawn([job("a", status="completed"), *parts, job("end", *(one["id"] for one in parts), status="blocked")])

    assert [(node.name, node.state, node.text, node.brief, node.job) for node in drawing.nodes] == [
        ("a", "completed", "completed", "completed", "a"),
        ("part × 500", "running", "498 completed, 2 running", "2 of 500 running", ""),
        ("end", "blocked", "blocked", "blocked", "end"),
    ]


def test_the_number_of_nodes_and_the_length_of_a_name_are_bounded() -> None:
    drawing = drawn([{**job(f"{n}", name=f"{n}" * 100), "function": f"f{n}"} for n in range(300)])

    assert len(drawing.nodes) == NODES_MOST
    assert drawing.is_cut
    assert max(len(node.label) for node in drawing.nodes) == TEXT_MOST


START = datetime(2026, 12, 2, 12, tzinfo=UTC)


def after(seconds: float | None) -> str | None:
    return None if seconds is None else (START + timedelta(seconds=seconds)).isoformat()


def run(number: int, begin: float, end: float, text: str) -> dict[str, Any]:
    times = {"started_at": after(begin), "at": after(end), "duration": end - begin}
    outcome = event_of(f"{number} 0 {text}").outcome
    return {"kind": "run", "run": number, "outcome": outcome, "worker": "w", "by": None, "text": text, **times}


def life(status: str, *history: dict[str, Any], started: float | None, ended: float | None, runs: int) -> str:
    times = {"enqueued_at": after(0), "started_at": after(started), "completed_at": after(ended)}
    return str(timeline({"status": status, "life": history, "runs": runs, **times}, START + timedelta(seconds=100)))


def bars(svg: str) -> list[tuple[str, float, float]]:
    found = re.findall(r'<rect class="(\w+)" x="([0-9.]+)" width="([0-9.]+)"', svg)
    return [(look, float(x), float(width)) for look, x, width in found]


def words(svg: str) -> str:
    found: list[str] = re.findall('aria-label="([^"]*)"', svg)
    return found[0]


def test_the_timeline_of_a_job_has_each_run_and_the_waits_between() -> None:
    history = [
        run(1, 10, 30, "SIGKILL"),
        {"kind": "replayed", "at": after(40), "by": "ann"},
        run(2, 50, 60, HANDED_BACK),
        run(3, 80, 100, "completed"),
    ]

    svg = life("completed", *history, started=80, ended=100, runs=3)

    assert bars(svg) == [("bad", 100, 200), ("warn", 500, 100), ("good", 800, 200)]
    assert re.findall('class="mark" d="M([0-9.]+) ', svg) == ["400.0"]
    assert words(svg) == (
        "Waited 10 s; run 1 took 20 s: SIGKILL; waited 20 s; run 2 took 10 s: handed back: its worker stopped; "
        "waited 20 s; run 3 took 20 s: completed."
    )


def test_the_timeline_of_an_open_job_ends_now() -> None:
    running = life("running", started=75, ended=None, runs=1)
    waiting = life("retrying", run(1, 0, 50, "ValueError: <b>"), started=None, ended=None, runs=1)

    assert (bars(running), words(running)) == ([("calm", 750, 250)], "Waited 1 min 15 s; run 1: running, 25 s.")
    assert bars(waiting) == [("bad", 0, 500)]
    assert words(waiting) == "Run 1 took 50 s: ValueError: &lt;b&gt;; waits for 50 s."


def test_a_short_run_can_be_seen_in_a_long_life() -> None:
    short = run(1, 99.999, 100, "completed")

    assert bars(life("completed", short, started=99.999, ended=100, runs=1)) == [
        ("good", TIMELINE_WIDTH - BAR_LEAST, BAR_LEAST)
    ]
    assert bars(life("completed", started=0, ended=0, runs=1)) == [("good", 0, BAR_LEAST)]
