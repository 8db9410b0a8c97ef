"""The bounds that docs/reference/bounds.md lists: a value of the bound is accepted, and one beyond it raises."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from jobfleet import InvalidJob, Job
from jobfleet.functions.registry import Registry
from scripts.docs_bounds import ROWS, value_of


def add(numbers: list[int]) -> list[None]:
    """Add numbers to an index; the function that is registered with a bound."""
    return [None for _ in numbers]


def described(**options: Any) -> None:
    """Make a job with options."""
    Job("bound", "shop.total", **options)


def registered(**options: Any) -> None:
    """Register a function with options."""
    Registry().register(add, **options)


BOUNDS: dict[str, Callable[[Any], object]] = {
    "model.option_checks:LABEL_LENGTH_MAX": lambda most: described(user="u" * most),
    "model.option_checks:TAGS_MAX": lambda most: described(tags=[f"tag{number}" for number in range(most)]),
    "model.option_checks:TAG_LENGTH_MAX": lambda most: described(tags=["t" * most]),
    "model.templates:GROUP_LENGTH_MAX": lambda most: described(group="g" * most),
    "model.templates:KEY_LENGTH_MAX": lambda most: described(unique="k" * most),
    "model.option_checks:COUNT_MAX": lambda most: described(max_retries=most),
    "clock:DELAYS_MAX": lambda most: described(retry_delay=[1.0] * most),
    "clock:LONGEST": lambda most: described(delay=timedelta(seconds=most)),
    "functions.options:KEEP_LAST_MAX": lambda most: registered(keep_last=most),
    "functions.options:VERSION_MAX": lambda most: registered(version=most),
    "functions.batch:MOST": lambda most: registered(batch=most),
    "functions.batch:LONGEST_WAIT": lambda most: registered(batch=2, batch_wait=most),
}
"""Calls by the constant of the row, for rows that need neither a server nor a running job."""


@pytest.mark.parametrize("place", BOUNDS)
def test_a_bound_is_accepted_and_one_more_is_not(place: str) -> None:
    assert place in {row[1] for rows in ROWS.values() for row in rows}
    most, call = value_of(place), BOUNDS[place]

    call(most)

    with pytest.raises(InvalidJob):
        call(most + 1)
