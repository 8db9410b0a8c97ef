"""Near misses: the enqueued jobs that are closest to one that a test expects, with the fields that differ."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import SequenceMatcher
from typing import Any, NamedTuple

SHOWN = 3
"""How many jobs a message shows."""


class Seen(NamedTuple):
    """A job as an assertion compares it.

    Attributes:
        function: The name of its function.
        arguments: Its arguments, by name if the function is known, otherwise by position.
        options: The options to compare.
    """

    function: str
    arguments: Mapping[str, Any]
    options: Mapping[str, Any]

    def differs_from(self, other: Seen) -> list[str]:
        """The fields in which this job differs from the expected one, each as ``name: value, not expected``."""
        found = [] if self.function == other.function else [f"function: {self.function}, not {other.function}"]
        for mine, theirs in ((self.arguments, other.arguments), (self.options, other.options)):
            for name in dict.fromkeys((*theirs, *mine)):
                if name not in mine or name not in theirs or mine[name] != theirs[name]:
                    has = f"{mine[name]!r}" if name in mine else "not given"
                    wants = f"{theirs[name]!r}" if name in theirs else "none"
                    found.append(f"{name}: {has}, not {wants}")
        return found


def near_misses(expected: Seen, jobs: list[tuple[str, Seen]]) -> str:
    """Describe the jobs that are closest to the expected one, the closest first, one per line; empty for no jobs.

    Args:
        expected: The job that was asserted.
        jobs: The enqueued jobs, each with its call as text.
    """
    ranked = sorted(jobs, key=lambda job: _distance(expected, job[1]))[:SHOWN]
    lines = [f"  {call} differs in {'; '.join(seen.differs_from(expected))}" for call, seen in ranked]
    return "\nThe closest:\n" + "\n".join(lines) if lines else ""


def _distance(expected: Seen, seen: Seen) -> tuple[int, float]:
    """Other functions come last; among jobs of one function, few differing fields and similar texts come first."""
    alike = SequenceMatcher(None, repr(expected), repr(seen), autojunk=False).ratio() if len(repr(seen)) < 2000 else 0.0
    is_other = seen.function != expected.function
    return (len(seen.differs_from(expected)) + 100 * is_other, -alike)
