"""Which dead letters are meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict

from jobfleet.errors import InvalidJob
from jobfleet.model.signals import check_fingerprint
from jobfleet.model.status import check_moment, check_text
from jobfleet.operations.jobs.identity import identity_of
from jobfleet.store.calls.dead import group_name
from jobfleet.store.records import DeadLetter


class DeadFilters(TypedDict, total=False):
    """The filters of dead letters that a client's methods take; one that is not given matches every letter.

    Attributes:
        function: The registered name of the function.
        fingerprint: The fingerprint of the group.
        tag: A tag.
        user: The user.
        since: Only letters from this time on; a naive time is in this machine's local zone.
        until: Only letters from before this time.
    """

    function: str | None
    fingerprint: str | None
    tag: str | None
    user: str | None
    since: datetime | None
    until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadFilter:
    """A filter of dead letters, made of `DeadFilters`.

    Attributes:
        queue: The queue.
        function: The registered name of the function.
        fingerprint: The fingerprint of the group.
        tag: A tag.
        user: The user.
        since: Only letters from this time on.
        until: Only letters from before this time.

    Raises:
        InvalidJob: A field has a wrong value; `field` names it.
    """

    queue: str | None = None
    function: str | None = None
    fingerprint: str | None = None
    tag: str | None = None
    user: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        for name in ("function", "tag", "user"):
            if (given := getattr(self, name)) is not None:
                check_text(given, field=name)
        if self.fingerprint is not None:
            check_fingerprint(self.fingerprint)
        for name in ("since", "until"):
            if (given := getattr(self, name)) is not None:
                check_moment(given, field=name)
        if self.since is not None and self.until is not None and self.since_ms >= self.until_ms:
            raise InvalidJob("until is not later than since; no letter matches.", field="until")

    @property
    def is_narrow(self) -> bool:
        """Whether it has any field but the queue."""
        return any(getattr(self, name) is not None for name in DeadFilters.__annotations__)

    @property
    def since_ms(self) -> int:
        """The earliest time in ms since 1970."""
        return 0 if self.since is None else max(0, round(self.since.timestamp() * 1000))

    @property
    def until_ms(self) -> int:
        """The first time in ms since 1970 that is too late; 0 for none."""
        return 0 if self.until is None else max(1, round(self.until.timestamp() * 1000))

    @property
    def name(self) -> str:
        """The name under which such letters are filed, of which few have others; empty if none applies."""
        if self.fingerprint is not None:
            return group_name(self.fingerprint)
        named = (("t", self.tag), ("u", self.user), ("f", self.function))
        return next((f"{kind}:{text}" for kind, text in named if text is not None and text.isprintable()), "")

    def fits(self, letter: DeadLetter) -> bool:
        """Whether a letter matches; not its time."""
        if self.fingerprint is None and self.function is None and self.tag is None and self.user is None:
            return True
        seen = identity_of(letter)
        pairs: Sequence[tuple[Any, Any]] = (
            (self.fingerprint, seen.fingerprint), (self.function, seen.function), (self.user, seen.user),
        )  # fmt: skip
        return all(wanted in (None, has) for wanted, has in pairs) and (self.tag is None or self.tag in seen.tags)
