"""The graph of a flow: layers, edges, and many jobs of a name as one node; and the timeline of a job."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from jobfleet.retry.tries import HANDED_BACK
from jobfleet.web.drawing import BAR_LEAST, HIGH, NODES_MOST, TEXT_MOST, TIMELINE_WIDTH, WIDE, drawn, timeline


def job(id: str, *after: str, name: str = "", status: str = "queued", added_by: str | None = None) -> dict[str, Any]:
    return {"id": id, "name": name or id, "label": "", "status": status, "after": list(after), "added_by": added_by}


def test_each_job_is_right_of_those_that_it_waits_for() -> None:
    drawing = drawn([job("a"), job("b", "a"), job("c", "a"), job("d", "b", "c"), job("e", "a", "d")])

    assert [(node.name, node.layer, node.row) for node in drawing.nodes] == [
        ("a", 0, 0), ("b", 1, 0), ("c", 1, 1), ("d", 2, 0), ("e", 3, 0),
    ]  # fmt: skip
    assert len(drawing.lines) == 6
    assert {line.kind for line in drawing.lines} == {"waits"}
    boxes = [(node.x, node.y) for node in drawing.nodes]
    assert len(set(boxes)) == 5
    assert all(0 <= x <= drawing.width - WIDE and 0 <= y <= drawing.height - HIGH for x, y in boxes)


def test_a_node_is_near_those_before_it() -> None:
    drawing = drawn([job("a"), job("b"), job("c"), job("of c", "c"), job("of a", "a")])

    assert [node.row for node in drawing.nodes if node.name == "of a"] == [0]
    assert [node.row for node in drawing.nodes if node.name == "of c"] == [1]


def test_a_job_that_another_one_has_added_follows_it() -> None:
    drawing = drawn([job("a"), job("b", added_by="a"), job("c", added_by="elsewhere")])

    assert [(node.name, node.layer) for node in drawing.nodes] == [("a", 0), ("b", 1), ("c", 0)]
    assert [line.kind for line in drawing.lines] == ["adds"]


def test_jobs_of_another_page_have_no_edge() -> None:
    assert drawn([job("b", "a")]).lines == []
    assert drawn([]).nodes == []


def test_many_jobs_of_a_name_are_one_node_with_the_worst_state() -> None:
    parts = [job(f"p{n}", "a", name="part", status="failed" if n < 2 else "completed") for n in range(500)]
    drawing = drawn([job("a", status="completed"), *parts, job("end", *(one["id"] for one in parts), status="blocked")])

    assert [(node.name, node.layer, node.state, node.text, node.job) for node in drawing.nodes] == [
        ("a", 0, "completed", "completed", ""),
        ("part", 1, "failed", "2 of 500 failed", ""),
        ("end", 2, "blocked", "blocked", ""),
    ]
    assert len(drawing.lines) == 2
    assert drawing.is_grouped


def test_the_number_of_nodes_and_the_length_of_a_name_are_bounded() -> None:
    drawing = drawn([job(f"{n}", name=f"{n}" * 100) for n in range(300)])

    assert len(drawing.nodes) == NODES_MOST
    assert drawing.is_cut
    assert max(len(node.label) for node in drawing.nodes) == TEXT_MOST


START = datetime(2026, 12, 2, 12, tzinfo=UTC)


def after(seconds: float | None) -> str | None:
    return None if seconds is None else (START + timedelta(seconds=seconds)).isoformat()


def run(number: int, begin: float, end: float, text: str) -> dict[str, Any]:
    times = {"started_at": after(begin), "at": after(end), "duration": end - begin}
    return {"event": "run", "run": number, "worker": "w", "text": text, **times}


def life(status: str, *history: dict[str, Any], started: float | None, ended: float | None, runs: int) -> str:
    times = {"enqueued_at": after(0), "started_at": after(started), "completed_at": after(ended)}
    return str(timeline({"status": status, "history": history, "runs": runs, **times}, START + timedelta(seconds=100)))


def bars(svg: str) -> list[tuple[str, float, float]]:
    found = re.findall(r'<rect class="(\w+)" x="([0-9.]+)" width="([0-9.]+)"', svg)
    return [(look, float(x), float(width)) for look, x, width in found]


def words(svg: str) -> str:
    found: list[str] = re.findall('aria-label="([^"]*)"', svg)
    return found[0]


def test_the_timeline_of_a_job_has_each_run_and_the_waits_between() -> None:
    history = [
        run(1, 10, 30, "SIGKILL"),
        {"event": "replay", "at": after(40), "by": None, "is_edited": False},
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
