"""`Flow`: jobs with dependencies on one another, built before anything is enqueued. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

from jobfleet.errors import InvalidJob
from jobfleet.model.option_checks import LABEL_LENGTH_MAX, callback_of
from jobfleet.model.option_types import Callback
from jobfleet.model.spec import OTHERWISE, Job, check_job, new_suffix

JOBS_MOST = 20_000
PARENTS_MOST = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One job of a flow; `Flow.add` returns it, and `after` accepts it.

    Attributes:
        job: The job.
        number: Its index in the flow.
    """

    job: Job
    number: int


@dataclass(frozen=True, slots=True)
class Link:
    """A dependency between two jobs of a flow.

    Attributes:
        parent: The index of the parent.
        otherwise: What happens to the dependant if the parent does not complete: cancel, run or wait.
    """

    parent: int
    otherwise: str


def refuse_times(job: Job) -> None:
    """Refuse a job that sets its own dependencies or a recurrence.

    Raises:
        InvalidJob: `depends_on` or `cron_expression` is set.
    """
    if job.depends_on is not None:
        raise InvalidJob("The flow defines the dependencies of its jobs; leave depends_on out.", field="depends_on")
    if job.cron_expression is not None:
        raise InvalidJob("A job of a flow runs once; leave cron_expression out.", field="cron_expression")


@dataclass(slots=True)
class Flow:
    """Jobs with dependencies on one another, enqueued together.

    Args:
        name: A label for people.
        on_failure: A job that is enqueued when the first of the flow's jobs fails for good or expires:
            ``alert.job("import")``, or a function without arguments.

    Raises:
        InvalidJob: The name is not a printable label, or `on_failure` is not a callback.
    """

    name: str
    on_failure: Callback | None = field(default=None, kw_only=True)
    id: str = field(default_factory=new_suffix, init=False)
    nodes: list[Node] = field(default_factory=list, init=False)
    links: dict[int, dict[int, Link]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """Check the label."""
        name = self.name
        if not isinstance(name, str) or not 0 < len(name) <= LABEL_LENGTH_MAX or not name.isprintable():
            raise InvalidJob(f"name is {name!r:.300}; give a printable label of 1 to 200 characters.", field="name")
        if self.on_failure is not None:
            self.on_failure = callback_of(self.on_failure, "on_failure")

    def add(self, job: Job, *, after: Node | Iterable[Node] = (), otherwise: str = "cancel") -> Node:
        """Add a job to the flow.

        Args:
            job: The job.
            after: The parents: a node or several nodes.
            otherwise: What happens to the job if a parent does not complete: ``cancel`` it, ``run`` it anyway, or let
                it ``wait`` for a replay.

        Raises:
                InvalidJob: The job sets its own dependencies or a recurrence, or a parent is not a node of this flow.
        """
        check_job(job)
        parents: Any = (after,) if isinstance(after, Node) else after
        if isinstance(parents, str) or not isinstance(parents, Iterable):
            raise InvalidJob(f"after is {after!r:.100}; give a result of add, or several of them.", field="after")
        refuse_times(job)
        node = Node(job, len(self.nodes))
        self.nodes.append(node)
        for parent in parents:
            self.link(parent, node, otherwise=otherwise)
        return node

    def link(self, parent: Node, child: Node, *, otherwise: str = "cancel") -> None:
        """Make a job depend on another job of the flow."""
        if otherwise not in OTHERWISE:
            raise InvalidJob(f"otherwise is {otherwise!r}; use {', '.join(OTHERWISE)}.", field="depends_on")
        for node in (parent, child):
            if not isinstance(node, Node):
                raise InvalidJob(f"after holds {node!r:.100}; give a result of add.", field="after")
            if node.number >= len(self.nodes) or self.nodes[node.number] is not node:
                raise InvalidJob(f"{node.job.name!r} is not in the flow {self.name!r}.", field="depends_on")
        self.links.setdefault(child.number, {})[parent.number] = Link(parent.number, otherwise)

    def chain(self, *jobs: Job, after: Node | Iterable[Node] = ()) -> Node:
        """Add jobs that run one after the other; return the last one."""
        if not jobs:
            raise InvalidJob("chain needs at least one job.", field="flow")
        node = self.add(jobs[0], after=after)
        for job in jobs[1:]:
            node = self.add(job, after=node)
        return node

    def group(self, *jobs: Job, after: Node | Iterable[Node] = ()) -> list[Node]:
        """Add jobs that may run concurrently."""
        parents = (after,) if isinstance(after, Node) else tuple(after)
        return [self.add(job, after=parents) for job in jobs]

    def map(self, make: Callable[[Any], Job], items: Iterable[Any], *, after: Node | Iterable[Node] = ()) -> list[Node]:
        """Add one job for each item: ``flow.map(resize.job, paths)``."""
        return self.group(*[make(item) for item in items], after=after)

    def order(self) -> Sequence[Node]:
        """Return the jobs in an order in which each job follows its parents.

        Raises:
            InvalidJob: The flow is empty, is too large, or has a cycle.
        """
        if not self.nodes:
            raise InvalidJob(f"The flow {self.name!r} has no job.", field="flow")
        if len(self.nodes) > JOBS_MOST:
            raise InvalidJob(
                f"The flow {self.name!r} has {len(self.nodes):,} jobs; the maximum is {JOBS_MOST:,}.", field="flow"
            )
        widest = max((len(parents) for parents in self.links.values()), default=0)
        if widest > PARENTS_MOST:
            raise InvalidJob(f"A job waits for {widest:,} others; the maximum is {PARENTS_MOST:,}.", field="flow")
        graph = {node.number: tuple(self.links.get(node.number, ())) for node in self.nodes}
        try:
            return [self.nodes[number] for number in TopologicalSorter(graph).static_order()]
        except CycleError as error:
            names = " → ".join(self.nodes[number].job.name for number in error.args[1])
            raise InvalidJob(f"The flow {self.name!r} has a cycle: {names}.", field="flow") from None
