"""Find keys, fields and rows in Redis that jobfleet cannot read, because something else has written them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from jobfleet.codec import decode, read_header
from jobfleet.errors import EncodingError, EnvelopeTooNew, JobfleetError, ScriptContractError
from jobfleet.operations.audit import opened
from jobfleet.operations.operation import Blocking, Operation, batches
from jobfleet.store.call import Call
from jobfleet.store.calls import cron, dead, flow, inspect, journal
from jobfleet.store.calls.doctor import Leases
from jobfleet.store.damage import (
    ASIDE,
    FIELDS,
    NONE,
    Place,
    Surveyed,
    gate_places,
    judge,
    listed_places,
    places,
    survey,
)
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.records import FleetSeen, Waiting, has_id
from jobfleet.store.rows import SHOWN, noting, shown, wrong_with

__all__ = ["noting"]
T = TypeVar("T")
GATES = 200
"""How many named limits and circuit breakers are checked."""
SURVEYED = 400
"""How many keys are checked in one call."""
LETTERS = 10
"""How many of the newest dead letters are read."""


def without_repair(calls: Sequence[Call[Any]]) -> list[Call[Any]]:
    """Copy calls so that they do not repair damage that they meet."""
    return [call._replace(mends=False) for call in calls]


def run_without_repair(operation: Operation[T]) -> Operation[T]:
    """Run an operation whose calls repair nothing."""
    answers: Any = None
    try:
        while True:
            asked = operation.send(answers)
            answers = yield asked if isinstance(asked, Blocking) else without_repair(asked)
    except StopIteration as end:
        result: T = end.value
        return result


def read_or(answer: Any, instead: Any, damage: list[str]) -> Any:
    """Return an answer; if its script cannot read its data, return `instead` and add the error to `damage`.

    Raises:
        JobfleetError: The call failed otherwise.
    """
    if isinstance(answer, ScriptContractError):
        damage.append(str(answer))
        return instead
    if isinstance(answer, JobfleetError):
        raise answer
    return answer


def of_keys(tag: str, further: Sequence[Place] = ()) -> Operation[list[str]]:
    """Report the damage of the fixed keys of a lane or of the fleet, of others, and the keys that were moved aside.

    Keys of which there are many are found through the keys that list them; see `damage.listed_places`.
    """
    fixed = places(tag)
    (answer,) = yield without_repair([survey(tag, fixed)])
    damage: list[str] = []
    lists: Surveyed | None = read_or(answer, None, damage)
    many = listed_places(tag, fixed, lists.rows, {place.name for place in fixed}) if lists is not None else []
    names: list[str] = []
    for part in batches(dict.fromkeys([*fixed, *further, *many]), SURVEYED):
        aside = [Place(f"{ASIDE}{place.name}{end}", "any", NONE) for place in part for end in ("", FIELDS)]
        (answer,) = yield without_repair([survey(tag, [*part, *aside])])
        seen: Surveyed | None = read_or(answer, None, damage)
        if seen is None:
            break
        damage += [str(one) for one in judge(part, seen.rows[: len(part)], seen.now)]
        rows = zip(aside, seen.rows[len(part) :], strict=True)
        names += [place.name for place, row in rows if row[0] not in (b"none", b"-")]
    return damage + ([f"moved aside: {', '.join(names)}"] if names else [])


def of_fleet(keys: Keyspace, fleet: FleetSeen, gates: Sequence[str] = ()) -> Operation[list[str]]:
    """Report what cannot be read in the hashes of the fleet, and in the keys of some gates."""
    damage = [*fleet.unreadable]
    for name, record in fleet.functions.items():
        try:
            is_sound = isinstance(decode(record), dict)
        except EncodingError:
            is_sound = False
        if not is_sound:
            damage.append(f"functions has {name}: {shown(record)}")
    calls: list[Call[Any]] = [cron.unreadable(keys), journal.unreadable(keys)]
    for answer in (yield without_repair(calls)):
        damage += read_or(answer, (), damage)
    lists: list[Call[Any]] = [
        dead.rescues(keys),
        dead.groups(keys),
        flow.flows(keys, limit=1),
        journal.read_audit(keys),
    ]
    answers = yield without_repair(lists)  # their readers report single rows; see `noting`
    *_, (records, _) = [read_or(answer, ([], ""), damage) for answer in answers]
    opened(records)
    return damage + (yield from of_keys(keys.tag, gate_places([*dict.fromkeys(gates)][:GATES])))


def of_lane(lane: Lane, waiting: Sequence[Waiting], leases: Leases) -> Operation[list[str]]:
    """Report what cannot be read in a lane: its keys, and the rows that were read."""
    damage = yield from of_keys(lane.tag)
    rows = {row.id: row.wrong for row in leases.rows}
    rows |= {row.id: row.wrong or _wrong_envelope(row.envelope) for row in waiting}
    names = [name for name in rows if name.startswith(lane.id_prefix)]
    if names:
        asked = "\n".join(names)
        beside = [Place("tries", "hash", asked), Place("meta", "hash", asked)]
        (answer,) = yield without_repair([survey(lane.tag, beside)])
        seen: Surveyed | None = read_or(answer, None, damage)
        tries, metas = (dict(zip(row[1::2], row[2::2], strict=True)) for row in seen.rows) if seen else ({}, {})
        for name in names:
            raw = name.encode()
            rows[name] = rows[name] or wrong_with(raw, tries.get(raw, b""), metas.get(raw, b""), lane.id_prefix)
    damage += [f"{name[:SHOWN]!r} is unreadable: {wrong}" for name, wrong in rows.items() if wrong]
    letters, ended = yield without_repair([inspect.dead(lane, limit=LETTERS), inspect.finished(lane, limit=LETTERS)])
    damage += [
        f"dlq has the entry {one.entry} of {one.id!r}, which is not a job"
        for one in read_or(letters, (), damage)
        if not has_id(one)
    ]
    damage += [
        f"done has the entry {one.entry}, which nobody can read"
        for one in read_or(ended, (), damage)
        if one.outcome == inspect.NO_OUTCOME
    ]
    return damage


def _wrong_envelope(envelope: bytes) -> str:
    """The fault of an envelope; empty for a missing envelope, which another check reports."""
    try:
        if envelope:
            read_header(envelope)
    except EnvelopeTooNew:
        return ""
    except EncodingError as error:
        return f"its envelope cannot be read: {error}"
    return ""
