"""A recurring job, and the decision about its due fires and about the starts of workers. Pure."""

from __future__ import annotations

import hashlib
import string
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from jobfleet.cron.schedule import Fire, Schedule
from jobfleet.errors import InvalidJob
from jobfleet.model import Priority, seconds
from jobfleet.model.names import QUEUE_RULE
from jobfleet.model.option_types import SecondsField

ON_TIME = timedelta(seconds=10)
"""How late a fire may be and still count as on time; reapers check once per second."""
LOOKED_AT = 2000
"""Maximum number of fires of one entry per turn; the next turn handles the rest."""
NAME_MAX = 100
NAME_IN_ID = 36
MISFIRE = ("once", "skip", "all")
OVERLAP = ("allow", "skip", "queue")
IN_IDS = frozenset(string.ascii_letters + string.digits + "_-.")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Planned(NamedTuple):
    """The decision about one planned fire.

    Attributes:
        fire: The fire.
        outcome: ``fired``, ``late`` (fired after its time), ``skipped`` (by the misfire policy) or ``missed`` (no
            reaper ran within the misfire window).
    """

    fire: Fire
    outcome: str

    @property
    def is_to_fire(self) -> bool:
        """Whether the fire enqueues a job."""
        return self.outcome in ("fired", "late")


@dataclass(frozen=True, slots=True)
class Cron:
    """The schedule of a recurring job, and its policies for late and overlapping fires.

    Args:
        expression: Five fields, or six with seconds last; or an alias such as ``@daily``. ``@every 90s`` or ``@every
            1h30m`` fires at an interval, counted from `start` if it is given, and otherwise from 1970-01-01 00:00 UTC.
            ``@startup`` fires when workers start.
        tz: The name of the time zone. Default ``UTC``.
        misfire: The policy for fires that no reaper handled in time: ``once`` (default; only the last one fires, late),
            ``skip`` (none fires) or ``all`` (each fires, up to `most`).
        misfire_window: Maximum lateness of a fire, in seconds or as a timedelta. Default 1 h.
        most: Limit on the late fires per turn with ``all``. Default 100.
        overlap: The policy while the job of the previous fire is open: ``allow`` another job (default), ``skip`` the
            fire, or ``queue`` it until that job ends.
        jitter: Interval over which the jobs are spread at random, in seconds or as a timedelta. Default 0.
        start: No fire before this time.
        end: No fire after this time.

    Raises:
        InvalidJob: A field is not valid; `field` names it.
    """

    expression: str
    tz: str = "UTC"
    misfire: str = field(default="once", kw_only=True)
    misfire_window: SecondsField = field(default=3600.0, kw_only=True)  # type: ignore[assignment]  # see SecondsField
    most: int = field(default=100, kw_only=True)
    overlap: str = field(default="allow", kw_only=True)
    jitter: SecondsField = field(default=0.0, kw_only=True)  # type: ignore[assignment]  # see SecondsField
    start: datetime | None = field(default=None, kw_only=True)
    end: datetime | None = field(default=None, kw_only=True)
    schedule: Schedule = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Check every field."""
        for what, value, known in (("misfire", self.misfire, MISFIRE), ("overlap", self.overlap, OVERLAP)):
            if value not in known:
                raise InvalidJob(f"{what} is {value!r}; use {', '.join(known)}.", field=what)
        for what in ("misfire_window", "jitter"):
            object.__setattr__(self, what, seconds(getattr(self, what), field=what))
        if isinstance(self.most, bool) or not isinstance(self.most, int) or not 0 <= self.most <= LOOKED_AT:
            raise InvalidJob(f"most is {self.most!r}; give a whole number from 0 to {LOOKED_AT}.", field="most")
        for what in ("start", "end"):
            at = getattr(self, what)
            if at is not None and not isinstance(at, datetime):
                raise InvalidJob(f"{what} is {at!r}; give a datetime.", field=what)
            object.__setattr__(self, what, at and at.astimezone(UTC))
        if self.start is not None and self.end is not None and self.end < self.start:
            raise InvalidJob(f"end is {self.end}, before start ({self.start}); give a later time.", field="end")
        anchor = {} if self.start is None else {"anchor": self.start}
        object.__setattr__(self, "schedule", Schedule(self.expression, self.tz, **anchor))

    @property
    def is_startup(self) -> bool:
        """Whether it has no times, because it fires when workers start."""
        return self.schedule.is_startup

    @property
    def doubt(self) -> str:
        """Why the expression may mean something else than its author thinks; empty if there is no sign of that."""
        return self.schedule.doubt

    @property
    def fingerprint(self) -> str:
        """Hash of the expression, time zone, start and end."""
        times = f"{self.expression}|{self.tz}|{self.start}|{self.end}"
        return hashlib.sha256(times.encode()).hexdigest()[:16]

    def next(self, after: datetime) -> Fire | None:
        """Return the first fire after an instant, within start and end, or None."""
        if self.start is not None and after < self.start:
            after = self.start - timedelta(microseconds=1)
        fire = self.schedule.next(after)
        return None if fire is None or (self.end is not None and fire.at > self.end) else fire

    def dump(self) -> dict[str, object]:
        """Return the fields as plain data."""
        times = {"start": self.start and to_us(self.start), "end": self.end and to_us(self.end)}
        return {**{name: getattr(self, name) for name in PLAIN}, **times}

    @classmethod
    def load(cls, record: Mapping[str, Any]) -> Cron:
        """Build the object from the output of `dump`; unknown keys are ignored."""
        start, end = record.get("start"), record.get("end")
        return cls(
            **{name: record[name] for name in PLAIN if name in record},
            start=None if start is None else from_us(start),
            end=None if end is None else from_us(end),
        )


PLAIN = ("expression", "tz", "misfire", "misfire_window", "most", "overlap", "jitter")


class Times(NamedTuple):
    """When an entry fires, for those who may not read its call.

    Attributes:
        cron: Its schedule.
        queue: The queue of its jobs.
        place: A number that chooses their lane, modulo the number of home lanes.
    """

    cron: Cron
    queue: str
    place: int

    def dump(self) -> dict[str, object]:
        """Return it as plain data."""
        return {"cron": self.cron.dump(), "queue": self.queue, "place": self.place}

    @classmethod
    def load(cls, record: Any) -> Times:
        """Build it from the output of `dump`.

        Raises:
            InvalidJob: The record is not valid.
        """
        try:
            return cls(Cron.load(record["cron"]), str(record["queue"]), int(record["place"]))
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise InvalidJob(f"The times of this cron entry cannot be read: {error!r}.", field="cron") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class CronEntry:
    """A recurring job, as stored.

    Args:
        name: Its name; to add another entry with the same name replaces it.
        cron: Its schedule.
        queue: The queue of its jobs.
        function: The name of the function that its jobs run.
        envelope: The encoded call, the same for each job.
        band: The priority of its jobs; 0 is the most urgent.
        meta: The clear record of each job.
        origin: ``decorator``, or the user who added the entry.

    Raises:
        InvalidJob: The name is not valid.
    """

    name: str
    cron: Cron
    queue: str
    function: str
    envelope: bytes
    band: int = 2
    meta: str = ""
    origin: str = "-"

    def __post_init__(self) -> None:
        """Check the name, because records, keys and listings contain it, and the types of what a record has."""
        texts = (self.name, self.queue, self.function, self.meta, self.origin)
        if not all(isinstance(one, str) for one in texts) or not isinstance(self.envelope, bytes):
            raise InvalidJob("A field of a cron entry is of the wrong type.", field="cron")
        if not QUEUE_RULE.fullmatch(self.queue) or not isinstance(self.band, int) or not 0 <= self.band < len(Priority):
            raise InvalidJob(f"Cron entry {self.name!r:.100} has no valid queue or priority.", field="cron")
        if not self.name or len(self.name) > NAME_MAX or not self.name.isprintable() or " " in self.name:
            raise InvalidJob(
                f"cron entry {self.name!r}: give a name of 1 to {NAME_MAX} printable characters without spaces.",
                field="name",
            )

    @property
    def placement(self) -> str | None:
        """The group of its jobs, or their unique key, if the placement of the jobs depends on one of these."""
        fields = dict(line.split(" ", 1) for line in self.meta.split("\n") if " " in line)
        return fields.get("g") or fields.get("u")

    @property
    def fingerprint(self) -> str:
        """Hash of the schedule, queue and placement key. If the hash changes, the entry's progress mark is reset."""
        place = f"{self.cron.fingerprint}|{self.queue}|{self.placement or ''}"
        return hashlib.sha256(place.encode()).hexdigest()[:16]

    def suffix(self, at: datetime) -> str:
        """Derive the id suffix of a fire's job from entry and time, so that a fire cannot create two jobs.

        Planned times are whole seconds. Starts of workers are not, and several may lie within a second.
        """
        short = self.name
        if len(short) > NAME_IN_ID or not set(short) <= IN_IDS:
            short = hashlib.sha256(self.name.encode()).hexdigest()[:16]
        part = f"{at.microsecond:06}" if at.microsecond else ""
        return f"cron:{short}:{at.astimezone(UTC):%Y%m%dT%H%M%S}{part}Z"

    @property
    def times(self) -> Times:
        """When it fires, and where; nothing of its call."""
        return Times(self.cron, self.queue, zlib.crc32((self.placement or self.name).encode()))

    def due(self, at: datetime) -> datetime:
        """Return the time at which a fire's job is due: the time of the fire plus its fixed share of the jitter."""
        if not self.cron.jitter:
            return at
        share = int.from_bytes(hashlib.sha256(f"{self.name}|{at.isoformat()}".encode()).digest()[:6]) / (1 << 48)
        return at + timedelta(seconds=self.cron.jitter * share)

    def dump(self) -> dict[str, object]:
        """Return the entry as plain data."""
        fields = ("name", "queue", "function", "envelope", "band", "meta", "origin")
        return {**{name: getattr(self, name) for name in fields}, "cron": self.cron.dump()}

    @classmethod
    def load(cls, record: Any) -> CronEntry:
        """Build an entry from the output of `dump`.

        Raises:
            InvalidJob: The record is not a valid entry.
        """
        try:
            fields = {name: record[name] for name in ("name", "queue", "function", "envelope")}
            more = {name: record[name] for name in ("band", "meta", "origin") if name in record}
            return cls(**fields, **more, cron=Cron.load(record["cron"]))
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise InvalidJob(f"This cron entry cannot be read: {error!r}.", field="cron") from None


def plan(entry: CronEntry, mark: datetime, now: datetime) -> list[Planned]:
    """Decide about each due fire, in order.

    Args:
        entry: The entry.
        mark: The last fire that was handled, or the time at which the entry was added.
        now: Redis's time.
    """
    cron = entry.cron
    opens = now - timedelta(seconds=cron.misfire_window) - ON_TIME
    planned = []
    if mark < opens and (first := cron.next(mark)) is not None and first.at < opens:
        planned.append(Planned(first, "missed"))  # one record for all fires that were missed since
        mark = opens - timedelta(microseconds=1)
    due = list(_due(cron, mark, now))
    late = [fire for fire in due if now - fire.at > ON_TIME]
    chosen_fires = {"once": late[-1:], "skip": [], "all": late[-cron.most :] if cron.most else []}[cron.misfire]
    chosen = {fire.at for fire in chosen_fires}
    for fire in due:
        if now - fire.at <= ON_TIME:
            planned.append(Planned(fire, "fired"))
        else:
            planned.append(Planned(fire, "late" if fire.at in chosen else "skipped"))
    return planned


def _due(cron: Cron, mark: datetime, now: datetime) -> Iterator[Fire]:
    fire = cron.next(mark)
    for _ in range(LOOKED_AT):
        if fire is None or fire.at > now:
            return
        yield fire
        fire = cron.next(fire.at)


def to_us(at: datetime) -> int:
    """Convert an instant to µs since 1970."""
    return round((at - EPOCH) / timedelta(microseconds=1))


def from_us(at: int) -> datetime:
    """Convert µs since 1970 to an instant."""
    return EPOCH + timedelta(microseconds=at)


# The decision about the starts of workers, for entries with ``@startup``. Pure.


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
