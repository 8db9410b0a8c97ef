"""Immediate recovery of the runs of a dead child.

A job is charged with the death only if its code ran alone in the process. If several jobs ran, each has witnessed the
death and runs again at once, uncounted (`jobfleet/retry/tries.py`). A job that was only claimed, had returned, or ran
in another process is released. If the process was ended because of a run that nothing else could end, that run gets the
outcome for which it was condemned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from jobfleet.errors import JobNotFound
from jobfleet.outcome import Crashed, Interrupted, Outcome, Witnessed
from jobfleet.retry.tries import Tries, suspects
from jobfleet.services.duties.run_settler import RunSettler
from jobfleet.services.duties.unreadable import Unreadables
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import settle
from jobfleet.store.calls.lease import CHUNK, bury
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.records import Held
from jobfleet.store.script import load
from jobfleet.worker.ipc.lease_board import Phase, Posted

NODE_PATIENCE = 1.0
"""Seconds to wait for a node of a cluster before the runs on other nodes are settled."""


class CrashRecovery:
    """Settles the runs of a worker's dead children.

    Args:
        store: The connection to Redis, with unlimited patience.
        keys: The fleet's keys.
        overdue: Decides about runs and settles them.
        unreadables: Removes rows that cannot be read.
    """

    def __init__(self, store: AsyncStore, keys: Keyspace, overdue: RunSettler, unreadables: Unreadables) -> None:
        self._store = store
        self._keys = keys
        self._overdue = overdue
        self._unreadables = unreadables

    def prepare(self) -> None:
        """Read the scripts that a death needs, so that the jobs of the first dead child do not wait for their files."""
        for name in ("bury", "settle"):
            load(name)

    async def bury(
        self,
        child: str,
        posted: Sequence[Posted],
        lanes: Sequence[Lane],
        reason: str,
        *,
        planned: bool = False,
        verdicts: Mapping[tuple[str, int], Outcome] | None = None,
    ) -> list[Held]:
        """Settle the runs of a child.

        Args:
            child: The child's id.
            posted: The jobs on its board.
            lanes: The lanes from which it may have claimed.
            reason: A description of its death.
            planned: Whether it was killed on purpose after a grace, so that no job is charged.
            verdicts: The outcomes of runs that only its end could end.

        Returns:
            The settled runs.
        """
        guilty = _may_have_ended_it(posted)
        by_lane: dict[Lane, list[tuple[str, int]]] = {lane: [] for lane in lanes}
        for one in posted:
            with suppress(JobNotFound):  # not a valid id; a tick of the lane finds the row
                by_lane.setdefault(self._keys.lane_of(one.id), []).append(one.key)
        there = await self._store.reachable(list(by_lane), within=NODE_PATIENCE)
        away = [lane for lane in by_lane if lane not in there]
        settled: list[Held] = []
        for part in (there, away):  # a node of a cluster may be away for long
            found = [
                (lane, await self._store.run(bury(lane, child, by_lane[lane][at : at + CHUNK])))
                for lane in part
                for at in range(0, max(len(by_lane[lane]), 1), CHUNK)
            ]
            held = [one for _, buried in found for one in buried.held]
            outcome = _outcomes(held, guilty, reason, {} if verdicts is None else verdicts, planned=planned)
            for lane, buried in found:
                guard = settle.TOKEN_VALID
                settled += await self._overdue.settle(lane, buried.held, buried.now, outcome, guard=guard)
                await self._unreadables.set_aside(lane, buried.unreadable)
        return settled


def _may_have_ended_it(posted: Sequence[Posted]) -> set[tuple[str, int]]:
    """Return the runs whose code or hooks were in the process, or else those in processes that it had started."""
    for phases in ((Phase.STARTED, Phase.ENDED), (Phase.APART,)):
        if runs := {one.key for one in posted if one.phase in phases}:
            return runs
    return set()


def _outcomes(
    held: Sequence[Held],
    guilty: set[tuple[str, int]],
    reason: str,
    verdicts: Mapping[tuple[str, int], Outcome],
    *,
    planned: bool,
) -> Callable[[Held], Outcome]:
    """Return a function from each run of the child to the outcome that the death has for it."""
    deaths = {(one.id, one.token): Tries.parse(one.tries).deaths for one in held if (one.id, one.token) in guilty}
    among = suspects(deaths.values(), len(guilty) - len(deaths))
    others = len(guilty) - 1

    def outcome(one: Held) -> Outcome:
        key = (one.id, one.token)
        if key in verdicts:
            return verdicts[key]
        if planned or key not in guilty:
            return Interrupted()
        if not others:
            return Crashed(reason)
        return Witnessed(f"{reason}; {others} other job{'s' if others > 1 else ''} ran in it", among[deaths[key]])

    return outcome
