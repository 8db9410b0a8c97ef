"""claim, renew, bury, tick: who runs what, and until when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count, repeat

from jobfleet.store.call import Call, Reply
from jobfleet.store.calls.paused import stopped
from jobfleet.store.keys import Lane
from jobfleet.store.script import load
from jobfleet.store.values import NOTHING, Cancelling, Claimed, Grant, Held, Leave, Renewed, Run, Ticked

CHUNK = 50
ZERO = ord("0")
FIRST_MARKER = 19
"""The number, among the keys of claim, of the first marker of those who know what is left to them."""


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

    Repeated with the same nonce it answers the same grants, those whose token still stands.

    Args:
        order: The digits of the four priorities as they are visited, when not the most urgent first.
        leave: Functions whose jobs are left to other children.
        past: How far the last such claim came, as `Claimed.past` said; empty from the beginning.
    """
    claimed = lane.claim(child)
    keys = (
        *lane.ready, lane.lease, lane.runs, lane.lane, claimed, lane.wake, lane.totals, lane.expiry, lane.unique,
        lane.grouped, lane.ring, lane.gdue, lane.held, lane.rates, lane.journal,
    )  # fmt: skip
    if leave.text:
        keys += tuple(lane.wake_of(kind) for kind in leave.kinds)
    return Call(load("claim"), keys, (lane.tag, child, nonce, lease_us, limit, order, leave.text, past), _claimed)


def leave_to(functions: Mapping[str, Sequence[str]]) -> Leave:
    """What a claim is told to leave to others.

    Args:
        functions: Names, each with the kinds of workers that are to be woken for its jobs.
    """
    wakes = tuple(dict.fromkeys(kind for kinds in functions.values() for kind in kinds))
    numbers = {kind: str(FIRST_MARKER + place) for place, kind in enumerate(wakes)}
    lines = [f"{name} {' '.join(numbers[kind] for kind in kinds)}" for name, kinds in functions.items()]
    return Leave("\n" + "\n".join(lines) + "\n", wakes)


def _claimed(reply: Reply) -> Claimed:
    word = reply[0]
    if word == b"claimed":
        return Claimed("claimed", int(reply[1]), int(reply[2]), _grants(*reply[3:9]))
    if word == b"guarded":
        past = reply[10].decode() if len(reply) > 10 else None
        return Claimed("claimed", int(reply[1]), int(reply[2]), _grants(*reply[3:9]), stopped(reply[9].decode()), past)
    if word == b"empty":
        past = reply[3].decode() if len(reply) > 3 else None
        return Claimed("empty", int(reply[1]), int(reply[2]), past=past)
    return Claimed(word.decode(), int(reply[1]) if len(reply) > 1 else 0)


def _grants(
    tokens: bytes, bands: bytes, stood: bytes, envelopes: Reply, tries: Reply, metas: Reply
) -> tuple[Grant, ...]:
    fences = map(int, tokens.split()) if b" " in tokens else count(int(tokens))
    parts = stood.decode().split()
    known = zip(parts[::2], fences, map(int, parts[1::2]), bands, envelopes, strict=False)
    if not tries and not metas:
        return tuple(
            [
                Grant(job_id, token, due, band - ZERO, envelope or b"", "", "")
                for job_id, token, due, band, envelope in known
            ]
        )
    rows = zip(known, tries or repeat(None), metas or repeat(None), strict=False)
    return tuple(
        [
            Grant(job_id, token, due, band - ZERO, envelope or b"", (spent or b"").decode(), (meta or b"").decode())
            for (job_id, token, due, band, envelope), spent, meta in rows
        ]
    )


def renew(lane: Lane, held: Sequence[tuple[str, int]], *, lease_us: int) -> Call[Renewed]:
    """Extend at most 50 leases that still stand, counted from now by Redis's clock.

    A lease whose token has changed is not revived; it comes back in `Renewed.lost`.
    """
    pairs = [part for job_id, token in held for part in (job_id, token)]
    return Call(load("renew"), (lane.lease, lane.runs), (lease_us, *pairs), _renewed)


def _renewed(reply: Reply) -> Renewed:
    lost, cancelled = reply[2], reply[3]
    return Renewed(
        int(reply[1]),
        tuple((lost[i].decode(), int(lost[i + 1])) for i in range(0, len(lost), 2)),
        tuple(
            Cancelling(cancelled[i].decode(), int(cancelled[i + 1]), cancelled[i + 2].decode().partition("@")[0])
            for i in range(0, len(cancelled), 3)
        ),
    )


def bury(lane: Lane, child: str, held: Sequence[tuple[str, int]] = ()) -> Call[tuple[int, tuple[Held, ...]]]:
    """Refuse a dead child's later claims; answer the time, and what it still holds of `held` and its last claim."""
    pairs = [part for job_id, token in held for part in (job_id, token)]
    return Call(
        load("bury"),
        (lane.claim(child),),
        (lane.tag, child, *pairs),
        lambda reply: (int(reply[1]), tuple(_held(row) for row in reply[2])),
    )


def tick(lane: Lane, *, limit: int = CHUNK) -> Call[Ticked]:
    """Do a lane's housekeeping and answer what is overdue."""
    keys = (lane.lane, lane.wake, lane.lease, lane.gdue, lane.rates, *lane.ready, lane.grouped)
    return Call(load("tick"), keys, (lane.tag, limit), _ticked)


def _ticked(reply: Reply) -> Ticked:
    return Ticked(
        int(reply[1]),
        int(reply[2]),
        int(reply[3]),
        tuple(_held(row) for row in reply[4]),
        tuple(job_id.decode() for job_id in reply[5]),
        reply[6].decode(),
        int(reply[7]),
        int(reply[8]),
    )


def _held(row: Reply) -> Held:
    return Held(row[0].decode(), int(row[1]), Run.parse(row[2].decode()), row[3], row[4].decode(), row[5].decode())
