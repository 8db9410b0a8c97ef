"""What doctor looks for beside jobfleet's own doings: keys, fields and rows that something else has written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, cast

from jobfleet.codec import decode, read_header
from jobfleet.errors import EncodingError, EnvelopeTooNew, JobfleetError, ScriptContractError
from jobfleet.operations.operation import Operation
from jobfleet.operations.results import has_id
from jobfleet.store.call import Call
from jobfleet.store.calls import cron, inspect, journal
from jobfleet.store.calls.doctor import Leases
from jobfleet.store.damage import ASIDE, FIELDS, NONE, Place, judge, places
from jobfleet.store.job_rows import Waiting
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.mending import Surveyed, survey
from jobfleet.store.records import FleetSeen
from jobfleet.store.rows import SHOWN, shown, wrong_with

T = TypeVar("T")
LETTERS = 10
"""Dead letters looked at: the newest."""


def without_repair(calls: Sequence[Call[Any]]) -> list[Call[Any]]:
    """The same calls, for whoever only looks: what makes them fail is not repaired."""
    return [call._replace(mends=False) for call in calls]


def run_without_repair(verb: Operation[T]) -> Operation[T]:
    """A verb whose calls all are so."""
    answers: Any = None
    try:
        while True:
            answers = yield without_repair(verb.send(answers))
    except StopIteration as end:
        return cast("T", end.value)


def read_or(answer: Any, instead: Any, told: list[str]) -> Any:
    """An answer, or what stands for it where its script has met something that it cannot read; that is noted then.

    Raises:
        JobfleetError: Redis cannot be asked.
    """
    if isinstance(answer, ScriptContractError):
        told.append(str(answer))
        return instead
    if isinstance(answer, JobfleetError):
        raise answer
    return answer


def of_keys(tag: str) -> Operation[list[str]]:
    """What is damaged of the keys that a lane, or the fleet, has one each of, and what was moved aside."""
    looked = places(tag)
    aside = [Place(f"{ASIDE}{place.name}{end}", "any", NONE) for place in looked for end in ("", FIELDS)]
    (answer,) = yield without_repair([survey(tag, [*looked, *aside])])
    told: list[str] = []
    seen: Surveyed | None = read_or(answer, None, told)
    if seen is None:
        return told
    told += [str(one) for one in judge(looked, seen.rows[: len(looked)], seen.now)]
    kept = [
        place.name for place, row in zip(aside, seen.rows[len(looked) :], strict=True) if row[0] not in (b"none", b"-")
    ]
    return told + ([f"moved aside: {', '.join(kept)}"] if kept else [])


def of_fleet(keys: Keyspace, fleet: FleetSeen) -> Operation[list[str]]:
    """What cannot be read of the fleet's hashes."""
    told = [*fleet.unreadable]
    for name, record in fleet.functions.items():
        try:
            is_sound = isinstance(decode(record), dict)
        except EncodingError:
            is_sound = False
        if not is_sound:
            told.append(f"functions has {name}: {shown(record)}")
    calls: list[Call[Any]] = [cron.unreadable(keys), journal.unreadable(keys)]
    for answer in (yield without_repair(calls)):
        told += read_or(answer, (), told)
    return told + (yield from of_keys(keys.tag))


def of_lane(lane: Lane, waiting: Sequence[Waiting], leases: Leases) -> Operation[list[str]]:
    """What cannot be read of a lane: its keys, and rows of those that were looked at."""
    told = yield from of_keys(lane.tag)
    rows = {row.id: row.wrong for row in leases.rows}
    rows |= {row.id: row.wrong or _wrong_envelope(row.envelope) for row in waiting}
    names = [name for name in rows if name.startswith(lane.id_prefix)]
    if names:
        asked = "\n".join(names)
        beside = [Place("tries", "hash", asked), Place("meta", "hash", asked)]
        (answer,) = yield without_repair([survey(lane.tag, beside)])
        seen: Surveyed | None = read_or(answer, None, told)
        tries, metas = (dict(zip(row[1::2], row[2::2], strict=True)) for row in seen.rows) if seen else ({}, {})
        for name in names:
            raw = name.encode()
            rows[name] = rows[name] or wrong_with(raw, tries.get(raw, b""), metas.get(raw, b""), lane.id_prefix)
    told += [f"{name[:SHOWN]!r} is unreadable: {wrong}" for name, wrong in rows.items() if wrong]
    letters, ended = yield without_repair([inspect.dead(lane, limit=LETTERS), inspect.finished(lane, limit=LETTERS)])
    told += [
        f"dlq has the entry {one.entry} of {one.id!r}, which is no job"
        for one in read_or(letters, (), told)
        if not has_id(one)
    ]
    told += [
        f"done has the entry {one.entry}, which nobody can read"
        for one in read_or(ended, (), told)
        if one.outcome == inspect.NO_OUTCOME
    ]
    return told


def _wrong_envelope(envelope: bytes) -> str:
    """What is wrong with an envelope; nothing with one that is not there, which is another check's to tell."""
    try:
        if envelope:
            read_header(envelope)
    except EnvelopeTooNew:
        return ""
    except EncodingError as error:
        return f"its envelope cannot be read: {error}"
    return ""
