"""Calls of operators to jobs, queues and functions: cancel, stop, edit, purge, pause, resume, remove and more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from jobfleet.errors import InvalidJob
from jobfleet.model.audit import from_word, to_word
from jobfleet.store.call import Argument, Call, Reply
from jobfleet.store.calls.enqueue import known_lanes
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.records import AS_IT_IS, Edit
from jobfleet.store.rows import number_of, text_of
from jobfleet.store.script import load

CHUNK = 50
REASON_MOST = 200


def who(by: str | None) -> str:
    """Format a user's name for records: one word, never empty.

    Raises:
        InvalidJob: The value is not a text.
    """
    _check_text(by, "by")
    return to_word(by)


def why(reason: str | None) -> str:
    """Format a reason for records: one line, cut to a limit.

    Raises:
        InvalidJob: The value is not a text.
    """
    _check_text(reason, "reason")
    return " ".join((reason or "").split())[:REASON_MOST]


def _check_text(text: object, field: str) -> None:
    if text is not None and not isinstance(text, str):
        raise InvalidJob(f"{field} is {text!r:.100}; give a text, or leave it out.", field=field)


def cancel(
    keys: Keyspace, lane: Lane, ids: Sequence[str], *, by: str | None, ttl_ms: int, moved_to: str = ""
) -> Call[str]:
    """End at most 50 waiting jobs, or request the stop of running ones.

    Returns one letter each: c cancelled, r requested, f already final, u unknown. `moved_to` is the id of the job that
    replaces a waiting one in another queue.
    """
    places = [
        place
        for job_id in ids
        for place in (
            lane.job(job_id), lane.result(job_id), lane.value(job_id), lane.steps(job_id), lane.log(job_id),
            lane.chunks(job_id), lane.parents(job_id),
        )
    ]  # fmt: skip
    fixed = (
        *lane.ready, lane.runs, lane.tries, lane.meta, lane.unique, lane.expiry, lane.done, lane.totals, lane.watched,
        lane.outbox, lane.journal, lane.grouped, lane.ring, lane.gdue, lane.wake,
    )  # fmt: skip
    return Call(
        load("cancel"),
        (*fixed, *places),
        (lane.tag, keys.control, who(by), ttl_ms, f"moved:{moved_to}" if moved_to else "-", *ids),
        lambda reply: reply[1].decode(),
    )


def stop(lane: Lane, items: Sequence[tuple[str, int, int, str]]) -> Call[str]:
    """Record the stage of stopping of at most 50 cancelled runs: id, token, number of the event, stage.

    Returns one letter each: n recorded, d already at this stage or later, l lost, u no cancellation was requested.
    """
    args: list[Argument] = [part for item in items for part in item]
    keys = (lane.runs, lane.journal, lane.totals)
    return Call(load("stop"), keys, (lane.tag, *args), lambda reply: reply[1].decode())


def reschedule(lane: Lane, ids: Sequence[str], *, by: str | None, when: str = "", band: int | None = None) -> Call[str]:
    """Change the due time or band of at most 50 waiting jobs; a value that is not given stays.

    Returns one letter each: s rescheduled, r running, f final, u unknown, b blocked, so that it has no due time.

    Args:
        lane: The lane of the jobs.
        ids: The jobs.
        by: The user who requests it.
        when: ``"+n"`` for n µs from now, ``"n"`` for n µs since 1970.
        band: 0 for CRITICAL … 3 for LOW.
    """
    return Call(
        load("reschedule"),
        (*lane.ready, lane.wake, lane.journal, lane.grouped, lane.ring, lane.gdue, lane.totals),
        (lane.tag, who(by), when, "" if band is None else band, *ids),
        lambda reply: reply[2].decode(),
    )


def edit(lane: Lane, job_id: str, *, by: str | None, expected: bytes, envelope: bytes, changed: str = "") -> Call[str]:
    """Replace the envelope of a waiting job; returns edited, changed, running, ended or unknown.

    Args:
        lane: The lane of the job.
        job_id: The job.
        by: The user who requests it.
        expected: The envelope that the new one was made from, as it is stored; the job is ``changed`` if it has another
            one now.
        envelope: The new envelope.
        changed: The names of the arguments that differ, as one word.
    """
    if lane.seals is not None:
        envelope = lane.seals.envelope(job_id, envelope)
    return Call(
        load("edit"),
        (lane.job(job_id), lane.journal, lane.totals, lane.meta),
        (lane.tag, job_id, who(by), expected, envelope, changed),
        lambda reply: reply[0].decode(),
    )


def replay(
    lane: Lane, ids: Sequence[str], *, by: str | None, edits: Mapping[str, Edit] = MappingProxyType({})
) -> Call[list[str]]:
    """Put at most 50 dead jobs back; a word each: replayed, already, changed, unknown, or duplicate:<holder>.

    Args:
        lane: The lane of the jobs.
        ids: The jobs.
        by: The user who requests it.
        edits: Changes of some envelopes; a job is ``changed`` if its dead letter is not the expected one.
    """
    seals = lane.seals
    if seals is not None:
        edits = {
            job_id: edit._replace(envelope=seals.envelope(job_id, edit.envelope)) for job_id, edit in edits.items()
        }
    places = [place for job_id in ids for place in (lane.job(job_id), lane.result(job_id), lane.steps(job_id))]
    fixed = (
        *lane.ready, lane.wake, lane.tries, lane.meta, lane.unique, lane.dlq, lane.dead, lane.totals, lane.watched,
        lane.locks, lane.grouped, lane.gdue, lane.journal, lane.filed, lane.filing,
    )  # fmt: skip
    return Call(
        load("replay"),
        (*fixed, *places),
        (lane.tag, who(by), *[part for job_id in ids for part in (job_id, *edits.get(job_id, AS_IT_IS))]),
        lambda reply: [word.decode() for word in reply[2]],
    )


def purge(lane: Lane, ids: Sequence[str]) -> Call[int]:
    """Delete at most 50 dead letters; return the number of deleted ones."""
    keys = (lane.dlq, lane.dead, lane.filed, lane.filing)
    return Call(load("purge"), keys, tuple(ids), lambda reply: int(reply[1]))


def pause(lane: Lane, *, by: str | None, reason: str | None = None) -> Call[bool]:
    """Stop claims from a lane; False if it was already paused."""
    return Call(load("pause"), (lane.conf,), (who(by), why(reason)), _is_fresh)


def resume(lane: Lane) -> Call[bool]:
    """Allow claims from a paused lane again; False if it was not paused."""
    return Call(load("resume"), (lane.conf, lane.wake), (lane.tag,), _is_fresh)


def _is_fresh(reply: Reply) -> bool:
    return bool(reply[1])


def listen(lane: Lane) -> Call[None]:
    """Announce for a minute that the lane's events have a listener; otherwise they are not published."""
    return Call(load("listen"), (lane.listeners,), (), lambda _reply: None)


def trim(lane: Lane, *, done_before_ms: int, dead_before_ms: int, dead_max: int) -> Call[tuple[int, int, bool]]:
    """Delete old or excess data of a lane: batches of finished jobs, and dead letters; return both counts.

    The third value is whether more is left. Unique keys whose time is over are deleted too.
    """
    return Call(
        load("trim"),
        (lane.done, lane.dlq, lane.dead, lane.unique, lane.locks, lane.filed, lane.filing),
        (done_before_ms, dead_before_ms, dead_max),
        lambda reply: (int(reply[1]), int(reply[2]), bool(reply[3])),
    )


OVER = "~"
"""The prefix of a function that is being resumed."""


class Pause(NamedTuple):
    """The pause of a function.

    Attributes:
        by: Who requested it; None if unknown.
        at: Time of the pause in µs.
        reason: The reason; may be empty.
    """

    by: str | None
    at: int
    reason: str = ""


def read_pause(text: str) -> Pause:
    """Parse ``who@at reason``."""
    by, _, rest = text.partition("@")
    at, _, reason = rest.partition(" ")
    return Pause(None if by in ("", "-") else from_word(by), number_of(at), reason)


def read_functions(text: str) -> dict[str, Pause]:
    """Return the paused functions, without those that are being resumed."""
    lines = (line.partition(" ") for line in text.split("\n") if line and not line.startswith(OVER))
    return {name: read_pause(rest) for name, _, rest in lines}


def read_resuming(text: str) -> list[str]:
    """Return the functions that are being resumed."""
    return [line.partition(" ")[0][1:] for line in text.split("\n") if line.startswith(OVER)]


@lru_cache(maxsize=256)
def stopped(text: str) -> frozenset[str]:
    """Return the names of the paused functions."""
    return frozenset(read_functions(text))


def pause_function(
    where: Lane | Keyspace, name: str, *, by: str | None, reason: str | None = None
) -> Call[bool | None]:
    """Stop starts of a function's jobs; False if it was already paused, None if too many functions are.

    Workers obey the setting of their lane; the setting of the fleet is copied to new lanes.
    """
    return Call(
        load("pause_function"),
        (where.conf,),
        (name, who(by), why(reason)),
        lambda reply: bool(reply[1]) if len(reply) > 1 else None,
    )


def resume_function(where: Lane | Keyspace, name: str, *, is_done: bool = False) -> Call[bool]:
    """Allow starts of a paused function's jobs again; `is_done` after all withheld jobs were put back.

    Returns False if there was nothing to do.
    """
    step = "end" if is_done else "begin"
    return Call(load("resume_function"), (where.conf,), (name, step), lambda reply: bool(reply[1]))


def paused(keys: Keyspace) -> Call[str]:
    """Return the functions that are paused in every queue, one line each."""
    return Call(load("paused"), (keys.conf,), (), lambda reply: text_of(reply[1]))


def put_back(lane: Lane, ids: Sequence[str]) -> Call[int]:
    """Put at most 50 withheld jobs back to their old position; return the number of moved jobs."""
    return Call(
        load("put_back"),
        (*lane.ready, lane.wake, lane.grouped, lane.gdue),
        (lane.tag, *ids),
        lambda reply: int(reply[1]),
    )


class Cleared(NamedTuple):
    """The result of clearing a lane.

    Attributes:
        is_done: Whether it was cleared; otherwise the following fields show why not.
        letters: Number of its dead letters.
        waiting: Number of its waiting jobs.
        running: Number of its running jobs.
        unrelayed: Number of endings of which dependants are still to be notified.
    """

    is_done: bool
    letters: int
    waiting: int = 0
    running: int = 0
    unrelayed: int = 0


def close_queue(keys: Keyspace, queue: str) -> Call[tuple[int, int] | None]:
    """Remove a queue from the fleet; return its numbers of home lanes and of lanes, None if it was unknown."""
    return Call(
        load("close_queue"),
        (keys.queues,),
        (queue,),
        lambda reply: known_lanes(queue, reply[1]) if reply[1] else None,
    )


def clear_lane(lane: Lane, *, drops_letters: bool) -> Call[Cleared]:
    """Delete the permanent data of an idle lane.

    Args:
        lane: The lane.
        drops_letters: Whether to delete dead letters too; otherwise they prevent it.
    """
    keys = (
        *lane.ready, lane.lease, lane.outbox, lane.dlq, lane.dead, lane.done, lane.totals, lane.conf, lane.lane,
        lane.journal, lane.fired, lane.unique, lane.locks, lane.indexes, lane.rates, lane.gdue, lane.wake,
        lane.filed, lane.filing,
    )  # fmt: skip
    return Call(load("clear_lane"), keys, (int(drops_letters),), _cleared)


def _cleared(reply: Reply) -> Cleared:
    if reply[0] == b"cleared":
        return Cleared(is_done=True, letters=int(reply[1]))
    waiting, running, unrelayed, letters = map(int, reply[1:])
    return Cleared(is_done=False, letters=letters, waiting=waiting, running=running, unrelayed=unrelayed)
