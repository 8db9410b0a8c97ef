"""A module of which one function is a job, and the others are nobody's business."""

from __future__ import annotations

from jobfleet import job


@job(name="undecorated.known")
def known() -> str:
    """Answer that it ran."""
    return "known"


def helper(text: str = "helped") -> str:
    """Answer the text."""
    return text


def _private() -> str:
    return "private"


class Thing:
    """Something that can be called."""

    @classmethod
    def make(cls) -> str:
        """Answer that it ran."""
        return "made"
