"""The graph of a flow as places on a plane: layers from left to right, or from top to bottom for a phone. Pure.

Jobs of the same kind in the same layer are *siblings*. Many of them are one box that counts them, in which the failed
ones are drawn; unfolded, it has all of them in a grid. So a graph is about as wide as a page, however large the flow.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Job = Mapping[str, Any]
SIBLINGS_LEAST = 4
"""The least number of siblings that are folded."""
SINGLE_MOST = 40
"""In a flow of more jobs, two siblings are folded already."""
NODES_MOST = 200
FAILED_SHOWN = 3
"""Failed jobs that are drawn in a folded box."""
BOXES_MOST = 8
"""Boxes of a layer that are in one line; more boxes have several lines."""
WIDE, HIGH, GAP, EDGE = 176, 46, 14, 8
BETWEEN = 56
"""Between two layers."""
PAD, HEAD, HEAD_NARROW = 8, 26, 38
"""Around the nodes in a box, and above them for its title, which has two lines if the box is narrow."""
ACROSS_MOST, DOWN_MOST = 1216, 400
"""The width of a graph on a screen and on a phone, into which grids are fitted."""
TEXT_MOST = 22
WORST = (
    "failed", "running", "retrying", "queued", "scheduled", "blocked", "cancelled", "expired", "gone", "completed",
)  # fmt: skip
"""States in the order in which they are shown."""
MARKS = {
    "completed": "✓", "running": "▶", "failed": "✗", "retrying": "↻", "cancelled": "⊘", "blocked": "…", "gone": "?",
}  # fmt: skip
_DIGITS = re.compile(r"\d+")


def place_of(state: str) -> int:
    """The place of a state where the worst comes first."""
    return WORST.index(state) if state in WORST else 0


def worst_jobs_first(jobs: Iterable[Job]) -> list[Job]:
    """Sort jobs by state, those that failed first."""
    return sorted(jobs, key=lambda job: place_of(job["status"]))


def titled(job: Job) -> str:
    """The name of a job; with its arguments, if other jobs of the flow have the same name."""
    return f"{job['name']}({job['label']})" if job["label"] else str(job["name"])


@dataclass(slots=True)
class Box:
    """A job, or siblings.

    Attributes:
        number: The number of its first job; siblings are unfolded by it.
        layer: The number of its layer.
        jobs: Its jobs.
        is_open: Whether all its jobs are drawn.
        row: Its place in the layer.
        columns: The width of the grid of its nodes.
        x: Its left end.
        y: Its upper end.
    """

    number: int
    layer: int
    jobs: list[Job] = field(default_factory=list)
    is_open: bool = False
    row: int = 0
    columns: int = 1
    x: int = 0
    y: int = 0

    @property
    def is_many(self) -> bool:
        """Whether it has siblings, and not one job."""
        return len(self.jobs) > 1

    @property
    def states(self) -> Counter[str]:
        """How many of its jobs have each state."""
        return Counter(job["status"] for job in self.jobs)

    @property
    def state(self) -> str:
        """The worst state."""
        return min(self.states, key=place_of)

    @property
    def inside(self) -> list[Job]:
        """Its jobs that are drawn in it: all, the failed ones, or none."""
        if not self.is_many:
            return []
        found = worst_jobs_first(self.jobs)
        return found if self.is_open else [job for job in found if job["status"] == "failed"][:FAILED_SHOWN]

    @property
    def name(self) -> str:
        """The name of its job; of siblings what their names have in common, and their number."""
        first = self.jobs[0]
        if not self.is_many:
            return titled(first)
        names = {job["name"] for job in self.jobs}
        common = first["name"] if len(names) == 1 else " ".join(_DIGITS.sub(" ", first["name"]).split())
        return f"{common or first['function'].rpartition('.')[2]} × {len(self.jobs):,}"

    @property
    def text(self) -> str:
        """Its states in words."""
        states = self.states
        if not self.is_many:
            return self.state
        order = sorted(states, key=lambda word: (word != "completed", place_of(word)))
        return ", ".join(f"{states[word]:,} {word}" for word in order)

    @property
    def brief(self) -> str:
        """The same, if it fits; else the worst state."""
        is_short = len(self.text) <= TEXT_MOST or bool(self.inside)
        return self.text if is_short else f"{self.states[self.state]:,} of {len(self.jobs):,} {self.state}"

    @property
    def width(self) -> int:
        """Its width."""
        return WIDE if not self.inside else self.columns * (WIDE + GAP) - GAP + 2 * PAD

    @property
    def height(self) -> int:
        """Its height."""
        lines = math.ceil(len(self.inside) / self.columns)
        return HIGH if not lines else self.head + lines * (HIGH + GAP) - GAP + 2 * PAD

    @property
    def head(self) -> int:
        """The height of its title, if it has nodes in it."""
        return HEAD_NARROW if self.columns == 1 else HEAD


class Node(NamedTuple):
    """What is drawn as one rectangle with a name and a state.

    Attributes:
        x: Its left end.
        y: Its upper end.
        name: Its name.
        state: Its state, or the worst one of siblings.
        text: Its state in words.
        brief: The same in few words.
        job: The id of the job; empty for siblings.
        number: The number by which siblings are unfolded; -1 for a job.
    """

    x: int
    y: int
    name: str
    state: str
    text: str
    brief: str
    job: str = ""
    number: int = -1

    @property
    def label(self) -> str:
        """The name, cut to the width of the node."""
        return self.name if len(self.name) <= TEXT_MOST else f"{self.name[: TEXT_MOST - 1]}…"

    @property
    def mark(self) -> str:
        """The sign of the state."""
        return MARKS.get(self.state, "○")


class EdgeLine(NamedTuple):
    """An edge.

    Attributes:
        path: Its path.
        kind: ``waits``, or ``adds`` if the first job has added the second one.
    """

    path: str
    kind: str


class Drawing(NamedTuple):
    """A graph.

    Attributes:
        way: ``across`` or ``down``.
        boxes: The boxes with nodes in them.
        nodes: The nodes.
        lines: The edges.
        width: The width of the whole.
        height: Its height.
        is_cut: Whether it has more nodes than are drawn.
    """

    way: str
    boxes: Sequence[Box]
    nodes: Sequence[Node]
    lines: Sequence[EdgeLine]
    width: int
    height: int
    is_cut: bool


def drawn(jobs: Sequence[Job], unfolded: Collection[int] = (), way: str = "across") -> Drawing:
    """Place the jobs of a flow.

    Args:
        jobs: The jobs, each after those that it waits for, with ``number``, ``id``, ``name``, ``label``, ``function``,
            ``status``, ``after`` (the ids of the jobs that it waits for) and ``added_by``. Other ids are left out.
        unfolded: The numbers of the siblings that are unfolded.
        way: ``across`` for layers from left to right, ``down`` for layers from top to bottom.
    """
    before = _before(jobs)
    every = _boxes(jobs, before, unfolded)
    kept, left = [], NODES_MOST
    for box in every:
        left -= max(1, len(box.inside))
        if left >= 0:
            kept.append(box)
    of = {job["id"]: box for box in kept for job in box.jobs}
    edges = {
        (of[one].number, of[job["id"]].number): "waits" if one in job["after"] else "adds"
        for job in jobs
        for one in before[job["id"]]
        if one in of and job["id"] in of
    }
    layers = _layers(kept, edges)
    _place(layers, is_down=way == "down")
    places = {box.number: box for box in kept}
    lines = [EdgeLine(_path(places[a], places[b], is_down=way == "down"), kind) for (a, b), kind in edges.items()]
    width = max((box.x + box.width for box in kept), default=0) + EDGE
    height = max((box.y + box.height for box in kept), default=0) + EDGE
    framed = [box for box in kept if box.inside]
    return Drawing(way, framed, [node for box in kept for node in _nodes(box)], lines, width, height, left < 0)


def _before(jobs: Sequence[Job]) -> dict[str, list[str]]:
    """For each job the ids of those before it: the jobs that it waits for, else the one that has added it."""
    known: set[str] = set()
    found: dict[str, list[str]] = {}
    for job in jobs:
        adder = job["added_by"]
        found[job["id"]] = [one for one in job["after"] if one in known] or ([adder] if adder in known else [])
        known.add(job["id"])
    return found


def _boxes(jobs: Sequence[Job], before: Mapping[str, Sequence[str]], unfolded: Collection[int]) -> list[Box]:
    layers: dict[str, int] = {}
    kinds: dict[tuple[int, str, str], list[Job]] = {}
    for job in jobs:
        layer = layers[job["id"]] = max((layers[one] + 1 for one in before[job["id"]]), default=0)
        kinds.setdefault((layer, job["function"], _DIGITS.sub("#", job["name"])), []).append(job)
    least = SIBLINGS_LEAST if len(jobs) <= SINGLE_MOST else 2
    found: list[Box] = []
    for (layer, _, _), siblings in kinds.items():
        parts = [siblings] if len(siblings) >= least else [[job] for job in siblings]
        found += [Box(part[0]["number"], layer, part, part[0]["number"] in unfolded) for part in parts]
    return sorted(found, key=lambda box: box.number)


def _layers(boxes: Sequence[Box], edges: Iterable[tuple[int, int]]) -> list[list[Box]]:
    """The boxes by layer; in each, those with a failed job first, then near the middle of the boxes before them."""
    before: dict[int, list[Box]] = {}
    of = {box.number: box for box in boxes}
    for left, right in edges:
        before.setdefault(right, []).append(of[left])
    layers: dict[int, list[Box]] = {}
    for box in boxes:
        layers.setdefault(box.layer, []).append(box)
    found = [members for _, members in sorted(layers.items())]
    for members in found:
        members.sort(key=lambda box: (box.state != "failed", _middle(before.get(box.number, []))))
        for row, box in enumerate(members):
            box.row = row
    return found


def _middle(boxes: Sequence[Box]) -> float:
    return sum(box.row for box in boxes) / len(boxes) if boxes else 0.0


def _place(layers: Sequence[Sequence[Box]], *, is_down: bool) -> None:
    """Give each box its place: the layers in one direction, the boxes of a layer in the other one."""
    _fit(layers, is_down=is_down)
    along, lines = EDGE, []
    for members in layers:
        most = BOXES_MOST if not is_down else 1 if any(box.inside for box in members) else 2
        size = math.ceil(len(members) / math.ceil(len(members) / most))
        for line in (members[at : at + size] for at in range(0, len(members), size)):
            aside = EDGE
            for box in line:
                box.x, box.y = (aside, along) if is_down else (along, aside)
                aside += (box.width if is_down else box.height) + GAP
            along += max(box.height if is_down else box.width for box in line) + GAP
            lines.append((line, aside))
        along += BETWEEN - GAP
    most = max((aside for _, aside in lines), default=0)
    for line, aside in lines:  # shorter lines are in the middle
        for box in line:
            if is_down:
                box.x += (most - aside) // 2
            else:
                box.y += (most - aside) // 2


def _fit(layers: Sequence[Sequence[Box]], *, is_down: bool) -> None:
    """Choose how many columns the grid of each box has, so that the whole is about as wide as the page."""
    framed = [box for members in layers for box in members if box.inside]
    room = DOWN_MOST - 2 * EDGE
    if not is_down:
        fixed = [members for members in layers if not any(box.inside for box in members)]
        room = ACROSS_MOST - 2 * EDGE - len(fixed) * WIDE - (len(layers) - 1) * BETWEEN
        room //= max(1, len(layers) - len(fixed))
    for box in framed:
        fitting = max(1, (room - 2 * PAD + GAP) // (WIDE + GAP))
        box.columns = min(fitting, math.ceil(math.sqrt(len(box.inside))))


def _nodes(box: Box) -> list[Node]:
    if not box.inside:
        alone = box.jobs[0]["id"] if not box.is_many else ""
        number = box.number if box.is_many else -1
        return [Node(box.x, box.y, box.name, box.state, box.text, box.brief, alone, number)]
    found = []
    for place, job in enumerate(box.inside):
        line, column = divmod(place, box.columns)
        x, y = box.x + PAD + column * (WIDE + GAP), box.y + box.head + PAD + line * (HIGH + GAP)
        found.append(Node(x, y, titled(job), job["status"], job["status"], job["status"], job["id"]))
    return found


def _path(left: Box, right: Box, *, is_down: bool) -> str:
    """A curve from the end of a box to the beginning of another one."""
    if is_down:
        x1, y1, x2, y2 = left.x + left.width // 2, left.y + left.height, right.x + right.width // 2, right.y
        bend = max(BETWEEN // 2, (y2 - y1) // 3)
        return f"M{x1} {y1}C{x1} {y1 + bend} {x2} {y2 - bend} {x2} {y2}"
    x1, y1, x2, y2 = left.x + left.width, left.y + left.height // 2, right.x, right.y + right.height // 2
    bend = max(BETWEEN // 2, (x2 - x1) // 3)
    return f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"
