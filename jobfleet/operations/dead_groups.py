"""Groups of dead letters by fingerprint: file letters in them, list them, and decide about them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from jobfleet.clock import moment
from jobfleet.errors import ConfigError, JobfleetError, UnknownGroup
from jobfleet.model.audit import NOBODY, from_word
from jobfleet.model.signals import check_fingerprint
from jobfleet.model.status import check_number
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.listing import Identity, identity_of
from jobfleet.operations.lanes import lanes
from jobfleet.operations.operation import Operation, batches, is_denied, value
from jobfleet.operations.verb import Fingerprint, Verb, verb
from jobfleet.store.calls import dead as calls
from jobfleet.store.calls import inspect
from jobfleet.store.calls.dead import (
    CHUNK,
    Filing,
    GroupSeen,
    Unfiled,
    count_letters,
    file_letters,
    group_name,
    names_of,
    note_groups,
    unfiled,
)
from jobfleet.store.keys import Lane
from jobfleet.store.records import DeadLetter, has_id

NEW_FOR = timedelta(days=1)
"""How long a group is new, unless somebody decides about it."""
_CURSOR = re.compile(r"(\d{1,17})\+(\d{1,6})")


class GroupState(StrEnum):
    """The state of a group of dead letters."""

    NEW = "new"
    KNOWN = "known"
    IGNORED = "ignored"
    RESOLVED = "resolved"
    REGRESSED = "regressed"


@dataclass(frozen=True, slots=True)
class DeadGroup:
    """The dead letters of one function with the same error.

    Attributes:
        fingerprint: The fingerprint.
        state: ``new`` for a day, then ``known``; ``ignored`` or ``resolved`` by decision; ``regressed`` if a letter
            came after the group was resolved.
        function: The function.
        error_class: The class of the error, or the reason of the failure.
        error: The error, with placeholders for its variable parts.
        count: The number of its dead letters now.
        first: Time of the first letter.
        last: Time of the last letter.
        versions: The versions of the arguments, as ``@job(version=…)`` sets them.
        example: The job of the last letter.
        by: Who decided about the group; None for nobody.
        changed_at: When the state changed.
        rescue: Its last rescue; empty if there was none.
    """

    fingerprint: str
    state: GroupState
    function: str
    error_class: str
    error: str
    count: int
    first: datetime | None
    last: datetime | None
    versions: tuple[str, ...]
    example: str
    by: str | None
    changed_at: datetime | None
    rescue: str = ""

    @property
    def error_text(self) -> str:
        """The class and the text of the error."""
        return f"{self.error_class}: {self.error}" if self.error else self.error_class


class DeadGroups(list[DeadGroup]):
    """Groups of dead letters, those with the newest letters first.

    Attributes:
        cursor: The argument for the next page; empty on the last page.
    """

    cursor: str = ""


def groups(
    context: FleetContext, queue: str | None = None, *, limit: int = 50, cursor: str = ""
) -> Operation[DeadGroups]:
    """List a page of the groups. Letters that no reaper has recorded yet are recorded first.

    Args:
        context: The context of the fleet.
        queue: Count only the letters of this queue, and leave out groups without any; None for all queues.
        limit: The most groups.
        cursor: `DeadGroups.cursor` of the page before.

    Raises:
        ConfigError: The cursor is not one of an earlier page, or there is no such queue.
        InvalidJob: `limit` is not a whole number from 1.
    """
    check_number(limit)
    upto, skip = _read_cursor(cursor)
    yield from record(context)
    found = DeadGroups()
    stored: list[calls.StoredGroup] = []
    now = 0
    while len(stored) < limit:
        size = min(limit - len(stored), calls.CHUNK)
        now, rows = value((yield (calls.groups(context.keys, upto=upto, skip=skip, limit=size),)))
        stored += rows
        if len(rows) < size:
            found.cursor = ""
            break
        same = sum(row.last == rows[-1].last for row in rows)
        skip = same + (skip if upto == str(rows[-1].last) else 0)
        upto = str(rows[-1].last)
        found.cursor = f"{upto}+{skip}"
    shown = yield from _shown(context, stored, now, queue)
    found.extend(row for row in shown if queue is None or row.count)
    return found


def group(context: FleetContext, fingerprint: str) -> Operation[DeadGroup]:
    """Read one group.

    Raises:
        UnknownGroup: There is no such group.
        InvalidJob: The text is not a fingerprint.
    """
    check_fingerprint(fingerprint)
    yield from record(context)
    now, stored = value((yield (calls.groups(context.keys, fingerprint=fingerprint),)))
    if not stored or not stored[0].fields:
        raise UnknownGroup(fingerprint)
    return (yield from _shown(context, stored, now, None))[0]


def _before(context: FleetContext, values: Mapping[str, Any]) -> Operation[dict[str, Any]]:
    found = yield from group(context, values["fingerprint"])
    return {"state": str(found.state), **({"decided_by": found.by} if found.by else {})}


def _decision(name: str, state: GroupState) -> Callable[[Callable[..., Operation[bool]]], Verb[Any, bool]]:
    return verb(
        name, recorded=f"dead.{name}", route=f"/dead/{{fingerprint}}/{name}", command=f"dead {name}",
        target=("fingerprint",), facts={"state": str(state)}, done=f"{{target}} is {state}.",
        unchanged=f"{{target}} was {state} before.", before=_before,
    )  # fmt: skip


@_decision("resolve", GroupState.RESOLVED)
def resolve(context: FleetContext, fingerprint: Fingerprint, *, by: str | None = None) -> Operation[bool]:
    """Declare the cause of a group of dead letters removed.

    The letters stay. A job that fails with the same error after this is reported once.

    Args:
        fingerprint: The group.

    Returns:
        False if it was resolved before.

    Raises:
        UnknownGroup: There is no such group.
        InvalidJob: The text is not a fingerprint.
    """
    return _decide(context, fingerprint, GroupState.RESOLVED, by)


@_decision("ignore", GroupState.IGNORED)
def ignore(context: FleetContext, fingerprint: Fingerprint, *, by: str | None = None) -> Operation[bool]:
    """Send no more notifications about a group of dead letters.

    Args:
        fingerprint: The group.

    Returns:
        False if it was ignored before.

    Raises:
        UnknownGroup: There is no such group.
        InvalidJob: The text is not a fingerprint.
    """
    return _decide(context, fingerprint, GroupState.IGNORED, by)


@_decision("reopen", GroupState.KNOWN)
def reopen(context: FleetContext, fingerprint: Fingerprint, *, by: str | None = None) -> Operation[bool]:
    """Undo 'resolve' or 'ignore': the group of dead letters is known.

    Args:
        fingerprint: The group.

    Returns:
        False if it was known before.

    Raises:
        UnknownGroup: There is no such group.
        InvalidJob: The text is not a fingerprint.
    """
    return _decide(context, fingerprint, GroupState.KNOWN, by)


def _decide(context: FleetContext, fingerprint: str, state: GroupState, by: str | None) -> Operation[bool]:
    """Set the state of a group; False if it had that state before.

    Raises:
        UnknownGroup: There is no such group.
        InvalidJob: The text is not a fingerprint.
    """
    check_fingerprint(fingerprint)
    yield from record(context)
    is_fresh: bool | None = value((yield (calls.mark_group(context.keys, fingerprint, state, by=by),)))
    if is_fresh is None:
        raise UnknownGroup(fingerprint)
    return is_fresh


def record(context: FleetContext) -> Operation[None]:
    """Record the letters that no reaper has recorded yet; a user who may only read leaves that to the reapers."""
    every = yield from lanes(context)
    try:
        yield from file_all(context, every)
    except JobfleetError as error:
        if not is_denied(error):
            raise


def _shown(
    context: FleetContext, stored: Sequence[calls.StoredGroup], now: int, queue: str | None
) -> Operation[list[DeadGroup]]:
    counts = yield from _counts(context, [row.fingerprint for row in stored], queue)
    found = [_group(row, counts.get(row.fingerprint, 0), now) for row in stored if row.fields]
    if context.keys.seals is None:
        return found
    return (yield from _opened(context, found))


def _opened(context: FleetContext, found: Sequence[DeadGroup]) -> Operation[list[DeadGroup]]:
    """Read the errors of groups from the letters of their examples, because Redis has them only there, sealed."""
    looks = [inspect.letter(context.keys.lane_of(one.example), one.example) for one in found]
    answers = (yield looks) if looks else []
    seen = [value([answer]) for answer in answers]
    return [one if letter is None else _with_error(one, letter) for one, letter in zip(found, seen, strict=True)]


def _with_error(one: DeadGroup, letter: DeadLetter) -> DeadGroup:
    who = identity_of(letter)
    return replace(one, error_class=who.error_class, error=who.error)


def _counts(context: FleetContext, fingerprints: Sequence[str], queue: str | None) -> Operation[dict[str, int]]:
    total = dict.fromkeys(fingerprints, 0)
    every = yield from lanes(context, queue)
    for at in range(0, len(fingerprints), calls.CHUNK):
        part = fingerprints[at : at + calls.CHUNK]
        names = [group_name(fingerprint) for fingerprint in part]
        answers = yield [count_letters(lane, names) for lane in every]
        for answer in answers:
            for fingerprint, number in zip(part, value([answer]), strict=True):
                total[fingerprint] += number
    return total


def _group(row: calls.StoredGroup, count: int, now: int) -> DeadGroup:
    fields = row.fields
    first, by = int(fields.get("first", 0)), fields.get("by", NOBODY)
    state = GroupState(fields.get("state", GroupState.NEW))
    if state is GroupState.NEW and now - first > NEW_FOR.total_seconds() * 1e6:
        state = GroupState.KNOWN
    return DeadGroup(
        row.fingerprint,
        state,
        fields.get("function", ""),
        fields.get("error_class", ""),
        fields.get("error", ""),
        count,
        moment(first),
        moment(row.last),
        tuple(fields["versions"].split("\n")) if fields.get("versions") else (),
        fields.get("example", ""),
        None if by == NOBODY else from_word(by),
        moment(int(fields.get("at", 0))),
        fields.get("rescue", ""),
    )


def _read_cursor(cursor: str) -> tuple[str, int]:
    if not cursor:
        return "+inf", 0
    match = _CURSOR.fullmatch(cursor) if isinstance(cursor, str) else None
    if match is None:
        raise ConfigError(f"cursor is {cursor!r:.100}; give the cursor of the previous page.")
    return match[1], int(match[2])


# File dead letters under their names, and record them in their groups, so that no page scans them.
#
# A letter is recorded in its group first, which may be repeated, and then filed together with the mark of its lane.
# Any number of processes may do this at once, and any of them may die between the two steps.


LANES_AT_ONCE = 200


class Change(NamedTuple):
    """A group that is new, or that has come back.

    Attributes:
        group: The group.
        is_new: Whether it is new.
    """

    group: GroupSeen
    is_new: bool


class Known(NamedTuple):
    """A letter, what identifies it, and when its job failed, in µs."""

    letter: DeadLetter
    identity: Identity
    at: int


def file_all(context: FleetContext, every: Sequence[Lane]) -> Operation[list[Change]]:
    """File the letters of some lanes that are not filed yet; return the groups that are new or have come back."""
    changes: list[Change] = []
    for part in batches(every, LANES_AT_ONCE):
        going = part
        while going:
            answers = yield [unfiled(lane) for lane in going]
            pages: list[tuple[Lane, Unfiled]] = [
                (lane, value([answer])) for lane, answer in zip(going, answers, strict=True)
            ]
            pages = [(lane, page) for lane, page in pages if page.letters]
            for lane, page in pages:
                changes += yield from _file(context, lane, page)
            going = [lane for lane, page in pages if len(page.letters) == CHUNK]
    return changes


def _file(context: FleetContext, lane: Lane, page: Unfiled) -> Operation[list[Change]]:
    rows = zip(page.letters, page.died, strict=True)
    known = [Known(letter, identity_of(letter), died * 1000) for letter, died in rows if has_id(letter)]
    seen = _groups(known, is_sealed=lane.seals is not None)
    letters = value((yield (note_groups(context.keys, seen),))) if seen else ""
    items = [
        Filing(letter.id, letter.entry, names_of(who.fingerprint, who.function, who.tags, who.texts))
        for letter, who, _ in known
    ]
    value((yield (file_letters(lane, page.mark, page.letters[-1].entry, items),)))
    return [Change(group, letter == "n") for group, letter in zip(seen, letters, strict=True) if letter != "k"]


def _groups(known: Sequence[Known], *, is_sealed: bool) -> list[GroupSeen]:
    """Summarize letters by group. The error of a sealed letter stays in the letter."""
    found: dict[str, GroupSeen] = {}
    for letter, who, at in known:
        before = found.get(who.fingerprint)
        found[who.fingerprint] = GroupSeen(
            who.fingerprint,
            min(before.first, at) if before else at,
            max(before.last, at) if before else at,
            who.function,
            who.version,
            "" if is_sealed else who.error_class,
            "" if is_sealed else who.error,
            letter.id,
        )
    return list(found.values())
