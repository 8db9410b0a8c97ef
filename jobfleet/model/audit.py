"""Who acts on a fleet: their names in records, what they may ask for, and the audit of what they changed. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple
from urllib.parse import quote, unquote

from jobfleet.errors import InvalidJob
from jobfleet.model.status import check_moment, check_text

Source = Literal["python", "cli", "web"]
AuditOutcome = Literal["done", "unchanged", "refused", "error", "unknown"]
UNKNOWN: AuditOutcome = "unknown"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """An action of an operator.

    Attributes:
        id: The id of the entry.
        at: When the action began, by Redis's clock.
        by: The person or program: `by`, or the login name and the host of the process.
        source: ``python``, ``cli`` or ``web``.
        action: What was done, such as ``queue.pause``.
        target: To what: a name, a job id, or the filters of an action on many jobs.
        before: The values before the action, as far as it read them.
        after: The values that the action was to set.
        outcome: ``done``; ``unchanged``, if there was nothing to change; ``refused``, if the web dashboard did not
            permit it; ``error``; or ``unknown``: it continues, its process or Redis died before the end was recorded,
            or no worker has confirmed the command.
        count: How many jobs, workers or repairs it concerned; None if it does not count.
        error: The class of the error, or the code of the refusal; None without one.
        ended_at: When its end was recorded; None if it was not.
        unread: Why `before` and `after` cannot be shown; empty if they can.
    """

    id: str
    at: datetime
    by: str
    source: str
    action: str
    target: str
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    outcome: str = UNKNOWN
    count: int | None = None
    error: str | None = None
    ended_at: datetime | None = None
    unread: str = ""


class AuditPage(NamedTuple):
    """A part of the audit, newest entry first.

    Attributes:
        entries: The entries.
        cursor: Where the next page begins; empty for the last page.
    """

    entries: Sequence[AuditEntry]
    cursor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which entries of the audit to read; a field that is not given matches every entry.

    Attributes:
        since: Entries that were recorded at this time or later.
        until: Entries that were recorded before this time.
        by: The person or program.
        action: An action, such as ``queue.pause``, or the first part of it, such as ``queue``.
        target: A text that the target contains.

    Raises:
        InvalidJob: A field has a wrong value; `field` names it.
    """

    since: datetime | None = None
    until: datetime | None = None
    by: str | None = None
    action: str | None = None
    target: str | None = None

    def __post_init__(self) -> None:
        for name in ("since", "until"):
            if getattr(self, name) is not None:
                check_moment(getattr(self, name), field=name)
        for name in ("by", "action", "target"):
            if getattr(self, name) is not None:
                check_text(getattr(self, name), field=name)

    def fits(self, entry: AuditEntry) -> bool:
        """Whether an entry of the right time matches."""
        return (
            self.by in (None, entry.by)
            and self.action in (None, entry.action, entry.action.partition(".")[0])
            and (self.target is None or self.target in entry.target)
        )


class Position(NamedTuple):
    """The place of a record in the stream: its time in ms, and its number within that.

    Attributes:
        ms: Milliseconds since 1970.
        number: Number within that millisecond.
    """

    ms: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Position:
        """Read ``ms-number``.

        Raises:
            ValueError: It is something else.
        """
        ms, _, number = text.partition("-")
        if not (ms.isdecimal() and number.isdecimal() and len(ms) < 16 and len(number) < 16):
            raise ValueError(text)
        return cls(int(ms), int(number))

    def __str__(self) -> str:
        return f"{self.ms}-{self.number}"


FIRST = Position(0, 0)
"""The place before every record."""


def cursor_of(text: str) -> Position | None:
    """Read the cursor of an earlier page; None for the first page.

    Raises:
        InvalidJob: It is not such a cursor.
    """
    if text == "":
        return None
    try:
        found = Position.parse(text)
    except (ValueError, AttributeError):
        found = FIRST
    if found == FIRST:  # no record has that place, and Redis refuses to read before it
        raise InvalidJob(f"cursor is {text!r:.100}; give the cursor of the previous page.", field="cursor")
    return found


NOBODY = "-"
LENGTH_MAX = 64
_PARTING = frozenset("%@|")


def to_word(name: str | None) -> str:
    """Write a name as a word, cut to 64 characters; `NOBODY` for None and for an empty name."""
    if not name or name == NOBODY:
        return "%2D" if name else NOBODY
    return "".join(
        quote(one, safe="", errors="replace") if one in _PARTING or not _is_plain(one) else one
        for one in name[:LENGTH_MAX]
    )


def _is_plain(letter: str) -> bool:
    return letter.isprintable() and not letter.isspace()


def from_word(word: str) -> str:
    """Read a name from its word; `NOBODY` stays as it is."""
    return unquote(word) if "%" in word else word


class Authority(NamedTuple):
    """Who may ask for an act: a row of one table, which workers, the dashboard and the Redis users follow.

    A name in Redis becomes an object only if an import has declared it for that use. For an act that is more than a
    job, a worker also looks for a proof: a record under a key, or a message on a channel, that only those users can
    write who may ask for the act. It never believes the envelope or the id of a job, because each producer can write
    both.

    Attributes:
        proof: The key or the channel that a worker looks at, as `store/keys.py` spells it after the tag.
        users: The Redis users that can write it.
        role: The lowest role of the dashboard; None if nobody asks for it over HTTP.
        bound: What a worker has to know besides, for people.
    """

    proof: str
    users: frozenset[str]
    role: str | None
    bound: str


def _users(text: str) -> frozenset[str]:
    return frozenset(text.split())


AUTHORITIES: dict[str, Authority] = {
    "job": Authority(
        "job:<id>",
        _users("producer canceller worker reaper host operator"),
        "producer",
        "a function with `@job`, or registered; with keys, also a valid signature",
    ),
    "undo": Authority(
        "steps:<id>",
        _users("worker reaper host operator approver"),
        None,
        "the steps of the other job name this very job, and each function has `@undo` or `@job`",
    ),
    "maintenance": Authority(
        "cron",
        _users("worker reaper host operator"),
        "operator",
        "a recurring job has the same call; ages are at least those of the settings",
    ),
    "signal": Authority(
        "steps:<id>",
        _users("worker reaper host operator approver"),
        "approver",
        "a job waits for its name; with `only_token=True` it has to come with a token",
    ),
    "command": Authority(
        "commands",
        _users("operator"),
        "operator",
        "one of the commands of `jobfleet workers`",
    ),
}
"""The acts. `tests/store/acl/test_authority.py` tries each as each user and each role."""
