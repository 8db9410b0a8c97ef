"""cancel, stop, reschedule, replay, purge, pause, resume, trim: what operators and duties do."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from jobfleet.errors import InvalidJob
from jobfleet.store.call import Argument, Call, Reply
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.records import AS_IT_IS, Edit
from jobfleet.store.script import load

CHUNK = 50
REASON_MOST = 200
_ALLOWED = frozenset(string.ascii_letters + string.digits + "._+-:")


def who(by: str | None) -> str:
    """A name as scripts write it into records: no separators, never empty.

    Raises:
        InvalidJob: It is no text.
    """
    _check_text(by, "by")
    return "".join(letter if letter in _ALLOWED else "_" for letter in by or "")[:64] or "-"


def why(reason: str | None) -> str:
    """A reason as scripts write it into records: one line, bounded.

    Raises:
        InvalidJob: It is no text.
    """
    _check_text(reason, "reason")
    return " ".join((reason or "").split())[:REASON_MOST]


def _check_text(text: object, field: str) -> None:
    if text is not None and not isinstance(text, str):
        raise InvalidJob(f"{field} is {text!r:.100}; give a text, or leave it out.", field=field)


def cancel(
    keys: Keyspace, lane: Lane, ids: Sequence[str], *, by: str | None, ttl_ms: int, moved_to: str = ""
) -> Call[str]:
    """End at most 50 waiting jobs, or ask running ones to stop.

    A letter each: c cancelled, r requested, f final already, u unknown. `moved_to` is the job that takes the
    place of a waiting one.
    """
    places = [place for job_id in ids for place in (lane.job(job_id), lane.result(job_id))]
    fixed = (
        *lane.ready, lane.runs, lane.tries, lane.meta, lane.unique, lane.expiry, lane.done, lane.totals, lane.watched,
        lane.outbox, lane.journal, lane.grouped, lane.ring, lane.gdue,
    )  # fmt: skip
    return Call(
        load("cancel"),
        (*fixed, *places),
        (lane.tag, keys.control, who(by), ttl_ms, f"moved:{moved_to}" if moved_to else "-", *ids),
        lambda reply: reply[1].decode(),
    )


def stop(lane: Lane, items: Sequence[tuple[str, int, int, str]]) -> Call[str]:
    """Note how far the stopping of at most 50 cancelled runs has come: id, token, number of the event, stage.

    A letter each: n noted, d so far or further already, l lost, u nobody asked it to stop.
    """
    args: list[Argument] = [part for item in items for part in item]
    keys = (lane.runs, lane.journal, lane.totals)
    return Call(load("stop"), keys, (lane.tag, *args), lambda reply: reply[1].decode())


def reschedule(lane: Lane, ids: Sequence[str], *, by: str | None, when: str = "", band: int | None = None) -> Call[str]:
    """Give at most 50 waiting jobs another due time or band; what is not given stays.

    A letter each: s rescheduled, r running, f final, u unknown, b waits for other jobs, so its due time cannot be.

    Args:
        lane: Where they are.
        ids: Which.
        by: Who asks.
        when: ``"+n"`` n µs from now, ``"n"`` at n µs since 1970.
        band: 0 for CRITICAL … 3 for LOW.
    """
    return Call(
        load("reschedule"),
        (*lane.ready, lane.wake, lane.journal, lane.grouped, lane.ring, lane.gdue, lane.totals),
        (lane.tag, who(by), when, "" if band is None else band, *ids),
        lambda reply: reply[2].decode(),
    )


def replay(
    lane: Lane, ids: Sequence[str], *, by: str | None, edits: Mapping[str, Edit] = MappingProxyType({})
) -> Call[list[str]]:
    """Put at most 50 dead jobs back; a word each: replayed, already, changed, unknown, or duplicate:<holder>.

    Args:
        lane: Where they are.
        ids: Which.
        by: Who asks.
        edits: What becomes of the envelopes of some of them; one is ``changed`` when it is another letter by now.
    """
    places = [place for job_id in ids for place in (lane.job(job_id), lane.result(job_id))]
    fixed = (
        *lane.ready, lane.wake, lane.tries, lane.meta, lane.unique, lane.dlq, lane.dead, lane.totals, lane.watched,
        lane.locks, lane.grouped, lane.gdue, lane.journal,
    )  # fmt: skip
    return Call(
        load("replay"),
        (*fixed, *places),
        (lane.tag, who(by), *[part for job_id in ids for part in (job_id, *edits.get(job_id, AS_IT_IS))]),
        lambda reply: [word.decode() for word in reply[2]],
    )


def purge(lane: Lane, ids: Sequence[str]) -> Call[int]:
    """Let at most 50 dead letters go for good; answer how many there were."""
    return Call(load("purge"), (lane.dlq, lane.dead), tuple(ids), lambda reply: int(reply[1]))


def pause(lane: Lane, *, by: str | None, reason: str | None = None) -> Call[bool]:
    """Let no job of a lane be claimed; False when it was paused already."""
    return Call(load("pause"), (lane.conf,), (who(by), why(reason)), _is_fresh)


def resume(lane: Lane) -> Call[bool]:
    """Let a paused lane be claimed again; False when it was not paused."""
    return Call(load("resume"), (lane.conf, lane.wake), (lane.tag,), _is_fresh)


def _is_fresh(reply: Reply) -> bool:
    return bool(reply[1])


def listen(lane: Lane) -> Call[None]:
    """Say for a minute that somebody listens to a lane's events; without it they are not published."""
    return Call(load("listen"), (lane.listeners,), (), lambda _reply: None)


def trim(lane: Lane, *, done_before_ms: int, dead_before_ms: int, dead_max: int) -> Call[tuple[int, int, bool]]:
    """Let go what is old, or too much: batches of finished jobs, dead letters, and whether more is left.

    Unique keys whose time is over go too.
    """
    return Call(
        load("trim"),
        (lane.done, lane.dlq, lane.dead, lane.unique, lane.locks),
        (done_before_ms, dead_before_ms, dead_max),
        lambda reply: (int(reply[1]), int(reply[2]), bool(reply[3])),
    )
