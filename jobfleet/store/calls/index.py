"""indexed, indexes, sweep: jobs by tag, user and session."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from jobfleet.store.call import Call
from jobfleet.store.keys import Lane
from jobfleet.store.rows import number_of, sound, text_of
from jobfleet.store.script import load

CHUNK = 50
SWEPT_AT_ONCE = 50


class Mark(NamedTuple):
    """A job in an index.

    Attributes:
        at: When it was enqueued, µs; jobs of one call follow each other.
        id: Its id.
    """

    at: int
    id: str


def names(tags: Iterable[str] = (), user: str | None = None, session: str | None = None) -> list[str]:
    """The indexes in which a job of these tags, this user and this session stands."""
    found = [f"tag:{tag}" for tag in dict.fromkeys(tags)]
    if user is not None:
        found.append(f"user:{user}")
    if session is not None:
        found.append(f"session:{session}")
    return found


def indexes_of(header: Mapping[str, Any]) -> list[str]:
    """The same of a job whose envelope has this header, whoever wrote it."""
    tags = header.get("tags")
    return names(
        [tag for tag in tags if _is_name(tag)] if isinstance(tags, list | tuple) else (),
        *(value if _is_name(value := header.get(field)) else None for field in ("user", "session")),
    )


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value.isprintable() and value != ""


def marked(meta: str, indexes: Iterable[str]) -> str:
    """What comes with a job, with the indexes that it is to stand in (lib/job/index.lua)."""
    lines = [f"i {name}" for name in indexes]
    return "\n".join([meta, *lines] if meta else lines)


def keys_of(lane: Lane, metas: Iterable[str]) -> tuple[str, ...]:
    """The keys of all indexes that are named in what comes with jobs."""
    found: dict[str, None] = {}
    for meta in metas:
        if "i " in meta:
            found |= dict.fromkeys(line[2:] for line in meta.split("\n") if line.startswith("i "))
    return (lane.indexes, *map(lane.index_of, found)) if found else ()


def indexed(
    lane: Lane, name: str, *, upto: int | None = None, skip: int = 0, limit: int = CHUNK
) -> Call[tuple[int, list[Mark]]]:
    """How many jobs an index has, and at most 50 of them, newest first.

    Args:
        lane: Where.
        name: The index, as `names` calls it.
        upto: The latest time of enqueueing, µs; None for the newest.
        skip: How many of the first to pass over.
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


def indexes(lane: Lane) -> Call[list[str]]:
    """At most 50 indexes that it is time to look through."""
    return Call(load("indexes"), (lane.indexes,), (SWEPT_AT_ONCE,), lambda reply: sound(reply[1], bytes.decode)[0])


def sweep(lane: Lane, name: str, *, skip: int = 0) -> Call[tuple[int, int, bool]]:
    """Let an index forget what is gone, at most 50 looked at: how many went, how many stay, whether there are more."""
    return Call(
        load("sweep"),
        (lane.index_of(name), lane.indexes),
        (lane.tag, name, skip),
        lambda reply: (int(reply[1]), int(reply[2]), bool(reply[3])),
    )
