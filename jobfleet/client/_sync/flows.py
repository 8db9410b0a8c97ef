# Made by scripts/unasync from jobfleet/client/_async/flows.py. Change that, and run scripts/unasync.
"""Flows of a fleet: `fleet.flows`."""

from __future__ import annotations

from datetime import datetime

from jobfleet.client._sync.part import Part
from jobfleet.graph import Flow
from jobfleet.operations.flows import flow as operations
from jobfleet.operations.flows import retry as flows_retry
from jobfleet.operations.flows.info import FlowInfo

LISTED = 50


class Flows(Part):
    """The flows of an `Fleet`."""

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
        return self._do(operations.enqueue(self._context, flow))

    def get(self, flow_id: str) -> FlowInfo:
        """Return a flow with the state of each job. Raises `JobNotFound`."""
        return self._do(operations.get(self._context, flow_id))

    def cancel(self, flow_id: str, *, by: str | None = None) -> int:
        """Cancel the open jobs of a flow, and return how many were cancelled or asked to stop. Raises `JobNotFound`."""
        return self._do(operations.cancel(self._context, flow_id, by))

    def retry(self, flow_id: str, *, by: str | None = None) -> int:
        """Replay the failed jobs of a flow, and enqueue the jobs again that were cancelled because of them.

        Returns:
            How many jobs run again.

        Raises:
            JobNotFound: The flow is unknown.
        """
        return self._do(flows_retry.retry(self._context, flow_id, by))
