"""The call set_aside: it removes unreadable rows from a lane and stores them as dead letters."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from jobfleet.store.call import Argument, Call, Key
from jobfleet.store.keys import Lane
from jobfleet.store.rows import Spoiled, Unreadable, id_of
from jobfleet.store.script import load

CHUNK = 50
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
