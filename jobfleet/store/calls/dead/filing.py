"""Calls for the names under which dead letters are filed: unfiled, file_letters, find_letters and count_letters."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from jobfleet.store.call import Argument, Call, Reply
from jobfleet.store.calls.inspect import letter_of
from jobfleet.store.job_rows import DeadLetter
from jobfleet.store.keys import Lane
from jobfleet.store.rows import number_of, text_of
from jobfleet.store.script import load

CHUNK = 50
NEVER = "0-0"
"""The mark of a lane of which no letter is filed."""
NEWEST = "+"
DIED = 8
"""The place of the time of death in a row, if it differs from that of the entry."""


class Unfiled(NamedTuple):
    """The oldest dead letters of a lane that are not filed yet.

    Attributes:
        mark: The entry after which they come.
        letters: The letters.
        died: When each of them failed, in ms since 1970; an undone replay has written a letter later.
    """

    mark: str
    letters: list[DeadLetter]
    died: list[int]


class FoundLetters(NamedTuple):
    """A part of the dead letters of a lane.

    Attributes:
        letters: The letters, newest first.
        last: The oldest entry that was looked at; empty at the end.
    """

    letters: list[DeadLetter]
    last: str


class Filing(NamedTuple):
    """What to file of a dead letter.

    Attributes:
        id: Its job.
        entry: Its entry in the stream.
        names: Its names; see `names_of`.
    """

    id: str
    entry: str
    names: Sequence[str]


def group_name(fingerprint: str) -> str:
    """The name of the letters of a group."""
    return f"g:{fingerprint}"


def names_of(fingerprint: str, function: str, tags: Sequence[str], user: str | None) -> list[str]:
    """Return the names under which a letter is filed. A text that cannot be printed is not a name."""
    found = [group_name(fingerprint), f"f:{function}", *(f"t:{tag}" for tag in dict.fromkeys(tags))]
    return [name for name in (*found, *([f"u:{user}"] if user else [])) if name.isprintable()]


def unfiled(lane: Lane, *, limit: int = CHUNK) -> Call[Unfiled]:
    """Return the oldest dead letters that are not filed, at most 50."""
    return Call(
        load("unfiled"),
        (lane.dlq, lane.filing),
        (limit,),
        partial(_unfiled, lane),
    )


def _unfiled(lane: Lane, reply: Reply) -> Unfiled:
    letters = [letter_of(lane, row) for row in reply[2:]]
    died = [number_of(row[DIED] if len(row) > DIED else row[0].partition(b"-")[0]) for row in reply[2:]]
    return Unfiled(text_of(reply[1]), letters, died)


def file_letters(lane: Lane, mark: str, to: str, items: Sequence[Filing]) -> Call[bool]:
    """File at most 50 dead letters, and move the mark; False, without effect, if the mark is another one.

    Args:
        lane: The lane.
        mark: The mark that is expected.
        to: The new mark.
        items: What to file; letters that do not exist any more are passed over.
    """
    args: list[Argument] = [part for item in items for part in (item.id, "\n".join((item.entry, *item.names)))]
    keys = (lane.filed, lane.filing)
    return Call(load("file_letters"), keys, (lane.tag, mark, to, *args), lambda reply: bool(reply[0] == b"filed"))


def find_letters(
    lane: Lane, name: str = "", *, before: str = NEWEST, since_ms: int = 0, limit: int = CHUNK
) -> Call[FoundLetters]:
    """Return dead letters, newest first: those filed under a name, and those that are not filed yet.

    Args:
        lane: The lane.
        name: The name; empty for all letters.
        before: Only letters with an older entry.
        since_ms: Only letters from this time on, in ms since 1970.
        limit: 1 to 50.
    """
    keys = (lane.dlq, lane.filed, lane.filing)
    return Call(load("find_letters"), keys, (name, before, since_ms, limit), partial(_found, lane))


def _found(lane: Lane, reply: Reply) -> FoundLetters:
    return FoundLetters([letter_of(lane, row) for row in reply[2:]], text_of(reply[1]))


def count_letters(lane: Lane, names: Sequence[str]) -> Call[list[int]]:
    """Return the numbers of dead letters that are filed under at most 50 names."""
    return Call(load("count_letters"), (lane.filed,), tuple(names), lambda reply: [int(count) for count in reply[1]])
