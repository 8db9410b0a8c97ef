"""Pages of the dead letters of several lanes, newest first, with a bounded number of calls per page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from jobfleet.errors import ConfigError
from jobfleet.operations.dead.filters import DeadFilter
from jobfleet.operations.operation import Operation, value
from jobfleet.store.calls.dead import CHUNK, NEWEST, find_letters
from jobfleet.store.keys import Lane
from jobfleet.store.records import DeadLetter

ROUNDS = 20
"""The most rounds of calls per 1,000 letters of a page. A page of letters that match rarely is short, not late."""
_CURSOR = re.compile(r"(\d{1,14})-(\d{1,20})~([^~]{1,200})\.(\d{1,6})")


class Position(NamedTuple):
    """The place of a letter in the order of all lanes; later letters are greater.

    Attributes:
        ms: The time of its entry.
        seq: The number of its entry in that ms.
        queue: Its queue.
        lane: The number of its lane.
    """

    ms: int
    seq: int
    queue: str
    lane: int

    @property
    def text(self) -> str:
        """The position as a cursor."""
        return f"{self.ms}-{self.seq}~{self.queue}.{self.lane}"


NO_POSITION = Position(0, 0, "", -1)


class Row(NamedTuple):
    """A dead letter, and its place in the order of all lanes."""

    at: Position
    letter: DeadLetter


@dataclass(slots=True)
class _Walk:
    """The way through the letters of one lane.

    Attributes:
        lane: The lane.
        before: Only letters with an older entry follow.
        last: The position of the last letter that was looked at; None at the beginning.
        is_over: Whether no letter follows.
        rows: The matching letters.
    """

    lane: Lane
    before: str
    last: Position | None = None
    is_over: bool = False
    rows: list[Row] = field(default_factory=list)


def read_cursor(cursor: str) -> Position | None:
    """Parse a cursor; None for the first page.

    Raises:
        ConfigError: It is not the cursor of an earlier page.
    """
    if not cursor:
        return None
    match = _CURSOR.fullmatch(cursor) if isinstance(cursor, str) else None
    if match is None:
        raise ConfigError(f"cursor is {cursor!r:.100}; give the cursor of the previous page.")
    return Position(int(match[1]), int(match[2]), match[3], int(match[4]))


def page(
    every: Iterable[Lane], chosen: DeadFilter, *, limit: int, after: Position | None
) -> Operation[tuple[list[Row], Position | None]]:
    """Return at most `limit` matching letters of some lanes, and the position after which the next page begins.

    Args:
        every: The lanes.
        chosen: The filter.
        limit: The most letters.
        after: Only letters with a smaller position; None for the newest.
    """
    walks = [_Walk(lane, _before(lane, after, chosen.until_ms)) for lane in every]
    size, rounds = min(limit, CHUNK), ROUNDS * (1 + limit // 1000)
    for _ in range(rounds):
        cut = _cut(walks, limit)
        going = [walk for walk in walks if not walk.is_over and (walk.last is None or walk.last > cut)]
        if not going:
            break
        answers = yield [
            find_letters(walk.lane, chosen.name, before=walk.before, since_ms=chosen.since_ms, limit=size)
            for walk in going
        ]
        for walk, answer in zip(going, answers, strict=True):
            _take(walk, value([answer]), chosen)
    return _result(walks, limit)


def _take(walk: _Walk, found: tuple[Sequence[DeadLetter], str], chosen: DeadFilter) -> None:
    letters, last = found
    walk.rows += [Row(_position(walk.lane, letter.entry), letter) for letter in letters if chosen.fits(letter)]
    walk.is_over = not last
    if last:
        walk.before, walk.last = last, _position(walk.lane, last)


def _cut(walks: Sequence[_Walk], limit: int) -> Position:
    """The position of the last row of a page of all that was found; older letters are not needed."""
    rows = sorted((row.at for walk in walks for row in walk.rows), reverse=True)
    return rows[limit - 1] if len(rows) >= limit else NO_POSITION


def _result(walks: Sequence[_Walk], limit: int) -> tuple[list[Row], Position | None]:
    """Cut the page where a lane was not read on, because it may have letters there that belong before others."""
    open_at = max((walk.last for walk in walks if not walk.is_over and walk.last is not None), default=None)
    rows = sorted((row for walk in walks for row in walk.rows), key=lambda row: row.at, reverse=True)
    sure = [row for row in rows if open_at is None or row.at >= open_at][:limit]
    if len(sure) == limit and (open_at is not None or len(rows) > limit):
        return sure, sure[-1].at
    return sure, open_at


def _before(lane: Lane, after: Position | None, until_ms: int) -> str:
    """The entry before which the letters of a lane begin."""
    before = (until_ms, 0) if until_ms else None
    if after is not None:
        # Letters with the same entry in a later lane were on the page before; in an earlier lane they are not yet.
        own = (after.ms, after.seq + ((lane.queue, lane.index) < (after.queue, after.lane)))
        before = min(own, before) if before else own
    return NEWEST if before is None else f"{before[0]}-{before[1]}"


def _position(lane: Lane, entry: str) -> Position:
    ms, _, seq = entry.partition("-")
    return Position(int(ms), int(seq or 0), lane.queue, lane.index)
