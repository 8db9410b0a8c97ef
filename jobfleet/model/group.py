"""Groups of a queue, and what they may do: names, rates, limits. Pure."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from jobfleet.errors import InvalidJob

GROUP_LENGTH_MAX = 200
EVERY_GROUP = "*"
"""Stands for the groups that have no limit of their own."""
UNLIMITED = math.inf
PERIODS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
FASTEST = 1_000_000
SLOWEST = 1 / (366 * 86_400)
BURST_MAX = 1_000_000
CONCURRENCY_MAX = 1_000_000
WEIGHTS = (0.01, 100.0)
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*(s|min|h|d)")


def check_group(name: object) -> str:
    """Return a group's name, or refuse it with `InvalidJob`."""
    if isinstance(name, str) and 0 < len(name) <= GROUP_LENGTH_MAX and name.isprintable() and name != EVERY_GROUP:
        return name
    raise InvalidJob(
        f"group is {name!r}; give a printable text of 1 to {GROUP_LENGTH_MAX} characters, other than {EVERY_GROUP!r}.",
        field="group",
    )


@dataclass(frozen=True, slots=True)
class Rate:
    """How many jobs may start in a time.

    Attributes:
        count: So many.
        period: In s, min, h or d.
    """

    count: float
    period: str = "s"

    def __str__(self) -> str:
        return f"{self.count:g}/{self.period}"

    @property
    def every_us(self) -> float:
        """Microseconds from one token to the next."""
        return PERIODS[self.period] * 1e6 / self.count

    @property
    def burst(self) -> int:
        """How many may start at once where nothing else is said: what comes in one period."""
        return max(1, min(BURST_MAX, math.ceil(self.count)))


def rate_of(value: object) -> Rate:
    """Read a rate: ``"100/s"``, ``"10/min"``, ``"5/h"``, or a number a second.

    Raises:
        InvalidJob: It is none.
    """
    match = _RATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is not None:
        rate = Rate(float(match[1]), match[2])
    elif isinstance(value, int | float) and not isinstance(value, bool):
        rate = Rate(float(value))
    else:
        rate = Rate(0.0)
    if not SLOWEST <= rate.count / PERIODS[rate.period] <= FASTEST:
        raise InvalidJob(f"rate is {value!r}; give a number a time, as '100/s', '10/min' or '5/h'.", field="rate")
    return rate


def concurrency_of(value: object) -> int:
    """Read how many jobs may run at once; 0 stands for any number.

    Raises:
        InvalidJob: It is no whole number from 1, nor `UNLIMITED`.
    """
    if value == UNLIMITED:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= CONCURRENCY_MAX:
        raise InvalidJob(
            f"concurrency is {value!r}; give a whole number from 1 (to stop it all, pause the queue or group).",
            field="concurrency",
        )
    return value


def burst_of(value: object) -> int:
    """Read how many jobs may start at once under a rate.

    Raises:
        InvalidJob: It is no whole number from 1.
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
