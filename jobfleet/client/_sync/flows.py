# Made by scripts/unasync from jobfleet/client/_async/flows.py. Change that, and run scripts/unasync.
"""Flows of a fleet: `fleet.flows`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from jobfleet.client._sync.audit import Part
from jobfleet.client._sync.connection import Connection
from jobfleet.client._sync.endings import Endings, why_open
from jobfleet.client.base import Deadline
from jobfleet.errors import InvalidJob, WaitTimeout
from jobfleet.model import JobResult, JobStatus
from jobfleet.model.flow import Flow
from jobfleet.model.option_types import Seconds
from jobfleet.operations.flows import flow as operations
from jobfleet.operations.flows.record import FlowInfo, FlowPart, frontier
from jobfleet.operations.operation import Driver
from jobfleet.operations.submit import enqueue_span

LISTED = 50
LOOK_EVERY = 2.0
"""Seconds after which a wait reads the whole flow again, although nothing decisive has ended."""


def id_of(flow: str | Flow | FlowInfo) -> str:
    """Return the id of a flow.

    Raises:
        InvalidJob: It is something else.
    """
    if isinstance(flow, Flow | FlowInfo):
        return flow.id
    if not isinstance(flow, str):
        raise InvalidJob(f"flow is {flow!r:.100}; give a Flow, a FlowInfo or an id.", field="flow")
    return flow


class Flows(Part):
    """The flows of an `Fleet`.

    Args:
        client: The client.
        do: Runs an operation.
    """

    def __init__(self, client: Connection, do: Driver) -> None:
        super().__init__(client.context, do)
        self._client = client

    def __call__(self, *, limit: int = LISTED) -> list[tuple[str, datetime | None]]:
        """Return the last flows, newest first: the id, and the time of the enqueue.

        Args:
            limit: The most flows to return; default 50. The last 1,000 are listed.

        Raises:
            InvalidJob: `limit` is not a whole number from 0.
        """
        return self._do(operations.listing(self._context, limit=limit))

    def enqueue(self, flow: Flow) -> FlowInfo:
        """Enqueue a flow as a whole: its first jobs start when all of it is written. Repeating the call is safe.

        Raises:
            InvalidJob: The flow is empty, too large, or has a cycle. Nothing is written.
            EncodingError: An argument cannot be encoded. Nothing is written.
        """
        if not isinstance(flow, Flow):
            raise InvalidJob(f"flow is {flow!r:.100}; give a Flow.", field="flow")
        with enqueue_span(self._context, [node.job for node in flow.nodes], flow.id):
            return self._do(operations.enqueue(self._context, flow))

    def get(self, flow: str | Flow | FlowInfo) -> FlowInfo:
        """Return a flow with the state of each job; `is_done` tells whether it is over.

        Args:
            flow: The flow, what `enqueue` returned for it, or its id.

        Raises:
            JobNotFound: The flow is unknown.
        """
        return self._do(operations.get(self._context, id_of(flow)))

    def part(self, flow: str | Flow | FlowInfo, *, begin: int = 0, limit: int = 500) -> FlowPart:
        """Return a flow with the states of some of its jobs. The cost depends on their number, not on the flow's.

        Args:
            flow: The flow, what `enqueue` returned for it, or its id.
            begin: The number of the first of these jobs.
            limit: The most jobs to read; default 500.

        Raises:
            JobNotFound: The flow is unknown.
            InvalidJob: `begin` is not a whole number from 0, or `limit` not one from 1.
        """
        return self._do(operations.part(self._context, id_of(flow), begin=begin, limit=limit))

    def wait(self, flow: str | Flow | FlowInfo, timeout: Seconds | None = None) -> FlowInfo:
        """Wait until a flow is over, and return it with the state of each job.

        It is over when no job will run any more: each has ended, or waits for a failed job to be replayed.

        Args:
            flow: The flow, what `enqueue` returned for it, or its id.
            timeout: Time limit in seconds, or a timedelta; None to wait without a limit.

        Raises:
            ConfigError: A worker is importing the module that waits.
            InvalidJob: `timeout` is not a duration.
            JobNotFound: The flow is unknown.
            StoreUnavailable: Redis was away for `patience` seconds, even if `timeout` is longer. The flow continues.
            WaitTimeout: The flow was not over after `timeout` seconds. It continues.
        """
        deadline, flow_id = Deadline(timeout), id_of(flow)
        while True:
            info = self.get(flow_id)
            if info.is_done:
                return info
            if deadline.is_over:
                raise self._late(info, deadline)
            self._moved_on(frontier(info), deadline)

    def _late(self, info: FlowInfo, deadline: Deadline) -> WaitTimeout:
        """Make the error of a wait whose time is over. If the wait was not short, it says why a job has not ended."""
        jobs = [info.jobs[place] for place in info.open_places()] if deadline.explains else []
        first = next((job.id for job in jobs if job.status != JobStatus.BLOCKED), jobs[0].id if jobs else "")
        why = why_open(self._client, first) if first else ""
        return WaitTimeout(info.id, deadline.timeout or 0.0, why=why, about=first)

    def _moved_on(self, ids: Sequence[str], deadline: Deadline) -> None:
        """Wait until some jobs have ended, and not for long, because a flow can grow and be retried meanwhile."""
        endings = Endings(self._client, deadline.at_most(LOOK_EVERY))
        try:
            endings.add(ids)
            for _ in ids:
                _, outcome = endings.next()
                if not isinstance(outcome, JobResult) or outcome.status is not JobStatus.COMPLETED:
                    return  # it decides about others
        except WaitTimeout:
            return
        finally:
            endings.close()

    def cancel(self, flow: str | Flow | FlowInfo, *, by: str | None = None) -> int:
        """Cancel the open jobs of a flow, and return how many were cancelled or asked to stop. Raises `JobNotFound`."""
        return self._act(operations.cancel, by, id_of(flow), by)

    def retry(self, flow: str | Flow | FlowInfo, *, by: str | None = None) -> int:
        """Replay the failed jobs of a flow, and enqueue the jobs again that were cancelled because of them.

        Returns:
            How many jobs run again.

        Raises:
            JobNotFound: The flow is unknown.
        """
        return self._act(operations.retry, by, id_of(flow), by)
