"""The flow of a running job: `ctx.flow`, with which the job adds jobs to its flow."""

from __future__ import annotations

import itertools
from collections.abc import Coroutine, Iterable
from typing import TYPE_CHECKING, Any, overload

from jobfleet.errors import InvalidJob, JobCancelled
from jobfleet.event_loop import running_loop
from jobfleet.functions.running.addition import FlowAddition
from jobfleet.graph import Flow, Node
from jobfleet.model import Job

if TYPE_CHECKING:
    from jobfleet.functions.running.run_port import RunPort


LONGEST_NAME = 100


class OwnFlow:
    """The flow that a job belongs to.

    Args:
        port: The worker.
        job_id: The id of the job, for messages.
        flow_id: The id of the flow; None when the job belongs to no flow.

    Attributes:
        id: The id of the flow; None when the job belongs to no flow.
    """

    def __init__(self, port: RunPort, job_id: str, flow_id: str | None) -> None:
        self.id = flow_id
        self._port = port
        self._job_id = job_id
        self._numbers = itertools.count(1)

    @overload
    def add(
        self, more: Job, *, name: str | None = None, after_this: bool = False, join: bool = False
    ) -> Coroutine[Any, Any, str]: ...
    @overload
    def add(
        self,
        more: Flow,
        *,
        name: str | None = None,
        after_this: bool = False,
        join: bool | Node | Iterable[Node] = False,
    ) -> Coroutine[Any, Any, list[str]]: ...
    def add(
        self,
        more: Job | Flow,
        *,
        name: str | None = None,
        after_this: bool = False,
        join: bool | Node | Iterable[Node] = False,
    ) -> Coroutine[Any, Any, Any]:
        """Add jobs to the flow: ``await ctx.flow.add(Job(…))``. A ``def`` job calls `add_sync`.

        The new ids are derived from this job and a name, so a job that runs again adds them once. Jobs that an earlier
        run has added stay as they are.

        Args:
            more: A job, or a `Flow` of jobs that wait for one another.
            name: The name of the addition within this job. Default: the number of the call, from 1. Give a name if the
                calls of two runs may differ.
            after_this: Start the added jobs only when this job has completed.
            join: Have the jobs that wait for this job wait for added jobs too: for all of them (True), or for the given
                nodes of `more`.

        Returns:
            The id of the job; for a `Flow`, the ids of its jobs in the order in which they were added to it.

        Raises:
            InvalidJob: This job belongs to no flow, the addition is wrong, or a joining job has started already;
                nothing is added then.
            EncodingError: An argument cannot be encoded; nothing is added then.
            JobCancelled: This job must stop.
            TypeError: No event loop runs in this thread.
        """
        if running_loop() is None:
            raise TypeError("ctx.flow.add is awaited in an async def job; a def job calls ctx.flow.add_sync.")
        addition = self._addition(more, name, after_this=after_this, join=join)
        return self._add(addition, is_one=isinstance(more, Job))

    @overload
    def add_sync(self, more: Job, *, name: str | None = None, after_this: bool = False, join: bool = False) -> str: ...
    @overload
    def add_sync(
        self,
        more: Flow,
        *,
        name: str | None = None,
        after_this: bool = False,
        join: bool | Node | Iterable[Node] = False,
    ) -> list[str]: ...
    def add_sync(
        self,
        more: Job | Flow,
        *,
        name: str | None = None,
        after_this: bool = False,
        join: bool | Node | Iterable[Node] = False,
    ) -> Any:
        """Add jobs to the flow of a ``def`` job; see `add`.

        Raises:
            TypeError: An event loop runs in this thread; await `add` instead.
        """
        if running_loop() is not None:
            raise TypeError("ctx.flow.add_sync would block the event loop that runs here; await ctx.flow.add.")
        addition = self._addition(more, name, after_this=after_this, join=join)
        return self._port.block(self._add(addition, is_one=isinstance(more, Job)))

    def _addition(
        self, more: Job | Flow, name: str | None, *, after_this: bool, join: bool | Node | Iterable[Node]
    ) -> FlowAddition:
        if self.id is None:
            raise InvalidJob(
                f"{self._job_id} belongs to no flow; enqueue it as part of one to add to it.", field="flow"
            )
        name = str(next(self._numbers)) if name is None else name
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
            raise InvalidJob(f"name is {name!r:.80}; give 1 to {LONGEST_NAME} printable characters.", field="name")
        if isinstance(more, Job):
            flow = Flow(more.name)
            flow.add(more)
        else:
            flow = more
        flow.order()
        if isinstance(join, bool):
            joins = tuple(range(len(flow.nodes))) if join else ()
        else:
            joins = tuple(_number(flow, node) for node in ((join,) if isinstance(join, Node) else join))
        return FlowAddition(flow, name, after_this, joins)

    async def _add(self, addition: FlowAddition, *, is_one: bool) -> str | list[str]:
        await self._port.lease_confirmed()
        why = self._port.must_stop
        if why is not None:
            raise JobCancelled(f"{self._job_id} is to stop: {why}.", job_id=self._job_id)
        ids = list(await self._port.extend_flow(addition))
        return ids[0] if is_one else ids


def _number(flow: Flow, node: Node) -> int:
    if node.number >= len(flow.nodes) or flow.nodes[node.number] is not node:
        raise InvalidJob(f"join names {node.job.name!r}, which is not of the flow {flow.name!r}.", field="join")
    return node.number
