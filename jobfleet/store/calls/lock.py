"""Calls for the locks of running jobs: acquire_lock, release_lock, ended_runs, note_wait and awaited_lock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from jobfleet.store.call import Call, Reply
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.rows import kept, number_of, text_of
from jobfleet.store.script import load

TTL_MS = 30 * 86_400_000
"""How long the keys of a lock are kept after their last use."""
CHUNK = 50
NOTE_MS = 6000
"""How long a note that a job waits for a lock is kept. The job renews it."""
SHOWN = 5
"""Maximum number of holders of an awaited lock that are read."""


class Holder(NamedTuple):
    """Who holds one of the places of a lock.

    Attributes:
        token: The fencing token of the run.
        number: The number of the lock among those that the run takes.
        job_id: The id of the job.
    """

    token: int
    number: int
    job_id: str

    def text(self) -> str:
        """The holder as it is stored."""
        return f"{self.token} {self.number} {self.job_id}"

    @classmethod
    def parse(cls, text: str) -> Holder:
        """Read a holder as it is stored.

        Raises:
            ValueError: The text is not a holder.
        """
        token, number, job_id = text.split(" ", 2)
        return cls(int(token), int(number), job_id)


class Acquired(NamedTuple):
    """The reply to an attempt to take a lock.

    Attributes:
        fence: The fencing token; 0 if the lock was not taken.
        holders: The holders as they are stored, if the lock was not taken.
        limit: The number of places with which others hold it, if it differs; otherwise 0.
    """

    fence: int = 0
    holders: tuple[str, ...] = ()
    limit: int = 0


class Awaited(NamedTuple):
    """The lock for which a running job waits.

    Attributes:
        token: The fencing token of the run.
        since: Time at which it began to wait, in µs.
        limit: The number of its places.
        name: Its name.
        holders: The ids of some jobs that hold it.
    """

    token: int
    since: int
    limit: int
    name: str
    holders: tuple[str, ...]


def acquire(keys: Keyspace, name: str, holder: Holder, limit: int, *, ended: Sequence[str] = ()) -> Call[Acquired]:
    """Take one of the places of a lock.

    Args:
        keys: The fleet's keys.
        name: The name of the lock.
        holder: Who takes it.
        limit: The number of its places.
        ended: Holders whose runs have ended.
    """
    args: tuple[str | int, ...] = (holder.text(), limit, TTL_MS, *ended)
    return Call(load("acquire_lock"), (keys.lock(name), keys.lock_state(name)), args, _acquired)


def _acquired(reply: Reply) -> Acquired:
    match reply[0]:
        case b"acquired":
            return Acquired(fence=int(reply[1]))
        case b"differs":
            return Acquired(limit=number_of(reply[2]), holders=_texts(reply[1]))
    return Acquired(holders=_texts(reply[1]))


def _texts(reply: Reply) -> tuple[str, ...]:
    return tuple(text_of(text) for text in reply)


def release(keys: Keyspace, name: str, holder: Holder) -> Call[bool]:
    """Free the place of a holder; False if it held none."""
    args = (holder.text(), keys.lock_freed(name))
    return Call(load("release_lock"), (keys.lock(name),), args, lambda reply: bool(reply[1]))


def ended_runs(lane: Lane, runs: Sequence[tuple[str, int]]) -> Call[list[tuple[str, int]]]:
    """Return which of at most 50 runs of a lane, as id and token, do not own their jobs any more."""
    args: tuple[str | int, ...] = tuple(part for run in runs for part in run)
    return Call(load("ended_runs"), (lane.runs,), args, _ended)


def _ended(reply: Reply) -> list[tuple[str, int]]:
    return [(reply[1][i].decode(), int(reply[1][i + 1])) for i in range(0, len(reply[1]), 2)]


def note_wait(keys: Keyspace, name: str, holder: Holder, limit: int, *, waited_us: int) -> Call[None]:
    """Note for `NOTE_MS` that a running job waits for a lock.

    Args:
        keys: The fleet's keys.
        name: The name of the lock.
        holder: Who waits.
        limit: The number of its places.
        waited_us: Microseconds since it began to wait.
    """
    return _note(keys, holder, waited_us, limit, name, NOTE_MS)


def end_wait(keys: Keyspace, holder: Holder) -> Call[None]:
    """Delete the note that a running job waits for a lock."""
    return _note(keys, holder, 0, 0, "", 0)


def _note(keys: Keyspace, holder: Holder, waited_us: int, limit: int, name: str, ttl_ms: int) -> Call[None]:
    args: tuple[str | int, ...] = (holder.text(), waited_us, limit, name, ttl_ms)
    return Call(load("note_wait"), (keys.lock_wait(holder.job_id),), args, lambda _reply: None)


def awaited(keys: Keyspace, job_id: str) -> Call[Awaited | None]:
    """Return the lock for which a running job has waited for some seconds; None if it does not wait."""
    return Call(load("awaited_lock"), (keys.lock_wait(job_id),), (keys.tag, SHOWN), _awaited)


def _awaited(reply: Reply) -> Awaited | None:
    if reply[0] == b"none":
        return None
    holders = kept(reply[5], lambda raw: Holder.parse(raw.decode()).job_id, "the holders of a lock")
    token = number_of(reply[1].split(b" ")[0])
    return Awaited(token, int(reply[2]), int(reply[3]), text_of(reply[4]), tuple(holders))
