"""Repair of damage that makes a script fail in a way that no retry helps; see docs/adr/0012.

A trip that meets such an error checks the keys of that lane once (`survey`), moves damaged values aside (`mend`), logs
this, and sends the call again. While scripts succeed, this costs nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from jobfleet.store.call import Call, Command, Reply, Spelling
from jobfleet.store.damage import Damage, Place, is_lane, judge, listed_places, places, places_of, tag_of
from jobfleet.store.retention import ASIDE_MS
from jobfleet.store.rows import note
from jobfleet.store.script import load

log: logging.Logger = logging.getLogger("jobfleet.store")
MOST_PLACES = 1000
Spell = Callable[[Call[Any]], Command]
Mending = Generator[list[Command], list[Any] | None, list[Call[Any]]]


class Surveyed(NamedTuple):
    """The reply to a survey.

    Attributes:
        now: Redis's time, µs.
        rows: For each key its type, followed by fields and values.
    """

    now: int
    rows: tuple[Sequence[bytes], ...]


def survey(tag: str, looked: Sequence[Place]) -> Call[Surveyed]:
    """Make the call that checks keys of one slot."""
    return Call(
        load("survey"),
        tuple(tag + place.name for place in looked),
        tuple(place.fields for place in looked),
        lambda reply: Surveyed(int(reply[1]), tuple(reply[2:])),
    )


def mend(tag: str, found: Sequence[Damage]) -> Call[str]:
    """Make the call that moves damage aside; its reply has one letter per item: m moved, n no longer damaged."""
    keys: list[str] = []
    args: list[str | bytes | int] = [ASIDE_MS]
    for one in found:
        keys += (tag + one.name, tag + one.place, tag + one.refers)
        args += (one.type, *((b"", b"", b"") if one.is_type else (one.field, one.value, one.instead)))
    return Call(load("mend"), tuple(keys), tuple(args), _letters)


def _letters(reply: Reply) -> str:
    return str(reply[1].decode())


def concerned(tag: str, calls: Iterable[Call[Any]]) -> list[Place]:
    """Return the keys to check for failed calls: the keys of the lane, and those of the jobs that the calls name."""
    keys = {key: None for call in calls for key in call.keys if isinstance(key, str) and key.startswith(tag)}
    ids = {key.removeprefix(f"{tag}job:"): None for key in keys if key.startswith(f"{tag}job:")}
    if is_lane(tag):
        queue, _, index = tag[1:-2].rpartition(":")
        begin = f"{queue.rpartition(':')[2]}.{index}."
        ids |= {arg: None for call in calls for arg in call.args if isinstance(arg, str) and arg.startswith(begin)}
    looked = {place.name: place for place in (*places_of(tag, keys, ids), *places(tag))}
    if ids and "dead" in looked:
        looked["dead"] = looked["dead"]._replace(fields="\n".join(ids))
    return list(looked.values())[-MOST_PLACES:]


def repaired(broken: Mapping[int, Call[Any]], spelling: Spelling) -> Mending:
    """Repair damage that made scripts fail, slot by slot; return the calls that have moved it aside."""
    by_tag: dict[str, list[int]] = {}
    for index, call in broken.items():
        by_tag.setdefault(tag_of(call.keys[0]), []).append(index)
    moved: list[Call[Any]] = []
    for members in by_tag.values():
        moved += yield from mending([broken[index] for index in members], spelling.sure)
    return moved


def mending(calls: Sequence[Call[Any]], spell: Spell) -> Mending:
    """Repair damage that made calls of one slot fail; return the calls that have moved it aside."""
    tag = tag_of(calls[0].keys[0])
    looked = concerned(tag, calls) if tag else []
    if not looked:
        return []
    surveyed = _value(survey(tag, looked), (yield [spell(survey(tag, looked))]))
    if surveyed is None:
        return []
    found = judge(looked, surveyed.rows, surveyed.now)
    names = {key.removeprefix(tag) for call in calls for key in call.keys if isinstance(key, str)}
    further = listed_places(tag, looked, surveyed.rows, names)[:MOST_PLACES]
    if further and (also := _value(survey(tag, further), (yield [spell(survey(tag, further))]))) is not None:
        found += judge(further, also.rows, also.now)
    calls = [mend(tag, [one]) for one in found]  # each alone, because the user may be permitted only some
    replies = (yield [spell(call) for call in calls]) if calls else []
    letters = [_value(call, [reply]) for call, reply in zip(calls, replies or [], strict=True)]
    tell(tag, found, letters)
    return [call for call, letter in zip(calls, letters, strict=True) if letter == "m"]


def tell(tag: str, found: Sequence[Damage], letters: Sequence[str | None]) -> None:
    """Log what was moved aside, once, by the process that moved it."""
    moved = [one for one, letter in zip(found, letters, strict=False) if letter == "m"]
    for one in moved:
        more = "its entries were copied" if one.is_stream else "it is kept for 30 days"
        log.error("redis.mended tag=%s %s: moved aside to %s; %s", tag, one, one.place, more)
        note(f"{tag}{one}: moved aside to {one.place}; {more}")


def _value(call: Call[Any], replies: list[Any] | None) -> Any:
    """Return the value of a reply; None for an error, such as a missing permission."""
    reply = (replies or [None])[0]
    if not isinstance(reply, list) or not reply or reply[0] not in call.script.words:
        return None
    return call.read(reply)
