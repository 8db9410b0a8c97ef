"""The fingerprint of a notice. Pure."""

from __future__ import annotations

from jobfleet.model.signals import FAILED, fingerprint_of, normalise
from jobfleet.notify.notice import Notice


def fingerprint(notice: Notice) -> str:
    """Return 16 hexadecimal digits that are equal for notices of the same kind."""
    return fingerprint_of(notice.function, notice.error_class, notice.error, event=notice.event)


def group_of(notice: Notice) -> str:
    """Return the fingerprint of the group of dead letters to which the error of a notice belongs."""
    return fingerprint_of(notice.function, notice.error_class, notice.error, event=FAILED)


__all__ = ["fingerprint", "group_of", "normalise"]
