"""Count what is sealed with each key, so that an operator knows when an old key is no longer needed."""

from __future__ import annotations

from collections import Counter

from jobfleet.codec import header_or_empty
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.lanes import lanes
from jobfleet.operations.operation import Operation, value
from jobfleet.store.calls import inspect
from jobfleet.store.keys import Lane
from jobfleet.store.records import DeadLetter, Running, Waiting

MOST = 10_000
"""The most jobs that are read per lane, of those that wait, run, and are dead letters each."""
NO_KEY = ""


def count_uses(context: FleetContext) -> Operation[dict[str, int]]:
    """Return the number of open jobs and dead letters by the id of the key that sealed them; `NO_KEY` for none."""
    uses: Counter[str] = Counter()
    for lane in (yield from lanes(context)):
        for section in inspect.SECTIONS:
            yield from _waiting(lane, section, uses)
        yield from _running(lane, uses)
        yield from _dead(lane, uses)
    return dict(uses)


def _waiting(lane: Lane, section: int, uses: Counter[str]) -> Operation[None]:
    for skip in range(0, MOST, inspect.CHUNK):
        _, rows = value((yield (inspect.waiting(lane, section, skip=skip),)))
        uses.update(map(_key_of, rows))
        if len(rows) < inspect.CHUNK:
            return


def _running(lane: Lane, uses: Counter[str]) -> Operation[None]:
    for skip in range(0, MOST, inspect.CHUNK):
        _, rows = value((yield (inspect.running(lane, skip=skip),)))
        uses.update(map(_key_of, rows))
        if len(rows) < inspect.CHUNK:
            return


def _dead(lane: Lane, uses: Counter[str]) -> Operation[None]:
    before = "+"
    for _ in range(0, MOST, inspect.CHUNK):
        rows = value((yield (inspect.dead(lane, before=before),)))
        uses.update(map(_key_of, rows))
        if len(rows) < inspect.CHUNK:
            return
        before = f"({rows[-1].entry}"


def _key_of(row: Waiting | Running | DeadLetter) -> str:
    return str(header_or_empty(row.envelope).get("kid", NO_KEY))
