"""Notices and notifications for tests."""

from __future__ import annotations

from typing import Any

from jobfleet.notify.notice import Notice, Notification, fingerprint

AT = 1_700_000_000_000_000


def notice(**changes: Any) -> Notice:
    """A failure, with changes."""
    given: dict[str, Any] = {
        "event": "failed", "job_id": "mail.0.a", "at_us": AT, "queue": "mail", "function": "mail.send", "user": "ann",
        "tags": ("urgent",), "error_class": "ConnectionError", "error": "refused by 10.0.0.7", "attempt": 4,
        "worker": "w.1",
    }  # fmt: skip
    return Notice(**given | changes)


def notification(*, of: Notice | None = None, **changes: Any) -> Notification:
    """A notification of one failure, with changes."""
    one = of or notice()
    given: dict[str, Any] = {
        "id": "d1", "channel": "ops", "namespace": "jf", "count": 1, "since_us": AT, "until_us": AT, "made_us": AT,
        "fingerprint": fingerprint(one), "notice": one,
    }  # fmt: skip
    return Notification(**given | changes)
