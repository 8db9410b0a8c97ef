"""Who sends a request, and what the roles permit."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Role(StrEnum):
    """What a caller may do.

    A viewer reads. A producer also enqueues. An approver reads and sends signals, and does not enqueue. An operator
    does all of this, changes jobs, queues and limits, and quiets workers. An admin also stops workers, and sees the
    settings.
    """

    VIEWER = "viewer"
    PRODUCER = "producer"
    APPROVER = "approver"
    OPERATOR = "operator"
    ADMIN = "admin"

    def permits(self, needed: Role) -> bool:
        """Whether this role may do what another one may: each includes those before it, but an approver no producer."""
        roles = list(Role)
        is_aside = (self, needed) == (Role.APPROVER, Role.PRODUCER)
        return roles.index(self) >= roles.index(needed) and not is_aside


class Caller(NamedTuple):
    """Who sends a request.

    Attributes:
        name: The name, for the record.
        role: What the caller may do.
        is_ambient: Whether the browser proves the identity by itself, with a cookie or by its address. Writes of such
            a caller need a CSRF token.
        key: What the CSRF token is made of.
        can_log_out: Whether there is a session to end.
    """

    name: str
    role: Role
    is_ambient: bool = True
    key: str = ""
    can_log_out: bool = False
