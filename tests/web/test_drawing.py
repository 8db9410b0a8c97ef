"""The graph of a flow: layers, edges, and many jobs of a name as one node."""

from __future__ import annotations

from typing import Any

from jobfleet.web.drawing import HIGH, NODES_MOST, TEXT_MOST, WIDE, drawn


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
