"""Read the groups of a triage, and do what is decided about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobfleet.cli.output import count
from jobfleet.cli.triage.state import Act, Outcome, Seen, Verb
from jobfleet.errors import JobfleetError, JobNotFound, UnknownGroup

if TYPE_CHECKING:
    from jobfleet.fleet.sync import Fleet
    from jobfleet.operations.dead.groups import DeadGroup

CHUNK = 200
ORDER = {"regressed": 0, "new": 1, "known": 2, "resolved": 3, "ignored": 4}
DECIDED = frozenset({"resolved", "ignored"})


def groups_of(fleet: Fleet, queue: str | None, *, every: bool) -> list[DeadGroup]:
    """The groups that have letters: regressed ones first, then new ones, those with most letters first.

    Args:
        fleet: The fleet.
        queue: Only groups with letters of this queue; None for all.
        every: Also groups that are resolved or ignored.
    """
    found: list[DeadGroup] = []
    cursor = ""
    while True:
        page = fleet.dead_groups(queue, limit=CHUNK, cursor=cursor)
        found += [row for row in page if row.count and (every or row.state not in DECIDED)]
        cursor = page.cursor
        if not cursor:
            return sorted(found, key=lambda row: (ORDER[row.state], -row.count))


def read(fleet: Fleet, fingerprint: str | None, queue: str | None) -> Seen:
    """Read a group, and its newest letter of a queue.

    Raises:
        StoreUnavailable: Redis is unreachable.
    """
    if fingerprint is None:
        return Seen()
    try:
        group = fleet.dead_group(fingerprint)
    except UnknownGroup:
        return Seen()
    number = fleet.count_dead(queue, fingerprint=fingerprint) if queue is not None else group.count
    newest = fleet.dead(queue, fingerprint=fingerprint, limit=1) if number else []
    try:
        return Seen(group, fleet.letter(newest[0].id) if newest else None, number)
    except JobNotFound:  # it was replayed meanwhile
        return Seen(group, None, number)


def do(fleet: Fleet, act: Act, queue: str | None, by: str | None) -> Outcome:
    """Do what was decided about a group."""
    try:
        return _done(fleet, act, queue, by)
    except JobfleetError as error:
        return Outcome(str(error), is_done=False)


def _done(fleet: Fleet, act: Act, queue: str | None, by: str | None) -> Outcome:
    group = act.fingerprint
    if act.verb is Verb.REPLAY:
        number = fleet.replay_many(queue, fingerprint=group, by=by)
        return Outcome(f"{group}: {count(number, 'dead letter')} replayed.", replayed=number)
    if act.verb is Verb.RESCUE:
        return Outcome(f"Rescue {fleet.rescue(group, by=by).id} of {group} is begun; 'jobfleet dead rescues' shows it.")
    change = fleet.resolve if act.verb is Verb.RESOLVE else fleet.ignore
    state = "resolved" if act.verb is Verb.RESOLVE else "ignored"
    return Outcome(f"{group} is {state}." if change(group, by=by) else f"{group} was {state} before.")
