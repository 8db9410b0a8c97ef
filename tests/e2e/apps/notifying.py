"""Jobs that fail, and code that says who is to hear of it."""

from __future__ import annotations

import os

from jobfleet import job
from jobfleet.notify import WebhookNotificationChannel, add_notification_channel


@job(name="notifying.fail", max_retries=0)
async def fail(row: int) -> None:
    """Fail, each time with other words."""
    raise ConnectionError(f"row {row} refused")


if "NOTIFYING_HOOK" in os.environ:
    add_notification_channel(
        WebhookNotificationChannel(os.environ["NOTIFYING_HOOK"], name="code", allow_http=True, allow_private=True),
        events=["failed"],
    )
