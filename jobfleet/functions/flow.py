"""The flow of a job that runs: `ctx.flow`, through which it adds jobs to it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine, Iterable
from typing import TYPE_CHECKING, Any, overload

from jobfleet.errors import InvalidJob, JobCancelled
from jobfleet.functions.flow_addition import Wish
from jobfleet.graph import Flow, Node
from jobfleet.model import Job

if TYPE_CHECKING:
    from jobfleet.functions.run_port import RunPort


LONGEST_NAME = 100


class OwnFlow:
    """The flow that a job belongs to.

    Args:
        port: The worker.
        job_id: The job, for messages.
        flow_id: The flow; None when it belongs to none.

    Attributes:
        id: The flow's id; None when the job belongs to none.
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
        """Add jobs to the flow: ``await ctx.flow.add(Job(…))``. Awaited; a ``def`` job calls `add_sync`.

        They get ids that follow from this job and a name, so a job that is run again adds them once. Those of an
        earlier run stay as they are.

        Args:
            more: A job, or a `Flow` of jobs that wait for one another.
            name: Names what is added within this job. Default: the number of the call, from 1; give one where the
                calls of one run and the next may differ.
            after_this: They start only when this job has completed.
            join: The jobs that wait for this one wait for those added too: for all (True), or for some.

        Returns:
            The id of the job, or those of the flow's jobs in the order in which they were put into it.

        Raises:
            InvalidJob: This job belongs to no flow, something is wrong with what is to be added, or one that would
                wait for it has started already; nothing is added then.
            EncodingError: An argument cannot travel; likewise.
            JobCancelled: This job is to stop.
            TypeError: No event loop runs here.
        """
        if asyncio._get_running_loop() is None:  # noqa: SLF001 - the public form raises
            raise TypeError("ctx.flow.add is awaited in an async def job; a def job calls ctx.flow.add_sync.")
        wish = self._wish(more, name, after_this=after_this, join=join)
        return self._add(wish, is_one=isinstance(more, Job))

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
            TypeError: An event loop runs here; await `add` instead.
        """
        if asyncio._get_running_loop() is not None:  # noqa: SLF001 - the public form raises
            raise TypeError("ctx.flow.add_sync would block the event loop that runs here; await ctx.flow.add.")
        wish = self._wish(more, name, after_this=after_this, join=join)
        return self._port.block(self._add(wish, is_one=isinstance(more, Job)))

    def _wish(
        self, more: Job | Flow, name: str | None, *, after_this: bool, join: bool | Node | Iterable[Node]
    ) -> Wish:
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
        return Wish(flow, name, after_this, joins)

    async def _add(self, wish: Wish, *, is_one: bool) -> str | list[str]:
        await self._port.lease_confirmed()
        why = self._port.must_stop
        if why is not None:
            raise JobCancelled(f"{self._job_id} is to stop: {why}.", job_id=self._job_id)
        ids = list(await self._port.extend_flow(wish))
        return ids[0] if is_one else ids


def _number(flow: Flow, node: Node) -> int:
    if node.number >= len(flow.nodes) or flow.nodes[node.number] is not node:
        raise InvalidJob(f"join names {node.job.name!r}, which is not of the flow {flow.name!r}.", field="join")
    return node.number
