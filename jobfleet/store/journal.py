"""Reading the journal of lifecycle events, for groups of readers that must not miss an event.

The scripts of a lane write to its journal while a group is registered there. The readers of a group share its events.
A reader owns the events that it has read until it acknowledges them, after their effect, or until it has been silent
so long that another reader takes them over. So each group reads every event at least once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from jobfleet.clock import monotonic, to_us
from jobfleet.codec.frames import is_refused, open_record
from jobfleet.errors import BadSignature, EncodingError, JobfleetError, StoreUnavailable
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Command
from jobfleet.store.calls import journal as calls
from jobfleet.store.calls.journal import Kept
from jobfleet.store.fleet import FleetReader
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.replies import translate
from jobfleet.store.rows import NOT_READ, report, shown, text_of

if TYPE_CHECKING:
    from jobfleet.codec.seals import Seals

log: logging.Logger = logging.getLogger("jobfleet.journal")
_Asked = tuple[Lane, Callable[[Lane, Any, int], list[Any]], Command]
LOOK_EVERY = 1.0
TAKE_OVER_AFTER = 60.0
GONE_AFTER = 3600.0
ACKS = 1000


class Event(NamedTuple):
    """One lifecycle event of a job.

    Attributes:
        seq: The number of the event in its lane. It increases, even across a complete loss of Redis's data.
        event: The verb in the past tense: enqueued, claimed, completed …
        id: The job's id.
        token: The fencing token of the run; 0 outside of a run.
        at: Time in µs of Redis's clock.
        words: Further details; see docs/explanation/journal.md.
        envelope: Header and body; empty if the event has none.
        record: The record of the run that ended; empty if the event has none.
        tries: What the job has spent of its budgets; empty if the event has none.
    """

    seq: int
    event: str
    id: str
    token: int
    at: int
    words: tuple[str, ...]
    envelope: bytes = b""
    record: bytes = b""
    tries: str = ""


class Batch(NamedTuple):
    """Events of a lane that were read together.

    Attributes:
        lane: The lane.
        entries: The entries to acknowledge.
        events: The events in their order.
    """

    lane: Lane
    entries: tuple[bytes, ...]
    events: list[Event]


class Journal:
    """A reader of a group, over all lanes of a fleet.

    Args:
        store: The connection to Redis.
        keys: The fleet's keys.
        group: The name of the group.
        consumer: The name of the reader, unique among all processes.
        most: Maximum number of unacknowledged events per lane.
        longest: Maximum age of unacknowledged events in seconds.
        take_over_after: Seconds of silence after which another reader takes over a reader's events.
        look_every: Seconds between checks for new lanes.
    """

    def __init__(
        self,
        store: AsyncStore,
        keys: Keyspace,
        *,
        group: str,
        consumer: str,
        most: int,
        longest: float,
        take_over_after: float = TAKE_OVER_AFTER,
        look_every: float = LOOK_EVERY,
    ) -> None:
        self._store = store
        self._keys = keys
        self.group = group
        self.consumer = consumer
        self._most = most
        self._longest = longest
        self._take_over_ms = round(take_over_after * 1000)
        self._take_over_every = take_over_after / 4
        self._lanes: dict[Lane, None] = {}  # in order; a list would be searched for each lane
        self._left: dict[Lane, str] = {}  # lane → the entry after which replies may have been lost
        self._look_every = look_every
        self._looked = self._took_over = float("-inf")
        self._dropped: dict[Lane, int] = {}
        self._reader = FleetReader(store, keys)

    async def register(self) -> None:
        """Register the group in all current and future lanes, so that they write a journal. Safe to repeat.

        Raises:
            StoreUnavailable: Redis is unavailable.
        """
        await self._store.run(calls.enlist(self._keys, self.group, most=self._most))
        self._looked = float("-inf")
        await self._look()

    async def unregister(self) -> None:
        """Remove the whole group; it loses all events that were not acknowledged."""
        await self._store.run(calls.dismiss(self._keys, self.group))
        seen = await FleetReader(self._store, self._keys).look()
        for lane in _lanes(self._keys, seen.queues):
            await self._store.run(calls.unregister(lane, self.group))
        self._lanes.clear()
        self._left.clear()

    async def read(self, count: int = 100) -> list[Batch]:
        """Read new events, and unacknowledged events of readers that are gone; return at once, even without events.

        Args:
            count: Maximum number of entries per lane; each has the events of one script, at most 50.

        Raises:
            StoreUnavailable: Redis is unavailable.
        """
        if monotonic() - self._looked >= self._look_every:
            await self._look()
        takes_over = monotonic() - self._took_over >= self._take_over_every
        if takes_over:
            self._took_over = monotonic()
        asked: list[_Asked] = []

        def ask() -> list[Command]:
            if asked:  # what was answered and did not arrive is this reader's: it is read from the beginning
                self._left = dict.fromkeys(self._lanes, "0")
            asked[:] = self._asked(count, takes_over=takes_over)
            return [command for _, _, command in asked]

        try:
            replies = await self._store.repeat(ask) if self._lanes or self._left else []
        except StoreUnavailable:
            self._left = dict.fromkeys(self._lanes, "0")
            raise
        batches = []
        for (lane, rows_of, _), reply in zip(asked, replies, strict=True):
            rows = self._refused(lane, reply) if isinstance(reply, Exception) else rows_of(lane, reply, count)
            rows = [row for row in rows if row and row[1]]  # an entry that was deleted meanwhile has only its id
            if rows:
                events = signed(self._keys.seals, _events(rows))
                batches.append(Batch(lane, tuple(row[0] for row in rows), events))
        return batches

    async def ack(self, batches: Iterable[Batch]) -> None:
        """Acknowledge events after their effect; otherwise they are read again.

        Raises:
            StoreUnavailable: Redis is unavailable.
        """
        commands: list[Command] = [
            ("XACK", batch.lane.journal, self.group, *batch.entries[at : at + ACKS])
            for batch in batches
            for at in range(0, len(batch.entries), ACKS)
        ]
        for reply in await self._store.repeat(lambda: commands) if commands else ():
            if isinstance(reply, BaseException):
                raise translate(reply)

    async def counts(self) -> dict[Lane, int]:
        """Return the number of the last event of each lane, without reading the events. Unreadable ones are left out.

        Raises:
            StoreUnavailable: Redis is unavailable.
        """
        lanes = list(self._lanes)
        commands: list[Command] = [("HGET", lane.totals, "journal") for lane in lanes]
        replies = await self._store.repeat(lambda: commands) if commands else []
        found = zip(lanes, replies, strict=True)
        return {lane: int(reply) for lane, reply in found if isinstance(reply, bytes) and reply.isdigit()}

    async def trim(self) -> list[tuple[Lane, Kept]]:
        """Delete events that all groups have acknowledged or that are too old; return the remaining state per lane.

        Raises:
            StoreUnavailable: Redis is unavailable.
        """
        left: dict[Lane, Kept] = {}
        lanes = list(self._lanes)
        while lanes:
            before = {lane: left[lane].low if lane in left else -1 for lane in lanes}
            left.update(zip(lanes, await self._trim_once(lanes), strict=True))
            lanes = [lane for lane in lanes if left[lane].low > before[lane] and left[lane].backlog]
        for lane, kept in left.items():
            self._tell(lane, kept)
        return list(left.items())

    async def _trim_once(self, lanes: Sequence[Lane]) -> list[Kept]:
        longest_us, gone_ms = to_us(self._longest), round(GONE_AFTER * 1000)
        trims = [calls.trim_journal(lane, longest_us=longest_us, gone_ms=gone_ms) for lane in lanes]
        kept = []
        for answer in await self._store.run_many(trims):
            if isinstance(answer, JobfleetError):
                raise answer
            kept.append(answer)
        return kept

    # --------------------------------------------------------------------------------- inside

    def _tell(self, lane: Lane, kept: Kept) -> None:
        """Log lost events, and warn about events that will soon be lost."""
        before = self._dropped.get(lane, 0)
        if kept.dropped > before:
            log.error(
                "journal.dropped queue=%s lane=%d events=%d: no reader acknowledged them in time",
                lane.queue,
                lane.index,
                kept.dropped - before,
            )
        elif kept.backlog > self._most // 2:
            log.warning(
                "journal.filling queue=%s lane=%d events=%d most=%d", lane.queue, lane.index, kept.backlog, self._most
            )
        self._dropped[lane] = kept.dropped

    async def _look(self) -> None:
        """Register in new lanes."""
        seen = await self._reader.look()
        fresh = [lane for lane in _lanes(self._keys, seen.queues) if lane not in self._lanes]
        await register_all(self._store, fresh, {self.group: self._most})
        self._lanes.update(dict.fromkeys(fresh))
        self._left.update(dict.fromkeys(fresh, "0"))  # an earlier process of this name may have left events
        self._looked = monotonic()

    def _asked(self, count: int, *, takes_over: bool) -> list[_Asked]:
        """What to read: what may have been lost, what silent readers have left, and what is new."""
        asked: list[_Asked] = [
            (lane, self._again, self._reading(lane, start, count)) for lane, start in self._left.items()
        ]
        if takes_over:
            asked += [(lane, self._taken, self._taking_over(lane, count)) for lane in self._lanes]
        return asked + [(lane, self._new, self._reading(lane, ">", count)) for lane in self._lanes]

    def _reading(self, lane: Lane, start: str, count: int) -> Command:
        return ("XREADGROUP", "GROUP", self.group, self.consumer, "COUNT", count, "STREAMS", lane.journal, start)

    def _taking_over(self, lane: Lane, count: int) -> Command:
        return ("XAUTOCLAIM", lane.journal, self.group, self.consumer, self._take_over_ms, "0", "COUNT", count)

    def _again(self, lane: Lane, reply: Any, count: int) -> list[Any]:
        rows = _rows(reply)
        if len(rows) < count:
            del self._left[lane]
        else:
            self._left[lane] = rows[-1][0].decode()
        return rows

    def _new(self, _lane: Lane, reply: Any, _count: int) -> list[Any]:
        return _rows(reply)

    def _taken(self, _lane: Lane, reply: Any, _count: int) -> list[Any]:
        rows: list[Any] = reply[1]
        return rows

    def _refused(self, lane: Lane, error: Exception) -> list[Any]:
        if not str(error).startswith("NOGROUP"):
            raise error
        if lane in self._lanes:  # the group was lost or deleted: the next check registers it again
            del self._lanes[lane]
        self._left.pop(lane, None)
        self._looked = float("-inf")
        return []


async def register_all(store: AsyncStore, lanes: Sequence[Lane], groups: Mapping[str, int]) -> None:
    """Register groups in lanes, each with its maximum number of events."""
    made = [calls.register(lane, name, most=most) for lane in lanes for name, most in groups.items()]
    for answer in await store.run_many(made) if made else ():
        if isinstance(answer, JobfleetError):
            raise answer


async def follow(store: AsyncStore, keys: Keyspace, lanes: Sequence[Lane]) -> None:
    """Register the journal's groups in lanes that may be new, before any event happens in them."""
    await register_all(store, lanes, await store.run(calls.consumers(keys)))


def _is_forged(seals: Seals, event: Event) -> bool:
    opened = seals.open_ending(event.id, event.event, event.token, "", event.record)
    try:
        if is_refused(opened):
            open_record(opened)
    except BadSignature:
        return True
    except EncodingError:  # sealed with a key that this process does not have
        pass
    return False


def signed(seals: Seals | None, events: Iterable[Event]) -> list[Event]:
    """Leave out what nobody with the keys has signed: with signatures required, no such event says how a run ended."""
    if seals is None or not seals.requires:
        return list(events)
    kept = []
    for event in events:
        if event.event in ("completed", "failed") and _is_forged(seals, event):
            log.warning("journal.ending_refused job_id=%s event=%s: it is not signed", event.id, event.event)
        else:
            kept.append(event)
    return kept


def _lanes(keys: Keyspace, queues: Any) -> list[Lane]:
    return [keys.lane(queue, n) for queue, (_, count) in sorted(queues.items()) for n in range(count)]


def _rows(reply: Any) -> list[Any]:
    """Return the entries of the one requested stream; servers reply with a list of pairs or a mapping."""
    streams = list(reply.items()) if isinstance(reply, dict) else reply
    return list(streams[0][1]) if streams else []


def _events(rows: Iterable[Any]) -> Iterator[Event]:
    for entry, fields in rows:
        try:
            yield from parse(int(entry.partition(b"-")[0]), fields)
        except NOT_READ:  # a foreign entry; it is acknowledged with its batch
            report([f"a journal has the entry {text_of(entry)}: {shown(b' '.join(fields or ()))}"])


def parse(last: int, fields: Sequence[bytes]) -> list[Event]:
    """Parse the events of an entry; its id is the number of its last event (lib/events/journal.lua)."""
    of_alike = _ALIKE.get(fields[2])
    if of_alike is not None:
        return of_alike(last, fields)
    lines: list[bytes] = []
    more: list[dict[str, Any]] = []
    for at in range(2, len(fields), 2):
        name, value = fields[at], fields[at + 1]
        if name.endswith(b"e"):
            more[-1]["envelope"] = value
        elif name.endswith(b"r"):
            more[-1]["record"] = value
        elif name.endswith(b"t"):
            more[-1]["tries"] = value.decode()
        else:
            lines.append(value)
            more.append({})
    at_us, first = int(fields[1]), last - len(lines) + 1
    events = []
    for place, line in enumerate(lines):
        event, job_id, token, *words = line.decode().split(" ")
        events.append(Event(first + place, event, job_id, int(token), at_us, tuple(words), **more[place]))
    return events


def _claimed(last: int, fields: Sequence[bytes]) -> list[Event]:
    """Parse an entry of claims, whose tokens are consecutive (lib/events/entry.lua)."""
    child, token, *rows = fields[3].decode().split(" ")
    ids, at_us, words = rows[::2], int(fields[1]), (child,)
    first = last - len(ids) + 1
    places = enumerate(ids)
    return [Event(first + n, "claimed", job_id, int(token) + n, at_us, words) for n, job_id in places]


def _completed(last: int, fields: Sequence[bytes]) -> list[Event]:
    """Parse an entry of completed jobs (lib/events/entry.lua)."""
    prefix, tokens, *lines = fields[3].decode().split("\n")
    at_us, first = int(fields[1]), last - len(lines) + 1
    events = []
    for n, (token, line) in enumerate(zip(tokens.split(), lines, strict=True)):
        suffix, _, duration = line.split(" ")
        data = fields[4 + 2 * n], fields[5 + 2 * n]
        events.append(Event(first + n, "completed", prefix + suffix, int(token), at_us, (duration,), *data))
    return events


_ALIKE: Mapping[bytes, Callable[[int, Sequence[bytes]], list[Event]]] = {
    b"claimed": _claimed,
    b"completed": _completed,
}
