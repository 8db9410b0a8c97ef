"""Who sends a request, and what the roles permit."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Role(StrEnum):
    """What a caller may do; each role may do what the one before may.

    A viewer reads. A producer also enqueues. An operator also changes jobs, queues and limits, and quiets workers. An
    admin also stops workers, and sees the settings.
    """

    VIEWER = "viewer"
    PRODUCER = "producer"
    OPERATOR = "operator"
    ADMIN = "admin"

    @property
    def level(self) -> int:
        """Its place among the roles, from 0."""
        return list(Role).index(self)

    def permits(self, needed: Role) -> bool:
        """Whether this role may do what another one may."""
        return self.level >= needed.level


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
