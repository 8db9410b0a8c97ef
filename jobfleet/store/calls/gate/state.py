"""Calls for the definition and the state of gates: define_limit, shut_gate and gates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from jobfleet.store.call import Call, Reply
from jobfleet.store.calls.control import who, why
from jobfleet.store.damage import GATE, is_sound_in_gate
from jobfleet.store.keys import Keyspace
from jobfleet.store.rows import kept, report, shown, text_of
from jobfleet.store.script import load

CHUNK = 50
MOST_LIMITS = 10_000
"""Maximum number of gates without an end: defined limits, and gates that are shut until somebody opens them."""
LOOKED = 500
"""How many gates one call looks at for breakers that have opened."""
SHOWN = 5
"""How many runs per gate are shown."""
MOST_HELD = 1000
"""How many runs of a gate are checked at once for whether they are alive."""
FOREVER = -1
"""The duration of a closing that ends when somebody opens the gate."""


class GateSeen(NamedTuple):
    """A gate as it is stored.

    Attributes:
        name: Its name.
        fields: Its fields.
        running: How many runs are inside.
        holders: Some of them.
        unreadable: What cannot be read, such as ``gate:limit:github is not a hash``; empty if all can.
    """

    name: str
    fields: Mapping[str, str]
    running: int
    holders: tuple[str, ...]
    unreadable: str = ""


def define_limit(
    keys: Keyspace,
    name: str,
    *,
    most: int | None = None,
    bounds: tuple[int, int] | None = None,
    count: int | None = None,
    period_us: int | None = None,
    rate: str = "",
    how: Literal["change", "replace", "remove"] = "change",
) -> Call[bool | None]:
    """Define a named limit, or remove its definition; return whether it changed, None if there are too many.

    Args:
        keys: The fleet's keys.
        name: The name of its gate.
        most: How many of its runs are inside at once.
        bounds: The bounds of an adaptive limit.
        count: The costs per period.
        period_us: The period in µs.
        rate: The rate as it was given.
        how: Whether what is not given stays or is removed, or everything is removed.
    """
    low, high = bounds or (None, None)
    numbers = ["" if number is None else number for number in (most, low, high, count, period_us)]
    args = (name, keys.gate_freed(""), MOST_LIMITS, how, *numbers, rate)
    return Call(
        load("define_limit"),
        (keys.gates, keys.gate(name)),
        args,
        lambda reply: bool(int(reply[1])) if reply[0] == b"defined" else None,
    )


def shut_gate(
    keys: Keyspace, name: str, for_us: int, *, by: str | None, reason: str | None = None, since: int = 0
) -> Call[bool | None]:
    """Let no run pass a gate for some time, or let runs pass again; return whether something changed.

    The answer is None if too many gates are shut until somebody opens them.

    Args:
        keys: The fleet's keys.
        name: The name of the gate.
        for_us: For how many µs; 0 to let runs pass; `FOREVER` until somebody opens it.
        by: Who does it.
        reason: Why.
        since: When the run began that a service has refused, µs; 0 if an operator does it.
    """
    args = (name, keys.gate_freed(""), name.partition(":")[0], for_us, who(by), why(reason), since, MOST_LIMITS)
    return Call(
        load("shut_gate"),
        (keys.gates, keys.gate(name)),
        args,
        lambda reply: bool(int(reply[1])) if reply[0] == b"shut" else None,
    )


def gates(
    keys: Keyspace, names: Sequence[str] = (), *, skip: int = 0, held_us: int = 0, most: int = SHOWN
) -> Call[tuple[int, list[GateSeen]]]:
    """Return Redis's time in µs, and at most 50 gates: those with these names, or the next ones of all.

    Args:
        keys: The fleet's keys.
        names: The names; none for all gates.
        skip: How many of all gates to skip; with names, how many of the runs of each.
        held_us: For how long the returned runs must have been inside.
        most: How many runs are returned at most per gate, the one that passed first in front.
    """
    return Call(load("gates"), (keys.gates,), (keys.tag, skip, held_us, most, *names), _seen)


class Opening(NamedTuple):
    """A circuit breaker that has opened.

    Attributes:
        name: The name of its gate.
        at: When it has opened, µs.
        by: Who changed its state last, as a word; empty if nobody is known.
        reason: Why.
    """

    name: str
    at: int
    by: str
    reason: str


class Openings(NamedTuple):
    """The answer to `openings`.

    Attributes:
        now: Redis's time, µs.
        looked: How many gates were looked at; with fewer than `LOOKED`, there are no more.
        rows: The breakers that have opened.
    """

    now: int
    looked: int
    rows: tuple[Opening, ...]


def openings(keys: Keyspace, *, used_us: int, opened_us: int, skip: int = 0) -> Call[Openings]:
    """Return the circuit breakers that have opened after a time, of at most `LOOKED` gates that were used after a time.

    Args:
        keys: The fleet's keys.
        used_us: Only gates that were used since this time, µs.
        opened_us: Only breakers that have opened since this time, µs.
        skip: How many of these gates to skip; the breakers that are open come first.
    """
    return Call(load("openings"), (keys.gates,), (keys.tag, used_us, opened_us, skip, LOOKED), _openings)


def _openings(reply: Reply) -> Openings:
    words = [text_of(part) for part in reply[3]]
    found = [tuple(words[at : at + 4]) for at in range(0, len(words), 4)]
    rows = kept(found, lambda row: Opening(row[0], int(row[1]), row[2], row[3]), "the openings of breakers")
    return Openings(int(reply[1]), int(reply[2]), tuple(rows))


def _seen(reply: Reply) -> tuple[int, list[GateSeen]]:
    rows = reply[2]
    seen = []
    for at in range(0, len(rows), 4):
        name, pairs = text_of(rows[at]), list(zip(rows[at + 1][::2], rows[at + 1][1::2], strict=True))
        fields = {text_of(field): text_of(one) for field, one in pairs}
        key = fields.pop("unreadable", "")
        wrong = [f"{key} is not a {'hash' if key.startswith(GATE) else 'zset'}"] if key else []
        wrong += [
            f"{GATE}{name} {text_of(field)} is {shown(one)}" for field, one in pairs if not is_sound_in_gate(field, one)
        ]
        report(wrong)
        holders = tuple(text_of(one) for one in rows[at + 3])
        seen.append(GateSeen(name, fields, int(rows[at + 2]), holders, "; ".join(wrong)))
    return int(reply[1]), seen
