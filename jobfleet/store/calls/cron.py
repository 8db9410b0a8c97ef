"""fire, marks, unmark, schedule, unschedule, hold_entry, entries, ledger, history, attend, attendants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from jobfleet.store.call import Call, Reply
from jobfleet.store.calls.control import who
from jobfleet.store.calls.index import keys_of
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.records import Entry
from jobfleet.store.rows import number_of, shown, sound, tell, text_of
from jobfleet.store.script import load

CHUNK = 50
LEDGER_MOST = 1000
MOST_ENTRIES = 10_000
"""Cron entries of a fleet: who fires them reads all of them every second."""
WORKERS = 2
"""How many workers fire recurring jobs where no reaper does: two, so that none is missed when one of them ends."""
PASS = "pass"


class Fired(NamedTuple):
    """What became of an attempt to fire.

    Attributes:
        word: fired, passed, already, overlapped or open.
        now: Redis's time, µs.
        at: For ``already``: the last fire that was dealt with, µs.
        id: For ``already``: its job. For ``overlapped`` and ``open``: the one that is open, or holds the unique key.
    """

    word: str
    now: int
    at: int = 0
    id: str = ""


class Scheduled(NamedTuple):
    """A cron entry as it is kept.

    Attributes:
        name: Its name.
        since: When its times were set, or it was resumed, µs; nothing before fires.
        record: The entry, encoded.
        paused: Who paused it; None when it is not.
        paused_at: Since when, µs.
    """

    name: str
    since: int
    record: bytes
    paused: str | None = None
    paused_at: int = 0


class Attended(NamedTuple):
    """The answer to an announcement.

    Attributes:
        reapers: How many live reapers had announced themselves before.
        entries: How many recurring jobs there are.
        fires: Whether the process that asked is to fire them.
    """

    reapers: int
    entries: int
    fires: bool


class Attendant(NamedTuple):
    """A process that fires recurring jobs.

    Attributes:
        role: ``reaper`` or ``worker``.
        id: Its id.
        silent: µs since it announced itself last.
    """

    role: str
    id: str
    silent: int


def fire(lane: Lane, name: str, at_us: int, entry: Entry, *, overlap: str) -> Call[Fired]:
    """Make a planned fire a job, once; `PASS` as `overlap` lets it go without one."""
    keys = (
        *lane.ready, lane.wake, lane.meta, lane.expiry, lane.totals, lane.fired, lane.unique, lane.locks, lane.grouped,
        lane.gdue, lane.job(entry.id), lane.journal, *(keys_of(lane, (entry.meta,)) or (lane.indexes,)),
    )  # fmt: skip
    args = (lane.tag, name, at_us, overlap, entry.id, entry.band, entry.when, entry.meta, entry.envelope)
    return Call(load("fire"), keys, args, _fired)


def _fired(reply: Reply) -> Fired:
    word, now, rest = reply[0].decode(), int(reply[1]), [part.decode() for part in reply[2:]]
    if word == "already":
        return Fired(word, now, int(rest[0]), rest[1])
    return Fired(word, now, id=rest[0] if rest else "")


def marks(lane: Lane, names: Sequence[str]) -> Call[list[tuple[int, str]]]:
    """The last fire of at most 50 entries that was dealt with (µs, its job); 0 where there is none."""
    return Call(load("marks"), (lane.fired,), tuple(names), lambda reply: [_mark(text_of(text)) for text in reply[1]])


def _mark(text: str) -> tuple[int, str]:
    at, _, job_id = text.partition(" ")
    return number_of(at), job_id


def unmark(lane: Lane, name: str) -> Call[int]:
    """Forget an entry's last fire; how many there were."""
    return Call(load("unmark"), (lane.fired,), (name,), lambda reply: int(reply[1]))


def add(keys: Keyspace, name: str, fingerprint: str, record: bytes, *, is_new: bool = False) -> Call[str]:
    """Add or change an entry: added, changed or unchanged; taken if `is_new` and the name exists; full if too many."""
    args = (name, fingerprint, "add" if is_new else "put", record, MOST_ENTRIES)
    return Call(load("schedule"), (keys.cron,), args, lambda reply: reply[2].decode())


def remove(keys: Keyspace, name: str) -> Call[bool]:
    """Let an entry go; False when there was none."""
    places = (keys.cron, keys.cron_paused, keys.cron_ledger(name))
    return Call(load("unschedule"), places, (name,), lambda reply: bool(reply[1]))


def pause(keys: Keyspace, name: str, *, by: str | None) -> Call[str]:
    """Pause an entry: paused, already or unknown."""
    return _hold_entry(keys, name, who(by))


def resume(keys: Keyspace, name: str) -> Call[str]:
    """Resume an entry: resumed, already or unknown."""
    return _hold_entry(keys, name, "")


def _hold_entry(keys: Keyspace, name: str, by: str) -> Call[str]:
    return Call(load("hold_entry"), (keys.cron, keys.cron_paused), (name, by), lambda reply: reply[2].decode())


def entries(keys: Keyspace) -> Call[tuple[int, list[Scheduled]]]:
    """Redis's time (µs), and all entries."""
    return Call(load("entries"), (keys.cron,), (keys.tag,), _entries)


def _entries(reply: Reply) -> tuple[int, list[Scheduled]]:
    paused: Mapping[bytes, bytes] = dict(zip(reply[3][::2], reply[3][1::2], strict=True))
    rows, bad = sound(sorted(zip(reply[2][::2], reply[2][1::2], strict=True)), lambda pair: _scheduled(pair, paused))
    tell(f"cron has {shown(name)}: {shown(kept)}" for name, kept in bad)
    return int(reply[1]), rows


def unreadable(keys: Keyspace) -> Call[list[str]]:
    """What stands among the entries and is none."""
    return Call(load("entries"), (keys.cron,), (keys.tag,), _unreadable)


def _unreadable(reply: Reply) -> list[str]:
    pairs = zip(reply[2][::2], reply[2][1::2], strict=True)
    return [
        f"cron has {shown(name)}: {shown(kept)}" for name, kept in sound(pairs, lambda pair: _scheduled(pair, {}))[1]
    ]


def _scheduled(pair: tuple[bytes, bytes], paused: Mapping[bytes, bytes]) -> Scheduled:
    name, kept = pair
    head, _, record = kept.partition(b"\n")
    by, _, at = text_of(paused.get(name, b"")).rpartition("@")
    return Scheduled(name.decode(), int(head.split(b" ")[0]), record, by or None, number_of(at))


def ledger(keys: Keyspace, name: str, notes: Sequence[tuple[int, str]]) -> Call[int]:
    """Note what became of at most 50 fires (µs, text); how many were new."""
    parts = [part for note in notes for part in note]
    return Call(load("ledger"), (keys.cron_ledger(name),), (LEDGER_MOST, *parts), lambda reply: int(reply[1]))


def history(keys: Keyspace, name: str, *, limit: int) -> Call[list[tuple[int, str]]]:
    """The last fires of an entry, the newest first: µs, and what became of it."""
    return Call(load("history"), (keys.cron_ledger(name),), (limit,), lambda reply: sound(reply[1], _note)[0])


def _note(row: bytes) -> tuple[int, str]:
    at, _, text = row.decode().partition(" ")
    return int(at), text


def attend(
    keys: Keyspace, process: str, role: Literal["reaper", "worker", "nobody"], *, gone_us: int, wanted: bool = False
) -> Call[Attended]:
    """Announce that a process fires recurring jobs.

    Args:
        keys: The fleet's keys.
        process: Its id.
        role: What it is; ``nobody`` where it does so no longer.
        gone_us: After how many µs of silence a process counts as gone.
        wanted: Whether a worker is to fire although there are no entries yet: its own functions will make some.
    """
    args = (process, role, gone_us, WORKERS, int(wanted))
    return Call(load("attend"), (keys.cron_duty, keys.cron), args, _attended)


def _attended(reply: Reply) -> Attended:
    return Attended(int(reply[2]), int(reply[3]), bool(reply[4]))


def attendants(keys: Keyspace) -> Call[list[Attendant]]:
    """Who has announced that it fires recurring jobs, those that are gone by now included."""
    return Call(load("attendants"), (keys.cron_duty,), (), _attendants)


def _attendants(reply: Reply) -> list[Attendant]:
    now, rows = int(reply[1]), reply[2]
    found = []
    for name, at in zip(rows[::2], rows[1::2], strict=True):
        role, _, process = name.decode("utf-8", "replace").partition(":")
        found.append(Attendant(role, process, now - int(float(at))))
    return found
