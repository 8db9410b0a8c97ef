"""The places of dead runs: those within named limits and breakers that no run frees any more.

A child that waits for room frees such places at once. Where nobody waits, the retention duty does, so that what
`jobfleet limits` and the metrics call running does run.
"""

from __future__ import annotations

from collections.abc import Sequence

from jobfleet.errors import JobfleetError, JobNotFound
from jobfleet.model.limits import Demand
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import limits
from jobfleet.store.calls.run import CHUNK, Holder, ended_runs
from jobfleet.store.keys import Keyspace, Lane

HELD_US = 2_000_000
"""Only a run that has held its place for so long may be that of a dead process."""
DEATH = "the death of its process"
"""What a breaker counts as the error of such a run."""


async def ended_holders(store: AsyncStore, keys: Keyspace, holders: Sequence[str]) -> list[str]:
    """The holders whose runs do not own their jobs any more. One that cannot be read belongs to no run."""
    ended: list[str] = []
    by_lane: dict[Lane, dict[tuple[str, int], list[str]]] = {}
    for text in holders:
        try:
            holder = Holder.parse(text)
            lane = keys.lane_of(holder.job_id)
        except (ValueError, JobNotFound):
            ended.append(text)
        else:
            by_lane.setdefault(lane, {}).setdefault((holder.job_id, holder.token), []).append(text)
    parts = [
        (runs, ended_runs(lane, list(runs)[at : at + CHUNK]))
        for lane, runs in by_lane.items()
        for at in range(0, len(runs), CHUNK)
    ]
    answers = await store.run_many([call for _, call in parts])
    for (runs, _), answer in zip(parts, answers, strict=True):
        if isinstance(answer, JobfleetError):
            raise answer
        for pair in answer:
            ended += runs.get(pair, [])
    return ended


async def free_places(store: AsyncStore, keys: Keyspace) -> int:
    """Free the places of dead runs within all gates; return how many.

    Raises:
        JobfleetError: Redis did not reply.
    """
    skip, freed = 0, 0
    while True:
        _, rows = await store.run(limits.gates(keys, skip=skip, held_us=HELD_US, most=limits.MOST_HELD))
        for row in rows:
            behind, holders = 0, row.holders
            while holders:
                ended = await ended_holders(store, keys, holders)
                if ended:
                    demand = Demand(row.name, 1, row.fields.get("words", ""))
                    gone = [limits.Leaving(one, (demand,), "fail", DEATH, 0) for one in ended]
                    for at in range(0, len(gone), limits.CHUNK):
                        await store.run(limits.leave_gates(keys, "", gone[at : at + limits.CHUNK]))
                    freed += len(ended)
                if len(holders) < limits.MOST_HELD:
                    break
                behind += len(holders) - len(ended)
                call = limits.gates(keys, [row.name], skip=behind, held_us=HELD_US, most=limits.MOST_HELD)
                holders = (await store.run(call))[1][0].holders
        if len(rows) < limits.CHUNK:
            return freed
        skip += len(rows)
