"""Runs a plan. (The interface; the simulator follows.)"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jobfleet.store.script import Script
from tests.simulation.plan import Outcome, Plan

Observer = Callable[[int, str, Sequence[str], Sequence[Any], Any], None]
"""Called after each exchange of a script with: virtual µs since the start, script, KEYS, ARGV, reply."""


def simulate(
    plan: Plan, *, mutants: Mapping[str, Script | str] | None = None, observer: Observer | None = None
) -> Outcome:
    """Run a plan to its end.

    Args:
        plan: What happens.
        mutants: Scripts, or texts of scripts, that replace those of a name.
        observer: Called after each script.
    """
    raise NotImplementedError
