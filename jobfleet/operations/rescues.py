"""Rescue plans: a group of dead letters is replayed as a canary, and then at a rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from secrets import token_hex
from typing import Any, NamedTuple

from jobfleet.clock import moment
from jobfleet.errors import ConfigError, InvalidJob, UnknownGroup, UnknownRescue
from jobfleet.model import JobStatus
from jobfleet.model.audit import NOBODY, from_word
from jobfleet.model.limits import rate_of
from jobfleet.model.signals import FINGERPRINT, check_fingerprint
from jobfleet.model.status import check_number
from jobfleet.operations.audit import Action, Change, Outcome, outcome_of
from jobfleet.operations.dead_groups import file_all, group
from jobfleet.operations.dead_letters import NO_POSITION, Position, read_cursor
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.lanes import lanes
from jobfleet.operations.operation import Operation, by_lane, value
from jobfleet.operations.verb import Canary, Fingerprint, Pace, Whole, verb
from jobfleet.store.calls import control, inspect
from jobfleet.store.calls import dead as calls
from jobfleet.store.calls.dead import NotedRescue, Planned, StoredRescue, group_name, groups
from jobfleet.store.keys import Lane
from jobfleet.store.records import Dead, DeadLetter, Edit, Final, Found, InRun, InWait

RATE_MOST = 1000.0
"""The most jobs per second. A reaper looks at a rescue five times a second, and replays at most 200 jobs each time."""
CANARY_STEPS = 10
CANARY_MOST = 200


@dataclass(frozen=True, slots=True)
class RescueStatus:
    """The state of a rescue.

    Attributes:
        id: Its id.
        fingerprint: The group of dead letters.
        state: running, stopped, completed, undoing or undone.
        why: Why it was stopped: ``failures`` or ``asked``; empty if it was not.
        by: Who began it; None for nobody in particular.
        ended_by: Who stopped or undid it.
        started_at: When it began.
        ended_at: When it was stopped, completed or undone; None while it runs.
        rate: Jobs per second after the canary.
        canary: The numbers of jobs that are replayed first.
        stop_after: The number of failures that stops it.
        stage: ``canary 1 of 2``, ``rate``, or empty when it does not run.
        total: The number of dead letters at its begin.
        replayed: How many of them were replayed.
        in_flight: How many of these have not ended.
        completed: How many have completed.
        failed: How many have failed again.
        ended: How many have ended otherwise: cancelled, expired, or with a result that was not kept.
        left: How many letters were not replayed, because they were gone or another job holds the unique key.
        undone: How many are dead letters again.
        started: How many had started before the undo.
    """

    id: str
    fingerprint: str
    state: str
    why: str
    by: str | None
    ended_by: str | None
    started_at: datetime | None
    ended_at: datetime | None
    rate: float
    canary: tuple[int, ...]
    stop_after: int
    stage: str
    total: int
    replayed: int
    in_flight: int
    completed: int
    failed: int
    ended: int
    left: int
    undone: int
    started: int

    @property
    def is_over(self) -> bool:
        """Whether it replays nothing more."""
        return self.state not in ("running", "undoing")


def status_of(stored: calls.StoredRescue) -> RescueStatus:
    """Convert a stored rescue."""
    fields = stored.fields
    numbers = {name: int(fields.get(name, 0)) for name in ("completed", "failed", "ended", "left", "undone", "started")}
    state, by, ended_by = fields.get("state", ""), fields.get("by", NOBODY), fields.get("ended_by", NOBODY)
    canary = canary_of(fields)
    return RescueStatus(
        stored.id,
        fields.get("fp", ""),
        state,
        fields.get("why", ""),
        None if by == NOBODY else from_word(by),
        None if ended_by == NOBODY else from_word(ended_by),
        moment(int(fields.get("at", 0))),
        moment(int(fields.get("over", 0))),
        round(1e6 / int(fields.get("every", 1e6)), 6),
        canary,
        int(fields.get("stop_after", 1)),
        _stage(int(fields.get("stage", 0)), len(canary)) if state == "running" else "",
        int(fields.get("total", 0)),
        int(fields.get("planned", 0)) - numbers["left"],
        stored.flying,
        **numbers,
    )


def canary_of(fields: Mapping[str, str]) -> tuple[int, ...]:
    """The numbers of jobs that a rescue replays first."""
    return tuple(int(part) for part in fields.get("canary", "").split(",") if part)


def _stage(stage: int, steps: int) -> str:
    return "rate" if stage > steps or not steps else f"canary {max(stage, 1)} of {steps}"


def _letters(context: FleetContext, values: Mapping[str, Any]) -> Operation[dict[str, Any]]:
    found = yield from group(context, values["fingerprint"])
    return {"state": str(found.state), "letters": found.count}


@verb(
    "rescue", recorded="rescue.start", route="/dead/{fingerprint}/rescue", command="dead rescue",
    target=("fingerprint",), is_written=True, before=_letters, end=lambda made: Outcome("done", after={"id": made}),
)  # fmt: skip
def start(
    context: FleetContext,
    fingerprint: Fingerprint,
    *,
    rate: Pace = "10/s",
    canary: Canary = (1, 10),
    stop_after: Whole = 1,
    by: str | None = None,
) -> Operation[str]:
    """Replay a group of dead letters in steps: a canary, then the rest at a rate.

    A reaper carries it out. It stops by itself when jobs fail again.

    Args:
        fingerprint: The group.
        rate: Jobs per time after the canary, such as 5/min; default 10/s.
        canary: Numbers of jobs to replay first, in steps, or none; default 1,10.
        stop_after: Jobs that fail again after which it stops; default 1.

    Raises:
        UnknownGroup: There is no such group.
        ConfigError: The group has no dead letters, or a rescue of it runs.
        InvalidJob: An argument is not valid.
    """
    check_fingerprint(fingerprint)
    per_second, steps = _read_rate(rate), _read_canary(canary)
    check_number(stop_after, field="stop_after")
    found = yield from group(context, fingerprint)
    if not found.count:
        raise ConfigError(f"Group {fingerprint} has no dead letters; there is nothing to rescue.")
    rescue = f"{fingerprint}-{token_hex(3)}"
    call = calls.open_rescue(
        context.keys, rescue, fingerprint=fingerprint, by=by, every_us=max(1, round(1e6 / per_second)), canary=steps,
        stop_after=stop_after, total=found.count,
    )  # fmt: skip
    word, other = value((yield (call,)))
    if word == "unknown":
        raise UnknownGroup(fingerprint)
    if word == "running":
        raise ConfigError(f"Rescue {other} of this group is not over; 'jobfleet dead stop-rescue {other}' stops it.")
    return rescue


def _read_rate(given: object) -> float:
    try:
        rate = rate_of(given)
        per_second = rate.count / rate.seconds
    except InvalidJob:
        per_second = 0.0
    if not 0 < per_second <= RATE_MOST:
        raise InvalidJob(
            f"rate is {given!r:.100}; give jobs per second, or a rate such as '10/s' or '5/min', at most 1,000/s.",
            field="rate",
        )
    return per_second


def _read_canary(given: object) -> list[int]:
    steps = list(given) if isinstance(given, list | tuple) else []
    is_fine = all(isinstance(one, int) and not isinstance(one, bool) and 1 <= one <= CANARY_MOST for one in steps)
    if not isinstance(given, list | tuple) or not is_fine or len(steps) > CANARY_STEPS:
        raise InvalidJob(
            f"canary is {given!r:.100}; give at most 10 whole numbers from 1 to 200, such as (1, 10).", field="canary"
        )
    return steps


def status(context: FleetContext, rescue: str) -> Operation[RescueStatus]:
    """Read a rescue.

    Raises:
        UnknownRescue: There is no such rescue.
    """
    stored: calls.StoredRescue = value((yield (calls.rescue(context.keys, rescue),)))
    if not stored.fields:
        raise UnknownRescue(rescue)
    return status_of(stored)


def listing(context: FleetContext, *, limit: int = 50) -> Operation[list[RescueStatus]]:
    """List the rescues, the newest first.

    Raises:
        InvalidJob: `limit` is not a whole number from 1.
    """
    check_number(limit)
    found: list[calls.StoredRescue] = value((yield (calls.rescues(context.keys, limit=limit),)))
    return [status_of(stored) for stored in found if stored.fields]


def action(context: FleetContext, verb: str, rescue: str) -> Action:
    """The ``stop`` or the ``undo`` of a rescue as the audit records it. One without jobs in flight is stopped."""
    after = {"state": "stopped"} if verb == "stop" else {}

    def look() -> Operation[Change]:
        found = yield from status(context, rescue)
        return Change({"state": found.state, "replayed": found.replayed, "in_flight": found.in_flight}, after)

    return Action(f"rescue.{verb}", f"{rescue}", after, look, outcome_of if verb == "stop" else _undone)


def _undone(noted: NotedRescue) -> Outcome:
    return Outcome("done" if noted.state != noted.before else "unchanged", after={"state": noted.state})


def find(context: FleetContext, text: str) -> Operation[str]:
    """Return the id of a rescue from its id, or from the fingerprint of its group, which names the last one.

    Raises:
        UnknownRescue: There is no such rescue.
    """
    if isinstance(text, str) and FINGERPRINT.fullmatch(text):
        _, stored = value((yield (groups(context.keys, fingerprint=text),)))
        text = (stored[0].fields.get("rescue") if stored else "") or text
    return (yield from status(context, text)).id


def stop(context: FleetContext, rescue: str, by: str | None) -> Operation[bool]:
    """Stop a rescue; False if it was not running.

    Raises:
        UnknownRescue: There is no such rescue.
    """
    noted = value((yield (calls.note_rescue(context.keys, rescue, wish="stop", by=by),)))
    if not noted.before:
        raise UnknownRescue(rescue)
    return bool(noted.before == "running")


# Carry out rescues, step by step. Any number of processes may do this at once, and any of them may die meanwhile.
#
# A step first records which letters it replays, under the number of the step, and only then replays them. A record
# names the entry of each letter, so a replay that is repeated, or late, finds that letter or nothing. A letter is
# planned at most once, because plans go through the letters in their order, up to the begin of the rescue.


FLYING_MOST = 10_000
"""The most jobs of a rescue in flight; further ones wait for them."""
BURST_US = 2_000_000
"""The longest time for which a rate is caught up, in µs."""
IN_FLIGHT, COMPLETED, FAILED, ENDED, LEFT, UNDONE, STARTED = (
    "s", "completed", "failed", "ended", "left", "undone", "started",
)  # fmt: skip


NEEDED = frozenset({"stage", "last", "every", "step", "at", "canary", "is_read", "stop_after"})
"""The fields without which no further letter can be planned."""
DAMAGED = "damaged record"
"""Who has stopped a rescue of which a needed field cannot be read."""


class Advanced(NamedTuple):
    """What one step has done.

    Attributes:
        noted: The state, and the outcomes that were counted.
        replayed: The number of letters that were planned.
        can_go_on: Whether the next step has work at once.
    """

    noted: NotedRescue
    replayed: int = 0
    can_go_on: bool = False


def advance(context: FleetContext, rescue: str) -> Operation[Advanced]:
    """Do one step of a rescue: look at jobs in flight, and replay the next letters if it is time."""
    stored: StoredRescue = value((yield (calls.rescue(context.keys, rescue, limit=calls.PAGE),)))
    state = stored.fields.get("state", "")
    outcomes = [(job, LEFT) for job, _ in stored.jobs if job.raw]
    readable = ((context.keys.lane_of(one[0].id), one) for one in stored.jobs if not one[0].raw)
    for lane, jobs in by_lane(readable, calls.CHUNK):
        if state == "undoing":
            outcomes += yield from _undo(context, lane, [job for job, _ in jobs])
        else:
            outcomes += yield from _look(lane, jobs, rescue, is_running=state == "running")
    is_damaged = state == "running" and not stored.fields.keys() >= NEEDED
    wish, by = ("stop", DAMAGED) if is_damaged else ("", None)
    noted: NotedRescue = value((yield (calls.note_rescue(context.keys, rescue, outcomes, wish=wish, by=by),)))
    if noted.state != "running":
        return Advanced(noted, can_go_on=noted.state == "undoing" and noted.flying > 0)
    return Advanced(noted, (yield from _plan(context, stored, noted.flying)))


def undo(context: FleetContext, rescue: str, by: str | None) -> Operation[NotedRescue]:
    """Stop a rescue, and make dead letters again of its jobs that have not started.

    Raises:
        UnknownRescue: There is no such rescue.
    """
    noted: NotedRescue = value((yield (calls.note_rescue(context.keys, rescue, wish="undo", by=by),)))
    if not noted.before:
        raise UnknownRescue(rescue)
    while noted.state == "undoing":
        noted = (yield from advance(context, rescue)).noted
    return noted


def author(rescue: str) -> str:
    """Who replays, for the history of a job."""
    return f"rescue {rescue}"


def _look(
    lane: Lane, jobs: Sequence[tuple[Planned, int]], rescue: str, *, is_running: bool
) -> Operation[list[tuple[Planned, str]]]:
    """Replay jobs that are planned only, and see how the others are."""
    fresh = [job for job, at in jobs if not at]
    words: dict[str, str] = {}
    if fresh and is_running:
        words = yield from _replay(lane, fresh, rescue)
    elif fresh:
        words = yield from _unplanned(lane, fresh)
    ids = [job.id for job, _ in jobs]
    _, found = value((yield (inspect.stored_status(lane, ids),)))
    outcomes = [(job, _outcome(words.get(job.id, ""), state)) for (job, _), state in zip(jobs, found, strict=True)]
    over = [
        job.id
        for (job, outcome), state in zip(outcomes, found, strict=True)
        if isinstance(state, InRun) or outcome != IN_FLIGHT
    ]
    if over:
        value((yield (calls.drop_letters(lane, over),)))
    return outcomes


def _replay(lane: Lane, jobs: Sequence[Planned], rescue: str) -> Operation[dict[str, str]]:
    edits = {job.id: Edit(job.entry) for job in jobs}
    answers = yield (
        calls.keep_letters(lane, jobs),
        control.replay(lane, list(edits), by=author(rescue), edits=edits),
    )
    value(answers[:1])
    return dict(zip(edits, value(answers[1:]), strict=True))


def _unplanned(lane: Lane, jobs: Sequence[Planned]) -> Operation[dict[str, str]]:
    """Find planned jobs that are still the dead letters that they were."""
    answers = yield [inspect.letter(lane, job.id) for job in jobs]
    letters: list[DeadLetter | None] = [value([answer]) for answer in answers]
    return {
        job.id: "unknown"
        for job, letter in zip(jobs, letters, strict=True)
        if letter is not None and letter.entry == job.entry
    }


def _outcome(word: str, state: Found) -> str:
    """The outcome of a job, by the reply to its replay and by its state."""
    if word == "unknown" or word.startswith("duplicate:"):
        return LEFT
    if word == "already" and isinstance(state, Final) and state.status == JobStatus.FAILED:
        return LEFT  # the letter was purged, and the result of the failure is still stored
    if isinstance(state, InWait | InRun):
        return IN_FLIGHT
    if isinstance(state, Dead):
        return FAILED
    if isinstance(state, Final):
        return {JobStatus.COMPLETED: COMPLETED, JobStatus.FAILED: FAILED}.get(JobStatus(state.status), ENDED)
    return ENDED


def _undo(context: FleetContext, lane: Lane, jobs: Sequence[Planned]) -> Operation[list[tuple[Planned, str]]]:
    ids = [job.id for job in jobs]
    ttl_ms = round(context.config.failed_result_ttl * 1000)
    letters: str = value((yield (calls.undo_replay(lane, ids, ttl_ms=ttl_ms),)))
    rest = [job for job, letter in zip(jobs, letters, strict=True) if letter != "u"]
    outcomes = [(job, UNDONE) for job, letter in zip(jobs, letters, strict=True) if letter == "u"]
    if rest:
        words = yield from _unplanned(lane, rest)
        _, found = value((yield (inspect.stored_status(lane, [job.id for job in rest]),)))
        for job, state in zip(rest, found, strict=True):
            outcome = _outcome(words.get(job.id, ""), state)
            outcomes.append((job, STARTED if outcome == IN_FLIGHT else outcome))
        value((yield (calls.drop_letters(lane, [job.id for job in rest]),)))
    return outcomes


def _plan(context: FleetContext, stored: StoredRescue, flying: int) -> Operation[int]:
    """Record the next letters, if it is time, and replay them; return how many."""
    fields = stored.fields
    if fields.get("is_read") == "1":
        return 0
    canary, stage, last = canary_of(fields), int(fields["stage"]), int(fields["last"])
    if stage <= len(canary):
        if flying:
            return 0
        number = canary[stage] if stage < len(canary) else 1
        stage, last = stage + 1, stored.now
    else:
        every = int(fields["every"])
        behind = stored.now - last
        number = min(min(behind, max(BURST_US, every)) // every, FLYING_MOST - flying, calls.PAGE)
        last = stored.now if behind > max(BURST_US, every) else last + number * every
    if number <= 0:
        return 0
    picked, cursor, is_read = yield from _pick(context, stored, number)
    call = calls.plan_rescue(
        context.keys,
        stored.id,
        picked,
        step=int(fields["step"]),
        stage=stage,
        cursor=cursor,
        last=last,
        is_read=is_read,
    )
    planned: int | None = value((yield (call,)))
    return planned or 0


def _pick(context: FleetContext, stored: StoredRescue, number: int) -> Operation[tuple[list[Planned], str, bool]]:
    """Choose the oldest letters after those that were planned; return the new cursor, and whether it is the end."""
    fields = stored.fields
    every = yield from lanes(context)
    yield from file_all(context, every)
    after = read_cursor(fields.get("cursor", "")) or NO_POSITION
    upto = int(fields["at"]) // 1000
    name, limit = group_name(fields["fp"]), number
    answers = yield [
        calls.oldest_letters(lane, name, after=_after(lane, after), upto_ms=upto, limit=limit) for lane in every
    ]
    found: list[tuple[Position, calls.OldLetter]] = []
    is_full = False
    for lane, answer in zip(every, answers, strict=True):
        rows: list[calls.OldLetter] = value([answer])
        is_full = is_full or len(rows) == limit
        for row in rows:
            ms, _, seq = row.entry.partition("-")
            found.append((Position(int(ms), int(seq), lane.queue, lane.index), row))
    found.sort()
    chosen = found[:limit]
    cursor = chosen[-1][0].text if chosen else fields.get("cursor", "")
    jobs = [Planned(row.id, row.entry) for _, row in chosen if not _is_of(stored.id, row.tries)]
    return jobs, cursor, not is_full and len(found) <= limit


def _after(lane: Lane, after: Position) -> str:
    """The entry after which the letters of a lane follow; those of the same entry in an earlier lane came before."""
    if (lane.queue, lane.index) <= (after.queue, after.lane):
        return f"{after.ms}-{after.seq}"
    return f"{after.ms}-{after.seq - 1}" if after.seq else f"{max(0, after.ms - 1)}-999999"


def _is_of(rescue: str, tries: str) -> bool:
    """Whether a job was replayed by this rescue before; the clocks of two nodes of a cluster may differ."""
    lines = (line.split(" ") for line in tries.split("\n")[1:])
    return any(words[:1] == ["replayed"] and words[2:3] == [control.who(author(rescue))] for words in lines)
