"""Which channels there are, and by which rules notices reach them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType

from jobfleet.errors import ConfigError
from jobfleet.notify.channel import NotificationChannel, name_of
from jobfleet.notify.notice import Notice
from jobfleet.notify.rule import DEFAULT_EVENTS, WINDOW, NotificationRule, addressed

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


class Channels:
    """Channels, and the rules by which they are reached."""

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
        window: float = WINDOW,
    ) -> None:
        """Add a channel, and a rule for it: by default it hears of every failure and every retry.

        Args:
            channel: Its name must not be taken; the same channel again gets another rule.
            events: See `NotificationRule`, as for the others.
            window: Seconds.

        Raises:
            ConfigError: It is no channel, its name is taken or no name, or the rule is refused.
        """
        if not isinstance(channel, NotificationChannel):
            raise ConfigError(f"{channel!r} is no NotificationChannel; make a subclass that has send().")
        name = name_of(channel)
        rule = NotificationRule(
            channel=name, events=events, queues=queues, functions=functions, tags=tags, users=users, errors=errors,
            window=window,
        )  # fmt: skip
        self.add_channel(channel)
        self._rules.append(rule)

    def add_channel(self, channel: NotificationChannel) -> None:
        """Add a channel without a rule.

        Raises:
            ConfigError: Its name is taken, or no name.
        """
        name = name_of(channel)
        if not _NAME.fullmatch(name):
            raise ConfigError(f"name = {name!r}: use letters, digits, '_', '.' and '-', at most 64.")
        if self._channels.setdefault(name, channel) is not channel:
            raise ConfigError(f"There is a channel {name!r} already; give this one another name=.")

    def add_rule(self, rule: NotificationRule) -> None:
        """Add a rule, tried after those that are there.

        Raises:
            ConfigError: There is no such channel.
        """
        if rule.channel not in self._channels:
            raise ConfigError(unknown_channel(rule.channel, self._channels))
        self._rules.append(rule)

    def addressed(self, notice: Notice) -> list[NotificationRule]:
        """The rules by which a notice reaches channels, one a channel."""
        return list(addressed(self._rules, notice))

    def joined(self, other: Channels) -> Channels:
        """This one's channels and rules, then another's.

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
    """What is said of a channel that is not there."""
    close = get_close_matches(name, known, n=1)
    remedy = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(sorted(known)) or 'none'}."
    return f"Unknown channel {name!r}; {remedy}"


class JobNotificationManager(Channels):
    """Channels and rules of this process: a reaper uses those of every manager that modules it loads have made."""

    def __init__(self) -> None:
        super().__init__()
        managers.append(self)


managers: list[JobNotificationManager] = []
"""All that were made in this process."""

default = JobNotificationManager()
"""The one behind `add_notification_channel`."""


def added() -> Channels:
    """All channels and rules that were added in this process.

    Raises:
        ConfigError: Two managers have a channel of the same name.
    """
    channels = Channels()
    for manager in managers:
        channels = channels.joined(manager)
    return channels


add_notification_channel = default.add_notification_channel
