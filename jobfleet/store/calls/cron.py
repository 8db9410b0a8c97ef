"""Calls for cron entries: schedule and list them, fire, and note what came of the fires."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from jobfleet.clock import LATEST_US
from jobfleet.model.audit import from_word
from jobfleet.store.call import Call, Reply
from jobfleet.store.calls.control import read_pause, who, why
from jobfleet.store.calls.enqueue import keys_of, sealed
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.records import Entry
from jobfleet.store.rows import kept, number_of, report, shown, sound, text_of, time_of
from jobfleet.store.script import load

if TYPE_CHECKING:
    from jobfleet.codec.seals import Seals

CHUNK = 50
LEDGER_MOST = 1000
MOST_ENTRIES = 10_000
"""Maximum number of cron entries of a fleet, because the process that fires them reads all every second."""
PASS = "pass"


class Fired(NamedTuple):
    """The result of an attempt to fire.

    Attributes:
        word: fired, passed, already, overlapped or open.
        now: Redis's time, µs.
        at: For ``already``: the last handled fire, in µs.
        id: For ``already``: its job. For ``overlapped`` and ``open``: the open job, or the holder of the unique key.
    """

    word: str
    now: int
    at: int = 0
    id: str = ""


class Scheduled(NamedTuple):
    """A stored cron entry.

    Attributes:
        name: Its name.
        since: Time at which its schedule was set, or it was resumed, in µs; earlier fires do not count.
        record: The encoded entry; in a timetable, when it fires.
        paused: Who paused it; None if it is not paused.
        paused_at: When it was paused, in µs.
        paused_reason: The reason, if one was given.
    """

    name: str
    since: int
    record: bytes
    paused: str | None = None
    paused_at: int = 0
    paused_reason: str = ""


def fire(lane: Lane, name: str, at_us: int, entry: Entry, *, overlap: str) -> Call[Fired]:
    """Create the job of a planned fire, once; with `PASS` as `overlap`, only move the mark."""
    entry = sealed(lane, entry)
    keys = (
        *lane.ready, lane.wake, lane.meta, lane.expiry, lane.totals, lane.fired, lane.unique, lane.locks, lane.grouped,
        lane.gdue, lane.job(entry.id), lane.journal, *(keys_of(lane, (entry.meta,)) or (lane.indexes,)),
    )  # fmt: skip
    args = (lane.tag, name, at_us, overlap, entry.id, entry.band, entry.when, entry.meta, entry.envelope)
    return Call(load("fire"), keys, args, _fired)


def _fired(reply: Reply) -> Fired:
    word, now, rest = reply[0].decode(), int(reply[1]), [part.decode() for part in reply[2:]]
    if word == "already":
        return Fired(word, now, _marked(rest[0]), rest[1])
    return Fired(word, now, id=rest[0] if rest else "")


def marks(lane: Lane, names: Sequence[str]) -> Call[list[tuple[int, str]]]:
    """Return the last handled fire of at most 50 entries (µs, its job); 0 for none."""
    return Call(load("marks"), (lane.fired,), tuple(names), lambda reply: [_mark(text_of(text)) for text in reply[1]])


def _mark(text: str) -> tuple[int, str]:
    at, _, job_id = text.partition(" ")
    return _marked(at), job_id


def _marked(at: str) -> int:
    """A mark; one without a date becomes the last or the first time, and the duty sets a late mark back."""
    return max(0, min(LATEST_US - 1, number_of(at)))


def set_back(lane: Lane, name: str, to_us: int, *, tolerance_us: int) -> Call[int]:
    """Set an entry's mark back to a time if it is later by more than the tolerance; return the mark."""
    return Call(load("set_back"), (lane.fired,), (name, to_us, tolerance_us), lambda reply: int(reply[1]))


def unmark(lane: Lane, name: str, *, until_us: int | None = None) -> Call[int]:
    """Delete an entry's mark, unless that is of a fire after a time; return the number of deleted marks."""
    until = "" if until_us is None else until_us
    return Call(load("unmark"), (lane.fired,), (name, until), lambda reply: int(reply[1]))


def add(
    keys: Keyspace,
    name: str,
    fingerprint: str,
    record: bytes,
    *,
    times: bytes = b"",
    is_new: bool = False,
    back_us: int = 0,
) -> Call[str]:
    """Add or change an entry: added, changed or unchanged; taken if `is_new` and the name exists; full if too many.

    Args:
        keys: The fleet's keys.
        name: Its name.
        fingerprint: Hash of its schedule.
        record: The encoded entry.
        times: When it fires, encoded, for those who may not read its call.
        is_new: Whether to refuse a name that exists.
        back_us: Microseconds before now from which a new schedule counts.
    """
    if keys.seals is not None:  # the script compares records
        record = keys.seals.value(record, "cron", name, is_stable=True)
    args = (name, fingerprint, "add" if is_new else "put", record, MOST_ENTRIES, back_us, times)
    return Call(load("schedule"), (keys.cron, keys.cron_times), args, lambda reply: reply[2].decode())


def remove(keys: Keyspace, name: str) -> Call[bool]:
    """Delete an entry; False if there was none."""
    places = (keys.cron, keys.cron_paused, keys.cron_ledger(name), keys.cron_times, keys.cron_outcomes)
    return Call(load("remove_entry"), places, (name,), lambda reply: bool(reply[1]))


def pause(keys: Keyspace, name: str, *, by: str | None, reason: str | None = None) -> Call[str]:
    """Pause an entry: paused, already or unknown."""
    return _pause_entry(keys, name, who(by), why(reason))


def resume(keys: Keyspace, name: str) -> Call[str]:
    """Resume an entry: resumed, already or unknown."""
    return _pause_entry(keys, name, "", "")


def _pause_entry(keys: Keyspace, name: str, by: str, reason: str) -> Call[str]:
    places = (keys.cron, keys.cron_paused, keys.cron_times)
    return Call(load("pause_entry"), places, (name, by, reason), lambda reply: reply[2].decode())


def entries(keys: Keyspace) -> Call[tuple[int, list[Scheduled]]]:
    """Return Redis's time (µs) and all entries."""
    return Call(load("entries"), (keys.cron,), (keys.tag,), partial(_entries, keys.seals))


def _entries(seals: Seals | None, reply: Reply) -> tuple[int, list[Scheduled]]:
    paused: Mapping[bytes, bytes] = dict(zip(reply[3][::2], reply[3][1::2], strict=True))
    rows, bad = sound(sorted(zip(reply[2][::2], reply[2][1::2], strict=True)), lambda pair: _scheduled(pair, paused))
    report(f"cron has {shown(name)}: {shown(value)}" for name, value in bad)
    if seals is not None:
        rows = [row._replace(record=seals.open_value(row.record, "cron", row.name)) for row in rows]
    return int(reply[1]), rows


def timetable(keys: Keyspace) -> Call[tuple[int, list[Scheduled]]]:
    """Return Redis's time (µs), and when all entries fire; nothing of their calls."""
    return Call(load("timetable"), (keys.cron_times,), (keys.tag,), partial(_entries, None))


def note_times(keys: Keyspace, times: Sequence[tuple[str, int, bytes]]) -> Call[int]:
    """Write down when at most 50 entries fire (name, since in µs, times), and forget those that are gone."""
    parts = [part for one in times for part in one]
    return Call(load("note_times"), (keys.cron_times,), (keys.tag, *parts), lambda reply: int(reply[1]))


def fire_outcomes(keys: Keyspace, names: Sequence[str] = ()) -> Call[dict[str, bytes]]:
    """Return what came of the fires of some entries, encoded; without names of all that have such a record."""
    return Call(load("fire_outcomes"), (keys.cron_outcomes,), tuple(names), _by_name)


def _by_name(reply: Reply) -> dict[str, bytes]:
    return {text_of(name): record for name, record in zip(reply[1][::2], reply[1][1::2], strict=True)}


def note_outcomes(keys: Keyspace, records: Sequence[tuple[str, bytes, bytes]]) -> Call[int]:
    """Write down what came of the fires of at most 50 entries (name, the record that was read, the new one)."""
    parts = [part for one in records for part in one]
    return Call(load("note_outcomes"), (keys.cron_outcomes,), (keys.tag, *parts), lambda reply: int(reply[1]))


def unreadable(keys: Keyspace) -> Call[list[str]]:
    """Return descriptions of stored entries that cannot be read."""
    return Call(load("entries"), (keys.cron,), (keys.tag,), _unreadable)


def _unreadable(reply: Reply) -> list[str]:
    pairs = zip(reply[2][::2], reply[2][1::2], strict=True)
    return [
        f"cron has {shown(name)}: {shown(kept)}" for name, kept in sound(pairs, lambda pair: _scheduled(pair, {}))[1]
    ]


def _scheduled(pair: tuple[bytes, bytes], paused: Mapping[bytes, bytes]) -> Scheduled:
    name, kept = pair
    head, _, record = kept.partition(b"\n")
    held = text_of(paused.get(name, b""))
    pause = read_pause(held)
    by = from_word(held.partition("@")[0]) or None
    return Scheduled(name.decode(), int(head.split(b" ")[0]), record, by, pause.at, pause.reason)


def ledger(keys: Keyspace, name: str, notes: Sequence[tuple[int, str]]) -> Call[int | None]:
    """Record the outcomes of at most 50 fires (µs, text); return the number of new ones, or None without the entry."""
    parts = [part for note in notes for part in note]
    places = (keys.cron_ledger(name), keys.cron)
    return Call(load("ledger"), places, (LEDGER_MOST, name, *parts), _noted)


def _noted(reply: Reply) -> int | None:
    return int(reply[1]) if reply[0] == b"noted" else None


def history(keys: Keyspace, name: str, *, limit: int) -> Call[list[tuple[int, str]]]:
    """Return the last fires of an entry, newest first: µs and outcome."""
    return Call(
        load("history"),
        (keys.cron_ledger(name),),
        (limit,),
        lambda reply: kept(reply[1], _note, keys.cron_ledger(name)),
    )


def _note(row: bytes) -> tuple[int, str]:
    at, _, text = row.partition(b" ")
    return time_of(at), text_of(text)
