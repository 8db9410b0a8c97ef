"""File dead letters under their names, and record them in their groups, so that no page scans them.

A letter is recorded in its group first, which may be repeated, and then filed together with the mark of its lane. Any
number of processes may do this at once, and any of them may die between the two steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.identity import Identity, identity_of
from jobfleet.operations.operation import Operation, batches, value
from jobfleet.store.calls.dead import CHUNK, Filing, GroupSeen, Unfiled, file_letters, names_of, note_groups, unfiled
from jobfleet.store.keys import Lane
from jobfleet.store.records import DeadLetter, has_id

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
        Filing(letter.id, letter.entry, names_of(who.fingerprint, who.function, who.tags, who.user))
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
