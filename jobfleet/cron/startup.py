"""The decision about the starts of workers, for entries with ``@startup``. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from jobfleet.cron.entry import CronEntry, Planned
from jobfleet.cron.schedule import Fire

TOGETHER = timedelta(seconds=60)
"""Maximum time from one start to the next of the same group."""
SEEN_AT_ONCE = timedelta(seconds=60)
"""How old a start may be and still count as on time. A worker reports its start with its second heartbeat."""
SAME_GROUP = "same group"
"""The outcome of a start that only continues a group: it moves the mark, and is not recorded."""


def plan_starts(
    entry: CronEntry, starts: Sequence[datetime], mark: datetime, now: datetime, *, is_start: bool
) -> list[Planned]:
    """Decide about each start of a worker, in order.

    Starts belong to one group, and give one fire, if at most `TOGETHER` lies between one and the next and a worker of
    the group, or an older one, is still alive. So a rolling deployment gives one fire, and so does a worker that
    crashes at its start again and again beside others.

    Args:
        entry: The entry.
        starts: The starts of the live workers that know its function.
        mark: The last start that was handled, or the time since which the entry counts.
        now: Redis's time.
        is_start: Whether the mark is a start.
    """
    cron = entry.cron
    planned: list[Planned] = []
    for at in sorted(set(starts)):
        if at <= mark or (cron.start is not None and at < cron.start) or (cron.end is not None and at > cron.end):
            continue
        is_same = is_start and at - mark <= TOGETHER and any(other <= mark for other in starts)
        mark, is_start = at, True
        fire = Fire(at, at.astimezone(cron.schedule.zone))
        if is_same:
            planned.append(Planned(fire, SAME_GROUP))
        elif now - at <= SEEN_AT_ONCE:
            planned.append(Planned(fire, "fired"))
        else:
            is_missed = now - at > timedelta(seconds=cron.misfire_window) + SEEN_AT_ONCE
            planned.append(Planned(fire, "missed" if is_missed else "skipped"))
    late = [index for index, one in enumerate(planned) if one.outcome == "skipped"]
    chosen = {"once": late[-1:], "skip": [], "all": late[-cron.most :] if cron.most else []}[cron.misfire]
    return [one._replace(outcome="late") if index in chosen else one for index, one in enumerate(planned)]
