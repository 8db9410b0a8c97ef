"""How reasons are worded. Pure."""

from __future__ import annotations

from collections.abc import Sequence

NAMED_WORKERS = 5


def asked_by(who: str | None) -> str:
    """Who did it, if anybody in particular."""
    return f" by {who}" if who and who != "-" else ""


def because(reason: str) -> str:
    """The reason of a pause, behind who asked for it; nothing when none was given."""
    return f" ({reason.removesuffix('.')})" if reason else ""


def counted(number: int, thing: str) -> str:
    """A number with its noun."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """Some names, and how many more."""
    more = len(names) - NAMED_WORKERS
    return ", ".join(names[:NAMED_WORKERS]) + (f" and {more} more" if more > 0 else "")
