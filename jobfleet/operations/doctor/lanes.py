"""Checks of the consistency of lanes. Each function converts a checkup to one finding. Pure."""

from __future__ import annotations

from jobfleet.operations.doctor.findings import Finding, Level, named
from jobfleet.operations.doctor.snapshot import Checkup, LaneSeen
from jobfleet.operations.explain.reasons import counted
from jobfleet.operations.queues.spread import is_hot
from jobfleet.store.calls.doctor import FOR_EVER

BY_HAND = "docs/howto/doctor.md says how each is put right."


def runs(seen: Checkup) -> Finding:
    """Whether every running job has a lease and an envelope, and every lease a running job."""
    wrong: list[str] = []
    for one in seen.lanes:
        for row in one.rows:
            lacks = [
                word
                for word, is_there in (("lease", row.deadline), ("run", row.run), ("envelope", row.has_envelope))
                if not is_there
            ]
            wrong += [f"{row.id} has no {' and no '.join(lacks)}"] if lacks else []
        if one.runs != one.leases and not any(not row.deadline or row.run is None for row in one.rows):
            wrong.append(f"{one.lane.tag} has {counted(one.leases, 'lease')} for {counted(one.runs, 'run')}")
    looked = sum(len(one.rows) for one in seen.lanes)
    if wrong:
        return Finding("runs", Level.FAULT, f"Runs and leases do not match: {named(wrong)}.", BY_HAND)
    return Finding("runs", Level.OK, f"{counted(looked, 'run')} looked at; each has a lease and an envelope.")


def hot(seen: Checkup) -> Finding:
    """Whether one lane of a queue has far more due jobs than its other lanes."""
    by_queue: dict[str, list[LaneSeen]] = {}
    for one in seen.lanes:
        by_queue.setdefault(one.lane.queue, []).append(one)
    wide = {queue: every for queue, every in by_queue.items() if len(every) > 1}
    found = []
    for queue, every in wide.items():
        due = [sum(one.counts.due) for one in every]
        others = (sum(due) - max(due)) / (len(due) - 1)
        if is_hot(max(due), due):
            lane = every[due.index(max(due))].lane
            found.append(f"lane {lane.index} of {queue} ({max(due):,} due jobs; {others:,.0f} in each other lane)")
    if not found:
        return Finding("hot", Level.OK, f"{counted(len(wide), 'queue')} with several lanes; their due jobs are spread.")
    return Finding(
        "hot",
        Level.WARNING,
        f"Due jobs crowd in {named(found)}.",
        "All jobs of one group, or with one unique key, share a lane: use more groups, or workers with more slots.",
    )


def waiting(seen: Checkup) -> Finding:
    """Whether every waiting job has an envelope."""
    rows = [row for one in seen.lanes for row in one.waiting]
    lost = [row.id for row in rows if not row.has_envelope]
    text = f"{counted(len(rows), 'waiting job')} looked at"
    if not lost:
        return Finding("waiting", Level.OK, f"{text}; each has an envelope.")
    return Finding(
        "waiting",
        Level.FAULT,
        f"{text}; the server has lost the envelopes of {len(lost):,}: {named(lost)}.",
        "Set maxmemory-policy noeviction; once claimed, these go to the dead letters, to be enqueued again.",
    )


def locks(seen: Checkup) -> Finding:
    """Whether every unique key is held by an open job, or until a time that is not over."""
    held, looked, over = (sum(getattr(one.locks, name) for one in seen.lanes) for name in ("held", "looked", "over"))
    left = [f"{key} by {job_id}" for one in seen.lanes for key, job_id in one.locks.left.items()]
    text = f"{looked:,} of {counted(held, 'unique key')} looked at" if looked < held else counted(held, "unique key")
    if over and not left:
        return Finding(
            "locks",
            Level.WARNING,
            f"{text}; {over:,} held till a time that is over for more than an hour.",
            "Start a reaper ('jobfleet reaper'): it releases them.",
        )
    if not left:
        return Finding("locks", Level.OK, f"{text}; none is left by a job that has ended.")
    return Finding(
        "locks",
        Level.FAULT,
        f"{text}; {len(left):,} held by a job that is not open: {named(left)}.",
        "Nothing waits for them: the next job with the key takes it. " + BY_HAND,
    )


def lifetimes(seen: Checkup) -> Finding:
    """Whether every result has a TTL."""
    rows = [row for one in seen.lanes for row in one.endings.kept]
    lasting = [row.job_id for row in rows if row.kept.left == FOR_EVER]
    if not lasting:
        return Finding("lifetimes", Level.OK, f"{counted(len(rows), 'result')} looked at; each goes with its TTL.")
    return Finding(
        "lifetimes",
        Level.WARNING,
        f"{counted(len(lasting), 'result')} without a TTL: {named(lasting)}.",
        "Something beside jobfleet has called PERSIST or RESTORE; 'fleet.clean(older_than)' deletes old results.",
    )
