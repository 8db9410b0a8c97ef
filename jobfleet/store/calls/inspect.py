"""Calls that read state: status, explain, counts and listings. None of them writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import Any, NamedTuple, cast
from urllib.parse import unquote_plus

from jobfleet.model.audit import from_word
from jobfleet.model.status import FINAL
from jobfleet.store import records
from jobfleet.store.call import Call, Reply
from jobfleet.store.calls.control import read_pause
from jobfleet.store.calls.presence import queues_of, sound_queues
from jobfleet.store.keys import (
    BANDS,
    BLOCKED,
    BLOCKED_BOUNDS,
    GROUPED,
    Keyspace,
    Lane,
    due_of_score,
    grouped_bounds,
    plain_bounds,
    ungrouped,
)
from jobfleet.store.records import (
    Counts,
    Dead,
    DeadLetter,
    Final,
    Finished,
    FleetSeen,
    Found,
    InRun,
    InWait,
    Running,
    RunRecord,
    Unknown,
    Waiting,
    WorkerSeen,
)
from jobfleet.store.rows import (
    NOT_READ,
    SUFFIX_MOST,
    counter_of,
    fields,
    id_of,
    ids_of,
    kept,
    number_of,
    report,
    shown,
    shown_tries,
    sound,
    text_of,
    time_of,
    tries_of,
)
from jobfleet.store.script import load

CHUNK = 50
STATUS_BYTES = 4 * 1024 * 1024
"""Bytes of states in one reply. One state may be larger."""
EVERY_BYTE = 1 << 52
LISTED = 1000
"""Maximum number of queues that are read at once; more are read by pages."""
_GROUPED, _BLOCKED = 1, 2
_new_waiting = cast("Callable[[tuple[Any, ...]], Waiting]", partial(tuple.__new__, Waiting))
_new_running = cast("Callable[[tuple[Any, ...]], Running]", partial(tuple.__new__, Running))
"""Make a row without a Python frame per row."""
SECTIONS = (0, 4, 1, 5, 2, 6, 3, 7, 8, 9, 10, 11)
"""The sections of waiting jobs, by urgency: per band without group, per band with group, and blocked ones last."""
MISSING_RUN = RunRecord(0, "-", 0, 0, 2, "", 0)
NO_OUTCOME = "?"
ENDINGS = frozenset(str(status) for status in FINAL)
UNBLOCKED = 8
"""The number of sections of jobs that are not blocked."""
_NO_WORDS = ("", "0", "0", "0", "-", "-", "-", "0", "-", "")
PAST, COUNTS = "l:", 7
"""How the past of a job begins in the line of its ending (lib/ending/past.lua): so, or after that many counts."""


def status(lane: Lane, ids: Sequence[str]) -> Call[tuple[int, list[Found]]]:
    """Return the states of at most 50 jobs, and Redis's time."""
    if lane.seals is None:
        return stored_status(lane, ids)
    return Call(load("status"), (lane.lane,), (lane.tag, EVERY_BYTE, 0, *ids), partial(_opened_states, lane, ids))


def stored_status(lane: Lane, ids: Sequence[str]) -> Call[tuple[int, list[Found]]]:
    """Like `status`, with envelopes and records as they are stored, which may be sealed."""
    return Call(load("status"), (lane.lane,), (lane.tag, EVERY_BYTE, 0, *ids), _stored_states)


def first_states(lane: Lane, ids: Sequence[str], *, bare: bool = False) -> Call[tuple[int, list[Found]]]:
    """Like `status`, of as many of the first jobs as fit into one reply; at least of one.

    Args:
        lane: The lane.
        ids: The jobs, at most 50.
        bare: Whether the envelopes of open jobs are left out. What such jobs have is then not opened.
    """
    read = _stored_states if lane.seals is None else partial(_opened_states, lane, ids, bare=bare)
    return Call(load("status"), (lane.lane,), (lane.tag, STATUS_BYTES, int(bare), *ids), read)


def _stored_states(reply: Reply) -> tuple[int, list[Found]]:
    return int(reply[1]), [_found(row) for row in reply[2:]]


def _opened_states(lane: Lane, ids: Sequence[str], reply: Reply, *, bare: bool = False) -> tuple[int, list[Found]]:
    states: list[Found] = []
    for job_id, row in zip(ids, reply[2:], strict=False):  # the reply may end before the ids do
        is_left = bare and row[0] in {b"running", b"waiting"}
        states.append(_found(row) if is_left else found_of(lane, job_id, row))
    return int(reply[1]), states


def found_of(lane: Lane, job_id: str, row: Reply) -> Found:
    """Parse the state of a job, and open what it has."""
    found = _found(row)
    return found if lane.seals is None else records.opened(lane.seals, job_id, found)


def _found(row: Reply) -> Found:
    """Parse the state of a job; parts that cannot be read are left out."""
    try:
        return _read(row)
    except NOT_READ:
        if row[0] == b"running":
            return InRun(run_of(row[1]), row[2], shown_tries(row[3]), row[4])
        if row[0] == b"waiting":
            return InWait(int(row[1]), number_of(row[2]), shown_tries(row[3]), row[4], row[5], text_of(row[6]))
        return Dead(row[1], row[2], text_of(row[3]), "") if row[0] == b"dead" else Unknown()


def run_of(record: bytes) -> RunRecord:
    """Parse the record of a run; an invalid one becomes token 0 of no child."""
    try:
        return RunRecord.parse(record.decode())
    except NOT_READ:
        return MISSING_RUN


def _read(row: Reply) -> Found:
    word = row[0]
    if word == b"final":
        final = final_of(row[1], row[2])
        if final.status not in ENDINGS:
            raise ValueError(f"{final.status!r} is not an ending")
        return final
    if word == b"dead":
        return Dead(row[1], row[2], row[3].decode(), tries_of(row[4]))
    if word == b"running":
        return InRun(RunRecord.parse(row[1].decode()), row[2], tries_of(row[3]), row[4])
    if word == b"waiting":
        return InWait(int(row[1]), int(float(row[2])), tries_of(row[3]), row[4], row[5], row[6].decode())
    return Unknown()


def final_of(value: bytes, progress: bytes = b"") -> Final:
    """Parse the record of an ending: a line of fields, followed by the result record or the envelope."""
    line, _, body = value.partition(b"\n")
    words = line.decode().split(" ")
    status, at, token, started, child, by, reason, asked, stage, spent = (*words, *_NO_WORDS[len(words) :])
    by, asked_at, reached = from_word(by), int(asked), stage.strip("-")
    past = ""
    if reason.startswith(PAST):
        reason, past = "-", reason.removeprefix(PAST)
    elif spent.count(":") >= COUNTS:
        counts = spent.split(":", COUNTS)
        spent, past = ":".join(counts[:COUNTS]), counts[COUNTS]
    return Final(
        status, int(at), int(token), int(started), child, by, reason, body, progress, asked_at, reached, spent,
        tuple(unquote_plus(past, errors="replace").split("\n")) if past else (),
    )  # fmt: skip


def explain(lane: Lane, job_id: str) -> Call[Explained]:
    """Return everything that the start of a job depends on in its lane."""
    return Call(load("explain"), (lane.lane,), (lane.tag, job_id), partial(_explained, lane, job_id))


def _explained(lane: Lane, job_id: str, reply: Reply) -> Explained:
    facts = {name.decode(): fact for name, fact in zip(reply[3][::2], reply[3][1::2], strict=True)}
    pause = read_pause(paused := text_of(facts["paused"]))
    return Explained(
        now=int(reply[1]),
        found=found_of(lane, job_id, reply[2]),
        meta=text_of(facts["meta"]),
        paused_by=from_word(paused.partition("@")[0]) or None,
        paused_at=pause.at,
        reason=pause.reason,
        functions=text_of(facts["functions"]),
        deadline=number_of(facts["deadline"]),
        hold=number_of(facts["hold"]),
        due=tuple(int(facts[f"due:{band}"]) for band in range(BANDS)),
        rank=int(facts.get("rank", 0)),
        watched=bool(facts["watched"]),
        limit=_limited(facts["limit"]) if "limit" in facts else None,
        group=_grouped(facts) if "group" in facts else None,
        last_wait=text_of(facts.get("wait", b"")),
        sequence=InSequence.parse(text_of(facts.get("sequence", b""))),
    )


def _limited(text: bytes) -> Limited:
    most, running, token, *declared_by = text.split(b" ")
    most_by, rate_by = (() if names == b"-" else tuple(text_of(names).split(",")) for names in declared_by)
    return Limited(number_of(most), number_of(running), number_of(token), most_by, rate_by)


def _grouped(facts: Mapping[str, Any]) -> Grouped:
    paused = text_of(facts["group_paused"])
    pause = read_pause(paused)
    return Grouped(
        text_of(facts["group"]),
        paused_by=from_word(paused.partition("@")[0]),
        paused_at=pause.at,
        paused_reason=pause.reason,
        limit=_limited(facts["group_limit"]),
        holders=tuple(text_of(facts["holders"]).split()),
        ahead=int(facts.get("ahead", 0)),
        turns=int(facts.get("turns", 0)),
    )


def counts(lane: Lane) -> Call[Counts]:
    """Return the numbers of jobs in a lane."""
    return Call(load("counts"), (lane.lane,), (lane.tag,), _counts)


def _counts(reply: Reply) -> Counts:
    paused = text_of(reply[8])
    return Counts(
        int(reply[1]),
        tuple(reply[2]),
        tuple(reply[3]),
        tuple(reply[4]),
        int(reply[5]),
        int(reply[6]),
        number_of(reply[7]),
        from_word(paused.partition("@")[0]) or None,
        dict(kept(zip(reply[9][::2], reply[9][1::2], strict=True), _total, "totals")),
        int(reply[10]),
        int(reply[11]),
        int(reply[12].partition(b"-")[0] or 0) * 1000,
        read_pause(paused).reason,
        text_of(reply[13]),
        text_of(reply[14]),
    )


def _total(pair: tuple[bytes, bytes]) -> tuple[str, int]:
    return pair[0].decode(), counter_of(pair[1])


def waiting(
    lane: Lane, section: int, *, start: str = "-inf", stop: str = "+inf", skip: int = 0, limit: int = CHUNK
) -> Call[tuple[int, list[Waiting]]]:
    """Return a page of the waiting jobs in a section, by due time, and Redis's time.

    Args:
        lane: The lane.
        section: One of `SECTIONS`: 0 for CRITICAL … 3 for LOW; plus 4 for group jobs, plus 8 for blocked ones.
        start: The lowest due time in µs, as a bound of ZRANGEBYSCORE.
        stop: The highest due time, likewise.
        skip: Number of rows to skip.
        limit: 1 to 50.
    """
    part = section // BANDS
    if part == _BLOCKED:
        start, stop = BLOCKED_BOUNDS
    else:
        start, stop = (grouped_bounds if part == _GROUPED else plain_bounds)(start, stop)
    offset = GROUPED if part == _GROUPED else 0
    return Call(
        load("waiting"),
        (lane.ready[section % BANDS],),
        (lane.tag, start, stop, skip, limit),
        lambda reply: (
            int(reply[1]),
            _waiting_rows(lane, reply[2:], offset),
        ),
    )


def _waiting_rows(lane: Lane, rows: Reply, offset: int) -> list[Waiting]:
    if not rows:
        return []
    try:
        raws, scores, tries, envelopes, waits = zip(*rows, strict=True)
        dues = [int(float(score)) + offset for score in scores]
        awaited = map(text_of, waits) if any(waits) else repeat("")
        columns = zip(ids_of(raws, lane.id_prefix), dues, _tries(tries), envelopes, repeat(""), awaited, strict=False)
        return list(map(_new_waiting, columns))
    except NOT_READ:
        return [_waiting(lane, row) for row in rows]


def _tries(column: Sequence[bytes]) -> Iterable[str]:
    return map(tries_of, column) if any(column) else repeat("")


def _waiting(lane: Lane, row: Reply) -> Waiting:
    job_id, tries, wrong = _id_and_tries(lane, row[0], row[2])
    return Waiting(job_id, ungrouped(number_of(row[1], BLOCKED)), tries, row[3], wrong, text_of(row[4]))


def awaiting(lane: Lane, section: int, *, skip: int = 0, limit: int = LISTED) -> Call[tuple[int, int, list[Waiting]]]:
    """Return the jobs that wait for a signal, at most `CHUNK`, among some that are not due, the latest due first.

    Args:
        lane: The lane.
        section: One of `SECTIONS` that is not blocked.
        skip: Number of jobs to skip.
        limit: Number of jobs to look at.

    Returns:
        Redis's time, how many jobs were looked at, and the rows.
    """
    is_grouped = section // BANDS == _GROUPED
    return Call(
        load("awaiting"),
        (lane.ready[section % BANDS],),
        (lane.tag, int(is_grouped), skip, limit, CHUNK),
        lambda reply: (
            int(reply[1]), int(reply[2]), _waiting_rows(lane, reply[3:], GROUPED if is_grouped else 0),
        ),
    )  # fmt: skip


def _id_and_tries(lane: Lane, raw: bytes, tries: bytes) -> tuple[str, str, str]:
    """Read the id and the tries of a row; the third value says what is wrong with them, and is usually empty."""
    try:
        return id_of(raw, lane.id_prefix), tries_of(tries), ""
    except ValueError as error:
        return text_of(raw), shown_tries(tries), str(error)


def running(lane: Lane, *, skip: int = 0, limit: int = CHUNK, bare: bool = False) -> Call[tuple[int, list[Running]]]:
    """Return a page of the running jobs, by lease deadline, and Redis's time; if bare, without all but ids and runs."""
    return Call(
        load("running"),
        (lane.lease,),
        (lane.tag, skip, limit, int(bare)),
        lambda reply: (int(reply[1]), _with_progress(lane, _running_rows(lane, reply[2:]))),
    )


def _with_progress(lane: Lane, rows: list[Running]) -> list[Running]:
    if (seals := lane.seals) is None:
        return rows
    return [row._replace(progress=seals.open_value(row.progress, "progress", row.id)) for row in rows]


def _running_rows(lane: Lane, rows: Reply) -> list[Running]:
    if not rows:
        return []
    try:
        raws, deadlines, runs, tries, envelopes, progress = zip(*rows, strict=True)
        columns = zip(
            ids_of(raws, lane.id_prefix),
            map(int, map(float, deadlines)),
            [RunRecord.parse(run.decode()) for run in runs],
            _tries(tries),
            envelopes,
            progress,
            repeat(""),
            strict=False,
        )
        return list(map(_new_running, columns))
    except NOT_READ:
        return [_running(lane, row) for row in rows]


def _running(lane: Lane, row: Reply) -> Running:
    job_id, tries, wrong = _id_and_tries(lane, row[0], row[3])
    run = run_of(row[2])
    if run is MISSING_RUN and not wrong:
        wrong = f"its run is {shown(row[2])}"
    return Running(job_id, number_of(row[1]), run, tries, row[4], row[5], wrong)


def finished(lane: Lane, *, before: str = "+", limit: int = CHUNK) -> Call[list[Finished]]:
    """Return a page of finished jobs, newest batch first; `before` is the bound ``(`` + the last entry seen."""
    return Call(load("finished"), (lane.done,), (before, limit), _finished)


def _finished(reply: Reply) -> list[Finished]:
    rows: list[Finished] = []
    for entry, lines in reply[1:]:
        good, bad = sound(reversed(lines.split(b"\n")), _ended)
        rows += [Finished(entry.decode(), *line) for line in good]
        # The row must be returned, although it cannot be read, because paging needs its entry.
        rows += [Finished(entry.decode(), "", NO_OUTCOME, 0) for _ in bad[:1]]
    return rows


def _ended(line: bytes) -> tuple[str, str, int]:
    suffix, outcome, duration = line.decode().split(" ")
    if len(suffix) > SUFFIX_MOST:
        raise ValueError(f"{len(suffix):,} characters are too many for the suffix of an id")
    return suffix, outcome, int(duration)


def recent(lane: Lane, *, limit: int, kinds: str = "wre", part: str = "") -> Call[tuple[int, dict[str, int]]]:
    """Return Redis's time, and the newest jobs of each kind: their ids, and for each the time of what it waits for.

    Args:
        lane: The lane.
        limit: 1 to 1,000; most jobs of each kind.
        kinds: Letters of the kinds: w waiting, r running, e ended, d dead letters.
        part: Only ids that begin or end with this text, or whose last part begins with it; empty for all.
    """
    return Call(load("recent"), (lane.lane,), (lane.tag, lane.id_prefix, limit, kinds, part), _recent)


def _recent(reply: Reply) -> tuple[int, dict[str, int]]:
    rows = zip(reply[2][::2], reply[2][1::2], strict=True)
    return int(reply[1]), dict(kept(rows, _total, "the newest jobs"))


def dead(lane: Lane, *, before: str = "+", limit: int = CHUNK) -> Call[list[DeadLetter]]:
    """Return a page of dead letters, newest first; `before` is the bound ``(`` + the last entry seen."""
    return Call(load("dead"), (lane.dlq,), (before, limit), lambda reply: [letter_of(lane, row) for row in reply[1:]])


def letter_of(lane: Lane, row: Reply) -> DeadLetter:
    """Parse a row of a dead letter, and open what it has."""
    entry, job_id, reason, meta = (text_of(row[place]) for place in (0, 1, 2, 5))
    record, envelope = row[6:8] if lane.seals is None else records.opened_letter(lane.seals, job_id, *row[6:8])
    return DeadLetter(entry, job_id, reason, number_of(row[3], 2), shown_tries(row[4]), meta, record, envelope)


def letter(lane: Lane, job_id: str) -> Call[DeadLetter | None]:
    """Return one dead letter; None if the job has none."""
    return Call(
        load("letter"),
        (lane.dead,),
        (lane.tag, job_id),
        lambda reply: letter_of(lane, reply[1]) if len(reply) > 1 else None,
    )


def memory(keys: Keyspace) -> Call[tuple[int, int]]:
    """Return the memory use of the server and its limit in bytes; 0 for no limit."""
    return Call(load("memory"), (keys.queues,), (), lambda reply: (int(reply[1]), int(reply[2])))


def fleet(keys: Keyspace, *, most: int = LISTED) -> Call[FleetSeen]:
    """Read the queues, workers and functions of the fleet.

    Args:
        keys: The fleet's keys.
        most: Maximum number of listed queues. If there are more, none is listed; see `jobfleet.store.fleet`.
    """
    return Call(load("fleet"), (keys.queues,), (keys.tag, most), _fleet)


def queues(keys: Keyspace, cursor: bytes = b"0") -> Call[tuple[bytes, dict[str, tuple[int, int]]]]:
    """Return a page of the queues, and the cursor of the next page, ``b"0"`` after the last."""
    return Call(load("queues"), (keys.queues,), (cursor, LISTED), lambda reply: (bytes(reply[1]), queues_of(reply[2])))


def _fleet(reply: Reply) -> FleetSeen:
    rows = reply[3]
    queues, strange = sound_queues(reply[2])
    functions, nameless = fields(reply[4], bytes, "functions")
    workers, bad = sound(zip(rows[::3], rows[1::3], rows[2::3], strict=True), _worker)
    problems = tuple(f"workers has {shown(worker)}, last beat {shown(beat)}" for worker, beat, _ in bad)
    report(problems)
    left_out = (*strange, *nameless, *problems)
    return FleetSeen(int(reply[1]), queues, tuple(workers), functions, text_of(reply[5]), int(reply[6]), left_out)


def _worker(row: tuple[bytes, bytes, bytes]) -> WorkerSeen:
    return WorkerSeen(row[0].decode(), time_of(row[1]), row[2])


# What the start of a job depends on: its state, its limits and its group.


class Limited(NamedTuple):
    """Limits and their usage.

    Attributes:
        most: Maximum number of concurrent jobs; 0 for no limit.
        running: Number of running jobs.
        token: Time at which the rate limit allows the next start, in µs; 0 if it does now.
        most_by: The functions that declare `most` in code; none if an operator has set it.
        rate_by: The functions that declare the rate.
    """

    most: int
    running: int
    token: int
    most_by: tuple[str, ...] = ()
    rate_by: tuple[str, ...] = ()


class Grouped(NamedTuple):
    """A job's group in its lane.

    Attributes:
        name: Its name.
        paused_by: Who paused it; empty if it is not paused.
        paused_at: When it was paused, in µs.
        paused_reason: The reason, if one was given.
        limit: Its limits.
        holders: At most five of its running jobs.
        ahead: Number of its jobs before this one.
        turns: Number of groups that take turns in its band.
    """

    name: str
    paused_by: str
    paused_at: int
    paused_reason: str
    limit: Limited
    holders: tuple[str, ...]
    ahead: int
    turns: int


class InSequence(NamedTuple):
    """The place of a job in its strict sequence.

    Attributes:
        head: The id of the head.
        state: The state of the head: running, waiting, sleeping, blocked, withheld, parked or failing.
        due: When the head is due, in µs; 0 unless it waits.
        before: Number of jobs before this one.
        signal: The signal that a sleeping head waits for; empty if it only sleeps.
    """

    head: str
    state: str
    due: int
    before: int
    signal: str = ""

    @classmethod
    def parse(cls, text: str) -> InSequence | None:
        """Parse the text that the script writes; None for an empty one."""
        if not text:
            return None
        known, _, head = text.partition("\n")  # a foreign head may have any characters
        state, due, before, signal = known.split(" ", 3)
        return cls(head, state, int(due), int(before), signal)


@dataclass(frozen=True, slots=True)
class Explained:
    """Everything that the start of one job depends on in its lane, read at one moment.

    Attributes:
        now: Redis's time, µs.
        found: The job's state.
        meta: Its clear record.
        paused_by: Who paused the lane; None if it is not paused.
        paused_at: When it was paused, in µs.
        reason: The reason.
        functions: The functions that are paused or being resumed, one line each.
        deadline: The end of the lease of its run, in µs; 0 outside of a run.
        hold: The time until which the lane's leases are not reaped, in µs; 0 if they are.
        due: Number of claimable jobs of the lane, per band.
        rank: Number of jobs before it in its band, while it waits.
        watched: Whether the job has dependants.
        limit: The lane's own limits; None if it has none.
        group: Its group; None if it has none.
        last_wait: The end of the last wait of a job that waits again, in µs, and its signal, if it has one.
        sequence: Its place in a strict sequence; None if it is in none.
    """

    now: int
    found: Found
    meta: str = ""
    paused_by: str | None = None
    paused_at: int = 0
    reason: str = ""
    functions: str = ""
    deadline: int = 0
    hold: int = 0
    due: tuple[int, ...] = (0, 0, 0, 0)
    rank: int = 0
    watched: bool = False
    limit: Limited | None = None
    group: Grouped | None = None
    last_wait: str = ""
    sequence: InSequence | None = None

    @property
    def wait(self) -> str | None:
        """The signal that the job waits for since a run, empty if it only sleeps; None for a job that does neither."""
        till, _, signal = self.last_wait.partition(" ")
        return signal if isinstance(self.found, InWait) and str(due_of_score(self.found.due)) == till else None
