"""When a child has died: bury it, and settle what it held, at once.

Only jobs whose user code ran are charged. One of them alone is the culprit; several are suspects,
and each runs alone until the culprit is known. A job that was only claimed, or had returned, is given
back uncounted. Where a process was ended for the sake of a run that nothing else could end, that run
ends as it was condemned to.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress

from jobfleet.errors import JobNotFound
from jobfleet.outcome import Crashed, Interrupted, Outcome
from jobfleet.services.overdue import Overdue
from jobfleet.services.unreadable import Unreadables
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import settle
from jobfleet.store.calls.lease import CHUNK, bury
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.values import Held
from jobfleet.worker.board import Phase, Posted


def how_it_died(code: int) -> str:
    """An exit code in words."""
    if code < 0:
        try:
            return f"its process died of {signal.Signals(-code).name}"
        except ValueError:
            return f"its process died of signal {-code}"
    return f"its process exited with code {code}"


class Undertaker:
    """Buries a worker's children.

    Args:
        store: How; with endless patience.
        keys: The fleet's keys.
        overdue: Decides and settles.
        unreadables: Takes out of the way what cannot be decided about.
    """

    def __init__(self, store: AsyncStore, keys: Keyspace, overdue: Overdue, unreadables: Unreadables) -> None:
        self._store = store
        self._keys = keys
        self._overdue = overdue
        self._unreadables = unreadables

    async def bury(
        self,
        child: str,
        posted: Sequence[Posted],
        lanes: Sequence[Lane],
        reason: str,
        *,
        planned: bool = False,
        verdicts: Mapping[tuple[str, int], Outcome] | None = None,
    ) -> int:
        """Bury a child.

        Args:
            child: Its id.
            posted: What its board said.
            lanes: Where it may have claimed.
            reason: How it died.
            planned: Whether it was killed on purpose at the end of a grace: nobody is charged.
            verdicts: Runs that nothing but its end could end, and what has become of them.

        Returns:
            How many jobs were settled.
        """
        started = {(one.id, one.token) for one in posted if one.phase is Phase.STARTED}
        alone = len(started) == 1

        condemned = verdicts or {}

        def outcome(held: Held) -> Outcome:
            verdict = condemned.get((held.id, held.token))
            if verdict is not None:
                return verdict
            if planned or (held.id, held.token) not in started:
                return Interrupted()
            return Crashed(reason, alone=alone, several_suspected=not alone)

        by_lane: dict[Lane, list[tuple[str, int]]] = {lane: [] for lane in lanes}
        for one in posted:
            with suppress(JobNotFound):  # no id of ours: whoever ticks the lane finds it
                by_lane.setdefault(self._keys.lane_of(one.id), []).append(one.key)
        count = 0
        for lane, pairs in by_lane.items():
            for at in range(0, max(len(pairs), 1), CHUNK):
                buried = await self._store.run(bury(lane, child, pairs[at : at + CHUNK]))
                guard = settle.TOKEN_STANDS
                count += await self._overdue.settle(lane, buried.held, buried.now, outcome, guard=guard)
                count += await self._unreadables.set_aside(lane, buried.unreadable)
        return count
