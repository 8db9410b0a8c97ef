"""Limits of queues and groups, named limits with their breakers, and strict sequences, with their checks. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

from jobfleet.errors import InvalidJob
from jobfleet.model.names import SUFFIX_RULE
from jobfleet.model.option_types import Seconds
from jobfleet.model.status import JobStatus
from jobfleet.model.templates import EVERY_GROUP

UNLIMITED = math.inf
NO_LIMIT = "none"
"""The rate of a group to which the rate of all groups does not apply."""
KEEP = "="
"""A word of a change: the field keeps its value."""
UNSET = "-"
"""A word of a limit: the field is not set."""
FIRST_WORDS = 5
"""Words that each line has. A later field has a word only where it is set, so revisions that do not know it read on."""
MINUTE = "m"
"""Another spelling of ``min`` in a rate."""
PERIODS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
FASTEST = 1_000_000
SLOWEST = 1 / (366 * 86_400)
BURST_MAX = 1_000_000
CONCURRENCY_MAX = 1_000_000
WEIGHTS = (0.01, 100.0)
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*([1-9]\d{0,5})?\s*(s|min|m|h|d)")
_NUMBER = rb"(?:-|\d{1,16}(?:\.\d{1,9})?)"
LINE = re.compile(rb" ".join([_NUMBER] * 4) + rb"(?: .*)?", re.DOTALL)
"""The form of a stored limit."""
LIMIT = "limit"
_DECLARATION = re.compile(r"(\S+ \S+ \S+ \S+ \S+) (\S+) ([^\n]+)")


class Limit(NamedTuple):
    """A limit as Redis keeps it; a field is None where it is not set.

    Attributes:
        concurrency: The most jobs that run at once; infinite if the limit of all groups does not apply.
        every_us: µs from one token of the rate to the next; 0 if the rate of all groups does not apply.
        burst: The most tokens that the rate saves up.
        weight: The share of a group relative to other groups.
        rate: The rate as it was given, or `NO_LIMIT`.
    """

    concurrency: float | None = None
    every_us: float | None = None
    burst: int | None = None
    weight: float | None = None
    rate: str | None = None

    @classmethod
    def parse(cls, line: str) -> Limit:
        """Read a stored line. A word that cannot be read counts as not set, as in Lua; further words are left out."""
        return cls(*(_read(word, text) for word, text in zip(_WORDS, line.split(), strict=False)))

    def change(self) -> str:
        """The line that makes set_limit.lua set these fields, and keep those that are None."""
        return self._words(KEEP)

    def line(self) -> str:
        """The line of a limit that has these fields and no others."""
        return self._words(UNSET)

    def _words(self, empty: str) -> str:
        words = [empty if value is None else word.write(value) for word, value in zip(_WORDS, self, strict=True)]
        while len(words) > FIRST_WORDS and words[-1] == empty:
            words.pop()
        return " ".join(words)

    def shown(self) -> dict[str, Any]:
        """The fields as `LimitInfo` has them."""
        fields = self._asdict()
        has_rate = bool(fields.pop("every_us"))
        return {**fields, "burst": self.burst if has_rate else None}

    def next_token(self, full_us: int, now_us: int) -> float:
        """Seconds until the rate lets the next job start; 0 when one may.

        Args:
            full_us: When the bucket of tokens is full again, µs; 0 when it is.
            now_us: Redis's time, µs.
        """
        if not self.every_us or not full_us:
            return 0.0
        return max(0.0, (full_us - ((self.burst or 1) - 1) * self.every_us - now_us) / 1e6)


class _Word(NamedTuple):
    """How one field of a limit is written and read."""

    write: Callable[[Any], str]
    read: Callable[[str], Any]


def _read(word: _Word, text: str) -> Any:
    try:
        return None if text == UNSET else word.read(text)
    except (ValueError, OverflowError):
        return None


_WORDS = (
    _Word(lambda most: "0" if most == UNLIMITED else str(most), lambda text: int(float(text)) or UNLIMITED),
    _Word(lambda every_us: f"{every_us:.3f}" if every_us else "0", float),
    _Word(lambda burst: str(burst) if burst else UNSET, lambda text: int(float(text))),
    _Word(lambda weight: f"{weight:g}", float),
    _Word(str, str),
)
"""A word per field of `Limit`, in its order."""


class LimitChange(NamedTuple):
    """A change of a limit. A field that is None keeps its value; see `fleet.limits.set` for their units."""

    concurrency: float | None = None
    rate: object = None
    burst: int | None = None
    weight: float | None = None
    aging: Seconds | None = None

    def limit(self) -> Limit:
        """The checked fields. ``burst`` 0 unsets it.

        Raises:
            InvalidJob: A value is wrong.
        """
        limit = Limit(
            concurrency=None if self.concurrency is None else concurrency_of(self.concurrency),
            weight=None if self.weight is None else weight_of(self.weight),
            burst=None if self.burst is None else burst_of(self.burst),
        )
        if self.rate is None:
            return limit
        if self.rate == UNLIMITED:
            return limit._replace(every_us=0.0, burst=0, rate=NO_LIMIT)
        rate = rate_of(self.rate)
        return limit._replace(every_us=rate.every_us, burst=limit.burst or rate.burst, rate=str(rate))

    def check(self, group: str | None) -> None:
        """Check that the change has a field, and that each field applies to the group, or to the queue if that is None.

        Raises:
            InvalidJob: There is no field, or one does not apply there.
        """
        if not any(value is not None for value in self):
            *first, last = self._fields
            raise InvalidJob(f"Nothing to set; give {', '.join(first)} or {last}.")
        if group is None and self.weight is not None:
            raise InvalidJob("weight is for groups, which share a queue; give group too.", field="weight")
        if group is not None and self.aging is not None:
            raise InvalidJob("aging is for whole queues; leave group out.", field="aging")

    @property
    def counted(self) -> str | None:
        """The first field that is counted over the whole queue, and so needs a queue of one lane."""
        return next((name for name in ("concurrency", "rate") if getattr(self, name) is not None), None)


def field_of(group: str | None) -> str:
    """Return the place of the limit of a group, or of the queue itself: the name of its field."""
    return LIMIT if group is None else f"{LIMIT}:{group}"


class DeclaredLimit(NamedTuple):
    """A limit that a function declares.

    Attributes:
        queue: The queue of the function.
        group: The group that it limits; `EVERY_GROUP` for each group, None for the whole queue.
        concurrency: The most jobs that run at once.
        rate: The most jobs that start per period.
    """

    queue: str
    group: str | None
    concurrency: int | None = None
    rate: str | None = None

    @property
    def limit(self) -> Limit:
        """The limit as Redis keeps it.

        Raises:
            InvalidJob: A value is wrong.
        """
        return LimitChange(concurrency=self.concurrency, rate=self.rate).limit()

    @property
    def place(self) -> str:
        """What it limits, in words."""
        if self.group is None:
            return f"the whole queue {self.queue!r}"
        if self.group == EVERY_GROUP:
            return f"each group of the queue {self.queue!r}"
        return f"the group {self.group!r} of the queue {self.queue!r}"

    def __str__(self) -> str:
        return declared_text(self.concurrency, self.rate)


class Declaration(NamedTuple):
    """The limit that functions declare for one place of a queue.

    Attributes:
        limit: The limit.
        functions: The functions.
    """

    limit: Limit
    functions: tuple[str, ...]


def declarations_of(text: str) -> dict[str, Declaration]:
    """The declarations of a queue by their places; a line that cannot be read is left out."""
    return {
        place: Declaration(Limit.parse(line), tuple(functions.split(",")))
        for line, functions, place in _DECLARATION.findall(text)
    }


def declared_text(concurrency: float | None, rate: str | None) -> str:
    """A declared limit in words."""
    parts = [] if concurrency is None else [f"{concurrency:,} at once"]
    return ", ".join([*parts, rate] if rate else parts)


@dataclass(frozen=True, slots=True)
class LimitInfo:
    """The limits of a queue, or of a group of it, and their present use.

    Attributes:
        queue: The queue.
        group: The group; None for the queue as a whole, ``*`` for the groups without a setting of their own.
        concurrency: The most jobs that run at once; None if not set, infinite if a group is exempt.
        rate: The most jobs that start per period, as it was given; None if not set, ``none`` if a group is exempt.
        burst: The most jobs that start at once under the rate; None without a rate.
        weight: The share of the group relative to other groups; None if not set, which counts as 1.
        aging: Seconds after which a waiting job of the queue gets the next priority; None for never.
        running: How many of its jobs run.
        next_token: Seconds until its rate lets the next job start; 0 when one may.
        paused: Who paused the group, ``-`` for nobody in particular; None if it is not paused.
        paused_at: When it was paused.
        paused_reason: Why it was paused; empty when no reason was given.
        declared_concurrency: The concurrency that functions declare here in code; what an operator sets overrides it.
        declared_rate: The rate that they declare.
        declared_by: The functions that declare these limits.
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
    declared_concurrency: int | None = None
    declared_rate: str | None = None
    declared_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rate:
    """How many jobs may start in a period.

    Attributes:
        count: The number of jobs.
        period: s, min, h or d.
        times: How many of these the period has.
    """

    count: float
    period: str = "s"
    times: int = 1

    def __str__(self) -> str:
        return f"{self.count:g}/{self.times if self.times > 1 else ''}{self.period}"

    @property
    def seconds(self) -> float:
        """The length of the period."""
        return self.times * PERIODS[self.period]

    @property
    def every_us(self) -> float:
        """Microseconds from one token to the next."""
        return self.seconds * 1e6 / self.count

    @property
    def burst(self) -> int:
        """How many may start at once when no burst is given: the tokens of one period."""
        return max(1, min(BURST_MAX, math.ceil(self.count)))


def rate_of(value: object) -> Rate:
    """Read a rate: ``"100/s"``, ``"10/min"`` or ``"10/m"``, ``"5/h"``, ``"5/10s"``, or a number per second.

    Raises:
        InvalidJob: It does not have one of these forms, or it is too low or too high.
    """
    match = _RATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is not None:
        rate = Rate(float(match[1]), "min" if match[3] == MINUTE else match[3], int(match[2] or "1"))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        rate = Rate(float(value))
    else:
        rate = Rate(0.0)
    if not SLOWEST <= rate.count / rate.seconds <= FASTEST:
        raise InvalidJob(f"rate is {value!r}; give a rate such as '100/s', '10/min' or '5/10s'.", field="rate")
    return rate


def concurrency_of(value: object, *, stop: str = "pause the queue or group") -> float:
    """Read how many jobs may run at once; `UNLIMITED` for any number.

    Args:
        value: The number.
        stop: What to do for no job at all, for the error.

    Raises:
        InvalidJob: The value is not a whole number from 1, nor `UNLIMITED`.
    """
    if value == UNLIMITED:
        return UNLIMITED
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= CONCURRENCY_MAX:
        raise InvalidJob(
            f"concurrency is {value!r}; give a whole number from 1 to {CONCURRENCY_MAX:,} (to stop it all, {stop}).",
            field="concurrency",
        )
    return value


def burst_of(value: object) -> int:
    """Read how many jobs may start at once under a rate.

    Raises:
        InvalidJob: The value is not a whole number from 1.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= BURST_MAX:
        raise InvalidJob(f"burst is {value!r}; give a whole number from 1 to {BURST_MAX:,}.", field="burst")
    return value


def weight_of(value: object) -> float:
    """Read a group's weight.

    Raises:
        InvalidJob: It is out of bounds.
    """
    least, most = WEIGHTS
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise InvalidJob(f"weight is {value!r}; give a number from {least:g} to {most:g}.", field="weight")
    return float(value)


BREAKER = "breaker:"
"""The beginning of the gate of a breaker."""
_GATE_RATE = re.compile(r"(\d{1,9})(?:\s*/\s*(\d{1,6})?\s*(s|min|m|h|d))?")
LONGEST = 366 * 86_400.0


@dataclass(frozen=True, slots=True)
class NamedLimit:
    """A named limit and its present use.

    Attributes:
        name: Its name.
        rate: How much the costs of the jobs that start in any period may be together, as it was given; None if not set.
        concurrency: The most jobs that run at once; None if not set.
        adaptive: The bounds between which the concurrency adapts itself; None if it is fixed.
        level: The present concurrency of an adaptive limit; None if it is fixed.
        running: How many of its jobs run.
        left: What is left of the rate now; None without a rate.
        next_in: Seconds until more of a used-up rate is left; 0 if some is.
        closed_for: Seconds for which it is closed; 0 if it is open, infinite until somebody opens it.
        by: Who has closed it last: an operator, or a worker whose job has raised `RateLimited`.
        reason: Why.
        is_defined: Whether it has a definition; otherwise jobs only wait while it is closed.
        holders: The ids of some jobs that run.
        unreadable: The key in Redis that cannot be read, and why; empty if all can. Its jobs wait.
    """

    name: str
    rate: str | None = None
    concurrency: int | None = None
    adaptive: tuple[int, int] | None = None
    level: int | None = None
    running: int = 0
    left: int | None = None
    next_in: float = 0.0
    closed_for: float = 0.0
    by: str | None = None
    reason: str = ""
    is_defined: bool = True
    holders: tuple[str, ...] = ()
    unreadable: str = ""

    @property
    def most(self) -> int | None:
        """The most jobs that run at once now; None for any number."""
        return self.concurrency if self.level is None else self.level


@dataclass(frozen=True, slots=True)
class BreakerInfo:
    """A circuit breaker.

    Attributes:
        name: Its name: ``function:NAME``, ``group:QUEUE:GROUP`` or ``limit:NAME``.
        state: ``closed``, ``open`` or ``half-open``.
        by: Who changed its state last: a worker, or an operator.
        reason: Why.
        since: When the state changed; None if it never did.
        opened_at: When it opened last; None if it never did.
        trial_in: Seconds until an open breaker lets a few runs try; infinite until somebody closes it.
        succeeded: How many runs of its window succeeded.
        failed: How many failed.
        unreadable: The key in Redis that cannot be read, and why; empty if all can. Its jobs wait.
    """

    name: str
    state: str = "closed"
    by: str | None = None
    reason: str = ""
    since: datetime | None = None
    opened_at: datetime | None = None
    trial_in: float = 0.0
    succeeded: int = 0
    failed: int = 0
    unreadable: str = ""


class Demand(NamedTuple):
    """What a run needs from a gate.

    Attributes:
        gate: The name of the gate.
        cost: What it takes from the rate.
        words: The settings of a breaker as its script reads them; empty for a limit.
    """

    gate: str
    cost: int = 1
    words: str = ""


class NamedRate(NamedTuple):
    """A rate.

    Attributes:
        amount: The costs per period.
        period: Its length in seconds.
    """

    amount: int
    period: float


def check_limit_name(name: object, *, field: str = "limits") -> str:
    """Return the name of a limit.

    Args:
        name: The name.
        field: What the caller has given it as, for the error.

    Raises:
        InvalidJob: It is not a text of 1 to 64 letters, digits and ``_.:-``.
    """
    if isinstance(name, str) and SUFFIX_RULE.fullmatch(name):
        return name
    raise InvalidJob(
        f"the name of a limit is {name!r:.100}; give 1 to 64 letters, digits and characters of '_.:-'.", field=field
    )


def named_rate(value: object) -> NamedRate:
    """Read the rate of a named limit: ``"100/1m"``, ``"100/m"``, ``"5/10s"``, or a number per second: ``5`` or ``"5"``.

    Raises:
        InvalidJob: It does not have one of these forms, or its period is longer than a year.
    """
    match = _GATE_RATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is not None:
        unit = PERIODS["min" if match[3] == MINUTE else match[3] or "s"]
        rate = NamedRate(int(match[1]), int(match[2] or "1") * unit)
    else:
        rate = NamedRate(value if isinstance(value, int) and not isinstance(value, bool) else 0, 1.0)
    if not 1 <= rate.amount <= 999_999_999 or not 1 <= rate.period <= LONGEST:
        raise InvalidJob(
            f"rate is {value!r:.100}; give a rate such as '100/1m', '5/10s', '1000/h', or a whole number per second; "
            "at most 999,999,999 in a period of 1 s to a year.",
            field="rate",
        )
    return rate


def adaptive_bounds(value: object) -> tuple[int, int]:
    """Read the bounds of an adaptive limit.

    Raises:
        InvalidJob: They are not two whole numbers from 1, the lower one first.
    """
    if isinstance(value, tuple | list) and len(value) == 2 and all(type(one) is int for one in value):
        low, high = value
        if 1 <= low <= high <= CONCURRENCY_MAX:
            return low, high
    raise InvalidJob(
        f"adaptive is {value!r:.100}; give the bounds of the concurrency, such as (2, 50).", field="adaptive"
    )


SequenceState = Literal["open", "parked", "failing"]


@dataclass(frozen=True, slots=True)
class SequenceInfo:
    """A strict sequence.

    Attributes:
        queue: The queue of its jobs.
        group: Its name.
        state: ``open`` if it continues by itself; ``parked`` if its head has failed, and nothing starts until somebody
            decides; ``failing`` if its head has failed, and the jobs behind it fail in these moments.
        head: The id of its head: the only job of it that may run.
        status: The status of the head; None if the head is not known any more.
        due: When the head is due, if that is later.
        error: The error of the last run of the head.
        waiting: How many jobs wait behind the head.
        behind: The ids of the first of these, in order; only `groups.show` fills it.
        signal: The signal that the head waits for since a run; None if it waits for none.
    """

    queue: str
    group: str
    state: SequenceState
    head: str
    status: JobStatus | None
    due: datetime | None
    error: str | None
    waiting: int
    behind: tuple[str, ...] = ()
    signal: str | None = None
