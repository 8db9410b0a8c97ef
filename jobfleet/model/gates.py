"""Named limits and circuit breakers as operators see them, and the check of their values. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from jobfleet.errors import InvalidJob
from jobfleet.model.limit import CONCURRENCY_MAX, MINUTE, PERIODS
from jobfleet.names import SUFFIX_RULE

LIMIT = "limit"
BREAKER = "breaker:"
"""The beginning of the gate of a breaker."""
_RATE = re.compile(r"(\d{1,9})(?:\s*/\s*(\d{1,6})?\s*(s|min|m|h|d))?")
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
    match = _RATE.fullmatch(value.strip()) if isinstance(value, str) else None
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
