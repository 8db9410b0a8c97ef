"""Calls for leases: claim, granted, renew, bury and tick; and those that remove what cannot be read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count, repeat
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from jobfleet.model.audit import from_word
from jobfleet.store.call import Argument, Call, Key, Reply
from jobfleet.store.calls.control import stopped
from jobfleet.store.keys import Lane
from jobfleet.store.records import (
    NO_FUNCTIONS,
    NOTHING,
    Buried,
    Cancelling,
    Claimed,
    Doomed,
    Grant,
    Held,
    Leave,
    Renewed,
    Returned,
    RunRecord,
    Ticked,
)
from jobfleet.store.rows import (
    ID_LETTERS,
    SUFFIX_MOST,
    Spoiled,
    Unreadable,
    id_of,
    meta_of,
    metas_of,
    shown,
    sound,
    text_of,
    tries_of,
)
from jobfleet.store.script import load

if TYPE_CHECKING:
    from jobfleet.codec.seals import Seals

CHUNK = 50
NEAR_US = 2_000_000
"""A lane whose next job is due within so many microseconds is looked at again at that time, not with the next tick."""
PARKED_US = 11_000_000
"""A parked job is due within so many microseconds: the longest time for which it is parked, and a second."""
ZERO = ord("0")
NO_SHARES: Mapping[str, int] = MappingProxyType({})
FIRST_MARKER = 19
"""The position, among the keys of claim, of the first marker for the kinds that know jobs that are left."""
_BAND_OF = bytes(max(0, number - ZERO) for number in range(256))
"""The number of a band for its digit."""
_new_grant = cast("Callable[[tuple[Any, ...]], Grant]", partial(tuple.__new__, Grant))
"""Make a grant from a row without a Python frame per job: this is on the path of each job."""
_SPACES = tuple(b" " * (2 * number - 1) for number in range(CHUNK + 1))
"""What remains of a number of ids with due times when all characters of ids are removed."""


def claim(
    lane: Lane,
    *,
    child: str,
    nonce: int,
    lease_us: int,
    limit: int,
    order: str = "",
    leave: Leave = NOTHING,
    past: str = "",
) -> Call[Claimed]:
    """Lease up to `limit` (1 to 50) of the most urgent due jobs to a child.

    A repeated call with the same nonce returns the same grants, if their token is still valid.

    Args:
        order: The digits of the four priorities in the order of visits, if not by urgency.
        leave: Functions whose jobs are left to other children.
        past: The progress of the last such claim (`Claimed.past`); empty for a start at the beginning.
    """
    claimed = lane.claim(child)
    keys = (
        *lane.ready, lane.lease, lane.runs, lane.lane, claimed, lane.wake, lane.totals, lane.expiry, lane.unique,
        lane.grouped, lane.ring, lane.gdue, lane.held, lane.rates, lane.journal,
    )  # fmt: skip
    if leave.text:
        keys += tuple(lane.wake_of(kind) for kind in leave.kinds)
    return Call(
        load("claim"), keys, (lane.tag, child, nonce, lease_us, limit, order, leave.text, past), partial(_claimed, lane)
    )


def leave_to(functions: Mapping[str, Sequence[str]], shares: Mapping[str, int] = NO_SHARES) -> Leave:
    """Describe the functions whose jobs a claim leaves to other children.

    Args:
        functions: Names, each with the kinds of workers to wake for its jobs.
        shares: Further names, each with the number of jobs that the claim may take.
    """
    wakes = tuple(dict.fromkeys(kind for kinds in functions.values() for kind in kinds))
    numbers = {kind: str(FIRST_MARKER + place) for place, kind in enumerate(wakes)}
    lines = [f"{name} {' '.join(numbers[kind] for kind in kinds)}" for name, kinds in functions.items()]
    lines += [f"{name} ={most}" for name, most in shares.items()]
    return Leave("\n" + "\n".join(lines) + "\n", wakes)


def _claimed(lane: Lane, reply: Reply) -> Claimed:
    word = reply[0]
    if word in (b"claimed", b"guarded"):
        now, next_due = int(reply[1]), int(reply[2])
        functions = stopped(text_of(reply[9])) if word == b"guarded" else NO_FUNCTIONS
        past = text_of(reply[10]) if len(reply) > 10 else None
        try:
            claimed = Claimed("claimed", now, next_due, _grants(lane.id_bytes, *reply[3:9]), functions, past)
        except ValueError:  # some rows are foreign
            claimed = _one_by_one(lane, Claimed("claimed", now, next_due, (), functions, past), *reply[3:9])
        return claimed if lane.seals is None else _opened(lane.seals, claimed)
    if word == b"empty":
        past = reply[3].decode() if len(reply) > 3 else None
        return Claimed("empty", int(reply[1]), int(reply[2]), past=past)
    if word == b"stale":
        return Claimed("stale", seen=int(reply[1]))
    return Claimed(word.decode(), int(reply[1]) if len(reply) > 1 else 0)


def _opened(seals: Seals, claimed: Claimed) -> Claimed:
    """Open the envelopes of the claimed jobs. A job whose envelope is not accepted becomes a dead letter."""
    grants = [one._replace(envelope=seals.open_envelope(one.id, one.envelope)) for one in claimed.grants]
    return claimed._replace(grants=tuple(grants))


def _columns(begin: bytes, text: bytes, number: int) -> tuple[list[str], list[str]]:
    """Split the text of a claim, in which ids and due times alternate, into ids and due times.

    Raises:
        Unreadable: One of them is not an id; the whole text cannot show which one.
    """
    parts = text.decode().split()
    ids = parts[::2]
    if (
        text.translate(None, ID_LETTERS) != _SPACES[number]
        or len(parts) != 2 * number
        or text.count(begin) != number
        or max(map(len, ids)) > len(begin) + SUFFIX_MOST
    ):
        raise Unreadable("a row does not have an id")
    return ids, parts[1::2]


def _one_by_one(
    lane: Lane,
    claimed: Claimed,
    tokens: bytes,
    bands: bytes,
    text: bytes,
    envelopes: Reply,
    tries: Reply,
    metas: Reply,
) -> Claimed:
    """Read the rows of a claim one by one, because one cannot be read."""
    rows = text.split()
    first = int(tokens.split()[0])
    if len(rows) != 2 * len(envelopes) or text.count(b" ") != len(rows) - 1:
        return claimed._replace(garbled_from=first)
    fences = map(int, tokens.split()) if b" " in tokens else count(first)
    grants, bad = [], []
    known = zip(
        rows[::2], fences, rows[1::2], bands, envelopes, tries or repeat(None), metas or repeat(None), strict=False
    )
    for raw, token, due, band, envelope, spent, meta in known:
        try:
            job_id = id_of(raw, lane.id_prefix)
            grants.append(Grant(job_id, token, _due(due), band - ZERO, envelope or b"", tries_of(spent), meta_of(meta)))
        except ValueError as error:
            bad.append(Spoiled(raw, b"%d" % token, str(error)))
    return claimed._replace(grants=tuple(grants), unreadable=tuple(bad))


def _due(raw: bytes) -> int:
    """Parse a due time; 0 if a foreign entry of a group is not a number, because the job itself is valid."""
    try:
        return int(float(raw))
    except ValueError:
        return 0
    except OverflowError:
        raise Unreadable(f"it is due at {shown(raw)}") from None


def granted(lane: Lane, *, child: str, first: int) -> Call[Claimed]:
    """Return what a child's last claim granted, from its first token `first`, if the reply of the claim was garbled.

    The due times are not known here: each job counts as due when it was claimed.
    """
    return Call(load("granted"), (lane.runs,), (lane.tag, child, first), partial(_granted, lane))


def _granted(lane: Lane, reply: Reply) -> Claimed:
    held, bad = _held_rows(lane, reply[2:])
    grants = [
        Grant(one.id, one.token, one.run.claimed, one.run.band, one.envelope, one.tries, one.meta) for one in held
    ]
    # A job of this claim is recognized by its token, because the claim wrote its run.
    claimed = Claimed("claimed", int(reply[1]), 0, tuple(grants), unreadable=bad)
    return claimed if lane.seals is None else _opened(lane.seals, claimed)


def _grants(
    begin: bytes, tokens: bytes, bands: bytes, text: bytes, envelopes: Reply, tries: Reply, metas: Reply
) -> tuple[Grant, ...]:
    fences = map(int, tokens.split()) if b" " in tokens else count(int(tokens))
    ids, dues = _columns(begin, text, len(envelopes))
    rows = zip(
        ids,
        fences,
        map(int, dues),
        bands.translate(_BAND_OF),
        envelopes if all(envelopes) else [envelope or b"" for envelope in envelopes],
        [tries_of(spent) if spent else "" for spent in tries] if tries else repeat(""),
        metas_of(metas) if metas else repeat(""),
        strict=False,
    )
    return tuple(map(_new_grant, rows))


def return_parked(lane: Lane, functions: Sequence[str], *, at: tuple[int, int] = (0, 0)) -> Call[Returned]:
    """Make parked jobs of these functions due at once, at most 200 in the order of their priority.

    Args:
        lane: The lane.
        functions: The names of the functions.
        at: Where the previous call ended; the default begins.
    """
    keys = (*lane.ready, lane.wake, lane.tries, lane.grouped, lane.ring, lane.gdue)
    args: tuple[Argument, ...] = (lane.tag, PARKED_US, *at, *functions)
    return Call(load("return_parked"), keys, args, _returned)


def _returned(reply: Reply) -> Returned:
    jobs, part, passed = map(int, reply[1:4])
    return Returned(jobs, (part, passed))


def renew(lane: Lane, held: Sequence[tuple[str, int]], *, lease_us: int) -> Call[Renewed]:
    """Extend at most 50 valid leases, from now by Redis's clock.

    A lease whose token has changed is not extended; `Renewed.lost` contains it.
    """
    pairs = [part for job_id, token in held for part in (job_id, token)]
    return Call(load("renew"), (lane.lease, lane.runs), (lease_us, *pairs), _renewed)


def _renewed(reply: Reply) -> Renewed:
    lost, cancelled = reply[2], reply[3]
    return Renewed(
        int(reply[1]),
        tuple((lost[i].decode(), int(lost[i + 1])) for i in range(0, len(lost), 2)),
        tuple(
            Cancelling(cancelled[i].decode(), int(cancelled[i + 1]), _requester(cancelled[i + 2]))
            for i in range(0, len(cancelled), 3)
        ),
    )


def _requester(cancel: bytes) -> str:
    return from_word(cancel.decode().partition("@")[0])


def bury(lane: Lane, child: str, held: Sequence[tuple[str, int]] = ()) -> Call[Buried]:
    """Refuse later claims of a dead child; return the runs that it still holds of `held` and its last claim."""
    pairs = [part for job_id, token in held for part in (job_id, token)]
    return Call(
        load("bury"),
        (lane.claim(child),),
        (lane.tag, child, *pairs),
        partial(_buried, lane),
    )


def _buried(lane: Lane, reply: Reply) -> Buried:
    held, bad = _held_rows(lane, reply[2])
    return Buried(int(reply[1]), held, bad)


def tick(lane: Lane, *, limit: int = CHUNK) -> Call[Ticked]:
    """Do a lane's housekeeping; return expired leases and other due work."""
    keys = (lane.lane, lane.wake, lane.lease, lane.gdue, lane.rates, *lane.ready, lane.grouped, lane.held)
    return Call(load("tick"), keys, (lane.tag, limit), partial(_ticked, lane))


def _ticked(lane: Lane, reply: Reply) -> Ticked:
    overdue, bad = _held_rows(lane, reply[4])
    expired, unknown = sound(reply[5], lambda raw: id_of(raw, lane.id_prefix))
    bad += tuple(Spoiled(raw, b"", f"it has expired, and its id is {shown(raw)}") for raw in unknown)
    return Ticked(
        int(reply[1]),
        int(reply[2]),
        int(reply[3]),
        overdue,
        tuple(expired),
        text_of(reply[6]),
        int(reply[7]),
        int(reply[8]),
        bad,
        _doomed(lane, reply[9]) if reply[9] else None,
        tuple(map(text_of, reply[10])),
    )


def _doomed(lane: Lane, row: Reply) -> Doomed | None:
    group, head, *jobs = row
    triples = zip(jobs[::3], jobs[1::3], jobs[2::3], strict=True)
    rows, _ = sound(triples, lambda one: (id_of(one[0], lane.id_prefix), one[1], tries_of(one[2])))
    return Doomed(text_of(group), text_of(head), tuple(rows)) if rows else None


def _held_rows(lane: Lane, rows: Reply) -> tuple[tuple[Held, ...], tuple[Spoiled, ...]]:
    """Return runs that another process must decide about, and those of them that cannot be read."""
    held: list[Held] = []
    bad: list[Spoiled] = []
    for raw, token, record, envelope, spent, meta in rows:
        seen, is_run = token if token != b"0" else record, False
        try:
            job_id, tries, clear = id_of(raw, lane.id_prefix), tries_of(spent), meta_of(meta)
            is_run = True
            seen, run = record, _run(record)
            held.append(Held(job_id, run.token, run, envelope, tries, clear))
        except ValueError as error:
            bad.append(Spoiled(raw, seen, str(error), is_run))
    return tuple(held), tuple(bad)


def _run(record: bytes) -> RunRecord:
    try:
        run = RunRecord.parse(record.decode())
    except ValueError:
        raise Unreadable(f"its run is {shown(record)}" if record else "it has a lease, but no run") from None
    if not 0 <= run.band <= 3 or not 0 < run.token < 2**63:
        raise Unreadable(f"its run is {shown(record)}")
    return run


REASON = "unreadable"


def letter_id(lane: Lane, raw: bytes) -> str:
    """Return the id under which a row is stored: its own, or one derived from it if it is not valid."""
    try:
        return id_of(raw, lane.id_prefix)
    except Unreadable:
        return f"{lane.id_prefix}{REASON}.{hashlib.blake2b(raw, digest_size=8).hexdigest()}"


def set_aside(lane: Lane, rows: Sequence[tuple[Spoiled, bytes]], *, ttl_ms: int) -> Call[str]:
    """Remove at most 50 rows from a lane, each with the record of its dead letter.

    Returns one letter each: a set aside, b put back into its band, l no longer there, or with another run.

    Args:
        lane: The lane of the rows.
        rows: The rows and their records.
        ttl_ms: Lifetime of their endings in ms.
    """
    keys: list[Key] = [
        *lane.ready, lane.lease, lane.runs, lane.tries, lane.meta, lane.unique, lane.expiry, lane.done, lane.dlq,
        lane.dead, lane.totals, lane.wake, lane.watched, lane.outbox, lane.journal, lane.grouped, lane.ring, lane.gdue,
        lane.held,
    ]  # fmt: skip
    args: list[Argument] = [lane.tag, ttl_ms]
    for row, record in rows:
        name = letter_id(lane, row.id)
        keys += (lane.job_prefix.encode() + row.id, lane.result(name))
        sealed = record if lane.seals is None else lane.seals.record(name, record, 0, "failed")
        args += (row.id, row.seen, int(row.is_run), name, sealed)
    return Call(load("set_aside"), tuple(keys), tuple(args), lambda reply: str(reply[2].decode()))
