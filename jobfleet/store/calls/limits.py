"""Calls for limits: of queues, groups and sequences, named limits with breakers, and runs at their gates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from jobfleet.model.limits import KEEP, Declaration, Demand, Limit, declarations_of, field_of
from jobfleet.store.call import Argument, Call, Reply
from jobfleet.store.calls.control import who, why
from jobfleet.store.calls.run import BY_TOKEN
from jobfleet.store.damage import GATE, is_setting, is_sound_in_gate
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.rows import NOT_READ, kept, number_of, report, shown, text_of
from jobfleet.store.script import load

# Calls for the limits and the sequences of groups, from set_limit to precede.


CHUNK = 50
MOST_GROUPS = 10_000
"""Maximum number of groups per queue with settings of their own."""
ALL = "*"
"""The name of the settings for groups without settings of their own."""
AGING = "aging"
PAUSED = "paused:"
DECLARED = "declared"
AS_IT_IS = KEEP
"""A value of `set_limit` that changes nothing: it only wakes the groups that rest, after another change."""


class Used(NamedTuple):
    """The usage of a limit.

    Attributes:
        running: Number of runs.
        full: Time at which the tokens are full again, in µs; 0 if they are.
    """

    running: int
    full: int


class Settings(NamedTuple):
    """The settings of a lane.

    Attributes:
        now: Redis's time, µs.
        used: The usage of the lane's own limit.
        fields: The settings: ``limit``, ``limit:<group>``, ``paused:<group>``, ``aging``, ``declared`` and others.
        groups: The usage by the requested groups.
    """

    now: int
    used: Used
    fields: Mapping[str, str]
    groups: Mapping[str, Used]

    def limit_of(self, group: str | None) -> Limit:
        """Return the limit of a group, or of the queue itself (None), without the limit of all groups."""
        return Limit.parse(self.fields.get(field_of(group), ""))

    @property
    def declared(self) -> dict[str, Declaration]:
        """The limits that functions declare, by their fields."""
        return declarations_of(self.fields.get(DECLARED, ""))


def set_limit(lane: Lane, field: str, value: str, *, skip: int = 0) -> Call[tuple[bool, int] | None]:
    """Set or clear a field; return whether it changed, and the number of updated groups; None: too many have limits.

    If `CHUNK` groups were updated, there may be more: call again with `skip`.

    Args:
        lane: The lane.
        field: See `field_of`, or `AGING`.
        value: The result of `Limit.change`; for aging µs; an empty value clears.
        skip: Number of groups that were already updated.
    """
    keys = (lane.conf, lane.gdue, lane.wake)
    return Call(load("set_limit"), keys, (lane.tag, field, value, skip, MOST_GROUPS), _changed)


def _changed(reply: Reply) -> tuple[bool, int] | None:
    return (bool(reply[1]), int(reply[2])) if reply[0] == b"set" else None


class Declared(NamedTuple):
    """The answer to `declare`.

    Attributes:
        changed: The fields whose limit in force has changed.
        replaced: By field, the functions of other processes that declared another limit there.
    """

    changed: tuple[str, ...]
    replaced: Mapping[str, tuple[str, ...]]


def declare(lane: Lane, wanted: Mapping[str, Declaration], functions: Iterable[str]) -> Call[Declared | None]:
    """Replace the limits that the functions of a process declare for a queue; None: too many groups have limits.

    Args:
        lane: A lane of the queue.
        wanted: The limits by their fields.
        functions: All functions of the process. What they declared before and do not declare any more is removed.
    """
    rows = [(field, one.limit.line(), ",".join(sorted(one.functions))) for field, one in wanted.items()]
    words = [word for row in rows for word in row]
    args: tuple[int | str, ...] = (MOST_GROUPS, len(rows), *words, *functions)
    return Call(load("declare"), (lane.conf,), args, _declared)


def _declared(reply: Reply) -> Declared | None:
    if reply[0] != b"declared":
        return None
    replaced = [text_of(part) for part in reply[2]]
    return Declared(
        tuple(text_of(field) for field in reply[1]),
        {field: tuple(names.split(",")) for field, names in zip(replaced[::2], replaced[1::2], strict=True)},
    )


def limits(lane: Lane, groups: Sequence[str] = ()) -> Call[Settings]:
    """Return the settings of a lane, and the usage by the lane and at most 50 groups."""
    return Call(load("limits"), (lane.lane,), (lane.tag, *groups), lambda reply: _settings(reply, groups))


def _settings(reply: Reply, groups: Sequence[str]) -> Settings:
    fields, used = reply[4], reply[5]
    return Settings(
        int(reply[1]),
        _used(reply[2], reply[3]),
        {
            text_of(name): text_of(value)
            for name, value in zip(fields[::2], fields[1::2], strict=True)
            if is_setting(name, value)
        },
        {group: _used(used[2 * i], used[2 * i + 1]) for i, group in enumerate(groups)},
    )


def _used(running: int, full: bytes) -> Used:
    return Used(running, number_of(full))


def pause_group(lane: Lane, group: str, *, by: str | None, reason: str | None = None) -> Call[bool | None]:
    """Stop claims of a group's jobs; False if already paused, None if too many groups have settings."""
    args = (group, who(by), why(reason), MOST_GROUPS)
    return Call(
        load("pause_group"), (lane.conf,), args, lambda reply: bool(reply[1]) if reply[0] == b"paused" else None
    )


def resume_group(lane: Lane, group: str) -> Call[bool]:
    """Allow claims of a paused group's jobs again; False if it was not paused."""
    keys = (lane.conf, lane.gdue, lane.wake)
    return Call(load("resume_group"), keys, (lane.tag, group), lambda reply: bool(reply[1]))


class SequenceRow(NamedTuple):
    """A strict sequence of a lane.

    Attributes:
        group: Its name.
        head: The id of its head.
        state: The state of the head: running, waiting, sleeping, blocked, withheld, parked or failing.
        due: When the head is due, in µs; 0 unless it waits.
        waiting: Number of jobs behind the head.
        ids: The first of these; only if one sequence was requested.
        signal: The signal that a sleeping head waits for; empty if it only sleeps.
    """

    group: str
    head: str
    state: str
    due: int
    waiting: int
    ids: tuple[str, ...]
    signal: str = ""


def sequences(
    lane: Lane, group: str = "", *, after: str = "", limit: int = CHUNK
) -> Call[tuple[int, list[SequenceRow]]]:
    """Return Redis's time in µs, and the strict sequences of a lane by name, or one of them with its first jobs.

    Args:
        lane: The lane.
        group: Only this sequence; empty for all.
        after: The last name of the page before.
        limit: Most sequences, or most ids of the one sequence.
    """
    return Call(load("sequences"), (lane.lane,), (lane.tag, group, after, limit), _rows)


def _rows(reply: Reply) -> tuple[int, list[SequenceRow]]:
    return int(reply[1]), [row for raw in reply[2:] if (row := _row(raw)) is not None]


def _row(raw: Reply) -> SequenceRow | None:
    try:
        group, head, state, due, waiting, ids, signal = raw
        return SequenceRow(
            group.decode(), head.decode(), text_of(state), number_of(due), int(waiting), tuple(map(text_of, ids)),
            text_of(signal).removeprefix(BY_TOKEN),
        )  # fmt: skip
    except NOT_READ:  # a foreign entry
        return None


def unpark(lane: Lane, group: str, head: str) -> Call[bool]:
    """Let a sequence go on behind a head that has failed; False if it is not parked behind that head."""
    keys = (*lane.ready, lane.wake, lane.meta, lane.grouped, lane.ring, lane.gdue)
    return Call(load("unpark"), keys, (lane.tag, group, head), lambda reply: bool(reply[1]))


def precede(lane: Lane, dependants: Sequence[str], ids: Sequence[str], *, starts: bool = True) -> Call[int]:
    """Give jobs of strict sequences places before their dependants in these; return how many places have changed.

    Args:
        lane: The lane.
        dependants: Ids of at most 50 jobs that wait for them, directly or through others; empty to change no place.
        ids: Ids of at most 50 jobs.
        starts: Whether one of them may become the head now, in place of a blocked head behind it.
    """
    keys = (*lane.ready, lane.wake, lane.meta, lane.grouped, lane.gdue)
    args: tuple[Argument, ...] = (lane.tag, int(starts), len(dependants), *dependants, *ids)
    return Call(load("precede"), keys, args, lambda reply: int(reply[1]))


# Calls for the definition and the state of gates: define_limit, shut_gate and gates.


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


# Calls for runs at their gates: pass_gates and leave_gates.


UNLIMITED = -1
RUN_IN_US = 3 / 64
"""The part of the period of a rate within which a run must start after it has passed."""


class Passing(NamedTuple):
    """A run at its gates.

    Attributes:
        id: The id of its job.
        token: Its fencing token.
        demands: What it needs.
        number: How many times it has passed before. Each time it holds other places, so a late report that it has left
            those of an earlier time does not free them.
    """

    id: str
    token: int
    demands: tuple[Demand, ...]
    number: int = 0

    @property
    def holder(self) -> str:
        """The run as a holder of places; see `calls.lock.Holder`."""
        return f"{self.token} {self.number} {self.id}"


class Leaving(NamedTuple):
    """A run that leaves its gates.

    Attributes:
        holder: `Passing.holder`.
        demands: What it had.
        outcome: ``ok``, ``fail``, ``none`` (it says nothing about the health of the function), or ``unused`` for a run
            that has not started.
        error: The class of its error.
        passed: When it passed, µs.
    """

    holder: str
    demands: tuple[Demand, ...]
    outcome: str
    error: str
    passed: int


class Room(NamedTuple):
    """The room of a gate.

    Attributes:
        places: How many runs may pass; `UNLIMITED` without a limit.
        units: How much their costs may be together; `UNLIMITED` without a rate.
        at: When there is more, µs; 0 if that is not known.
        then: How much there is then.
        period: The period of the rate in µs; 0 without one, -1 if no limit has this name.
        words: The settings of a breaker; see `Demand`.
    """

    places: int
    units: int
    at: int
    then: int
    period: int
    words: str = ""


class Passed(NamedTuple):
    """The answer to `pass_gates`.

    Attributes:
        now: Redis's time, µs.
        refusals: For each run an empty text, or the gate that has refused it.
        impossible: The places of the runs whose cost can never fit.
        rooms: The room that is left, by gate.
    """

    now: int
    refusals: tuple[str, ...]
    impossible: frozenset[int]
    rooms: Mapping[str, Room]


def pass_gates(keys: Keyspace, child: str, runs: Sequence[Passing], *, look: Sequence[Demand] = ()) -> Call[Passed]:
    """Let runs through their gates.

    Args:
        keys: The fleet's keys.
        child: The child that asks. If there is no room, it is notified on its channel when there may be.
        runs: The runs.
        look: Further gates whose room is returned.
    """
    gates = {one.gate: one.words for one in (*look, *(one for run in runs for one in run.demands))}
    names = [*gates]
    numbers = {name: place for place, name in enumerate(names, start=1)}
    args: list[Argument] = [child, len(names), *(part for pair in gates.items() for part in pair)]
    for run in runs:
        args += (run.id, run.holder, len(run.demands))
        args += [part for one in run.demands for part in (numbers[one.gate], one.cost)]

    def read(reply: Reply) -> Passed:
        refusals = [int(number) for number in reply[2]]
        rooms = [int(number) for number in reply[3]]
        return Passed(
            int(reply[1]),
            tuple(names[abs(number) - 1] if number else "" for number in refusals),
            frozenset(place for place, number in enumerate(refusals) if number < 0),
            {name: _room(rooms[5 * at : 5 * at + 5], gates[name]) for at, name in enumerate(names)},
        )

    return Call(load("pass_gates"), _keys(keys, names), tuple(args), read)


def _room(numbers: Sequence[int], words: str) -> Room:
    places, units, at, then, period = numbers
    return Room(places, units, at, then, period, words)


def leave_gates(
    keys: Keyspace, child: str, runs: Sequence[Leaving], *, gone: Sequence[Demand] = ()
) -> Call[list[tuple[str, str, str]]]:
    """Free the places of runs, and count their outcomes; return the breakers that changed: name, state and reason.

    Args:
        keys: The fleet's keys.
        child: The child that reports.
        runs: The runs.
        gone: The gates for which the child does not wait any more, because it ends.
    """
    gates = {one.gate: one.words for one in (*gone, *(one for run in runs for one in run.demands))}
    numbers = {name: place for place, name in enumerate(gates, start=1)}
    args: list[Argument] = [keys.gate_freed(""), child, int(bool(gone)), len(gates)]
    args += [part for pair in gates.items() for part in pair]
    for run in runs:
        args += (run.holder, run.outcome, run.error, run.passed, len(run.demands))
        args += [part for one in run.demands for part in (numbers[one.gate], one.cost)]
    return Call(load("leave_gates"), _keys(keys, [*gates]), tuple(args), _changes)


def _changes(reply: Reply) -> list[tuple[str, str, str]]:
    words = [text_of(part) for part in reply[2]]
    return [(words[at], words[at + 1], words[at + 2]) for at in range(0, len(words), 3)]


def _keys(keys: Keyspace, names: Sequence[str]) -> tuple[str, ...]:
    return (keys.gates, *(key for name in names for key in (keys.gate(name), keys.inside(name))))
