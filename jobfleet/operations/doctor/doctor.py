"""Diagnose a fleet: convert a checkup to findings, and repair contradictions. Pure, except `look` and the repairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from typing import Any

from jobfleet.clock import moment, span
from jobfleet.functions.callables import BUILT_IN
from jobfleet.operations.audit import Outcome
from jobfleet.operations.cron import fired_by
from jobfleet.operations.doctor import server, storage
from jobfleet.operations.doctor.findings import Diagnosis, Finding, Level, named, things
from jobfleet.operations.doctor.snapshot import HOUR, Checkup, LaneSeen, take
from jobfleet.operations.explain.hindrances import Elsewhere, known_elsewhere
from jobfleet.operations.explain.snapshot import HUNG
from jobfleet.operations.fires import concern_of
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import Operation, batches, value
from jobfleet.operations.unreadable import noting
from jobfleet.operations.verb import DRY_RUN, counted, verb
from jobfleet.operations.workers import runs_undecorated
from jobfleet.store.calls import doctor
from jobfleet.store.calls.doctor import FOR_EVER, Broken
from jobfleet.store.keys import Lane

LATE = 60.0
"""Seconds after which the work of a duty is late."""
FIRES_SHOWN = 3
"""Recurring jobs whose failures a finding describes."""
BEHIND = 0.5
"""The share of the most events of a journal, above which its consumers lag behind."""


def workers(seen: Checkup) -> Finding:
    """Which workers are alive, gone or hung."""
    alive = seen.alive
    text = f"{counted(len(alive), 'worker')} alive"
    hung = [one.id for one in alive if one.hung]
    if hung:
        text = f"{text}; children hang at {named(hung)}."
        children = [each.id for one in alive for each in one.processes if each.state == HUNG]
        command = f"workers stacks {children[0]}" if children else f"workers dump {hung[0]}"  # of an older worker
        about = (*things("worker", hung), *things("child", children[:1]))
        return Finding("workers", Level.WARNING, text, f"'jobfleet {command}' shows where.", about)
    if chaotic := [one.id for one in alive if one.chaos]:
        text = f"{text}; {named(chaotic)} {'injects' if len(chaotic) == 1 else 'inject'} faults on purpose."
        remedy = "Unless this is staging, start them without --chaos."
        return Finding("workers", Level.WARNING, text, remedy, things("worker", chaotic))
    gone = [one.id for one in seen.workers if one.is_gone]
    if gone:
        text = f"{text}; {named(gone)} {'is' if len(gone) == 1 else 'are'} gone without taking leave."
        remedy = "Look at their logs; what they ran is run again."
        return Finding("workers", Level.NOTE, text, remedy, things("worker", gone))
    if not alive:
        return Finding("workers", Level.NOTE, "No worker is alive.", "Start one: 'jobfleet worker MODULE'.")
    return Finding("workers", Level.OK, f"{text}.")


def versions(seen: Checkup) -> Finding:
    """Whether all workers run one version of jobfleet."""
    found = sorted({one.version for one in seen.alive if one.version})
    if len(found) < 2:
        return Finding(
            "versions", Level.OK, f"All workers run jobfleet {found[0]}." if found else "No worker is alive."
        )
    text = f"Workers run {len(found)} versions of jobfleet: {named(found)}."
    return Finding("versions", Level.NOTE, text, "Expected while a deployment rolls; else restart the older ones.")


def service(seen: Checkup) -> Finding:
    """Whether every queue with due jobs has a worker that claims them."""
    wrong, lacking = [], []
    resting: list[str] = []
    due = [queue for queue in seen.queues if queue.queued and queue.paused is None]
    for queue in due:
        serving = [one for one in seen.alive if queue.name in one.queues]
        if any(one.state == "running" for one in serving):
            continue
        states = ", ".join(f"{one.id} is {one.state}" for one in serving)
        wrong.append(f"{queue.name} ({counted(queue.queued, 'due job')}{'; ' if states else ''}{states})")
        lacking.append(queue.name)
        resting += [one.id for one in serving]
    if not wrong:
        return Finding("service", Level.OK, "Every queue with due jobs has a worker.")
    return Finding(
        "service",
        Level.WARNING,
        f"No live worker takes jobs of {named(wrong)}.",
        f"Start one: 'jobfleet worker MODULE -Q {','.join(lacking[:5])}', or resume a quiet one.",
        (*things("queue", lacking), *things("worker", resting)),
    )


def functions(seen: Checkup) -> Finding:
    """Whether a live worker knows every function that waiting jobs name, and serves their queue."""
    rows = [row for one in seen.lanes for row in one.waiting]
    misplaced = _misplaced(seen)
    tell = bool(seen.alive) and all(worker.kinds for worker in seen.alive)
    known = {*seen.known, *BUILT_IN} if tell else {*seen.functions, *seen.known, *BUILT_IN}
    unknown = {row.function for row in rows if row.function and row.function not in known}
    unknown = {function for function in unknown if not runs_undecorated(seen.alive, function)}
    new, left = sorted(unknown - seen.functions), sorted(unknown & seen.functions)
    parked = [row for row in rows if row.is_parked]
    if not unknown and not parked and not misplaced:
        return Finding("functions", Level.OK, "Workers have published every function that waiting jobs name.")
    parts = []
    if new:
        parts.append(f"no worker has published {named(new)}")
    if left:
        parts.append(f"no live worker knows {named(left)}, which one that has left did")
    if misplaced:
        pairs = [
            f"{function} and serves {queue} (job {job_id})" for (function, queue), (job_id, _) in misplaced.items()
        ]
        parts.append(f"no live worker both knows {named(pairs)}")
    if parked:
        parts.append(f"{counted(len(parked), 'job')} parked, such as {parked[0].id}")
    text = "; ".join(parts)
    about = (
        *things("function", [*new, *left, *(function for function, _ in misplaced)]),
        *things("job", [*(job_id for job_id, _ in misplaced.values()), *(row.id for row in parked[:1])]),
    )
    if misplaced and not unknown and not parked:
        ((_, queue), (job_id, found)) = next(iter(misplaced.items()))
        remedy = found.remedy(job_id, queue)
        return Finding("functions", Level.WARNING, f"{text[0].upper()}{text[1:]}.", remedy, about)
    if unknown:
        remedy = "Start a worker with the module that has them"
        remedy += f"; 'jobfleet explain {parked[0].id}' says more." if parked else (
            "; the jobs go to the dead letters in time."
        )  # fmt: skip
    else:
        remedy = (
            f"'jobfleet explain {parked[0].id}' says what its worker lacks: a function, a key, the payload store, or a "
            "newer version."
        )
    return Finding("functions", Level.WARNING, f"{text[0].upper()}{text[1:]}.", remedy, about)


def _misplaced(seen: Checkup) -> dict[tuple[str, str], tuple[str, Elsewhere]]:
    """Functions and queues of waiting jobs that no worker pairs, each with the first such job."""
    first: dict[tuple[str, str], str] = {}
    for one in seen.lanes:
        for row in one.waiting:
            if row.function and not row.is_parked:
                first.setdefault((row.function, one.lane.queue), row.id)
    pairs = {pair: known_elsewhere(*pair, seen.kinds, seen.workers) for pair in first}
    return {pair: (first[pair], found) for pair, found in pairs.items() if found is not None}


def leases(seen: Checkup) -> Finding:
    """Whether the jobs of gone workers are taken back."""
    alive = {one.id for one in seen.alive}
    overdue: list[str] = []
    orphaned: list[str] = []
    for one in seen.lanes:
        for row in one.rows:
            if row.run is None or not row.deadline:
                continue
            late = seen.now - max(row.deadline, one.hold)
            if late > LATE * 1e6:
                overdue.append(row.id)
            elif row.run.child.rpartition(".")[0] not in alive:
                orphaned.append(row.id)
    if overdue:
        text = f"{counted(len(overdue), 'lease')} ended over {span(LATE)} ago"
        return Finding(
            "leases",
            Level.WARNING,
            f"{text}, and nobody took the jobs back: {named(overdue)}.",
            "Start a reaper ('jobfleet reaper'), or a worker, and look at its log.",
            things("job", overdue),
        )
    if orphaned:
        text = f"{counted(len(orphaned), 'job')} of workers that are gone: {named(orphaned)}."
        remedy = "They are run again when their leases have ended."
        return Finding("leases", Level.NOTE, text, remedy, things("job", orphaned))
    return Finding("leases", Level.OK, "Every running job's worker is alive.")


def cron(seen: Checkup) -> Finding:
    """Whether a reaper, or a worker in its place, fires the recurring jobs."""
    if not seen.recurring:
        return Finding("cron", Level.OK, "There are no recurring jobs.")
    jobs = counted(len(seen.recurring), "recurring job")
    if not seen.fired_by:
        return Finding(
            "cron",
            Level.WARNING,
            f"Nobody fires {jobs}: no reaper and no worker has announced itself.",
            "Start one: 'jobfleet reaper', or a worker. A reaper of an older version fires without announcing itself.",
        )
    word = "is" if len(seen.recurring) == 1 else "are"
    return Finding("cron", Level.OK, f"{jobs} {word} fired by {fired_by(seen.fired_by)}.")


def fires(seen: Checkup) -> Finding:
    """Whether the jobs of recurring jobs fail again and again, or have never completed."""
    most = seen.config.cron_failures
    concerns = {name: concern_of(name, known, most=most) for name, known in sorted(seen.fires.items())}
    failing = [(name, concern) for name, concern in concerns.items() if concern is not None]
    found = [concern for _, concern in failing]
    if not found:
        return Finding("fires", Level.OK, f"No recurring job has failed {counted(most, 'time')} in a row.")
    text = "; ".join(one.seen for one in found[:FIRES_SHOWN])
    more = len(found) - FIRES_SHOWN
    text += f"; and {counted(more, 'more recurring job')}" if more > 0 else ""
    remedy = found[0].remedy if len(found) == 1 else f"{found[0].remedy} 'jobfleet cron ls' lists the others."
    about = (*things("cron", [name for name, _ in failing]), *things("job", [found[0].job_id]))
    return Finding("fires", Level.WARNING, f"{text[0].upper()}{text[1:]}.", remedy, about)


def samples(seen: Checkup) -> Finding:
    """Whether a live reaper samples the fleet; a reaper with the Redis user of another role cannot."""
    reapers = [name for name in seen.fired_by if name.startswith("reaper ")]
    if not seen.config.samples:
        return Finding("samples", Level.OK, "The settings here take no samples.")
    if not reapers:
        return Finding("samples", Level.OK, "No reaper is alive, and nobody else takes samples.")
    late = None if seen.sampled is None else (seen.now - seen.sampled) / 1e6
    if late is not None and late <= LATE:
        return Finding("samples", Level.OK, f"The last sample is {span(max(0.0, late))} old.")
    last = "there is no sample yet" if late is None else f"the last sample is {span(late)} old"
    return Finding(
        "samples",
        Level.WARNING,
        f"{named(reapers)} {'is' if len(reapers) == 1 else 'are'} alive, but {last}: no history, no autoscaling.",
        "If it did not start just now, look in its log for 'stumbled'. Connect it as the Redis user 'reaper', not as "
        "that of workers: docs/howto/redis-users.md.",
    )


def limits(seen: Checkup) -> Finding:
    """Whether functions declare different limits for one place."""
    by_place: dict[str, dict[str, list[str]]] = {}
    for name, declared in sorted(seen.declared.items()):
        by_place.setdefault(declared.place, {}).setdefault(str(declared), []).append(name)
    wrong = [
        f"{place} ({'; '.join(f'{text} by {named(names)}' for text, names in texts.items())})"
        for place, texts in by_place.items()
        if len(texts) > 1
    ]
    if wrong:
        return Finding(
            "limits",
            Level.WARNING,
            f"Functions declare different limits for {', '.join(wrong)}.",
            "The worker that started last decides; declare the same limit, or give one of them another group or queue.",
            things(
                "function", [name for texts in by_place.values() if len(texts) > 1 for name in chain(*texts.values())]
            ),
        )
    return Finding("limits", Level.OK, "Functions declare no different limits for one place.")


def long(seen: Checkup) -> Finding:
    """Which jobs run for more than an hour."""
    found = [
        (seen.now - row.run.claimed, row.id)
        for one in seen.lanes
        for row in one.rows
        if row.run is not None and seen.now - row.run.claimed > HOUR * 1e6
    ]
    if not found:
        return Finding("long", Level.OK, "No job runs for more than an hour.")
    shown = [f"{job_id} ({span(us / 1e6)})" for us, job_id in sorted(found, reverse=True)]
    text = f"{counted(len(found), 'job')} running for more than an hour: {named(shown)}."
    remedy = "'jobfleet cancel ID' stops one; timeout= bounds a function that may hang."
    about = things("job", [job_id for _, job_id in sorted(found, reverse=True)])
    return Finding("long", Level.WARNING, text, remedy, about)


def queues(seen: Checkup) -> Finding:
    """Whether another queue could be created."""
    number, most = seen.queue_count, seen.config.max_queues
    if number < most:
        return Finding("queues", Level.OK, f"{counted(number, 'queue')}; max_queues allows {most:,}.")
    return Finding(
        "queues",
        Level.WARNING,
        f"{counted(number, 'queue')}, and max_queues allows {most:,}: no other queue can be created, and workers that "
        f"serve a new one do not start.{f' Looked at: {most:,} of them.' if number > most else ''}",
        "Remove those that are not needed ('jobfleet queues rm QUEUE'), or raise max_queues.",
    )


def paused(seen: Checkup) -> Finding:
    """What is paused."""
    shown = [f"queue {queue.name}" for queue in seen.queues if queue.paused is not None]
    shown += [f"function {name}" for name in seen.paused]
    shown += [
        f"function {one.function} in {queue.name}"
        for queue in seen.queues
        for one in queue.paused_functions
        if one.function not in seen.paused
    ]
    shown += sorted({f"group {group} of {one.lane.queue}" for one in seen.lanes for group in one.groups})
    if not shown:
        return Finding("paused", Level.OK, "Nothing is paused.")
    about = (
        *things("queue", [queue.name for queue in seen.queues if queue.paused is not None or queue.paused_functions]),
        *things("function", seen.paused),
    )
    remedy = "'jobfleet queues resume …' lets them go on."
    return Finding("paused", Level.NOTE, f"Paused: {named(shown)}.", remedy, about)


def gates(seen: Checkup) -> Finding:
    """Whether a circuit breaker is open, or a named limit closed."""
    shown = [
        f"breaker {one.name} ({_changed('opened', one.by, one.reason, one.since, seen.now)})"
        for one in seen.breakers
        if one.state != "closed"
    ]
    shown += [
        f"limit {one.name} ({_changed('closed', one.by, one.reason, None, seen.now)})"
        for one in seen.named_limits
        if one.closed_for
    ]
    if not shown:
        return Finding("gates", Level.OK, "No circuit breaker is open, and no named limit is closed.")
    remedy = "'jobfleet breakers close NAME' or 'jobfleet limits open NAME' lets their jobs start."
    return Finding("gates", Level.NOTE, f"Jobs wait for {named(shown)}.", remedy)


def _changed(what: str, by: str | None, reason: str, since: datetime | None, now: int) -> str:
    """Who has changed the state of a gate, when and why, as far as it is known."""
    who = f" by {by}" if by else ""
    when = "" if since is None else f" {span((now - since.timestamp() * 1e6) / 1e6)} ago"
    return f"{what}{who}{when}: {reason or 'no reason'}"


def dead(seen: Checkup) -> Finding:
    """Whether dead letters wait to be looked at."""
    shown = [f"{queue.name} ({queue.dead:,})" for queue in seen.queues if queue.dead]
    number = sum(queue.dead for queue in seen.queues)
    if not number:
        return Finding("dead", Level.OK, "No dead letters.")
    text = f"{counted(number, 'dead letter')}: {named(shown)}."
    about = things("queue", [queue.name for queue in seen.queues if queue.dead])
    return Finding("dead", Level.NOTE, text, "'jobfleet dead groups' sorts them; replay or purge them.", about)


def outbox(seen: Checkup) -> Finding:
    """Whether dependants are unblocked in time."""
    late = [(one.counts.now - one.counts.unrelayed) / 1e6 for one in seen.lanes if one.counts.unrelayed]
    if max(late, default=0.0) <= LATE:
        return Finding("outbox", Level.OK, "Jobs that wait for others are unblocked in time.")
    number = sum(one.counts.outbox for one in seen.lanes)
    return Finding(
        "outbox",
        Level.WARNING,
        f"{counted(number, 'ending')} not reported yet to jobs that wait for them, the oldest for {span(max(late))}.",
        "Start a reaper ('jobfleet reaper'), or a worker, and look at its log.",
    )


def journal(seen: Checkup) -> Finding:
    """Whether the consumers of the journals keep up."""
    if not seen.consumers:
        return Finding("journal", Level.OK, "Nobody reads the journals.")
    names, most = named(sorted(seen.consumers)), max(seen.consumers.values())
    unread = {queue.name: queue.unread / queue.lanes for queue in seen.queues}
    behind = [name for name, number in unread.items() if number > BEHIND * most]
    late = [f"{name} ({unread[name]:,.0f} events)" for name in behind]
    if not late:
        dropped = sum(queue.dropped for queue in seen.queues)
        text = f"{names} {'keeps' if len(seen.consumers) == 1 else 'keep'} up"
        if not dropped:
            return Finding("journal", Level.OK, f"{text}.")
        return Finding("journal", Level.NOTE, f"{text}; {counted(dropped, 'event')} dropped unread in all.")
    text = f"{names} {'lags' if len(seen.consumers) == 1 else 'lag'} behind in {named(late)}"
    return Finding(
        "journal",
        Level.WARNING,
        f"{text}; at most {most:,} events are kept per lane.",
        "Start a reaper, or end what reads no more: 'jobfleet archive detach', 'jobfleet notify off'.",
        things("queue", behind),
    )


Check = Callable[[Checkup], Finding]

CHECKS: tuple[Check, ...] = (
    server.version,
    server.eviction,
    server.persistence,
    server.replicas,
    server.cluster,
    server.memory,
    server.results,
    server.scripts,
    server.clock,
    server.clocks,
    server.user,
    server.tls,
    server.keys,
    workers,
    versions,
    service,
    functions,
    storage.payload_store,
    queues,
    storage.hot,
    leases,
    cron,
    fires,
    samples,
    limits,
    storage.damage,
    storage.runs,
    storage.waiting,
    storage.locks,
    storage.lifetimes,
    long,
    outbox,
    storage.database,
    journal,
    paused,
    gates,
    dead,
)
"""The checks in the order of the report. The name of a check is the name of its finding."""


def diagnose(seen: Checkup) -> Diagnosis:
    """Run every check on a checkup."""
    return Diagnosis(moment(seen.now), tuple(check(seen) for check in CHECKS))


def look(context: FleetContext, *, is_open: bool | None = None) -> Operation[Diagnosis]:
    """Read a checkup, and diagnose it.

    Args:
        context: The fleet.
        is_open: Whether anybody can connect without a password; None if this is not known.
    """
    with noting() as noted:
        seen = yield from take(context, is_open=is_open)
    return diagnose(replace(seen, damage=(*dict.fromkeys([*seen.damage, *noted]),)))


# Repair contradictions while the fleet runs: each repair is atomic, and checks first that its cause is still there.


@dataclass(frozen=True, slots=True)
class Repair:
    """A contradiction in the data, and its repair.

    Attributes:
        check: The check that finds it.
        job_id: The job.
        what: What is wrong, and what the repair does; one line.
        is_done: Whether it was repaired. False if it was only looked for, or was gone when it was to be repaired.
    """

    check: str
    job_id: str
    what: str
    is_done: bool = False

    def __str__(self) -> str:
        return f"{self.check}: {self.what}"


def _ended(repairs: Sequence[Repair]) -> Outcome:
    done = [f"{one.check} {one.job_id}" for one in repairs if one.is_done]
    return Outcome("done" if done else "unchanged", len(done), after={"repaired": done} if done else {})


def _sentence(values: Mapping[str, Any], repairs: Sequence[Repair]) -> str:
    number = len(repairs) if values[DRY_RUN] else sum(one.is_done for one in repairs)
    what = counted(number, "contradiction")
    return f"{what} can be repaired." if values[DRY_RUN] else f"Repaired {what}."


@verb(
    "fleet.repair", method="repair", command="doctor --fix", route="/doctor/repair", role="admin", result="repairs",
    form="repair", titled=lambda _: "all queues", end=_ended, done=_sentence,
)  # fmt: skip
def repair(context: FleetContext, *, dry_run: bool = False) -> Operation[list[Repair]]:
    """Repair contradictions in the data that the doctor finds and that are safe to repair while the fleet runs.

    Args:
        dry_run: Only look for them.
    """
    seen = yield from take(context)
    done: list[Repair] = []
    for one in seen.lanes:
        found = list(_broken(one))
        if dry_run:
            done += [_repair(broken) for broken in found]
        else:
            done += yield from _repaired(one.lane, found, seen)
    return done


def _repaired(lane: Lane, found: list[Broken], seen: Checkup) -> Operation[list[Repair]]:
    done: list[Repair] = []
    for part in batches(found, doctor.CHUNK):
        letters = value((yield [doctor.repair(lane, part, ttl_ms=round(seen.config.result_ttl * 1000))]))
        done += [replace(_repair(one), is_done=letter == "r") for one, letter in zip(part, letters, strict=True)]
    return done


def _broken(seen: LaneSeen) -> Iterator[Broken]:
    for row in seen.rows:
        if not row.wrong and row.run is None:
            yield Broken("lease", row.id)
        elif not row.wrong and not row.deadline:
            yield Broken("run", row.id)
    for key, job_id in seen.locks.left.items():
        yield Broken("key", job_id, key)
    for kept in seen.endings.kept:
        if kept.kept.left == FOR_EVER:
            yield Broken("ttl", kept.job_id)


def _repair(one: Broken) -> Repair:
    match one.kind:
        case "lease":
            what = (
                f"{one.job_id} has a lease and no run: a reaper recovers it, or the lease is deleted if it has ended."
            )
            return Repair("runs", one.job_id, what)
        case "run":
            return Repair("runs", one.job_id, f"{one.job_id} has a run and no lease: a reaper recovers it.")
        case "key":
            what = f"{one.key} is held by {one.job_id}, which is not open: the unique key is released."
            return Repair("locks", one.job_id, what)
    return Repair("lifetimes", one.job_id, f"The result of {one.job_id} has no TTL: it gets result_ttl.")
