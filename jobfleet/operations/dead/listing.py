"""List dead letters, and replay many of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobfleet.model import JobResult
from jobfleet.model.status import check_number
from jobfleet.operations.dead.filters import DeadFilter
from jobfleet.operations.dead.pages import Position, Row, page, read_cursor
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.identity import identity_of
from jobfleet.operations.lanes import lanes
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.results import letter_result
from jobfleet.store.calls import control, inspect
from jobfleet.store.calls.dead import CHUNK
from jobfleet.store.keys import Lane
from jobfleet.store.records import Edit, has_id


class DeadLetters(list[JobResult[Any]]):
    """Dead letters, newest first.

    Attributes:
        cursor: The argument for the next page; empty on the last page. A page may be short and have a cursor, because
            a bounded number of letters is read for it.
        fingerprints: The fingerprint of the group of each letter, in the same order.
    """

    cursor: str = ""
    fingerprints: Sequence[str] = ()


def dead(context: FleetContext, chosen: DeadFilter, *, limit: int = 50, cursor: str = "") -> Operation[DeadLetters]:
    """List a page of the dead letters that match a filter.

    Args:
        context: The context of the fleet.
        chosen: The filter.
        limit: The most dead letters to return.
        cursor: `DeadLetters.cursor` of the page before; empty for the first page.

    Raises:
        ConfigError: The queue does not exist, or the cursor is not one of an earlier page.
        InvalidJob: `limit` is not a whole number from 0.
    """
    check_number(limit, least=0)
    after = read_cursor(cursor)
    every = yield from lanes(context, chosen.queue)
    found = DeadLetters()
    if limit:
        rows, following = yield from page(every, chosen, limit=limit, after=after)
        letters = [row.letter for row in rows if has_id(row.letter)]
        found.extend(letter_result(letter, limits=context.limits) for letter in letters)
        found.fingerprints = [identity_of(letter).fingerprint for letter in letters]
        found.cursor = following.text if following is not None else ""
    return found


def count(context: FleetContext, chosen: DeadFilter) -> Operation[int]:
    """Count the dead letters that match a filter.

    The lanes count all their letters. With a further filter, every letter with the name of the filter is read.
    """
    every = yield from lanes(context, chosen.queue)
    if every and not chosen.is_narrow:
        answers: list[Any] = yield [inspect.counts(lane) for lane in every]
        return sum(value([answer]).dead for answer in answers)
    total = 0
    after: Position | None = None
    while True:
        rows, after = yield from page(every, chosen, limit=1000, after=after)
        total += len(rows)
        if after is None:
            return total


def replay_many(context: FleetContext, chosen: DeadFilter, by: str | None) -> Operation[int]:
    """Replay the dead letters that match a filter, in bounded batches; return how many were replayed.

    A job that fails again meanwhile is not replayed a second time.
    """
    total = 0
    every = yield from lanes(context, chosen.queue)
    after: Position | None = None
    while True:
        rows, after = yield from page(every, chosen, limit=1000, after=after)
        total += yield from _replay(context, rows, by)
        if after is None:
            return total


def _replay(context: FleetContext, rows: list[Row], by: str | None) -> Operation[int]:
    by_lane: dict[Lane, list[Row]] = {}
    for row in rows:
        if has_id(row.letter):
            by_lane.setdefault(context.keys.lane_of(row.letter.id), []).append(row)
    total = 0
    for lane, members in by_lane.items():
        for at in range(0, len(members), CHUNK):
            part = members[at : at + CHUNK]
            edits = {row.letter.id: Edit(row.letter.entry) for row in part}
            words = value((yield (control.replay(lane, list(edits), by=by, edits=edits),)))
            total += words.count("replayed")
    return total
