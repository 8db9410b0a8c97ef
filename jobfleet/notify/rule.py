"""Rules: which notices reach which channel. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase

from jobfleet.errors import ConfigError
from jobfleet.notify.notice import EVENTS, Notice

DEFAULT_EVENTS = ("failed", "retried")
WINDOW = 300.0
WINDOW_MOST = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationRule:
    """Which notices reach a channel.

    A notice fits when it fits every option that is given. Names are patterns as in a shell (``mail.*``), and one
    that begins with ``!`` shuts out; a list of those alone lets all others in.

    Attributes:
        channel: The name of the channel.
        events: Some of `EVENTS`.
        queues: Patterns of queues.
        functions: Patterns of functions.
        tags: Patterns of tags; a job's tags fit when one of them does, and none is shut out.
        users: Patterns of users.
        errors: Patterns of error classes.
        window: Seconds in which events of one kind gather after the first; 0 tells each by itself.

    Raises:
        ConfigError: An event is unknown, or the window out of bounds.
    """

    channel: str
    events: Collection[str] = DEFAULT_EVENTS
    queues: Sequence[str] = field(default=())
    functions: Sequence[str] = field(default=())
    tags: Sequence[str] = field(default=())
    users: Sequence[str] = field(default=())
    errors: Sequence[str] = field(default=())
    window: float = WINDOW

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
        window = self.window
        if isinstance(window, bool) or not isinstance(window, int | float) or not 0 <= window <= WINDOW_MOST:
            raise ConfigError(f"window = {self.window!r}: use 0 to {WINDOW_MOST:g} seconds.")

    def fits(self, notice: Notice) -> bool:
        """Whether a notice is meant."""
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
    """The rules by which a notice reaches channels; the first that fits decides for its channel."""
    reached: set[str] = set()
    for rule in rules:
        if rule.channel not in reached and rule.fits(notice):
            reached.add(rule.channel)
            yield rule
