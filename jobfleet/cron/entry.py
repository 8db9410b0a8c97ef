"""A recurring job, and what is to become of the fires that are due. Pure."""

from __future__ import annotations

import hashlib
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from jobfleet.cron.schedule import Fire, Schedule
from jobfleet.errors import InvalidJob
from jobfleet.model import seconds

ON_TIME = timedelta(seconds=10)
"""How much later than planned a fire may come and still count as on time: reapers look once a second."""
LOOKED_AT = 2000
"""Fires of one entry that are looked at in one go; the others come with the next."""
NAME_MAX = 100
NAME_IN_ID = 36
MISFIRE = ("once", "skip", "all")
OVERLAP = ("allow", "skip", "queue")
IN_IDS = frozenset(string.ascii_letters + string.digits + "_-.")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Planned(NamedTuple):
    """What is to become of one planned fire.

    Attributes:
        fire: The fire.
        outcome: ``fired``, ``late`` (fired after its time), ``skipped`` (the policy lets it go) or
            ``missed`` (nobody looked until its window was over).
    """

    fire: Fire
    outcome: str

    @property
    def is_to_fire(self) -> bool:
        """Whether a job comes of it."""
        return self.outcome in ("fired", "late")


@dataclass(frozen=True, slots=True)
class Cron:
    """When a recurring job runs, and what becomes of fires that could not happen in time.

    Args:
        expression: Five fields, or six with seconds last; ``@daily`` and its like.
        tz: The time zone, by name.
        misfire: What becomes of fires that nobody saw in time: ``once`` (the last of them fires, late),
            ``skip`` (none does) or ``all`` (each does, at most `most`).
        misfire_window: Seconds or timedelta that a fire may be late at most.
        most: How many late fires ``all`` may fire in one go.
        overlap: What happens while the job of the last fire is open: ``allow`` another, ``skip`` the fire,
            or ``queue`` it until that job has ended.
        jitter: Seconds or timedelta over which the jobs are spread at random.
        start: No fire before this time.
        end: No fire after it.

    Raises:
        InvalidJob: A field is wrong; `field` names it.
    """

    expression: str
    tz: str = "UTC"
    misfire: str = field(default="once", kw_only=True)
    misfire_window: float = field(default=3600.0, kw_only=True)
    most: int = field(default=100, kw_only=True)
    overlap: str = field(default="allow", kw_only=True)
    jitter: float = field(default=0.0, kw_only=True)
    start: datetime | None = field(default=None, kw_only=True)
    end: datetime | None = field(default=None, kw_only=True)
    schedule: Schedule = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Check every field."""
        object.__setattr__(self, "schedule", Schedule(self.expression, self.tz))
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

    @property
    def fingerprint(self) -> str:
        """Of its times."""
        times = f"{self.expression}|{self.tz}|{self.start}|{self.end}"
        return hashlib.sha256(times.encode()).hexdigest()[:16]

    def next(self, after: datetime) -> Fire | None:
        """The first fire after an instant, within start and end."""
        if self.start is not None and after < self.start:
            after = self.start - timedelta(microseconds=1)
        fire = self.schedule.next(after)
        return None if fire is None or (self.end is not None and fire.at > self.end) else fire

    def dump(self) -> dict[str, object]:
        """The same as plain data."""
        times = {"start": self.start and to_us(self.start), "end": self.end and to_us(self.end)}
        return {**{name: getattr(self, name) for name in PLAIN}, **times}

    @classmethod
    def load(cls, record: Mapping[str, Any]) -> Cron:
        """Read what `dump` wrote; keys of a later version are passed over."""
        start, end = record.get("start"), record.get("end")
        return cls(
            **{name: record[name] for name in PLAIN if name in record},
            start=None if start is None else from_us(start),
            end=None if end is None else from_us(end),
        )


PLAIN = ("expression", "tz", "misfire", "misfire_window", "most", "overlap", "jitter")


@dataclass(frozen=True, slots=True, kw_only=True)
class CronEntry:
    """A recurring job.

    Args:
        name: Its name; adding another of the same name replaces it.
        cron: When it runs.
        queue: Where its jobs go.
        function: The name of the function they run.
        envelope: The call, as each of its jobs carries it.
        band: Their priority, 0 the most urgent.
        meta: The clear record that each of them carries.
        origin: ``decorator``, or who added it.

    Raises:
        InvalidJob: The name is wrong.
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
        """Check the name: it stands in records, keys and listings."""
        if not self.name or len(self.name) > NAME_MAX or not self.name.isprintable() or " " in self.name:
            raise InvalidJob(
                f"cron entry {self.name!r}: give a name of 1 to {NAME_MAX} printable characters without spaces.",
                field="name",
            )

    @property
    def placement(self) -> str | None:
        """The group of its jobs, else their unique key, as far as their place hangs on these."""
        fields = dict(line.split(" ", 1) for line in self.meta.split("\n") if " " in line)
        return fields.get("g") or fields.get("u")

    @property
    def fingerprint(self) -> str:
        """Of its times, and of what its place hangs on, where its mark stands: when one changes, it begins anew."""
        place = f"{self.cron.fingerprint}|{self.queue}|{self.placement or ''}"
        return hashlib.sha256(place.encode()).hexdigest()[:16]

    def suffix(self, at: datetime) -> str:
        """The suffix of the id of a fire's job: it follows from entry and time, so a fire is one job."""
        short = self.name
        if len(short) > NAME_IN_ID or not set(short) <= IN_IDS:
            short = hashlib.sha256(self.name.encode()).hexdigest()[:16]
        return f"cron:{short}:{at.astimezone(UTC):%Y%m%dT%H%M%SZ}"

    def due(self, at: datetime) -> datetime:
        """When a fire's job is due: its time, and its share of the jitter, which is always the same."""
        if not self.cron.jitter:
            return at
        share = int.from_bytes(hashlib.sha256(f"{self.name}|{at.isoformat()}".encode()).digest()[:6]) / (1 << 48)
        return at + timedelta(seconds=self.cron.jitter * share)

    def dump(self) -> dict[str, object]:
        """The entry as plain data."""
        fields = ("name", "queue", "function", "envelope", "band", "meta", "origin")
        return {**{name: getattr(self, name) for name in fields}, "cron": self.cron.dump()}

    @classmethod
    def load(cls, record: Any) -> CronEntry:
        """Read what `dump` wrote.

        Raises:
            InvalidJob: It is none.
        """
        try:
            fields = {name: record[name] for name in ("name", "queue", "function", "envelope")}
            more = {name: record[name] for name in ("band", "meta", "origin") if name in record}
            return cls(**fields, **more, cron=Cron.load(record["cron"]))
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise InvalidJob(f"This cron entry cannot be read: {error!r}.", field="cron") from None


def plan(entry: CronEntry, mark: datetime, now: datetime) -> list[Planned]:
    """Say what is to become of the fires that are due, in order.

    Args:
        entry: The entry.
        mark: The last fire that was dealt with, or when the entry was added.
        now: Redis's time.
    """
    cron = entry.cron
    opens = now - timedelta(seconds=cron.misfire_window) - ON_TIME
    planned = []
    if mark < opens and (first := cron.next(mark)) is not None and first.at < opens:
        planned.append(Planned(first, "missed"))  # it speaks for all that nobody saw since
        mark = opens - timedelta(microseconds=1)
    due = list(_due(cron, mark, now))
    late = [fire for fire in due if now - fire.at > ON_TIME]
    kept = {"once": late[-1:], "skip": [], "all": late[-cron.most :] if cron.most else []}[cron.misfire]
    chosen = {fire.at for fire in kept}
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
    """An instant in µs since 1970."""
    return round((at - EPOCH) / timedelta(microseconds=1))


def from_us(at: int) -> datetime:
    """The instant so many µs after 1970."""
    return EPOCH + timedelta(microseconds=at)
