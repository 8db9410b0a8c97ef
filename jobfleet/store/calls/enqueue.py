"""enqueue, and opening a queue."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

from jobfleet.errors import ConfigError
from jobfleet.store.call import Argument, Call, Reply
from jobfleet.store.calls.index import keys_of
from jobfleet.store.keys import NORMAL, Keyspace, Lane
from jobfleet.store.records import Answer, Entry, Holder
from jobfleet.store.rows import shown
from jobfleet.store.script import load

CHUNK = 50
LANES_MOST = 10_000
"""More than any setting allows: whoever believed a larger number would look after that many lanes."""
MOST_QUEUES = 1000
"""Queues that a fleet may have, unless `max_queues` says otherwise."""
MOST_INDEXED = 100
"""Entries of indexes that the jobs of one call make, unless one job alone makes more."""
T = TypeVar("T")
_CREATED, _HELD, _HELD_BY_ONE_THAT_WAITS = b"chw"


def parted(items: Sequence[T], entry_of: Callable[[T], Entry]) -> Iterator[Sequence[T]]:
    """Cut into what one call takes: 50 jobs, or fewer that are to stand in many indexes."""
    for at in range(0, len(items), CHUNK):
        part = items[at : at + CHUNK]
        metas = [entry_of(item).meta for item in part]
        first = total = 0
        for place, meta in enumerate(metas) if any(metas) else ():
            count = meta.count("\ni ") + meta.startswith("i ")
            if total and total + count > MOST_INDEXED:
                yield part[first:place]
                first, total = place, 0
            total += count
        yield part[first:]


def enqueue(lane: Lane, entries: Sequence[Entry]) -> Call[list[Answer]]:
    """Put at most 50 jobs into a lane; True for each that is new, or who holds its unique key. Safe to repeat."""
    for _, band, when, meta, _ in entries:
        if meta or when or band != NORMAL:
            return in_full(lane, entries)
    if len({entry.id for entry in entries}) < len(entries):
        return in_full(lane, entries)
    keys = (*lane.plain, *[lane.job_prefix + entry.id for entry in entries])
    args: tuple[Argument, ...] = (lane.tag, *[entry.envelope for entry in entries])
    return Call(load("enqueue_plain"), keys, args, _letters, partial(in_full, lane, entries))


def _letters(reply: Reply) -> list[Answer]:
    return [letter == _CREATED for letter in reply[1]]


def in_full(lane: Lane, entries: Sequence[Entry]) -> Call[list[Answer]]:
    """Likewise, whatever the jobs and the lane have; `enqueue` goes a shorter way where it can."""
    keys = (
        *lane.ready,
        lane.wake,
        lane.meta,
        lane.expiry,
        lane.totals,
        lane.unique,
        lane.locks,
        lane.grouped,
        lane.gdue,
        lane.journal,
        *[lane.job_prefix + entry[0] for entry in entries],
    )
    args: list[Argument] = [lane.tag]
    metas: list[str] = []
    for entry in entries:
        args.extend(entry)
        if entry[3]:
            metas.append(entry[3])
    if metas:
        keys += keys_of(lane, metas)
    return Call(load("enqueue"), keys, tuple(args), _answers)


def _answers(reply: Reply) -> list[Answer]:
    if len(reply) == 3:
        return [letter == _CREATED for letter in reply[2]]
    holders = iter(reply[3])
    return [
        _holder(next(holders), letter) if letter in (_HELD, _HELD_BY_ONE_THAT_WAITS) else letter == _CREATED
        for letter in reply[2]
    ]


def _holder(text: bytes, letter: int) -> Holder:
    job_id, status = text.decode().split(" ")
    return Holder(job_id, status, has_started=letter == _HELD)


def replace(lane: Lane, entry: Entry, *, key: str, holder: str, ttl_ms: int) -> Call[str]:
    """Put a job in the place of one that holds its unique key and has not started.

    ``replaced``, ``exists`` when the job is there already, ``changed`` when the holder has started, or is another.
    """
    keys = (
        *lane.ready, lane.wake, lane.meta, lane.expiry, lane.totals, lane.unique, lane.locks, lane.done, lane.watched,
        lane.outbox, lane.journal, lane.grouped, lane.ring, lane.gdue, lane.job(entry.id), lane.job(holder),
        lane.result(holder), *_indexes(lane, entry),
    )  # fmt: skip
    return Call(load("replace"), keys, (lane.tag, key, holder, ttl_ms, *entry), lambda reply: reply[0].decode())


def debounce(lane: Lane, entry: Entry, *, key: str, holder: str, longest_us: int | None) -> Call[tuple[str, bool]]:
    """Let the holder of a unique key, which has not started, stand for a later job, and be due later.

    ``debounced`` and whether it is due ahead, or ``changed`` when the holder has started, or is another.

    Args:
        lane: Where.
        entry: The later job.
        key: The unique key.
        holder: Who holds it.
        longest_us: How long after the key was taken it is put off at most; None for ten times the delay.
    """
    keys = (
        *lane.ready, lane.meta, lane.expiry, lane.totals, lane.unique, lane.grouped, lane.ring, lane.gdue,
        lane.job(holder), lane.journal, *_indexes(lane, entry),
    )  # fmt: skip
    longest = "" if longest_us is None else longest_us
    return Call(load("debounce"), keys, (lane.tag, key, holder, longest, *entry), _debounced)


def _indexes(lane: Lane, entry: Entry) -> tuple[str, ...]:
    return keys_of(lane, (entry.meta,)) or (lane.indexes,)


def _debounced(reply: Reply) -> tuple[str, bool]:
    return reply[0].decode(), len(reply) > 1 and int(reply[2]) > int(reply[1])


def open_queue(keys: Keyspace, queue: str, lanes: int, *, most: int = MOST_QUEUES) -> Call[tuple[int, int]]:
    """Make a queue known with so many home lanes, unless it is; answer its home lanes and lanes.

    Its value is a `ConfigError` where it is new and there are `most` queues already.
    """
    return Call(load("open_queue"), (keys.queues,), (queue, lanes, most), partial(_opened, queue, most))


def _opened(queue: str, most: int, reply: Reply) -> Any:
    if reply[0] == b"opened":
        return lanes_of(reply[1])
    return ConfigError(
        f"No queue {queue!r} was made: there are {most:,}, the most that max_queues allows. Remove one that is not "
        "needed with 'jobfleet queues rm QUEUE', or raise max_queues."
    )


def lanes_of(text: bytes) -> tuple[int, int]:
    """Read ``home:lanes``.

    Raises:
        ValueError: It is nothing of ours.
    """
    home, _, lanes = text.partition(b":")
    if not 1 <= int(home) <= int(lanes) <= LANES_MOST:
        raise ValueError(f"{shown(text)} are no lanes; use 1 to {LANES_MOST}")
    return int(home), int(lanes)
