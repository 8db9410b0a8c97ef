"""Calls for the indexes of jobs by tag, user, session and function: indexed. `ended.py` has those that clean them.

Jobs are in an index of their function only if it keeps just its last results. No listing reads these indexes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from jobfleet.store.call import Call
from jobfleet.store.keys import Lane
from jobfleet.store.rows import number_of, text_of
from jobfleet.store.script import load

CHUNK = 50
KEEP = "keep:"


class Mark(NamedTuple):
    """An entry of an index.

    Attributes:
        at: Time of the enqueue in µs; the jobs of one call have consecutive times.
        id: Its id.
    """

    at: int
    id: str


def names(tags: Iterable[str] = (), user: str | None = None, session: str | None = None) -> list[str]:
    """Return the names of the indexes of a job with these tags, this user and this session."""
    found = [f"tag:{tag}" for tag in dict.fromkeys(tags)]
    if user is not None:
        found.append(f"user:{user}")
    if session is not None:
        found.append(f"session:{session}")
    return found


def keep_index(function: str) -> str:
    """Return the name of the index of a function that keeps only its last results."""
    return KEEP + function


def indexes_of(header: Mapping[str, Any]) -> list[str]:
    """Like `names`, from the header of an envelope, which may be a foreign one."""
    tags = header.get("tags")
    return names(
        [tag for tag in tags if _is_name(tag)] if isinstance(tags, list | tuple) else (),
        *(value if _is_name(value := header.get(field)) else None for field in ("user", "session")),
    )


def _is_name(value: object) -> bool:
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
