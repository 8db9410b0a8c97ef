"""Calls to enqueue jobs, to open a queue, for the durability of both, and for the indexes that name jobs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

from jobfleet.errors import ConfigError
from jobfleet.model.fields import FILTER_NAMES
from jobfleet.model.names import LANES_MOST
from jobfleet.store.call import Argument, Call, Reply
from jobfleet.store.keys import NORMAL, Keyspace, Lane
from jobfleet.store.records import Answer, Entry, Holder
from jobfleet.store.rows import number_of, report, shown, text_of
from jobfleet.store.script import load

CHUNK = 50
ONE_LANE = (1, 1)
"""The numbers of home lanes and of lanes of a queue whose own cannot be read: its jobs must not vanish with them."""
MOST_QUEUES = 1000
"""Maximum number of queues in a fleet; the default of `max_queues`."""
MOST_INDEXED = 100
"""Maximum number of index entries of one call, unless one job has more."""
T = TypeVar("T")
_LANES = re.compile(rb"(\d{1,4}):(\d{1,4})")
_CREATED, _HELD, _HELD_BY_ONE_THAT_WAITS = b"chw"


class OpenedQueue(NamedTuple):
    """The reply to the opening of a queue.

    Attributes:
        home: Its number of home lanes.
        lanes: Its number of lanes.
        is_new: Whether it did not exist before.
    """

    home: int
    lanes: int
    is_new: bool


class QueueNotCreated(ConfigError):
    """A queue was not created, because there are as many as `max_queues` allows."""


def parted(items: Sequence[T], entry_of: Callable[[T], Entry]) -> Iterator[Sequence[T]]:
    """Split jobs into parts for one call each: 50 jobs, or fewer if they have many index entries."""
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
    """Enqueue at most 50 jobs; for each, return True if it is new, or the holder of its unique key. Safe to repeat."""
    if lane.seals is not None:
        entries = [sealed(lane, entry) for entry in entries]
    for _, band, when, meta, _ in entries:
        if meta or when or band != NORMAL:
            return _in_full(lane, entries)
    if len(entries) > 1 and len({entry.id for entry in entries}) < len(entries):
        return _in_full(lane, entries)
    keys = (*lane.plain, *[lane.job_prefix + entry.id for entry in entries])
    args: tuple[Argument, ...] = (lane.tag, *[entry.envelope for entry in entries])
    return Call(load("enqueue_plain"), keys, args, _letters, partial(_in_full, lane, entries))


def _letters(reply: Reply) -> list[Answer]:
    return [letter == _CREATED for letter in reply[1]]


def sealed(lane: Lane, entry: Entry, job_id: str = "") -> Entry:
    """Return an entry with its envelope as it is stored; `job_id` is the job that gets it, if not that of the entry."""
    if lane.seals is None:
        return entry
    return entry._replace(envelope=lane.seals.envelope(job_id or entry.id, entry.envelope))


def in_full(lane: Lane, entries: Sequence[Entry]) -> Call[list[Answer]]:
    """Like `enqueue`, by the general script; `enqueue` uses a fast path if possible."""
    return _in_full(lane, [sealed(lane, entry) for entry in entries])


def _in_full(lane: Lane, entries: Sequence[Entry]) -> Call[list[Answer]]:
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
    """Replace a job that holds a unique key and has not started by a new one.

    Returns ``replaced``, ``exists`` if the new job already exists, or ``changed`` if the holder has started or is
    another job.
    """
    entry = sealed(lane, entry)
    keys = (
        *lane.ready, lane.wake, lane.meta, lane.expiry, lane.totals, lane.unique, lane.locks, lane.done, lane.watched,
        lane.outbox, lane.journal, lane.grouped, lane.ring, lane.gdue, lane.job(entry.id), lane.job(holder),
        lane.result(holder), lane.value(holder), lane.steps(holder), *_indexes(lane, entry),
    )  # fmt: skip
    return Call(load("replace"), keys, (lane.tag, key, holder, ttl_ms, *entry), lambda reply: reply[0].decode())


def debounce(lane: Lane, entry: Entry, *, key: str, holder: str, longest_us: int | None) -> Call[tuple[str, bool]]:
    """Let a later job replace the call of the holder of a unique key, which has not started, and delay it.

    Returns ``debounced`` and whether it was due in the future, or ``changed`` if the holder has started or is
    another job.

    Args:
        lane: The lane.
        entry: The later job.
        key: The unique key.
        holder: The id of the holder.
        longest_us: Maximum delay in µs after the key was taken; None for ten times the delay.
    """
    entry = sealed(lane, entry, holder)
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


def mark(lane: Lane) -> Call[str]:
    """Write once, so that a wait that follows covers all earlier writes, also those of other connections.

    WAIT and WAITAOF wait for the last write of their own connection. A call that is repeated may write nothing. The
    value is the replication id of the server; it is empty if the user may not ask for it.
    """
    return Call(load("mark"), (lane.barrier,), (), lambda reply: reply[1].decode())


def found_store(keys: Keyspace, identity: str) -> Call[str]:
    """Record the identity of the payload store, unless one is recorded; return the one that is."""
    return Call(load("found_store"), (keys.payload_store,), (identity,), _identity)


def payload_store(keys: Keyspace) -> Call[str]:
    """Return the recorded identity of the payload store; empty if there is none."""
    return Call(load("payload_store"), (keys.payload_store,), (), _identity)


def _identity(reply: Reply) -> str:
    return str(reply[1].decode("utf-8", "replace"))


def level(lane: Lane) -> Call[str]:
    """Return the durability that an operator has set for the queue of a lane; empty if there is none."""
    return Call(load("level"), (lane.conf,), (), lambda reply: reply[1].decode("utf-8", "replace"))


def open_queue(keys: Keyspace, queue: str, lanes: int, *, most: int = MOST_QUEUES) -> Call[OpenedQueue]:
    """Create a queue with a number of home lanes, unless it exists; return its numbers of home lanes and of lanes.

    The value is a `ConfigError` if the queue is new and there are `most` queues already.
    """
    return Call(load("open_queue"), (keys.queues,), (queue, lanes, most), partial(_opened, queue, most))


def _opened(queue: str, most: int, reply: Reply) -> Any:
    if reply[0] == b"opened":
        return OpenedQueue(*known_lanes(queue, reply[1]), bool(reply[2]))
    return QueueNotCreated(
        f"Queue {queue!r} was not created: max_queues allows {most:,}, and there are at least as many. Remove those "
        "that are not needed with 'jobfleet queues rm QUEUE', or raise max_queues."
    )


def lanes_of(text: bytes) -> tuple[int, int]:
    """Parse ``home:lanes``.

    Raises:
        ValueError: The value is not valid.
    """
    found = _LANES.fullmatch(text)
    home, lanes = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= home <= lanes <= LANES_MOST:
        raise ValueError(f"{shown(text)} are not lanes; use 1 to {LANES_MOST}")
    return home, lanes


def known_lanes(queue: str, text: bytes) -> tuple[int, int]:
    """Like `lanes_of`, but an invalid value counts as one lane, and is reported."""
    try:
        return lanes_of(text)
    except ValueError:
        report([f"queues has {queue}: {shown(text)}"])
        return ONE_LANE


# Calls for the indexes of jobs by tag, by the texts of `FILTERS` in `model/fields.py`, and by function: indexed.
# `ended.py` has those that clean them.
#
# Jobs are in an index of their function only if it keeps just its last results. No listing reads these indexes.


KEEP = "keep:"


class Mark(NamedTuple):
    """An entry of an index.

    Attributes:
        at: Time of the enqueue in µs; the jobs of one call have consecutive times.
        id: Its id.
    """

    at: int
    id: str


def names(fields: Mapping[str, Any]) -> list[str]:
    """Return the names of the indexes of a job with these fields."""
    found = [f"tag:{tag}" for tag in dict.fromkeys(fields["tags"])] if "tags" in fields else []
    found += [f"{field}:{fields[field]}" for field in FILTER_NAMES if field in fields]
    return found


def keep_index(function: str) -> str:
    """Return the name of the index of a function that keeps only its last results."""
    return KEEP + function


def indexes_of(header: Mapping[str, Any]) -> list[str]:
    """Like `names`, from the header of an envelope, which may be a foreign one."""
    tags = header.get("tags")
    fields: dict[str, Any] = {field: header[field] for field in FILTER_NAMES if is_name(header.get(field))}
    return names({**fields, "tags": [tag for tag in tags if is_name(tag)] if isinstance(tags, list | tuple) else ()})


def is_name(value: object) -> bool:
    """Whether a value of a foreign record may be the name of an index."""
    return isinstance(value, str) and value.isprintable() and value != ""


def marked(meta: str, indexes: Iterable[str]) -> str:
    """Add the names of its indexes to a job's clear record (lib/job/index.lua)."""
    lines = [f"i {name}" for name in indexes]
    return "\n".join([meta, *lines] if meta else lines)


def keys_of(lane: Lane, metas: Iterable[str]) -> tuple[str, ...]:
    """Return the keys of all indexes that clear records name."""
    found: dict[str, None] = {}
    for meta in metas:
        if "i " in meta:
            found |= dict.fromkeys(line[2:] for line in meta.split("\n") if line.startswith("i "))
    return (lane.indexes, *map(lane.index_of, found)) if found else ()


def indexed(
    lane: Lane, name: str, *, upto: int | None = None, skip: int = 0, limit: int = CHUNK
) -> Call[tuple[int, list[Mark]]]:
    """Return the size of an index, and at most 50 of its jobs, newest first.

    Args:
        lane: The lane.
        name: The index, as in `names`.
        upto: The latest time of enqueue in µs; None for no limit.
        skip: Number of entries to skip.
        limit: 0 to 50.
    """
    return Call(
        load("indexed"),
        (lane.index_of(name),),
        ("+inf" if upto is None else upto, skip, limit),
        lambda reply: (
            int(reply[1]),
            [Mark(number_of(at), text_of(job_id)) for job_id, at in zip(reply[2][::2], reply[2][1::2], strict=True)],
        ),
    )
