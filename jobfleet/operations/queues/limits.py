"""What queues and their groups may do at once and in a time, and who of them is paused. See `verbs` for the form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from jobfleet.clock import to_us
from jobfleet.errors import InvalidJob
from jobfleet.model import seconds
from jobfleet.model.group import (
    EVERY_GROUP,
    UNLIMITED,
    burst_of,
    check_group,
    concurrency_of,
    rate_of,
    weight_of,
)
from jobfleet.model.options import Seconds
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.lanes import lanes
from jobfleet.operations.operation import Operation, batches, value
from jobfleet.operations.results import moment
from jobfleet.store.call import Call
from jobfleet.store.calls import limit as calls
from jobfleet.store.calls.limit import AGING, KEEP, PAUSED, UNSET, Settings, Used, field_of
from jobfleet.store.calls.paused import read_pause
from jobfleet.store.keys import Lane

NO_LIMIT = "none"
"""How a limit that is lifted for one group is written."""


@dataclass(frozen=True, slots=True)
class LimitInfo:
    """What is set for a queue, or for a group of it, and how much of it is used.

    Attributes:
        queue: The queue.
        group: The group; None for the queue as a whole, ``*`` for the groups without a setting of their own.
        concurrency: How many of its jobs may run at once; None where that is not set, infinite where it is lifted.
        rate: How many may start in a time, as it was given; None where that is not set, ``none`` where it is lifted.
        burst: How many may start at once under the rate.
        weight: Its share beside other groups; None where that is not set, and then 1.
        aging: Seconds after which a waiting job of a queue counts as of the next priority; None when it does not.
        running: How many of its jobs run.
        next_token: Seconds until its rate lets the next job start; 0 when one may.
        paused: Who paused the group, ``-`` for nobody in particular; None when it is not.
        paused_at: When.
        paused_reason: Why, as far as that was said.
    """

    queue: str
    group: str | None = None
    concurrency: float | None = None
    rate: str | None = None
    burst: int | None = None
    weight: float | None = None
    aging: float | None = None
    running: int = 0
    next_token: float = 0.0
    paused: str | None = None
    paused_at: datetime | None = None
    paused_reason: str = ""


class Limit(NamedTuple):
    """What a caller wants set; what is None stays."""

    concurrency: float | None = None
    rate: object = None
    burst: int | None = None
    weight: float | None = None
    aging: Seconds | None = None

    def value(self) -> str:
        """As set_limit.lua takes it."""
        most = KEEP if self.concurrency is None else str(concurrency_of(self.concurrency))
        weight = KEEP if self.weight is None else f"{weight_of(self.weight):g}"
        burst = KEEP if self.burst is None else str(burst_of(self.burst))
        if self.rate is None:
            return f"{most} {KEEP} {burst} {weight} {KEEP}"
        if self.rate == UNLIMITED:
            return f"{most} 0 {UNSET} {weight} {NO_LIMIT}"
        rate = rate_of(self.rate)
        return f"{most} {rate.every_us:.3f} {rate.burst if self.burst is None else burst} {weight} {rate}"


def named_group(group: str | None) -> str | None:
    """A group as a setting names it.

    Raises:
        InvalidJob: It is neither a group, nor ``*``, nor None.
    """
    return group if group is None or group == EVERY_GROUP else check_group(group)


def set_limit(context: FleetContext, queue: str, group: str | None, wanted: Limit) -> Operation[bool]:
    """Set what a queue or a group of it may do; False when that was so already.

    Raises:
        ConfigError: There is no such queue.
        InvalidJob: A value is wrong, or is not for a queue, or not for a group; or the queue has several lanes.
    """
    if not any(value is not None for value in wanted):
        raise InvalidJob("Nothing to set; give concurrency, rate, burst, weight or aging.")
    named_group(group)
    text = wanted.value()
    _check_place(group, wanted)
    every = yield from lanes(context, queue)
    if group is None and len(every) > 1 and (wanted.concurrency is not None or wanted.rate is not None):
        raise InvalidJob(
            f"{queue} has {len(every)} lanes, which count by themselves: a limit of the whole queue needs one lane. "
            "Give its jobs groups, and limit those.",
            field="concurrency" if wanted.concurrency is not None else "rate",
        )
    if wanted.burst is not None and wanted.rate is None:
        yield from _check_rate(every[0], queue, group)
    has_changed = False
    if wanted._replace(aging=None) != Limit():
        has_changed = yield from _set(every, field_of(group), text)
    if wanted.aging is not None:
        us = to_us(seconds(wanted.aging, field="aging"))
        has_changed = (yield from _set(every, AGING, str(us) if us else "")) or has_changed
    return has_changed


def _check_place(group: str | None, wanted: Limit) -> None:
    if group is None and wanted.weight is not None:
        raise InvalidJob("weight is for groups, which share a queue; give group too.", field="weight")
    if group is not None and wanted.aging is not None:
        raise InvalidJob("aging is for whole queues; leave group out.", field="aging")


def _check_rate(lane: Lane, queue: str, group: str | None) -> Operation[None]:
    seen: Settings = value((yield (calls.limits(lane),)))
    parts = seen.fields.get(field_of(group), "").split(" ")
    if len(parts) < 2 or parts[1] in (UNSET, "0"):
        raise InvalidJob(f"burst is for a rate, and {queue} has none there; give rate too.", field="burst")


def clear(context: FleetContext, queue: str, group: str | None) -> Operation[bool]:
    """Let all limits of a queue go, its aging too, or all of a group; False when there were none.

    Raises:
        ConfigError: There is no such queue.
    """
    named_group(group)
    every = yield from lanes(context, queue)
    has_changed = yield from _set(every, field_of(group), "")
    if group is None:
        has_changed = (yield from _set(every, AGING, "")) or has_changed
    return has_changed


def _set(every: list[Lane], field: str, text: str) -> Operation[bool]:
    has_changed = False
    for lane in every:
        told, skip = calls.CHUNK, 0
        while told == calls.CHUNK:
            answer = value((yield (calls.set_limit(lane, field, text, skip=skip),)))
            if answer is None:
                raise InvalidJob(
                    f"{calls.MOST_GROUPS:,} groups of {lane.queue} have limits of their own, which is the most; set "
                    "the default of all groups, '*', instead.",
                    field="group",
                )
            changed, told = answer
            has_changed, skip = has_changed or changed, skip + told
    return has_changed


def listing(context: FleetContext, queue: str | None = None) -> Operation[list[LimitInfo]]:
    """What is set for a queue or for all, the queue itself first, then its groups by name.

    Raises:
        ConfigError: There is no such queue.
    """
    by_queue: dict[str, list[Lane]] = {}
    for lane in (yield from lanes(context, queue)):
        by_queue.setdefault(lane.queue, []).append(lane)
    rows: list[LimitInfo] = []
    for every in by_queue.values():
        rows += yield from _rows(every)
    return rows


def _rows(every: list[Lane]) -> Operation[list[LimitInfo]]:
    queue = every[0].queue
    seen: list[Settings] = [value([answer]) for answer in (yield [calls.limits(lane) for lane in every])]
    fields, now = seen[0].fields, seen[0].now
    groups = sorted({name.partition(":")[2] for name in fields if name.startswith(("limit:", PAUSED))})
    used = yield from _used(every, [group for group in groups if group != EVERY_GROUP])
    rows = [_info(queue, group, fields, used.get(group, Used(0, 0)), now) for group in groups]
    if calls.LIMIT in fields or AGING in fields:
        whole = Used(sum(one.used.running for one in seen), seen[0].used.full)
        rows.insert(0, _info(queue, None, fields, whole, now))
    return rows


def _used(every: list[Lane], groups: list[str]) -> Operation[dict[str, Used]]:
    found: dict[str, Used] = {}
    for part in batches(groups, calls.CHUNK):
        asked: list[Call[Any]] = [calls.limits(lane, part) for lane in every]
        for answer in (yield asked):
            for group, one in value([answer]).groups.items():
                before = found.get(group, Used(0, 0))
                found[group] = Used(before.running + one.running, max(before.full, one.full))
    return found


def _info(queue: str, group: str | None, fields: Mapping[str, str], used: Used, now: int) -> LimitInfo:
    most, every, burst, weight, text = (fields.get(field_of(group)) or "- - - - -").split(" ")
    paused = fields.get(f"{PAUSED}{group}", "")
    pause = read_pause(paused)
    has_rate = every not in (UNSET, "0")
    token = used.full - (int(burst) - 1) * float(every) - now if has_rate and used.full else 0.0
    aging = fields.get(AGING) if group is None else None
    return LimitInfo(
        queue,
        group,
        concurrency=None if most == UNSET else UNLIMITED if most == "0" else int(most),
        rate=None if text == UNSET else text,
        burst=int(burst) if has_rate else None,
        weight=None if weight == UNSET else float(weight),
        aging=int(aging) / 1e6 if aging else None,
        running=used.running,
        next_token=max(0.0, token / 1e6),
        paused=paused.partition("@")[0] or None,
        paused_at=moment(pause.at),
        paused_reason=pause.reason,
    )
