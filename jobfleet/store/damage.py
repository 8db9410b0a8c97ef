"""Damaged keys of a lane or of the fleet: found by a survey, and repaired. See docs/adr/0012."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Container, Generator, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from jobfleet.model import limits
from jobfleet.store.call import Call, Command, Reply, Spelling
from jobfleet.store.key_table import FLEET_KEY_TABLE, KEY_TABLE, KeyRow
from jobfleet.store.keys import ASIDE_MS, BANDS
from jobfleet.store.rows import note, report, shown, text_of
from jobfleet.store.script import load

log: logging.Logger = logging.getLogger("jobfleet.store")

# Damaged keys of a lane or of the fleet, found by a survey. Pure.
#
# Three kinds of damage make a script fail: a key of a wrong type, a non-numeric field of a small hash that scripts
# read as a number, and a stream whose last id is so high that none can follow. Only the name of the key tells what it
# should be, so these tables define all. Rows are checked one by one, in `rows`.


ASIDE = "aside:"
GATE = "gate:"
FIELDS = ":fields"
UNREADABLE = b"unreadable"
"""The field under which a script that lists hashes returns the name of a key of a wrong type."""
ALL, NONE, MEMBERS = "*", "-", "@"
LISTED_MOST = 200
"""Maximum number of members of one list of which the keys are checked."""
TYPE_ONLY = ("none", "-")
NAME_MOST = 200
"""Maximum length in bytes of a member that may name a key."""
_BLANK = re.compile(r"<[a-z]+>")
_TAG = re.compile(r"\{[^}]*\}:")
_LANE_TAG = re.compile(r"\{.*:[A-Za-z0-9_-]{1,32}:\d{1,4}\}:")
_COUNT = re.compile(rb"-?\d{1,17}")
_TIME = re.compile(rb"\d{1,16}")
TOKEN_MOST = 8_900_000_000_000_000
"""Above this, `claim` would soon run out of tokens; only a foreign write can have caused it."""
AHEAD_US = 10 * 86_400 * 1_000_000
"""How far a lane's clock and hold may be ahead of now: more than any step of a clock, and than any lease."""
LONGEST_US = 10 * 86_400 * 1_000_000
TIMED, NUMBERED, DROPPED = b"time", b"number", b"drop"
"""How the script `mend` renumbers the entries of a stream that lie beyond all times."""
_STREAMS = {"journal": NUMBERED, "chunks:": DROPPED}
_REFERS = {"journal": "totals", "dlq": "dead"}
"""Keys that refer to the entries of a stream by their ids."""
_LANE = {
    "token": _TIME, "seen": _TIME, "hold": _TIME, "longest": _TIME, "replid": re.compile(rb"[0-9a-f-]{1,64}"),
    **{f"fair:{band}": re.compile(rb"\d{1,16}(?:\.\d{1,6})? \d{1,16}") for band in range(BANDS)},
}  # fmt: skip
_CONF = {
    "limit": limits.LINE,
    "aging": _TIME, "journal": _TIME, "groups": _COUNT,
    "functions": re.compile(rb"(?:~?[A-Za-z0-9_.:-]{1,128}(?: [^\n@]*@\d{1,16}(?: [^\n]*)?)?(?:\n|$))*"),
}  # fmt: skip
_NUMBER = re.compile(rb"\d{1,16}(?:\.\d{1,6})?")
_GATE = {
    **dict.fromkeys((b"most", b"low", b"high", b"level", b"count", b"period"), _NUMBER),
    **dict.fromkeys((b"closed", b"cut", b"until", b"ok"), _NUMBER),
    **dict.fromkeys((b"since", b"opened"), _TIME), b"state": re.compile(rb"open|half|"),
    b"used": re.compile(rb"(?:\d{1,16}:\d{1,15} ?)*"), b"counts": re.compile(rb"(?:\d{1,16}:\d{1,9}:\d{1,9} ?)*"),
}  # fmt: skip
ENTRY = re.compile(rb"\d{1,20}-\d{1,20}")
_RESCUE = {
    **dict.fromkeys((b"at", b"last", b"over", b"total", b"step", b"stage", b"stop_after", b"is_read"), _TIME),
    **dict.fromkeys((b"planned", b"completed", b"failed", b"ended", b"left", b"undone", b"started"), _TIME),
    b"every": re.compile(rb"[1-9]\d{0,15}"), b"canary": re.compile(rb"(?:\d{1,3}(?:,\d{1,3})*)?"),
    b"state": re.compile(rb"running|stopped|completed|undoing|undone"),
}  # fmt: skip
_DEAD_GROUP = {
    **dict.fromkeys((b"at", b"first", b"last"), _TIME),
    b"state": re.compile(rb"new|known|ignored|resolved|regressed"),
}  # fmt: skip
_TIMES = r"\d{1,17}"
_GROUPS = {
    b":rules": re.compile(rf"\S{{0,100}} {_TIMES}".encode()), b":rate": re.compile(rf"{_TIMES} {_TIMES}".encode()),
    b"": re.compile(rf"\d{{1,15}}(?: {_TIMES}){{3}}\n.*".encode(), re.DOTALL),
}  # fmt: skip
_HELD = {b"": re.compile(rf"\d{{1,9}} {_TIMES} \d{{1,15}} {_TIMES} {_TIMES} [^ \n]*\n.*".encode(), re.DOTALL)}
Rules = Mapping[bytes, re.Pattern[bytes]]
RULES: Mapping[str, Rules] = {
    f"{GATE}<name>": _GATE, "rescue:<rescue>": _RESCUE, "dead-group:<fp>": _DEAD_GROUP,
    "notify:<channel>:groups": _GROUPS, "notify:<channel>:held": _HELD,
}  # fmt: skip
"""The fields of hashes of which there are many, by the row of the key table; the empty name is that of all others.

A script that fails at such a field is repaired: the field is moved aside.
"""


class Place(NamedTuple):
    """A key to check.

    Attributes:
        name: The name without the tag.
        type: The expected type.
        fields: The fields to check: `NONE`, `ALL`, or names, one per line. `MEMBERS` checks none, and returns the
            members or fields, which are names of other keys.
    """

    name: str
    type: str
    fields: str = NONE


class Damage(NamedTuple):
    """A damaged key or field.

    Attributes:
        name: The name of the key without the tag.
        type: The expected type.
        field: The field; empty if the whole key has the wrong type; for a stream, how its entries are renumbered.
        value: The damaged value; for a whole key, its actual type; for a stream, its last id.
        instead: The value to set instead; for a stream, the highest id to keep.
    """

    name: str
    type: str
    field: bytes
    value: bytes
    instead: bytes = b""

    def __str__(self) -> str:
        if self.is_stream:
            return f"{self.name} ends at {self.value.decode()}, beyond all times"
        if self.instead and not self.value:
            return f"{self.name} has no {self.field.decode()}"
        if not self.value:
            return f"{self.name} is an empty field"
        if self.is_type:
            return f"{self.name} is a {self.value.decode()} where a {self.type} belongs"
        return f"{self.name} {self.field.decode('utf-8', 'backslashreplace')} is {shown(self.value)}"

    @property
    def is_type(self) -> bool:
        """Whether the whole key has the wrong type."""
        return self.field == b"" and self.value in _TYPES

    @property
    def is_stream(self) -> bool:
        """Whether it is a stream that cannot go on."""
        return self.type == "stream" and not self.is_type

    @property
    def refers(self) -> str:
        """The key that refers to the entries of the stream; the key itself if none does."""
        return _REFERS.get(self.name, self.name) if self.is_stream else self.name

    @property
    def place(self) -> str:
        """The name of the key to which it is moved."""
        return f"{ASIDE}{self.name}{'' if self.is_type or self.is_stream else FIELDS}"


_TYPES = (b"string", b"list", b"set", b"zset", b"hash", b"stream")


def tag_of(key: str | bytes) -> str:
    """Return the hash tag of a key, which all keys of a slot share; empty if the key has none."""
    match = _TAG.match(key if isinstance(key, str) else key.decode("utf-8", "replace"))
    return match[0] if match else ""


def is_lane(tag: str) -> bool:
    """Whether a tag belongs to a lane, not to the fleet."""
    return _LANE_TAG.fullmatch(tag) is not None


def places(tag: str) -> list[Place]:
    """Return the keys of which a lane, or the fleet, has exactly one each."""
    if not is_lane(tag):
        return [*_named(FLEET_KEY_TABLE, {"conf": "functions"})]
    return [
        *[Place(f"ready:{band}", "zset") for band in range(BANDS)],
        *_named(KEY_TABLE, {"lane": ALL, "totals": ALL, "conf": "\n".join(_CONF), "filing": "mark"}),
    ]


def _named(rows: Sequence[KeyRow], fields: Mapping[str, str]) -> list[Place]:
    lists = {name for row in rows for name in row.listed.split()}
    return [
        Place(row.name, row.type, MEMBERS if row.name in lists else fields.get(row.name, NONE))
        for row in rows
        if "<" not in row.name
    ]


def listed_places(
    tag: str, looked: Sequence[Place], rows: Sequence[Sequence[bytes]], among: Container[str]
) -> list[Place]:
    """Return the keys that the members of some surveyed lists name.

    Args:
        tag: The tag of a lane or of the fleet.
        looked: The places that were surveyed.
        rows: Their rows; see `judge`.
        among: The names of the lists.
    """
    members = {
        place.name: row[1 : LISTED_MOST + 1]
        for place, row in zip(looked, rows, strict=True)
        if place.fields == MEMBERS and place.name in among
    }
    found: dict[str, Place] = {}
    for row in KEY_TABLE if is_lane(tag) else FLEET_KEY_TABLE:
        for member in [one for name in row.listed.split() for one in members.get(name, ())]:
            if len(member) <= NAME_MOST and (name := _filled(row.name, member)):
                found[name] = place_of(name, row.type)
    return list(found.values())


def _filled(name: str, member: bytes) -> str:
    try:
        return _BLANK.sub(lambda _: member.decode(), name)
    except UnicodeDecodeError:
        return ""  # a member that is not a name; its own reader reports it


def places_of(tag: str, keys: Iterable[str], ids: Iterable[str]) -> list[Place]:
    """Return the keys of single jobs, workers and so on: the given keys, and those of the jobs with the given ids."""
    table = [row for row in (KEY_TABLE if is_lane(tag) else FLEET_KEY_TABLE) if "<" in row.name]
    found = {key.removeprefix(tag): kind for key in keys if (kind := _kind(key.removeprefix(tag), table))}
    for row in table:
        if row.name.endswith("<id>") and is_lane(tag):
            found |= {row.name.replace("<id>", job_id): row.type for job_id in ids}
    return [place_of(name, kind) for name, kind in found.items()]


def place_of(name: str, kind: str) -> Place:
    """Return the place of a key, with the fields to check."""
    return Place(name, kind, ALL if _rules_of(name) is not None else NONE)


def _rules_of(name: str) -> Rules | None:
    return next((rules for row, rules in RULES.items() if _pattern(row).fullmatch(name)), None)


def _is_kept(rules: Rules, field: bytes, value: bytes) -> bool:
    rule = rules.get(field, rules.get(b""))
    return rule is None or rule.fullmatch(value) is not None


def sound_fields(flat: Sequence[bytes], name: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Decode a hash of which there are many; see `RULES`. Fields that cannot be read are left out, and reported.

    Args:
        flat: Its fields and values, alternating.
        name: The name of the key without the tag.

    Returns:
        The sound fields as text, and the names of the other ones.
    """
    rules = _rules_of(name) or {}
    sound: dict[str, str] = {}
    wrong: dict[str, bytes] = {}
    for field, value in zip(flat[::2], flat[1::2], strict=True):
        if field == UNREADABLE:
            report([f"{text_of(value)} is of a wrong type"])
            wrong[text_of(field)] = b""
        elif _is_kept(rules, field, value):
            sound[text_of(field)] = text_of(value)
        else:
            wrong[text_of(field)] = value
    report(f"{name} has {field}: {shown(value)}" for field, value in wrong.items() if value)
    return sound, tuple(wrong)


def gate_places(names: Iterable[str]) -> list[Place]:
    """Return the keys of named limits and circuit breakers: the state, and the runs inside."""
    return [place for name in names for place in (place_of(f"{GATE}{name}", "hash"), Place(f"inside:{name}", "zset"))]


def _kind(name: str, table: Sequence[KeyRow]) -> str:
    """Return the type that a key must have by its name; empty if no row has such a name."""
    return next((row.type for row in table if row.name != "ready:<p>" and _pattern(row.name).fullmatch(name)), "")


@cache
def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(".+".join(map(re.escape, _BLANK.split(name))))


def judge(looked: Sequence[Place], rows: Sequence[Sequence[bytes]], now: int) -> list[Damage]:
    """Return the damage among the checked keys; a row is a key's type, followed by fields and values."""
    found = []
    for place, row in zip(looked, rows, strict=True):
        kind = row[0].decode("ascii", "replace")
        if kind not in (place.type, *TYPE_ONLY):
            found.append(Damage(place.name, place.type, b"", row[0]))
        if kind == "stream":
            found += _ended(place.name, row, now) if place.type == kind else []
            continue
        if place.fields == MEMBERS:
            continue
        found += [
            Damage(place.name, place.type, field, value)
            for field, value in zip(row[1::2], row[2::2], strict=True)
            if not _is_sound(place.name, field, value, now)
        ]
    return [*found, *_uncounted(looked, rows, now)]


def _ended(name: str, row: Sequence[bytes], now: int) -> list[Damage]:
    """Return the damage of a stream that cannot go on."""
    last = dict(zip(row[1::2], row[2::2], strict=True)).get(b"last", b"")
    kind = next((kind for begin, kind in _STREAMS.items() if name.startswith(begin)), TIMED)
    bound = {TIMED: (now + AHEAD_US) // 1000, NUMBERED: now + AHEAD_US, DROPPED: TOKEN_MOST}[kind]
    return [Damage(name, "stream", kind, last, b"%d" % bound)] if _number_of(last) > bound else []


def _number_of(entry: bytes) -> int:
    return int(entry.partition(b"-")[0]) if ENTRY.fullmatch(entry) else 0


def _uncounted(looked: Sequence[Place], rows: Sequence[Sequence[bytes]], now: int) -> list[Damage]:
    """Return the damage of the counter of a journal that can go on: the next number must follow the last entry."""
    found = {
        place.name: dict(zip(row[1::2], row[2::2], strict=True))
        for place, row in zip(looked, rows, strict=True)
        if place.fields != MEMBERS
    }
    last = _number_of(found.get("journal", {}).get(b"last", b""))
    if "totals" not in found or not 0 < last <= now + AHEAD_US:
        return []
    totals, first = found["totals"], _number_of(found["journal"].get(b"first", b""))
    number, low = totals.get(b"journal", b""), totals.get(b"journal_low", b"")
    damage = []
    if not _TIME.fullmatch(number) or not last <= int(number) <= now + AHEAD_US:
        damage.append(Damage("totals", "hash", b"journal", number, b"%d" % last))
    if not _TIME.fullmatch(low) or int(low) > last:
        damage.append(Damage("totals", "hash", b"journal_low", low, b"%d" % (first - 1 if first else last)))
    return damage


def is_setting(field: bytes, value: bytes) -> bool:
    """Whether a field of `conf` is valid."""
    name = field.decode("ascii", "replace")
    rule = _CONF.get("limit" if name.startswith("limit:") else name)
    return rule is None or rule.fullmatch(value) is not None


def is_sound_in_gate(field: bytes, value: bytes) -> bool:
    """Whether the script that passes gates can read a field of one."""
    rule = _GATE.get(field)
    return rule is None or rule.fullmatch(value) is not None


def _is_sound(name: str, field: bytes, value: bytes, now: int) -> bool:
    if name == "totals":
        return field in (b"journal", b"journal_low") or (_COUNT.fullmatch(value) is not None and field.isascii())
    if name == "filing":
        return ENTRY.fullmatch(value) is not None and _number_of(value) <= (now + AHEAD_US) // 1000
    if name == "dead":
        return ENTRY.fullmatch(value) is not None
    if (many := _rules_of(name)) is not None:
        return _is_kept(many, field, value)
    rules = _LANE if name == "lane" else _CONF
    rule = rules.get(field.decode("ascii", "replace"))
    if rule is None:  # written by a later version
        return True
    if rule.fullmatch(value) is None:
        return False
    if name == "lane" and field in (b"seen", b"hold"):
        return int(value) <= now + AHEAD_US
    if name == "lane" and field == b"longest":
        return int(value) <= LONGEST_US
    return not (name == "lane" and field == b"token" and int(value) > TOKEN_MOST)


# Repair of damage that makes a script fail in a way that no retry helps; see docs/adr/0012.
#
# A trip that meets such an error checks the keys of that lane once (`survey`), moves damaged values aside (`mend`),
# logs this, and sends the call again. While scripts succeed, this costs nothing.


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
    """Return the keys to check for failed calls: those of the lane, and of the jobs that they name.

    Only keys that their scripts declare: a Redis user has rights to these, and one key beyond them refuses all.
    """
    from jobfleet.store.acl import keys_of  # damage is rare

    calls = list(calls)
    declared = {key.name for call in calls for keys in keys_of(call.script) for key in keys}
    keys = {key: None for call in calls for key in call.keys if isinstance(key, str) and key.startswith(tag)}
    ids = {key.removeprefix(f"{tag}job:"): None for key in keys if key.startswith(f"{tag}job:")}
    if is_lane(tag):
        queue, _, index = tag[1:-2].rpartition(":")
        begin = f"{queue.rpartition(':')[2]}.{index}."
        ids |= {arg: None for call in calls for arg in call.args if isinstance(arg, str) and arg.startswith(begin)}
    looked = {place.name: place for place in (*places_of(tag, keys, ids), *places(tag))}
    if ids and "dead" in looked:
        looked["dead"] = looked["dead"]._replace(fields="\n".join(ids))
    return [one for one in looked.values() if any(_pattern(row).fullmatch(one.name) for row in declared)][-MOST_PLACES:]


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
