"""Rules that select the notices for a channel. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase

from jobfleet.clock import from_timedelta
from jobfleet.errors import ConfigError
from jobfleet.model.option_types import SecondsField
from jobfleet.notify.notice import EVENTS, Notice

DEFAULT_EVENTS = ("failed", "retried")
WINDOW = 300.0
WINDOW_MOST = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationRule:
    """Selects the notices for a channel.

    A notice matches if it matches every option that is set. Patterns are those of a shell (``mail.*``). A pattern
    that begins with ``!`` excludes; a list of such patterns alone includes everything else.

    Attributes:
        channel: Name of the channel.
        events: Some of `EVENTS`; default ``failed`` and ``retried``.
        queues: Patterns of queues; default all.
        functions: Patterns of function names; default all.
        tags: Patterns of tags; default all. One tag of the job must match, and none may be excluded.
        users: Patterns of users; default all.
        errors: Patterns of error classes; default all.
        window: Seconds in which events of one kind are combined after the first; default 300, at most 86,400.
            0 sends each event alone.

    Raises:
        ConfigError: An event is unknown, or the window is out of range.

    Example:
        >>> NotificationRule(channel="pager", queues=["billing"], errors=["!TimeoutError"], window=60)
    """

    channel: str
    events: Collection[str] = DEFAULT_EVENTS
    queues: Sequence[str] = field(default=())
    functions: Sequence[str] = field(default=())
    tags: Sequence[str] = field(default=())
    users: Sequence[str] = field(default=())
    errors: Sequence[str] = field(default=())
    window: SecondsField = WINDOW  # type: ignore[assignment]  # see SecondsField

    def __post_init__(self) -> None:
        for name in ("events", "queues", "functions", "tags", "users", "errors"):
            given = getattr(self, name)
            if isinstance(given, str) or not all(isinstance(one, str) for one in given):
                raise ConfigError(f"{name} = {given!r}: use a list of texts.")
            object.__setattr__(self, name, tuple(given))
        for event in self.events:
            if event not in EVENTS:
                raise ConfigError(_unknown_event(event))
        if not self.events:
            raise ConfigError(f"events is empty: name some of {', '.join(EVENTS)}.")
        window = from_timedelta(self.window)
        if isinstance(window, bool) or not isinstance(window, int | float) or not 0 <= window <= WINDOW_MOST:
            raise ConfigError(f"window = {self.window!r}: use 0 to {WINDOW_MOST:g} seconds.")
        object.__setattr__(self, "window", window)

    def fits(self, notice: Notice) -> bool:
        """Whether a notice matches this rule."""
        return (
            notice.event in self.events
            and _any_fits((notice.queue,), self.queues)
            and _any_fits((notice.function,), self.functions)
            and _any_fits(notice.tags, self.tags)
            and _any_fits((notice.user,), self.users)
            and _any_fits((notice.error_class,), self.errors)
        )


def _unknown_event(event: str) -> str:
    if event in {"dead", "dead_lettered", "dead-lettered"}:
        return f"Unknown event {event!r}; a failed job is a dead letter: use 'failed'."
    close = get_close_matches(event, EVENTS, n=1)
    remedy = f"did you mean {close[0]!r}?" if close else f"use {', '.join(EVENTS)}."
    return f"Unknown event {event!r}; {remedy}"


def _any_fits(values: Iterable[str], patterns: Sequence[str]) -> bool:
    if not patterns:
        return True
    words = list(values)
    shut_out = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    let_in = [pattern for pattern in patterns if not pattern.startswith("!")]
    if any(fnmatchcase(word, pattern) for word in words for pattern in shut_out):
        return False
    return not let_in or any(fnmatchcase(word, pattern) for word in words for pattern in let_in)


def addressed(rules: Iterable[NotificationRule], notice: Notice) -> Iterator[NotificationRule]:
    """Yield the rules that a notice matches; for each channel only the first one."""
    reached: set[str] = set()
    for rule in rules:
        if rule.channel not in reached and rule.fits(notice):
            reached.add(rule.channel)
            yield rule
