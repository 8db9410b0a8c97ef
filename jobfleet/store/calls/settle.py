"""settle: complete, retry, fail, release, park, withhold, expire and move."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import cast

from jobfleet.store.call import Argument, Call, Reply
from jobfleet.store.keys import Lane
from jobfleet.store.records import Settled
from jobfleet.store.script import load

CHUNK = 50

TOKEN_STANDS = "token"
STILL_EXPIRED = "expired"
STILL_WAITING = "waiting"

PAST = {
    "complete": "completed", "fail": "failed", "retry": "retried", "release": "released", "park": "parked",
    "expire": "expired", "move": "moved", "withhold": "withheld",
}  # fmt: skip
"""Verbs, and what they have done."""

Item = tuple[Argument, ...]
"""Verb, guard, id, token, and what the verb takes."""


def complete(job_id: str, token: int, *, record: bytes, ttl_ms: int, duration_us: int) -> Item:
    """Running → completed, with the sealed record of the run."""
    return ("complete", TOKEN_STANDS, job_id, token, record, ttl_ms, duration_us)


def ttl_of(item: Item) -> int | None:
    """For how many ms the result of a completed run is kept; None for any other end."""
    return cast(int, item[5]) if item[0] == "complete" else None


def retry(job_id: str, token: int, *, delay_us: int, tries: str, guard: str = TOKEN_STANDS) -> Item:
    """Running → retrying, due after `delay_us`."""
    return ("retry", guard, job_id, token, delay_us, tries)


def fail(
    job_id: str,
    token: int,
    *,
    record: bytes,
    ttl_ms: int,
    duration_us: int,
    reason: str,
    tries: str,
    guard: str = TOKEN_STANDS,
) -> Item:
    """Running → failed, and a dead letter with the sealed record of the run."""
    return ("fail", guard, job_id, token, record, ttl_ms, duration_us, reason, tries)


def release(job_id: str, token: int, *, delay_us: int = 0, tries: str = "", guard: str = TOKEN_STANDS) -> Item:
    """Running → queued or scheduled; without a delay it keeps its place. Empty `tries` stay as they are."""
    return ("release", guard, job_id, token, delay_us, tries)


def park(job_id: str, token: int, *, delay_us: int, tries: str) -> Item:
    """Running → retrying, until a worker can run it."""
    return ("park", TOKEN_STANDS, job_id, token, delay_us, tries)


def expire(job_id: str, token: int, *, ttl_ms: int, guard: str = TOKEN_STANDS) -> Item:
    """running, or waiting under the guard `STILL_WAITING`, → expired."""
    return ("expire", guard, job_id, token, ttl_ms)


def move(job_id: str, token: int, *, to: str, ttl_ms: int) -> Item:
    """Running → cancelled, since the job goes on under the id `to`."""
    return ("move", TOKEN_STANDS, job_id, token, ttl_ms, to)


def withhold(job_id: str, token: int, *, due: int, function: str) -> Item:
    """Running → queued, unstarted, and out of the reach of claims while its function is paused."""
    return ("withhold", TOKEN_STANDS, job_id, token, due, function)


def settle(lane: Lane, items: Sequence[Item], *, child: str = "", nonce: int = 0, chunk: int = 1) -> Call[Settled]:
    """End at most 50 runs.

    Args:
        lane: Where they are.
        items: What is to happen to each.
        child: Who ran them; a repeated trip of its answers as before. Empty for supervisors and reapers.
        nonce: Grows with each trip of the child in the lane.
        chunk: The number of this call within the trip, from 1.
    """
    alike, order = _parted(items)
    columns = [*zip(*[items[place] for place in order[:alike]], strict=True)] or [()] * 7
    _, _, ids, tokens, records, kept_ms, durations = columns
    job, result = lane.job_prefix, lane.result_prefix
    keys = [*_fixed(lane), lane.sent(child), *[job + job_id for job_id in ids], *[result + job_id for job_id in ids]]
    ttl_ms = kept_ms[0] if alike else 0
    args: list[Argument] = [
        lane.tag, child, nonce, chunk, alike, ttl_ms, sum(durations), _lines(ids, durations), _row(tokens), *records,
    ]  # fmt: skip
    if alike == len(items):
        return Call(load("settle"), tuple(keys), tuple(args), _settled)
    for place in order[alike:]:
        item = items[place]
        job_id = cast(str, item[2])
        keys += (job + job_id, result + job_id)
        args += item
    return Call(load("settle"), tuple(keys), tuple(args), partial(_settled, order=order))


def _parted(items: Sequence[Item]) -> tuple[int, Sequence[int]]:
    """How many completions can be said in columns, and the places of all items, those first."""
    ttl_ms = next((item[5] for item in items if item[0] == "complete"), None)
    alike = [place for place, item in enumerate(items) if item[0] == "complete" and item[5] == ttl_ms]
    if len({item[2] for item in items}) < len(items):
        alike = []
    elif len(alike) == len(items):
        return len(items), alike
    chosen = set(alike)
    return len(alike), [*alike, *[place for place in range(len(items)) if place not in chosen]]


def _lines(ids: Sequence[str], durations: Sequence[int]) -> str:
    """The lines of the list of finished jobs, which leave out what every id of the lane begins with."""
    if not ids:
        return ""
    begin = len(ids[0]) - len(ids[0].split(".", 2)[2])
    return "\n".join([f"{job_id[begin:]} co {duration}" for job_id, duration in zip(ids, durations, strict=True)])


def _row(tokens: Sequence[int]) -> str:
    """The tokens as one text, each as wide as the longest, so that each can be cut out by its number."""
    width = len(str(max(tokens, default=0)))
    return " ".join([f"{token:<{width}}" for token in tokens])


def _fixed(lane: Lane) -> tuple[str, ...]:
    return (
        *lane.ready, lane.lease, lane.runs, lane.tries, lane.meta, lane.unique, lane.expiry, lane.done, lane.dlq,
        lane.dead, lane.totals, lane.wake, lane.watched, lane.outbox, lane.journal, lane.grouped, lane.ring, lane.gdue,
        lane.held,
    )  # fmt: skip


def _settled(reply: Reply, order: Sequence[int] = ()) -> Settled:
    if reply[0] != b"settled":
        return Settled(is_stale=True)
    letters = reply[3].decode()
    if order:
        letters = "".join([letter for _, letter in sorted(zip(order, letters, strict=True))])
    return Settled(is_stale=False, watched=reply[2], letters=letters)
