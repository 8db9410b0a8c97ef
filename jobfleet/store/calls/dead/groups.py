"""Calls for groups of dead letters: note_groups, groups, mark_group and group_marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jobfleet.store.call import Argument, Call, Reply
from jobfleet.store.calls.control import who
from jobfleet.store.damage import sound_fields
from jobfleet.store.keys import Keyspace
from jobfleet.store.rows import number_of, text_of
from jobfleet.store.script import load

CHUNK = 50
GROUPS_MOST = 1000
KEPT_MS = 90 * 86_400_000
"""How long a group is kept after its last letter, so that a resolved one can regress."""
RETURNED_MOST = 100


class GroupSeen(NamedTuple):
    """What is recorded about the letters of one group in a batch.

    Attributes:
        fingerprint: Its fingerprint.
        first: Time of the first letter in µs.
        last: Time of the last letter in µs.
        function: The function.
        version: The version of the arguments.
        error_class: The class of the error.
        error: The error.
        example: The job of the last letter.
    """

    fingerprint: str
    first: int
    last: int
    function: str
    version: str
    error_class: str
    error: str
    example: str


class StoredGroup(NamedTuple):
    """A group as it is stored.

    Attributes:
        fingerprint: Its fingerprint.
        last: Time of its last letter in µs.
        fields: The other fields.
    """

    fingerprint: str
    last: int
    fields: Mapping[str, str]


class Returned(NamedTuple):
    """A resolved group that came back.

    Attributes:
        fingerprint: Its fingerprint.
        at: When, in µs.
        function: The function.
        error_class: The class of the error.
        error: The error.
        example: The job of its last letter.
    """

    fingerprint: str
    at: int
    function: str
    error_class: str
    error: str
    example: str


class GroupMarks(NamedTuple):
    """Groups that notifications treat in a way of their own.

    Attributes:
        ignored: The fingerprints of the ignored ones.
        returned: Those that came back.
    """

    ignored: frozenset[str]
    returned: list[Returned]


def note_groups(keys: Keyspace, items: Sequence[GroupSeen]) -> Call[str]:
    """Record letters in at most 50 groups; return one letter each: n new, r regressed just now, k known before."""
    args: list[Argument] = [part for item in items for part in item]
    places = (keys.dead_regressed, keys.dead_ignored, *(keys.dead_group(item.fingerprint) for item in items))
    return Call(
        load("note_groups"),
        (keys.dead_groups, *places),
        (keys.tag, GROUPS_MOST, KEPT_MS, *args),
        lambda reply: reply[1].decode(),
    )


def groups(
    keys: Keyspace, *, upto: str = "+inf", skip: int = 0, limit: int = CHUNK, fingerprint: str = ""
) -> Call[tuple[int, list[StoredGroup]]]:
    """Return Redis's time, and groups of dead letters, those with the newest letters first.

    Args:
        keys: The fleet's keys.
        upto: Time of the last letter in µs, as a bound.
        skip: The number of groups with that time to skip.
        limit: 1 to 50.
        fingerprint: Only this group; empty for all.
    """
    args = (keys.tag, upto, skip, limit, fingerprint)
    return Call(load("groups"), (keys.dead_groups,), args, _groups)


def _groups(reply: Reply) -> tuple[int, list[StoredGroup]]:
    names = [text_of(row[0]) for row in reply[2:]]
    return int(reply[1]), [
        StoredGroup(name, number_of(row[1]), sound_fields(row[2], f"dead-group:{name:.100}")[0])
        for name, row in zip(names, reply[2:], strict=True)
    ]


def mark_group(keys: Keyspace, fingerprint: str, state: str, *, by: str | None) -> Call[bool | None]:
    """Set the state of a group; False if it had that state, None if there is no such group."""
    return Call(
        load("mark_group"),
        (keys.dead_regressed, keys.dead_ignored, keys.dead_group(fingerprint)),
        (fingerprint, state, who(by), KEPT_MS),
        lambda reply: bool(reply[1]) if reply[0] == b"marked" else None,
    )


def group_marks(keys: Keyspace, *, since_us: int) -> Call[GroupMarks]:
    """Return the ignored groups, and those that came back since a time in µs."""
    args = (keys.tag, since_us, RETURNED_MOST)
    return Call(load("group_marks"), (keys.dead_regressed, keys.dead_ignored), args, _marks)


def _marks(reply: Reply) -> GroupMarks:
    rows = [([text_of(part) for part in row], number_of(row[1])) for row in reply[2:]]
    returned = [Returned(parts[0], at, parts[2], parts[3], parts[4], parts[5]) for parts, at in rows]
    return GroupMarks(frozenset(text_of(one) for one in reply[1]), returned)
