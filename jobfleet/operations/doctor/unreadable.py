"""The check of data that something other than jobfleet has written. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from jobfleet.operations.doctor.findings import Finding, Level, named
from jobfleet.operations.doctor.snapshot import Checkup
from jobfleet.operations.explain.reasons import counted
from jobfleet.store.key_table import FLEET_KEY_TABLE, KEY_TABLE

LONGEST = 300


def damage(seen: Checkup) -> Finding:
    """Whether everything that was read is readable."""
    found = [*seen.damage, *(f"{one.lane.tag}{what}" for one in seen.lanes for what in one.damage)]
    aside = [what for what in found if "moved aside: " in what]
    found = [what for what in found if what not in aside]
    places = [f"{what.partition('moved aside: ')[0]}{what.partition('moved aside: ')[2]}" for what in aside]
    if found:
        text = named([what if len(what) <= LONGEST else f"{what[:LONGEST]}…" for what in found])
        return Finding(
            "damage",
            Level.FAULT,
            f"{counted(len(found), 'thing')} that cannot be read: {text}."
            + (f" Before, there was moved aside: {named(places)}." if places else ""),
            "Something beside jobfleet has written there: find out what. Workers move it aside as they meet it."
            + _lost_limits(found),
        )
    if aside:
        return Finding(
            "damage",
            Level.NOTE,
            f"Something that could not be read was moved aside: {named(places)}.",
            "It is kept for 30 days: look at it, and delete it. Find out what has written it."
            + _copied(places)
            + _lost_limits(places),
        )
    return Finding("damage", Level.OK, "Everything that was looked at can be read.")


def _copied(places: Sequence[str]) -> str:
    """What is kept of a stream that could not go on."""
    streams = {row.name for row in (*KEY_TABLE, *FLEET_KEY_TABLE) if row.type == "stream"}
    names = {name.rpartition(":")[2] for place in places for name in place.split(", ")}
    return " Of a stream that could not go on, only a note is kept: its entries were copied." if names & streams else ""


def _lost_limits(found: Sequence[str]) -> str:
    """The remedy for named limits whose definition may be lost."""
    if not any("gate:limit:" in what for what in found):
        return ""
    return " Look whether the limit still has its definition: 'jobfleet limits named' lists and sets it."
