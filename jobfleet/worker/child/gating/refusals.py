"""Runs that a service has refused: the limits that they name close."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Sequence

from jobfleet.clock import to_us
from jobfleet.model.limits import LIMIT
from jobfleet.model.signals import RateLimited
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import limits
from jobfleet.store.keys import Keyspace
from jobfleet.worker.run.run import Run

log = logging.getLogger("jobfleet.worker")
WARNED_MOST = 100
"""Unknown limits of which a child warns; their names may be made from data."""


class Refusals:
    """Closes the limits that the runs of a child have found used up.

    Args:
        store: The connection, with endless patience.
        keys: The fleet's keys.
        child: The child's id.
    """

    def __init__(self, store: AsyncStore, keys: Keyspace, *, child: str) -> None:
        self._store = store
        self._keys = keys
        self._child = child
        self._unknown: set[str] = set()

    async def close(self, run: Run, own: Sequence[str], error: RateLimited, *, since: int) -> None:
        """Close the limit that a run has named, or all limits of its function.

        Args:
            run: The run.
            own: The gates of the limits of its function.
            error: What it has raised.
            since: When it has passed its gates, µs.
        """
        gates = own if error.limit is None else [f"{LIMIT}:{error.limit}"]
        for gate in gates:
            if gate not in own:
                await self._warn_if_undefined(run, gate, own)
            call = limits.shut_gate(
                self._keys, gate, to_us(error.delay), by=self._child, reason=f"RateLimited in {run.id}", since=since
            )
            if await self._store.run(call):
                log.info("limit.closed limit=%s seconds=%g job_id=%s", _name(gate), error.delay, run.id)

    async def _warn_if_undefined(self, run: Run, gate: str, own: Sequence[str]) -> None:
        """Warn once about a limit that neither the function names nor anybody has defined."""
        if gate in self._unknown or len(self._unknown) >= WARNED_MOST:
            return
        self._unknown.add(gate)
        _, (row,) = await self._store.run(limits.gates(self._keys, [gate]))
        if "defined" in row.fields:
            return
        _, rows = await self._store.run(limits.gates(self._keys))
        known = {*map(_name, own), *(_name(one.name) for one in rows if "defined" in one.fields)}
        close = difflib.get_close_matches(_name(gate), sorted(known), n=3)
        log.warning(
            "limit.unknown limit=%s function=%s raises RateLimited with it, but does not name it in its limits, and it "
            "is not defined%s",
            _name(gate), run.header.get("function"), f"; did it mean {' or '.join(map(repr, close))}?" if close else "",
            extra={"run": run},
        )  # fmt: skip


def _name(gate: str) -> str:
    return gate.partition(":")[2]
