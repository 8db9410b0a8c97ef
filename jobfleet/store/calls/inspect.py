"""Reading: status, explain, counts, listings. Nothing here writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jobfleet.store.call import Call, Reply
from jobfleet.store.calls.paused import read_pause
from jobfleet.store.calls.presence import queues_of
from jobfleet.store.found import Dead, DeadLetter, Final, Finished, Found, InRun, InWait, Running, Unknown, Waiting
from jobfleet.store.keys import BANDS, Keyspace, Lane
from jobfleet.store.script import load
from jobfleet.store.standing import Explained, Grouped, Limited
from jobfleet.store.values import BLOCKED, Counts, FleetSeen, Run, WorkerSeen

CHUNK = 50
LISTED = 1000
"""Queues that are read at once; more are read by pages."""
GROUPED = 9_000_000_000_000_000
"""Jobs of groups stand so much before their due time, µs; lib/place.lua says the same."""
_GROUPED, _BLOCKED = 1, 2
SECTIONS = (0, 4, 1, 5, 2, 6, 3, 7, 8, 9, 10, 11)
"""Where jobs wait, by urgency: a band's jobs without a group, those with one; at the end those that wait for others."""
UNBLOCKED = 8
"""How many of the sections hold jobs that wait for nothing but their time and their turn."""
_NO_WORDS = ("", "0", "0", "0", "-", "-", "-", "0", "-")


def status(lane: Lane, ids: Sequence[str]) -> Call[tuple[int, list[Found]]]:
    """What is known of at most 50 jobs, and Redis's time."""
    return Call(
        load("status"),
        (lane.lane,),
        (lane.tag, *ids),
        lambda reply: (int(reply[1]), [_found(row) for row in reply[2:]]),
    )


def _found(row: Reply) -> Found:
    word = row[0]
    if word == b"final":
        return final_of(row[1], row[2])
    if word == b"dead":
        return Dead(row[1], row[2], row[3].decode(), row[4].decode())
    if word == b"running":
        return InRun(Run.parse(row[1].decode()), row[2], row[3].decode(), row[4])
    if word == b"waiting":
        return InWait(int(row[1]), int(float(row[2])), row[3].decode(), row[4], row[5])
    return Unknown()


def final_of(value: bytes, progress: bytes = b"") -> Final:
    """Read what is kept of a job's end: a clear line, then its record or its envelope."""
    line, _, body = value.partition(b"\n")
    words = line.decode().split(" ")
    status, at, token, started, child, by, reason, asked, stage = (*words, *_NO_WORDS[len(words) :])
    return Final(
        status, int(at), int(token), int(started), child, by, reason, body, progress, int(asked), stage.strip("-")
    )


def explain(lane: Lane, job_id: str) -> Call[Explained]:
    """What one job's start depends on in its lane."""
    return Call(load("explain"), (lane.lane,), (lane.tag, job_id), _explained)


def _explained(reply: Reply) -> Explained:
    rows = reply[3]
    facts = {rows[i].decode(): rows[i + 1] for i in range(0, len(rows), 2)}
    paused = facts["paused"].decode()
    pause = read_pause(paused)
    return Explained(
        now=int(reply[1]),
        found=_found(reply[2]),
        meta=facts["meta"].decode(),
        paused_by=paused.partition("@")[0] or None,
        paused_at=pause.at,
        reason=pause.reason,
        functions=facts["functions"].decode(),
        deadline=int(float(facts["deadline"])),
        hold=int(facts["hold"]),
        due=tuple(int(facts[f"due:{band}"]) for band in range(BANDS)),
        rank=int(facts.get("rank", 0)),
        watched=bool(facts["watched"]),
        limit=_limited(facts["limit"]) if "limit" in facts else None,
        group=_grouped(facts) if "group" in facts else None,
    )


def _limited(text: bytes) -> Limited:
    most, running, token = map(int, text.split(b" "))
    return Limited(most, running, token)


def _grouped(facts: Mapping[str, Any]) -> Grouped:
    paused = facts["group_paused"].decode()
    pause = read_pause(paused)
    return Grouped(
        facts["group"].decode(),
        paused_by=paused.partition("@")[0],
        paused_at=pause.at,
        paused_reason=pause.reason,
        limit=_limited(facts["group_limit"]),
        holders=tuple(facts["holders"].decode().split()),
        ahead=int(facts.get("ahead", 0)),
        turns=int(facts.get("turns", 0)),
    )


def counts(lane: Lane) -> Call[Counts]:
    """How much stands where in a lane."""
    return Call(load("counts"), (lane.lane,), (lane.tag,), _counts)


def _counts(reply: Reply) -> Counts:
    totals, paused = reply[9], reply[8].decode()
    return Counts(
        int(reply[1]),
        tuple(reply[2]),
        tuple(reply[3]),
        tuple(reply[4]),
        int(reply[5]),
        int(reply[6]),
        int(reply[7]),
        paused.partition("@")[0] or None,
        {totals[i].decode(): int(totals[i + 1]) for i in range(0, len(totals), 2)},
        int(reply[10]),
        int(reply[11]),
        int(reply[12].partition(b"-")[0] or 0) * 1000,
        read_pause(paused).reason,
        reply[13].decode(),
    )


def waiting(
    lane: Lane, section: int, *, start: str = "-inf", stop: str = "+inf", skip: int = 0, limit: int = CHUNK
) -> Call[tuple[int, list[Waiting]]]:
    """A page of the jobs that wait in a section, by due time, and Redis's time.

    Args:
        lane: Where.
        section: One of `SECTIONS`: 0 for CRITICAL … 3 for LOW; 4 more for jobs of groups, 8 more for blocked ones.
        start: The lowest due time in µs, as a bound of ZRANGEBYSCORE.
        stop: The highest.
        skip: How many of the first to pass over.
        limit: 1 to 50.
    """
    part = section // BANDS
    if part == _BLOCKED:
        start, stop = f"{BLOCKED}", "+inf"
    elif part == _GROUPED:
        start, stop = _shifted(start), "(0" if stop == "+inf" else _shifted(stop)
    else:
        start, stop = "0" if start == "-inf" else start, f"({BLOCKED}" if stop == "+inf" else stop
    offset = GROUPED if part == _GROUPED else 0
    return Call(
        load("waiting"),
        (lane.ready[section % BANDS],),
        (lane.tag, start, stop, skip, limit),
        lambda reply: (
            int(reply[1]),
            [Waiting(row[0].decode(), int(float(row[1])) + offset, row[2].decode(), row[3]) for row in reply[2:]],
        ),
    )


def _shifted(bound: str) -> str:
    """A bound of due times as it stands among jobs of groups."""
    if bound == "-inf":
        return bound
    return f"({int(bound[1:]) - GROUPED}" if bound.startswith("(") else str(int(bound) - GROUPED)


def running(lane: Lane, *, skip: int = 0, limit: int = CHUNK) -> Call[tuple[int, list[Running]]]:
    """A page of the jobs that run, by lease deadline, and Redis's time."""
    return Call(
        load("running"),
        (lane.lease,),
        (lane.tag, skip, limit),
        lambda reply: (int(reply[1]), [_running(row) for row in reply[2:]]),
    )


def _running(row: Reply) -> Running:
    run = Run.parse(row[2].decode())
    return Running(row[0].decode(), int(float(row[1])), run, row[3].decode(), row[4], row[5])


def finished(lane: Lane, *, before: str = "+", limit: int = CHUNK) -> Call[list[Finished]]:
    """A page of finished jobs, newest batch first; `before` is the bound ``(`` + the last entry seen."""
    return Call(load("finished"), (lane.done,), (before, limit), _finished)


def _finished(reply: Reply) -> list[Finished]:
    rows = []
    for entry, lines in reply[1:]:
        for line in reversed(lines.decode().split("\n")):
            suffix, outcome, duration = line.split(" ")
            rows.append(Finished(entry.decode(), suffix, outcome, int(duration)))
    return rows


def dead(lane: Lane, *, before: str = "+", limit: int = CHUNK) -> Call[list[DeadLetter]]:
    """A page of dead letters, newest first; `before` is the bound ``(`` + the last entry seen."""
    return Call(load("dead"), (lane.dlq,), (before, limit), lambda reply: [_letter(row) for row in reply[1:]])


def _letter(row: Reply) -> DeadLetter:
    entry, job_id, reason, band, tries, meta = (part.decode() for part in row[:6])
    return DeadLetter(entry, job_id, reason, int(band), tries, meta, row[6], row[7])


def letter(lane: Lane, job_id: str) -> Call[DeadLetter | None]:
    """One dead letter; None when there is none of that job."""
    return Call(
        load("letter"),
        (lane.dead,),
        (lane.tag, job_id),
        lambda reply: _letter(reply[1]) if len(reply) > 1 else None,
    )


def memory(keys: Keyspace) -> Call[tuple[int, int]]:
    """How many bytes the server uses, and may use; 0 where nothing limits it."""
    return Call(load("memory"), (keys.queues,), (), lambda reply: (int(reply[1]), int(reply[2])))


def fleet(keys: Keyspace, *, most: int = LISTED) -> Call[FleetSeen]:
    """Queues, workers and functions of the fleet.

    Args:
        keys: The fleet's keys.
        most: How many queues are listed; where there are more, none is: see `queues`, and `jobfleet.store.fleet`.
    """
    return Call(load("fleet"), (keys.queues,), (keys.tag, most), _fleet)


def queues(keys: Keyspace, cursor: bytes = b"0") -> Call[tuple[bytes, dict[str, tuple[int, int]]]]:
    """A page of the queues, and the cursor of the next, ``b"0"`` after the last."""
    return Call(load("queues"), (keys.queues,), (cursor, LISTED), lambda reply: (bytes(reply[1]), queues_of(reply[2])))


def _fleet(reply: Reply) -> FleetSeen:
    rows, functions = reply[3], reply[4]
    return FleetSeen(
        int(reply[1]),
        queues_of(reply[2]),
        tuple(WorkerSeen(rows[i].decode(), int(float(rows[i + 1])), rows[i + 2]) for i in range(0, len(rows), 3)),
        {functions[i].decode(): functions[i + 1] for i in range(0, len(functions), 2)},
        reply[5].decode(),
        int(reply[6]),
    )
