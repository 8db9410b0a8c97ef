"""How reasons are worded. Pure."""

from __future__ import annotations

from collections.abc import Sequence

NAMED_WORKERS = 5


def asked_by(who: str | None) -> str:
    """The phrase for the author; empty for nobody in particular."""
    return f" by {who}" if who and who != "-" else ""


def because(reason: str) -> str:
    """The phrase for the reason of a pause; empty when none was given."""
    return f" ({reason.removesuffix('.')})" if reason else ""


def did_you_mean(name: str | None) -> str:
    """The end of a sentence about an unknown name; a full stop when no name resembles it."""
    return f"; did you mean {name!r}?" if name else "."


def counted(number: int, thing: str) -> str:
    """A number with its noun in the singular or plural."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - NAMED_WORKERS
    return ", ".join(names[:NAMED_WORKERS]) + (f" and {more} more" if more > 0 else "")
