"""`NotificationChannel`, the base class of all channels, and `LogNotificationChannel`."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable
from typing import Any

from jobfleet.errors import ConfigError, JobfleetError
from jobfleet.notify.notice import Notification
from jobfleet.notify.text import as_data, as_text, headline

log: logging.Logger = logging.getLogger("jobfleet.notify")
TIMEOUT_MOST = 3600.0
_LEVELS = {"failed": logging.ERROR, "retried": logging.WARNING, "parked": logging.WARNING, "missed": logging.WARNING,
           "several": logging.WARNING}  # fmt: skip


class NotDelivered(JobfleetError):
    """A notification could not be delivered; it is tried again.

    Args:
        message: What happened.
        retry_after: Least time until the next try, in seconds, if the receiver requested one; default 0.

    Attributes:
        retry_after: As the argument.
    """

    def __init__(self, message: str | None = None, *, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DeliveryRefused(NotDelivered):
    """A notification cannot be delivered, and further tries would not help; it is given up."""


class NotificationChannel(ABC):
    """A way to send notifications. A subclass defines `send` and may set the attributes.

    Attributes:
        name: Name of the channel in rules, metrics and on the command line. If empty, it comes from the name of the
            class: ``PagerNotificationChannel`` is ``pager``.
        timeout: Longest time of one `send`, in seconds; default 30. A longer one counts as failed, and its
            thread is abandoned.
        give_up_after: Seconds until an undelivered notification is dropped and logged; default 86,400, a day.
        most: Most kinds of event within five minutes that get their own notifications; default 30. Further ones
            are combined into one notification.

    Example:
        >>> class PagerNotificationChannel(NotificationChannel):
        ...     def send(self, notification):
        ...         page(headline(notification))
    """

    name: str = ""
    timeout: float = 30.0
    give_up_after: float = 86_400.0
    most: int = 30

    @abstractmethod
    def send(self, notification: Notification) -> Awaitable[None] | None:
        """Send one notification. It counts as delivered when this returns.

        The channel's own thread calls it, one call at a time in each reaper. If a reaper dies before it records the
        success, `send` is called again with the same `Notification.id`. An ``async def`` runs on its own event loop.

        Args:
            notification: The notification.

        Raises:
            DeliveryRefused: Further tries would not help; the notification is given up.
            Exception: Any other error; the notification is tried again after growing pauses.
        """

    def describe(self) -> str:
        """Return the target of the channel in a few words, without secrets."""
        return type(self).__name__


def check_timeout(given: object) -> float:
    """Check a time limit.

    Args:
        given: The limit, in seconds.

    Raises:
        ConfigError: It is not a number above 0 and up to 3600.
    """
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given <= TIMEOUT_MOST:
        raise ConfigError(f"timeout = {given!r:.100}: use seconds, more than 0 and at most {TIMEOUT_MOST:g}.")
    return float(given)


def name_of(channel: NotificationChannel) -> str:
    """Return the name of a channel: its attribute `name`, else the name that its class implies."""
    return channel.name or type(channel).__name__.removesuffix("NotificationChannel").lower() or "channel"


class LogNotificationChannel(NotificationChannel):
    """Writes notifications to a log, one line each.

    Failures have the level ERROR, retries, parked jobs and missed fires WARNING, all others INFO.

    Args:
        logger: Name of the logger; default ``jobfleet.notify``.
        name: Name of the channel; default ``log``.
    """

    def __init__(self, logger: str = "jobfleet.notify", *, name: str = "log") -> None:
        self.name = name
        self._log = logging.getLogger(logger)

    def send(self, notification: Notification) -> None:
        """Write one line. Texts of the job cannot add lines.

        Args:
            notification: The notification.
        """
        data = as_data(notification)
        level = _LEVELS.get(notification.event, logging.INFO)
        job = notification.notice.job_id
        self._log.log(
            level, "notify.%s count=%d job_id=%s %s", data["event"], notification.count, job, headline(notification),
            extra={"notification": data},
        )  # fmt: skip

    def describe(self) -> str:
        """Return the name of the logger."""
        return f"the log {self._log.name}"


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
