"""The channels, and the rules that select the notices for them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType

from jobfleet.errors import ConfigError
from jobfleet.model.option_types import Seconds
from jobfleet.notify.channel import NotificationChannel, name_of
from jobfleet.notify.notice import Notice
from jobfleet.notify.rule import DEFAULT_EVENTS, WINDOW, NotificationRule, addressed

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
