"""The graph of a flow as places on a plane: layers from left to right. Pure.

In a flow with many jobs, jobs of the same name in the same layer are one node, which counts them. So a graph is small
even if the flow is large.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

SINGLE_MOST = 40
"""The most jobs of which each is a node of its own."""
NODES_MOST = 200
WIDE, HIGH, GAP_X, GAP_Y, EDGE = 176, 46, 56, 14, 8
TEXT_MOST = 22
WORST = (
    "failed", "running", "retrying", "queued", "scheduled", "blocked", "cancelled", "expired", "gone", "completed",
)  # fmt: skip
"""States in the order in which a node of many jobs shows them."""


@dataclass(slots=True)
class Node:
    """A job, or the jobs of one name in one layer.

    Attributes:
        name: The label.
        state: The state; of many jobs the worst.
        text: The state in words.
        job: The id of the job; empty if there are many.
        layer: The number of its layer.
        row: Its place in the layer.
        states: How many of its jobs have each state.
    """

    name: str
    layer: int
    job: str
    row: int = 0
    states: Counter[str] = field(default_factory=Counter)

    @property
    def state(self) -> str:
        """The state; of many jobs the worst."""
        return next((word for word in WORST if self.states[word]), "gone")

    @property
    def text(self) -> str:
        """The state in words, with the number of such jobs if there are many."""
        total = self.states.total()
        return self.state if total == 1 else f"{self.states[self.state]:,} of {total:,} {self.state}"

    @property
    def label(self) -> str:
        """The name, cut to the width of the node."""
        return self.name if len(self.name) <= TEXT_MOST else f"{self.name[: TEXT_MOST - 1]}…"

    @property
    def x(self) -> int:
        """The left end."""
        return EDGE + self.layer * (WIDE + GAP_X)

    @property
    def y(self) -> int:
        """The upper end."""
        return EDGE + self.row * (HIGH + GAP_Y)


class Line(NamedTuple):
    """An edge.

    Attributes:
        path: Its path.
        kind: ``waits``, or ``adds`` if the left job has added the right one.
    """

    path: str
    kind: str


class Drawing(NamedTuple):
    """A graph.

    Attributes:
        nodes: The nodes.
        lines: The edges.
        width: The width of the whole.
        height: Its height.
        is_cut: Whether it has more nodes than are drawn.
        is_grouped: Whether nodes have many jobs.
    """

    nodes: Sequence[Node]
    lines: Sequence[Line]
    width: int
    height: int
    is_cut: bool
    is_grouped: bool


def drawn(jobs: Sequence[Mapping[str, Any]]) -> Drawing:
    """Place the jobs of a flow.

    Args:
        jobs: The jobs, each after those that it waits for, with ``id``, ``name``, ``label``, ``status``, ``after`` (the
            ids of the jobs that it waits for) and ``added_by``. Ids of other jobs are left out.
    """
    is_grouped = len(jobs) > SINGLE_MOST
    layers: dict[str, int] = {}
    before: dict[str, list[str]] = {}
    for job in jobs:
        known = [one for one in job["after"] if one in layers]
        adder = job["added_by"]
        before[job["id"]] = known or ([adder] if adder in layers else [])
        layers[job["id"]] = max((layers[one] + 1 for one in before[job["id"]]), default=0)
    nodes: dict[tuple[int, str], Node] = {}
    of: dict[str, Node] = {}
    for job in jobs:
        layer = layers[job["id"]]
        key = (layer, job["name"] if is_grouped else job["id"])
        name = f"{job['name']}({job['label']})" if job["label"] and not is_grouped else job["name"]
        node = nodes.setdefault(key, Node(name, layer, "" if is_grouped else job["id"]))
        node.states[job["status"]] += 1
        of[job["id"]] = node
    kept = list(nodes.values())[:NODES_MOST]
    edges = {
        (id(of[one]), id(of[job["id"]])): (of[one], of[job["id"]], "waits" if one in job["after"] else "adds")
        for job in jobs
        for one in before[job["id"]]
    }
    shown = set(map(id, kept))
    pairs = [edge for (left, right), edge in edges.items() if left in shown and right in shown]
    _order(kept, [(left, right) for left, right, _ in pairs])
    lines = [Line(_path(left, right), kind) for left, right, kind in pairs]
    width = max((node.x for node in kept), default=0) + WIDE + EDGE
    height = max((node.y for node in kept), default=0) + HIGH + EDGE
    return Drawing(kept, lines, width, height, len(nodes) > len(kept), is_grouped)


def _order(nodes: Sequence[Node], edges: Sequence[tuple[Node, Node]]) -> None:
    """Give each node a row: near the middle of the nodes before it."""
    before: dict[int, list[Node]] = {}
    for left, right in edges:
        before.setdefault(id(right), []).append(left)
    layers: dict[int, list[Node]] = {}
    for node in nodes:
        layers.setdefault(node.layer, []).append(node)
    for _, members in sorted(layers.items()):
        members.sort(key=lambda node: _middle(before.get(id(node), [])))
        for row, node in enumerate(members):
            node.row = row


def _middle(nodes: Sequence[Node]) -> float:
    return sum(node.row for node in nodes) / len(nodes) if nodes else 0.0


def _path(left: Node, right: Node) -> str:
    """A curve from the right end of a node to the left end of another one."""
    x1, y1, x2, y2 = left.x + WIDE, left.y + HIGH // 2, right.x, right.y + HIGH // 2
    bend = max(GAP_X // 2, (x2 - x1) // 3)
    return f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"
