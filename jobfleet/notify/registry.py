"""The channels, and the rules that select the notices for them: added by code, or made from the settings."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any

from jobfleet.clock import from_timedelta
from jobfleet.config.setting import DURATION, variable_of
from jobfleet.errors import ConfigError
from jobfleet.model.option_types import Seconds, SecondsField
from jobfleet.notify.channel import AppriseNotificationChannel, LogNotificationChannel, NotificationChannel, name_of
from jobfleet.notify.mail import EmailNotificationChannel
from jobfleet.notify.notice import EVENTS, Notice
from jobfleet.notify.webhook import WebhookNotificationChannel

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


_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


class Channels:
    """Channels, and the rules that select the notices for them."""

    def __init__(self) -> None:
        self._channels: dict[str, NotificationChannel] = {}
        self._rules: list[NotificationRule] = []

    @property
    def channels(self) -> Mapping[str, NotificationChannel]:
        """All channels, by name."""
        return MappingProxyType(self._channels)

    @property
    def rules(self) -> tuple[NotificationRule, ...]:
        """All rules, in the order in which they are tried."""
        return tuple(self._rules)

    def add_notification_channel(
        self,
        channel: NotificationChannel,
        *,
        events: Collection[str] = DEFAULT_EVENTS,
        queues: Sequence[str] = (),
        functions: Sequence[str] = (),
        tags: Sequence[str] = (),
        users: Sequence[str] = (),
        errors: Sequence[str] = (),
        window: Seconds = WINDOW,
    ) -> None:
        """Add a channel and a rule for it. By default, the channel gets every failure and every retry.

        Call this in a module that the reapers load: they send the notifications.

        Args:
            channel: The channel. If it was added before, it gets one more rule.
            events: Some of `EVENTS`; default ``failed`` and ``retried``.
            queues: Patterns of queues, such as ``mail.*`` or ``!bulk``; default all. See `NotificationRule`.
            functions: Patterns of function names; default all.
            tags: Patterns of tags; default all.
            users: Patterns of users; default all.
            errors: Patterns of error classes; default all.
            window: Seconds in which events of one kind are combined after the first; default 300.

        Raises:
            ConfigError: `channel` is not a channel, its name is in use or not valid, or the rule is not valid.

        Example:
            >>> add_notification_channel(LogNotificationChannel(), queues=["billing"], events=["failed"])
        """
        if not isinstance(channel, NotificationChannel):
            raise ConfigError(f"{channel!r} is not a NotificationChannel; write a subclass with send().")
        name = name_of(channel)
        rule = NotificationRule(
            channel=name, events=events, queues=queues, functions=functions, tags=tags, users=users, errors=errors,
            window=window,
        )  # fmt: skip
        self.add_channel(channel)
        self._rules.append(rule)

    def add_channel(self, channel: NotificationChannel) -> None:
        """Add a channel without a rule.

        Args:
            channel: The channel.

        Raises:
            ConfigError: Its name is in use or not valid.
        """
        name = name_of(channel)
        if not _NAME.fullmatch(name):
            raise ConfigError(f"name = {name!r}: use letters, digits, '_', '.' and '-', at most 64.")
        if self._channels.setdefault(name, channel) is not channel:
            raise ConfigError(f"There is a channel {name!r} already; use another name=.")

    def add_rule(self, rule: NotificationRule) -> None:
        """Add a rule after the existing ones.

        Args:
            rule: The rule.

        Raises:
            ConfigError: There is no such channel.
        """
        if rule.channel not in self._channels:
            raise ConfigError(unknown_channel(rule.channel, self._channels))
        self._rules.append(rule)

    def addressed(self, notice: Notice) -> list[NotificationRule]:
        """Return the rules that a notice matches, at most one per channel."""
        return list(addressed(self._rules, notice))

    def joined(self, other: Channels) -> Channels:
        """Return the channels and rules of both, these first.

        Args:
            other: Further channels and rules.

        Raises:
            ConfigError: Both have a channel of the same name.
        """
        both = Channels()
        for one in (self, other):
            for channel in one.channels.values():
                both.add_channel(channel)
            both._rules += one._rules  # noqa: SLF001 - of the same class
        return both


def unknown_channel(name: str, known: Collection[str]) -> str:
    """Return the message about an unknown channel."""
    close = get_close_matches(name, known, n=1)
    remedy = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(sorted(known)) or 'none'}."
    return f"Unknown channel {name!r}; {remedy}"


class JobNotificationManager(Channels):
    """Channels and rules of this process. A reaper uses those of all managers in the modules that it loads."""

    def __init__(self) -> None:
        super().__init__()
        managers.append(self)


managers: list[JobNotificationManager] = []
"""All managers of this process."""

default: JobNotificationManager = JobNotificationManager()
"""The manager of `add_notification_channel`."""


def added() -> Channels:
    """Return all channels and rules of this process.

    Raises:
        ConfigError: Two managers have a channel of the same name.
    """
    channels = Channels()
    for manager in managers:
        channels = channels.joined(manager)
    return channels


add_notification_channel = default.add_notification_channel


# Makes channels and rules from the section ``[notify]`` of the settings.


_TEXT, _FLAG, _NUMBER, _SECONDS, _TEXTS, _TABLE = "a text", "true or false", "a number", "a time", "texts", "a table"
_COMMON = {"give_up_after": _SECONDS, "most": _NUMBER}
_OPTIONS: Mapping[str, Mapping[str, str]] = {
    "log": {"logger": _TEXT},
    "email": {
        "host": _TEXT, "port": _NUMBER, "sender": _TEXT, "to": _TEXTS, "security": _TEXT, "username": _TEXT,
        "password": _TEXT, "subject_prefix": _TEXT, "timeout": _SECONDS, "ca_file": _TEXT,
    },
    "webhook": {
        "url": _TEXT, "secret": _TEXT, "headers": _TABLE, "timeout": _SECONDS, "allow_http": _FLAG,
        "allow_private": _FLAG, "ca_file": _TEXT, "text_field": _TEXT, "text_only": _FLAG,
    },
    "apprise": {"urls": _TEXTS, "timeout": _SECONDS},
}  # fmt: skip
_NEEDED = {"email": ("host", "sender", "to"), "webhook": ("url",), "apprise": ("urls",), "log": ()}
_RULE = {"channels": _TEXTS, "events": _TEXTS, "queues": _TEXTS, "functions": _TEXTS, "tags": _TEXTS, "users": _TEXTS,
         "errors": _TEXTS, "window": _SECONDS}  # fmt: skip


def configured(table: Mapping[str, Any], environ: Mapping[str, str]) -> Channels:
    """Make the channels and rules of a section. Without rules, each channel has the default rule.

    Args:
        table: The section, `JobConfig.notify`.
        environ: The environment, for values such as ``{ env = "NAME" }``.

    Raises:
        ConfigError: An option is unknown, missing or not valid. The message names its place and shows no secret.
    """
    channels = Channels()
    for name, options in table.get("channels", {}).items():
        with _placed(f"notify.channels.{name}"):
            channels.add_channel(_channel(name, options, environ))
    rules = table.get("rules", [])
    for number, rule in enumerate(rules, 1):
        with _placed(f"notify.rules[{number}]"):
            for one in _rules(rule, channels):
                channels.add_rule(one)
    if not rules:
        for name in channels.channels:
            channels.add_rule(NotificationRule(channel=name))
    return channels


@contextmanager
def _placed(place: str) -> Iterator[None]:
    """Add the place to the message of an error."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from None


def _channel(name: str, given: Mapping[str, Any], environ: Mapping[str, str]) -> NotificationChannel:
    options = dict(given)
    kind = options.pop("type", None)
    if kind not in _OPTIONS:
        raise ConfigError(f"type = {kind!r}: use {', '.join(_OPTIONS)}.")
    allowed = {**_OPTIONS[kind], **_COMMON}
    read = {option: _read(option, value, allowed, environ) for option, value in options.items()}
    for needed in _NEEDED[kind]:
        if needed not in read:
            raise ConfigError(f"{needed} is missing.")
    common = {option: read.pop(option) for option in _COMMON if option in read}
    channel = _made(kind, name, read)
    for option, value in common.items():
        setattr(channel, option, value)
    return channel


def _made(kind: str, name: str, read: dict[str, Any]) -> NotificationChannel:
    match kind:
        case "log":
            return LogNotificationChannel(**read, name=name)
        case "email":
            return EmailNotificationChannel(read.pop("host"), **read, name=name)
        case "webhook":
            return WebhookNotificationChannel(read.pop("url"), **read, name=name)
        case _:
            return AppriseNotificationChannel(*read.pop("urls"), **read, name=name)


def _rules(given: Mapping[str, Any], known: Channels) -> Sequence[NotificationRule]:
    read = {option: _read(option, value, _RULE, {}) for option, value in given.items()}
    names = read.pop("channels", [*known.channels])
    return [NotificationRule(channel=channel, **read) for channel in names]


def _read(option: str, value: Any, allowed: Mapping[str, str], environ: Mapping[str, str]) -> Any:
    if option not in allowed:
        close = get_close_matches(option, allowed, n=1)
        remedy = f"did you mean {close[0]!r}?" if close else f"use {', '.join(allowed)}."
        raise ConfigError(f"Unknown option {option!r}; {remedy}")
    kind = allowed[option]
    match kind, value:
        case ("a text", str()) | ("true or false", bool()):
            return value
        case ("a number", int()) if not isinstance(value, bool):
            return value
        case ("texts", str()):
            return [value]
        case ("texts", list()):
            return [_text(option, one, environ) for one in value]
        case ("a table", dict()) if variable_of(value) is None:
            return {str(name): _text(f"{option}.{name}", one, environ) for name, one in value.items()}
        case ("a time", _):
            return _seconds(option, value)
    if kind in {_TEXT, _TEXTS} and variable_of(value) is not None:
        text = _text(option, value, environ)
        return text if kind == _TEXT else [text]
    raise ConfigError(f"{option}: use {kind}.")


def _text(option: str, value: Any, environ: Mapping[str, str]) -> str:
    """A text, or the value of the environment variable that it names."""
    variable = variable_of(value)
    if variable is not None:
        if not environ.get(variable):
            raise ConfigError(f"{option}: the variable {variable} is not set.")
        return environ[variable]
    if not isinstance(value, str):
        raise ConfigError(f'{option}: use a text, or {{ env = "NAME" }}.')
    return value


def _seconds(option: str, value: Any) -> float:
    try:
        seconds = DURATION.parse(value)
    except ValueError as error:
        raise ConfigError(f"{option}: {error}.") from None
    if not isinstance(seconds, float) or seconds < 0:
        raise ConfigError(f"{option}: use 0 or more.")
    return seconds
