"""`NotificationChannel`, what every channel is; and the one that writes to the log."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable

from jobfleet.errors import ConfigError, JobfleetError
from jobfleet.notify.notice import Notification
from jobfleet.notify.text import as_data, headline

log = logging.getLogger("jobfleet.notify")
TIMEOUT_MOST = 3600.0
_LEVELS = {"failed": logging.ERROR, "retried": logging.WARNING, "parked": logging.WARNING, "missed": logging.WARNING,
           "several": logging.WARNING}  # fmt: skip


class NotDelivered(JobfleetError):
    """A notification did not get through; it is tried again.

    Attributes:
        retry_after: Seconds to wait at least, where the other side asked for it.
    """

    def __init__(self, message: str | None = None, *, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DeliveryRefused(NotDelivered):
    """A notification will not get through however often it is tried; it is given up."""


class NotificationChannel(ABC):
    """A way to tell somebody. A subclass gives `send`, and changes the other attributes as it likes.

    Attributes:
        name: What rules, metrics and the command line call it. Empty: from the name of the class
            (``PagerNotificationChannel`` is ``pager``).
        timeout: Seconds that one `send` may take; then it counts as failed, and its thread is left alone.
        give_up_after: Seconds after which a notification that never got through is dropped, loudly.
        most: Kinds of event told at once in five minutes; what is beyond them is gathered into one notification.
    """

    name: str = ""
    timeout: float = 30.0
    give_up_after: float = 86_400.0
    most: int = 30

    @abstractmethod
    def send(self, notification: Notification) -> Awaitable[None] | None:
        """Send one notification; it counts as delivered when this returns.

        It is called in a thread of the channel's own, one at a time in each reaper, and once more
        with the same `Notification.id` when a reaper died before it could note the success. It may be
        ``async def``: then it runs on an event loop of its own.

        Raises:
            DeliveryRefused: Trying again is of no use.
            Exception: Whatever else it is, it is tried again, with growing pauses.
        """

    def describe(self) -> str:
        """Where it leads, in a few words and without secrets."""
        return type(self).__name__


def check_timeout(given: object) -> float:
    """A time limit, in seconds.

    Raises:
        ConfigError: It is none, or no time at all.
    """
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given <= TIMEOUT_MOST:
        raise ConfigError(f"timeout = {given!r:.100}: use seconds, more than 0 and at most {TIMEOUT_MOST:g}.")
    return float(given)


def name_of(channel: NotificationChannel) -> str:
    """A channel's name: its own, else that of its class."""
    return channel.name or type(channel).__name__.removesuffix("NotificationChannel").lower() or "channel"


class LogNotificationChannel(NotificationChannel):
    """Writes notifications to a log, one line each: failures as errors, retries as warnings, all else as information.

    Args:
        logger: Which log.
        name: The channel's name.
    """

    def __init__(self, logger: str = "jobfleet.notify", *, name: str = "log") -> None:
        self.name = name
        self._log = logging.getLogger(logger)

    def send(self, notification: Notification) -> None:
        """Write a line; what the job says cannot break it."""
        data = as_data(notification)
        level = _LEVELS.get(notification.event, logging.INFO)
        job = notification.notice.job_id
        self._log.log(
            level, "notify.%s count=%d job_id=%s %s", data["event"], notification.count, job, headline(notification),
            extra={"notification": data},
        )  # fmt: skip

    def describe(self) -> str:
        """The log it writes to."""
        return f"the log {self._log.name}"
