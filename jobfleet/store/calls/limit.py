"""Calls for the limits of queues and groups: set_limit, limits, pause_group and resume_group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jobfleet.model.limit import Limit
from jobfleet.store.call import Call, Reply
from jobfleet.store.calls.control import who, why
from jobfleet.store.damage import is_setting
from jobfleet.store.keys import Lane
from jobfleet.store.rows import number_of, text_of
from jobfleet.store.script import load

CHUNK = 50
MOST_GROUPS = 10_000
"""Maximum number of groups per queue with settings of their own."""
ALL = "*"
"""The name of the settings for groups without settings of their own."""
LIMIT = "limit"
AGING = "aging"
PAUSED = "paused:"


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
        fields: The operator's settings: ``limit``, ``limit:<group>``, ``paused:<group>``, ``aging`` and others.
        groups: The usage by the requested groups.
    """

    now: int
    used: Used
    fields: Mapping[str, str]
    groups: Mapping[str, Used]

    def limit_of(self, group: str | None) -> Limit:
        """Return the limit of a group, or of the queue itself (None), without the limit of all groups."""
        return Limit.parse(self.fields.get(field_of(group), ""))


def field_of(group: str | None) -> str:
    """Return the field of the limit of a group, or of the queue itself."""
    return LIMIT if group is None else f"{LIMIT}:{group}"


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
