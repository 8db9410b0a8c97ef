"""Checks of where jobs are kept: lanes, data in Redis that cannot be read, the payload store and the outbox.

Each function converts a checkup to one finding. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jobfleet.clock import span
from jobfleet.operations.doctor.findings import Finding, Level, named, things
from jobfleet.operations.doctor.snapshot import Checkup, LaneSeen
from jobfleet.operations.queues import is_hot
from jobfleet.operations.verb import counted
from jobfleet.outbox.statements import is_relayed, name_of_url
from jobfleet.store.calls.doctor import FOR_EVER
from jobfleet.store.key_table import FLEET_KEY_TABLE, KEY_TABLE

BY_HAND = "docs/howto/doctor.md says how each is put right."


def runs(seen: Checkup) -> Finding:
    """Whether every running job has a lease and an envelope, and every lease a running job."""
    wrong: list[str] = []
    jobs: list[str] = []
    for one in seen.lanes:
        for row in one.rows:
            lacks = [
                word
                for word, is_there in (("lease", row.deadline), ("run", row.run), ("envelope", row.has_envelope))
                if not is_there
            ]
            if lacks:
                jobs.append(row.id)
                wrong.append(f"{row.id} has no {' and no '.join(lacks)}")
        if one.runs != one.leases and not any(not row.deadline or row.run is None for row in one.rows):
            wrong.append(f"{one.lane.tag} has {counted(one.leases, 'lease')} for {counted(one.runs, 'run')}")
    looked = sum(len(one.rows) for one in seen.lanes)
    if wrong:
        return Finding(
            "runs", Level.FAULT, f"Runs and leases do not match: {named(wrong)}.", BY_HAND, things("job", jobs)
        )
    return Finding("runs", Level.OK, f"{counted(looked, 'run')} looked at; each has a lease and an envelope.")


def hot(seen: Checkup) -> Finding:
    """Whether one lane of a queue has far more due jobs than its other lanes."""
    by_queue: dict[str, list[LaneSeen]] = {}
    for one in seen.lanes:
        by_queue.setdefault(one.lane.queue, []).append(one)
    wide = {queue: every for queue, every in by_queue.items() if len(every) > 1}
    found, crowded = [], []
    for queue, every in wide.items():
        due = [sum(one.counts.due) for one in every]
        others = (sum(due) - max(due)) / (len(due) - 1)
        if is_hot(max(due), due):
            lane = every[due.index(max(due))].lane
            crowded.append(queue)
            found.append(f"lane {lane.index} of {queue} ({max(due):,} due jobs; {others:,.0f} in each other lane)")
    if not found:
        return Finding("hot", Level.OK, f"{counted(len(wide), 'queue')} with several lanes; their due jobs are spread.")
    return Finding(
        "hot",
        Level.WARNING,
        f"Due jobs crowd in {named(found)}.",
        "All jobs of one group, or with one unique key, share a lane: use more groups, or workers with more slots.",
        things("queue", crowded),
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
        things("job", lost),
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
        things("job", [job_id for one in seen.lanes for job_id in one.locks.left.values()]),
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
        things("job", lasting),
    )


LONGEST = 300


def damage(seen: Checkup) -> Finding:
    """Whether everything that was read is readable."""
    found = [*seen.damage, *(f"{one.lane.tag}{what}" for one in seen.lanes for what in one.damage)]
    aside = [what for what in found if "moved aside: " in what]
    found = [what for what in found if what not in aside]
    places = [f"{what.partition('moved aside: ')[0]}{what.partition('moved aside: ')[2]}" for what in aside]
    if found:
        text = named([what if len(what) <= LONGEST else f"{what[:LONGEST]}…" for what in found])
        return Finding(
            "damage",
            Level.FAULT,
            f"{counted(len(found), 'thing')} that cannot be read: {text}."
            + (f" Before, there was moved aside: {named(places)}." if places else ""),
            "Something beside jobfleet has written there: find out what. Workers move it aside as they meet it."
            + _lost_limits(found),
        )
    if aside:
        return Finding(
            "damage",
            Level.NOTE,
            f"Something that could not be read was moved aside: {named(places)}.",
            "It is kept for 30 days: look at it, and delete it. Find out what has written it."
            + _copied(places)
            + _lost_limits(places),
        )
    return Finding("damage", Level.OK, "Everything that was looked at can be read.")


def _copied(places: Sequence[str]) -> str:
    """What is kept of a stream that could not go on."""
    streams = {row.name for row in (*KEY_TABLE, *FLEET_KEY_TABLE) if row.type == "stream"}
    names = {name.rpartition(":")[2] for place in places for name in place.split(", ")}
    return " Of a stream that could not go on, only a note is kept: its entries were copied." if names & streams else ""


def _lost_limits(found: Sequence[str]) -> str:
    """The remedy for named limits whose definition may be lost."""
    if not any("gate:limit:" in what for what in found):
        return ""
    return " Look whether the limit still has its definition: 'jobfleet limits named' lists and sets it."


PENDING = "pending"
AWAY = "away: "
EMPTY = "empty"
"""What a worker sees that has looked before anybody wrote to the store; it looks again."""
MOUNT = "Mount the store on these machines, or correct payload_store there."
REMEDY = "Give all processes the same payload_store, and mount it on every machine."


def payload_store(seen: Checkup) -> Finding:
    """Whether this process and all workers see one payload store."""
    workers = [(one.id, one.payloads) for one in seen.alive if one.payloads != PENDING]

    def those(is_meant: Callable[[str], bool]) -> str:
        return named([worker for worker, store in workers if is_meant(store)])

    if not seen.payloads and not any(store for _, store in workers):
        return Finding("payloads", Level.OK, "No payload store is set; Redis holds all arguments and results.")
    if seen.payloads.startswith(AWAY):
        return Finding("payloads", Level.FAULT, f"{seen.payloads.removeprefix(AWAY)}", REMEDY)
    if away := those(lambda store: store.startswith(AWAY)):
        why = next(store.removeprefix(AWAY) for _, store in workers if store.startswith(AWAY))
        return Finding("payloads", Level.FAULT, f"Workers cannot read the payload store: {away}. {why}", REMEDY)
    if not seen.payloads:
        text = f"Workers have a payload store, and this process has none: {those(bool)}."
        return Finding("payloads", Level.WARNING, text, REMEDY)
    if without := those(lambda store: not store):
        return Finding("payloads", Level.FAULT, f"Workers have no payload store: {without}.", REMEDY)
    if recorded := seen.payloads_recorded:
        if seen.payloads != recorded:
            text = f"This process sees {_shown(seen.payloads)}, and the payload store of the fleet is {recorded}."
            return Finding("payloads", Level.FAULT, text, MOUNT)
        if other := those(lambda store: store not in (recorded, EMPTY)):
            text = f"Workers see another payload store than {recorded}, that of the fleet, or an empty one: {other}."
            return Finding("payloads", Level.FAULT, text, MOUNT)
    if other := those(lambda store: store != seen.payloads and EMPTY not in (store, seen.payloads)):
        return Finding(
            "payloads", Level.FAULT, f"Workers see another payload store than this process: {other}.", REMEDY
        )
    if seen.payloads == EMPTY:
        return Finding("payloads", Level.OK, "The payload store can be read; nothing was written to it yet.")
    text = f"This process and {counted(len(workers), 'worker')} read the payload store {seen.payloads}."
    return Finding("payloads", Level.OK, text)


def _shown(store: str) -> str:
    return "an empty payload store" if store == EMPTY else f"the payload store {store}"


NAME = "database"
LATE = 60.0
"""Age in seconds from which a waiting row is a warning."""
STUCK = 3600.0
"""Age in seconds from which it is a fault: the ids of jobs are remembered for a limited time."""


def database(seen: Checkup) -> Finding:
    """Whether every row was relayed in time."""
    counts = seen.sql_outbox
    if counts is None:
        others = f" Reapers relay {', '.join(dict.fromkeys(seen.relayed))}." if seen.relayed else ""
        return Finding(NAME, Level.OK, f"No transactional outbox is set.{others}")
    if isinstance(counts, str):
        return Finding(NAME, Level.FAULT, counts, "Correct outbox_url, or start the database.")
    text = f"{counted(counts.waiting, 'row')} of the outbox wait."
    if counts.waiting:
        text = f"{text[:-1]}; the oldest was written {span(counts.lag)} ago."
    if counts.refused:
        refused = f"{counted(counts.refused, 'row')} refused, the oldest {span(counts.refused_for)} ago"
        text = f"{text} {refused}: {counts.error}"
        remedy = "Look at them with 'jobfleet outbox ls', then retry or drop them."
        return Finding(NAME, Level.FAULT, text, remedy)
    url = seen.config.outbox_url
    if url is not None and not is_relayed(name_of_url(url), seen.relayed):
        remedy = "Start a reaper with outbox_url, a worker with with_reaper, or 'jobfleet up'."
        level = Level.FAULT if counts.lag >= STUCK else Level.WARNING
        return Finding(NAME, level, f"{text} No live reaper relays them.", remedy)
    if counts.lag < LATE:
        return Finding(NAME, Level.OK, text)
    if counts.error:
        text = f"{text} {counts.error}"
    remedy = "Start a reaper with outbox_url, and look at its log for outbox.away and outbox.delayed."
    return Finding(NAME, Level.FAULT if counts.lag >= STUCK else Level.WARNING, text, remedy)
