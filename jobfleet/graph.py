"""`Flow`: jobs that wait for one another, put together before anything is enqueued. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

from jobfleet.errors import InvalidJob
from jobfleet.model import Job, new_suffix
from jobfleet.model.options import LABEL_LENGTH_MAX
from jobfleet.model.spec import OTHERWISE, check_job

JOBS_MOST = 20_000
PARENTS_MOST = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One job of a flow; what `Flow.add` answers, and what others are put after.

    Attributes:
        job: The job.
        number: Its place in the flow.
    """

    job: Job
    number: int


@dataclass(frozen=True, slots=True)
class Link:
    """One job of a flow waits for another.

    Attributes:
        parent: The number of the one that is waited for.
        otherwise: What follows when it does not complete: cancel, run or wait.
    """

    parent: int
    otherwise: str


def refuse_times(job: Job) -> None:
    """Refuse a job that says itself what it waits for, or that it recurs.

    Raises:
        InvalidJob: It does.
    """
    if job.depends_on is not None:
        raise InvalidJob("A flow says itself what its jobs wait for; leave depends_on out.", field="depends_on")
    if job.cron_expression is not None:
        raise InvalidJob("A job of a flow runs once; leave cron_expression out.", field="cron_expression")


@dataclass(slots=True)
class Flow:
    """Jobs that wait for one another, enqueued as one.

    Args:
        name: A label for people.

    Raises:
        InvalidJob: It is empty, too large, or goes in a circle; told before anything is written.
    """

    name: str
    id: str = field(default_factory=new_suffix, init=False)
    nodes: list[Node] = field(default_factory=list, init=False)
    links: dict[int, dict[int, Link]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """Check the label."""
        name = self.name
        if not isinstance(name, str) or not 0 < len(name) <= LABEL_LENGTH_MAX or not name.isprintable():
            raise InvalidJob(f"name is {name!r:.300}; give a printable label of 1 to 200 characters.", field="name")

    def add(self, job: Job, *, after: Node | Iterable[Node] = (), otherwise: str = "cancel") -> Node:
        """Add a job.

        Args:
            job: The job.
            after: Those it waits for.
            otherwise: What follows when one of them does not complete: ``cancel`` this one, ``run`` it all the
                same, or have it ``wait`` for a replay.
        """
        check_job(job)
        parents: Any = (after,) if isinstance(after, Node) else after
        if isinstance(parents, str) or not isinstance(parents, Iterable):
            raise InvalidJob(f"after is {after!r:.100}; give what add answered, or several of these.", field="after")
        refuse_times(job)
        node = Node(job, len(self.nodes))
        self.nodes.append(node)
        for parent in parents:
            self.link(parent, node, otherwise=otherwise)
        return node

    def link(self, parent: Node, child: Node, *, otherwise: str = "cancel") -> None:
        """Have a job wait for another."""
        if otherwise not in OTHERWISE:
            raise InvalidJob(f"otherwise is {otherwise!r}; use {', '.join(OTHERWISE)}.", field="depends_on")
        for node in (parent, child):
            if not isinstance(node, Node):
                raise InvalidJob(f"after holds {node!r:.100}; give what add answered.", field="after")
            if node.number >= len(self.nodes) or self.nodes[node.number] is not node:
                raise InvalidJob(f"{node.job.name!r} is not of the flow {self.name!r}.", field="depends_on")
        self.links.setdefault(child.number, {})[parent.number] = Link(parent.number, otherwise)

    def chain(self, *jobs: Job, after: Node | Iterable[Node] = ()) -> Node:
        """Add jobs that run one after the other; answer the last."""
        if not jobs:
            raise InvalidJob("chain is given no job.", field="flow")
        node = self.add(jobs[0], after=after)
        for job in jobs[1:]:
            node = self.add(job, after=node)
        return node

    def group(self, *jobs: Job, after: Node | Iterable[Node] = ()) -> list[Node]:
        """Add jobs that may run side by side."""
        parents = (after,) if isinstance(after, Node) else tuple(after)
        return [self.add(job, after=parents) for job in jobs]

    def map(self, make: Callable[[Any], Job], items: Iterable[Any], *, after: Node | Iterable[Node] = ()) -> list[Node]:
        """Add a job for each item: ``flow.map(resize.job, paths)``."""
        return self.group(*[make(item) for item in items], after=after)

    def order(self) -> Sequence[Node]:
        """The jobs so that each comes after those it waits for.

        Raises:
            InvalidJob: It is empty, too large, or goes in a circle.
        """
        if not self.nodes:
            raise InvalidJob(f"The flow {self.name!r} has no job.", field="flow")
        if len(self.nodes) > JOBS_MOST:
            raise InvalidJob(
                f"The flow {self.name!r} has {len(self.nodes):,} jobs; {JOBS_MOST:,} are the most.", field="flow"
            )
        widest = max((len(parents) for parents in self.links.values()), default=0)
        if widest > PARENTS_MOST:
            raise InvalidJob(f"A job waits for {widest:,} others; {PARENTS_MOST:,} are the most.", field="flow")
        graph = {node.number: tuple(self.links.get(node.number, ())) for node in self.nodes}
        try:
            return [self.nodes[number] for number in TopologicalSorter(graph).static_order()]
        except CycleError as error:
            names = " → ".join(self.nodes[number].job.name for number in error.args[1])
            raise InvalidJob(f"The flow {self.name!r} goes in a circle: {names}.", field="flow") from None
