"""`AppriseNotificationChannel`: the services that apprise knows (extra `notify`)."""

from __future__ import annotations

from typing import Any

from jobfleet.errors import ConfigError
from jobfleet.notify.channel import NotDelivered, NotificationChannel
from jobfleet.notify.notice import Notification
from jobfleet.notify.text import as_text, headline

_TYPES = {"failed": "failure", "retried": "warning", "parked": "warning", "missed": "warning", "completed": "success"}


class AppriseNotificationChannel(NotificationChannel):
    """Sends notifications to what URLs of apprise name: ``ntfys://…``, ``tgram://…`` and a hundred more.

    apprise says of a failure only that there was one, and with several URLs those that worked get the repetition too;
    give each a channel where that matters. It connects as it likes: the guards of the webhook channel are not its own.

    Args:
        urls: Where to; they hold secrets and are never shown.
        name: The channel's name.
        timeout: Seconds that one notification may take.

    Raises:
        ConfigError: apprise is not there, or does not know a URL.
    """

    def __init__(self, *urls: str, name: str = "apprise", timeout: float = 30.0) -> None:
        try:
            import apprise
        except ModuleNotFoundError:
            raise ConfigError(
                "AppriseNotificationChannel needs the extra 'notify': pip install 'jobfleet[notify]'."
            ) from None
        if not urls:
            raise ConfigError("urls is empty: give at least one URL of apprise.")
        self.name = name
        self.timeout = timeout
        self._bell: Any = apprise.Apprise()
        for number, url in enumerate(urls, 1):
            if not self._bell.add(url):
                raise ConfigError(f"apprise does not know URL number {number} of the channel {name!r}.")

    def describe(self) -> str:
        """How many URLs there are."""
        count = len(self._bell)
        return f"{count} {'URL' if count == 1 else 'URLs'} of apprise"

    def send(self, notification: Notification) -> None:
        """Hand a notification to apprise.

        Raises:
            NotDelivered: apprise could not notify all.
        """
        kind = _TYPES.get(notification.event, "info")
        if not self._bell.notify(title=headline(notification), body=as_text(notification), notify_type=kind):
            raise NotDelivered("apprise could not notify all; its own log says more.")
