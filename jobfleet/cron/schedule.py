"""The fires of a cron expression in a time zone, across changes of the clocks. Pure.

`croniter` finds the local times that an expression names; this module converts them to instants. An expression that
names hours is a *fixed local time*: it fires once per local day for each named time. If the clocks go back, it fires at
the first of two equal times. If they go forward, it fires at the first instant that exists (P. Vixie's cron does the
same). An expression that covers all 24 hours is an *interval*: it goes by elapsed time, through both passes of a
repeated hour. ``@every`` with an interval counts elapsed seconds from a fixed instant.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from croniter.croniter import CroniterBadDateError

from jobfleet.model.cron_expression import Expression, check_expression, zone_of

_SECOND = timedelta(seconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Fire(NamedTuple):
    """One planned fire.

    Attributes:
        at: The instant, in UTC.
        nominal: The local time that the expression names, with its time zone; it may not exist.
        note: The effect of a change of the clocks; empty if there is none.
    """

    at: datetime
    nominal: datetime
    note: str = ""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A cron expression in a time zone.

    Args:
        expression: Five fields, or six with seconds last; or an alias such as ``@daily``. If both day fields are
            given, a day needs to match only one of them, as in every cron. Or ``@every`` with an interval, or
            ``@startup``.
        tz: The name of the time zone.
        anchor: The instant from which ``@every`` counts; a part of a second counts as a whole one.

    Raises:
        InvalidJob: The expression or the time zone is not valid, or the expression never matches.
    """

    expression: str
    tz: str = "UTC"
    anchor: datetime = field(default=_EPOCH, repr=False)
    _zone: ZoneInfo = field(init=False, repr=False, compare=False)
    _checked: Expression = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check both fields, and determine the kind of the expression."""
        object.__setattr__(self, "_checked", check_expression(self.expression))
        object.__setattr__(self, "_zone", zone_of(self.tz))
        anchor = -((_EPOCH - self.anchor) // _SECOND) * _SECOND  # the ids of jobs have whole seconds
        object.__setattr__(self, "anchor", _EPOCH + anchor)

    @property
    def is_interval(self) -> bool:
        """Whether it goes by elapsed time, because it runs in all hours or at an interval."""
        return self._checked.has_all_hours or self._checked.every is not None

    @property
    def is_startup(self) -> bool:
        """Whether it has no times, because it fires when workers start."""
        return self._checked.is_startup

    @property
    def zone(self) -> ZoneInfo:
        """The time zone."""
        return self._zone

    def next(self, after: datetime) -> Fire | None:
        """Return the first fire after an instant; None if croniter finds none within 50 years, or for ``@startup``.

        Args:
            after: An instant with a time zone.
        """
        if self.is_startup:
            return None
        after = after.astimezone(UTC).replace(microsecond=0)
        try:
            if self._checked.every is not None:
                return self._next_elapsed(after, self._checked.every)
            return self._next_interval(after) if self._checked.has_all_hours else self._next_fixed(after)
        except (CroniterBadDateError, OverflowError):
            return None

    @property
    def doubt(self) -> str:
        """Why the expression may mean something else than its author thinks; empty if there is no sign of that."""
        minute, *others = self._checked.plain.split()
        if len(others) < 5 or others[-1] not in ("*", "*/1") or minute == "*":
            return ""
        return (
            f"cron {self.expression!r} fires in every second of its minutes, because seconds are the sixth field. "
            f"Did you mean {' '.join([*others, minute])!r}?"
        )

    def fires(self, after: datetime, until: datetime) -> Iterator[Fire]:
        """Yield the fires after one instant, up to and including another."""
        fire = self.next(after)
        while fire is not None and fire.at <= until:
            yield fire
            fire = self.next(fire.at)

    def _next_elapsed(self, after: datetime, every: timedelta) -> Fire:
        at = self.anchor + ((after - self.anchor) // every + 1) * every
        return Fire(at, at.astimezone(self._zone))

    def _named(self, after: datetime) -> Any:
        """Iterate over the local times that the expression names, after a local time."""
        assert self._checked.times is not None  # noqa: S101 - intervals and starts do not ask for times
        times = copy(self._checked.times)
        times.set_current(after)
        return times

    def _next_fixed(self, after: datetime) -> Fire:
        named = self._named(self._local(after))
        nominal = named.get_next()
        while self._instant(nominal) <= after:
            nominal = named.get_next()
        at = self._instant(nominal)
        if not self._exists(nominal):
            # Several nominal times may fall into the gap, and one on its end. Together they are one fire.
            later = named.get_next()
            while self._instant(later) == at:
                if self._exists(later):
                    return Fire(at, later.replace(tzinfo=self._zone))
                later = named.get_next()
        return Fire(at, nominal.replace(tzinfo=self._zone), self._note(nominal, at))

    def _next_interval(self, after: datetime) -> Fire:
        offset = self._offset(after)
        nominal = self._named((after + offset).replace(tzinfo=None)).get_next()
        at = nominal.replace(tzinfo=UTC) - offset
        while self._offset(at) != offset:  # the offset changes before: continue from the change with the new offset
            change = self._change(after, at)
            after, offset = change, self._offset(change)
            just_before = (change + offset).replace(tzinfo=None) - _SECOND
            nominal = self._named(just_before).get_next()
            at = nominal.replace(tzinfo=UTC) - offset
        return Fire(at, at.astimezone(self._zone))

    def _instant(self, local: datetime) -> datetime:
        """Convert a local time to an instant: the first of two equal times, or the end of the gap for a missing one."""
        at = local.replace(tzinfo=self._zone).astimezone(UTC)
        return at if self._exists(local) else self._change(at - timedelta(days=1), at)

    def _exists(self, local: datetime) -> bool:
        aware = local.replace(tzinfo=self._zone)
        return aware.astimezone(UTC).astimezone(self._zone).replace(tzinfo=None) == local

    def _change(self, before: datetime, after: datetime) -> datetime:
        """Find the last change of the offset between two instants, to the second."""
        offset = self._offset(after)
        while after - before > _SECOND:
            middle = before + (after - before) // 2
            middle = middle.replace(microsecond=0)
            if self._offset(middle) == offset:
                after = middle
            else:
                before = middle
        return after

    def _offset(self, at: datetime) -> timedelta:
        return at.astimezone(self._zone).utcoffset() or timedelta()

    def _local(self, at: datetime) -> datetime:
        return at.astimezone(self._zone).replace(tzinfo=None)

    def _note(self, nominal: datetime, at: datetime) -> str:
        if not self._exists(nominal):
            fires = self._local(at)
            return f"{nominal:%Y-%m-%d %H:%M} does not exist in {self.tz}: fires {fires:%H:%M}"
        second = nominal.replace(tzinfo=self._zone, fold=1).astimezone(UTC)
        if second != at:
            return f"{nominal:%Y-%m-%d %H:%M} comes twice in {self.tz}: fires the first time"
        return ""
