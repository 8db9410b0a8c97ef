"""`AppriseNotificationChannel`: the services that apprise supports (extra `notify`)."""

from __future__ import annotations

from typing import Any

from jobfleet.errors import ConfigError
from jobfleet.notify.channel import NotDelivered, NotificationChannel
from jobfleet.notify.notice import Notification
from jobfleet.notify.text import as_text, headline

_TYPES = {"failed": "failure", "retried": "warning", "parked": "warning", "missed": "warning", "completed": "success"}


class AppriseNotificationChannel(NotificationChannel):
    """Sends notifications to services by URLs of apprise: ``ntfys://…``, ``tgram://…`` and about a hundred more.

    apprise reports only that a notification failed, not for which URL. With several URLs, a repetition goes to all of
    them, also to those that succeeded; use one channel per URL to avoid that. apprise makes its own connections:
    the address checks of the webhook channel do not apply.

    Args:
        urls: URLs of apprise. They contain secrets and are never shown.
        name: Name of the channel; default ``apprise``.
        timeout: Longest time for one notification, in seconds; default 30.

    Raises:
        ConfigError: apprise is not installed, or does not support a URL.
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
                raise ConfigError(f"apprise does not support URL number {number} of the channel {name!r}.")

    def describe(self) -> str:
        """Return the number of URLs."""
        count = len(self._bell)
        return f"{count} {'URL' if count == 1 else 'URLs'} of apprise"

    def send(self, notification: Notification) -> None:
        """Send a notification with apprise.

        Args:
            notification: The notification.

        Raises:
            NotDelivered: apprise could not notify all URLs.
        """
        kind = _TYPES.get(notification.event, "info")
        if not self._bell.notify(title=headline(notification), body=as_text(notification), notify_type=kind):
            raise NotDelivered("apprise could not notify all URLs; see its log.")
