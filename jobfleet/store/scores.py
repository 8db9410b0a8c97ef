"""The score of a job that waits in its band (``ready:<p>``), in µs. Pure.

It has four regimes, so that a claim of plain jobs finds only those that it may take:

========  =============  ==================================================================
grouped   due - GROUPED  below 0; the turns of groups are kept elsewhere
plain     due            from 0
withheld  due + AGE      from `WITHHELD`; its function is paused; also a job of a group
blocked   BLOCKED        it waits for other jobs
========  =============  ==================================================================

``score.lua`` and ``bounds.lua`` in ``lua/lib/waiting`` have the same numbers and functions;
``tests/properties/test_scores.py`` compares the two languages.
"""

from __future__ import annotations

GROUPED = 9_000_000_000_000_000
AGE = 5_500_000_000_000_000
WITHHELD = 7_000_000_000_000_000
BLOCKED = 9_000_000_000_000_000
WITHHELD_BOUNDS = (str(WITHHELD), f"({BLOCKED}")
"""From where to where jobs are withheld, as ZRANGEBYSCORE has it."""
BLOCKED_BOUNDS = (str(BLOCKED), "+inf")
"""From where to where jobs are blocked."""


def is_blocked(score: int) -> bool:
    """Whether a job waits for other jobs."""
    return score >= BLOCKED


def is_withheld(score: int) -> bool:
    """Whether a job waits because its function is paused."""
    return WITHHELD <= score < BLOCKED


def grouped_score(due: int) -> int:
    """The score of a job of a group that is due at `due`."""
    return due - GROUPED


def ungrouped(score: int) -> int:
    """A score without the offset of groups: the due time of a plain job and of a job of a group."""
    return score + GROUPED if score < 0 else score


def due_of_score(score: int) -> int:
    """The due time of a job in any regime; `BLOCKED` of one that is blocked."""
    return score - AGE if is_withheld(score) else ungrouped(score)


def plain_bounds(start: str, stop: str) -> tuple[str, str]:
    """The scores of jobs without a group that are due between two bounds; ``-inf`` and ``+inf`` for no bound.

    Withheld jobs are among them where `stop` is none: their scores are due times, an age later.
    """
    return "0" if start == "-inf" else start, f"({BLOCKED}" if stop == "+inf" else stop


def grouped_bounds(start: str, stop: str) -> tuple[str, str]:
    """The scores of jobs of groups that are due between two bounds; ``-inf`` and ``+inf`` for no bound."""
    return _shifted(start), "(0" if stop == "+inf" else _shifted(stop)


def _shifted(bound: str) -> str:
    if bound == "-inf":
        return bound
    return f"({grouped_score(int(bound[1:]))}" if bound.startswith("(") else str(grouped_score(int(bound)))
