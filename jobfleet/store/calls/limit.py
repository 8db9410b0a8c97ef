"""Calls for the limits and the sequences of groups, from set_limit to precede."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from jobfleet.model.limit import KEEP, Declaration, Limit, declarations_of, field_of
from jobfleet.store.call import Argument, Call, Reply
from jobfleet.store.calls.control import who, why
from jobfleet.store.calls.steps import BY_TOKEN
from jobfleet.store.damage import is_setting
from jobfleet.store.keys import Lane
from jobfleet.store.rows import NOT_READ, number_of, text_of
from jobfleet.store.script import load

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
