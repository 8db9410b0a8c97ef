"""The content of a notification as one line, as text, as HTML and as plain data. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from html import escape
from typing import Any

from jobfleet.clock import span
from jobfleet.notify.notice import Notification

LINE_MOST = 200
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\s]+")
_MENTION = re.compile(r"@(?=[A-Za-z])|<(?=[!@#])")
_PAST = {
    "failed": "failed",
    "retried": "failed",
    "completed": "completed",
    "cancelled": "cancelled",
    "expired": "expired before a start",
    "parked": "parked",
    "replayed": "replayed",
    "missed": "missed a fire",
    "regressed": "failed again after its errors were resolved",
    "breaker": "opened",
}
_SUBJECTS = {"missed": "recurring job", "breaker": "circuit breaker"}
"""What the field `job_id` names, where it is not a job."""
_AFTERWARDS = {"retried": ("; it runs again", " and were retried")}


def one_line(text: str, most: int = LINE_MOST) -> str:
    """Return a text without line breaks and other control characters, cut to at most `most` characters."""
    line = _CONTROLS.sub(" ", text).strip()
    return line if len(line) <= most else f"{line[: most - 1]}…"


def headline(notification: Notification) -> str:
    """Return a notification in one line: ``412 jobs failed with ConnectionError in 5m (mail.send)``."""
    notice, count = notification.notice, notification.count
    if notification.is_trial:
        return one_line(f"This is a trial of the channel {notification.channel}")
    if notification.event == "several":
        return f"{count} more {'event' if count == 1 else 'events'} of several kinds{_within(notification)}"
    kind = f" with {notice.error_class}" if notice.error_class else ""
    of_one, of_many = _AFTERWARDS.get(notice.event, ("", ""))
    if count > 1:
        where = f" ({notice.function})" if notice.function and notice.event != "missed" else ""
        match notice.event:
            case "missed":
                what = f"fires of {notice.job_id} missed"
            case "breaker":
                what = "openings of circuit breakers"
            case event:
                what = f"jobs {_PAST[event]}"
        return one_line(f"{count} {what}{kind}{of_many}{_within(notification)}{where}")
    subject = notice.function or notice.name or "a job"
    if notice.event in _SUBJECTS:
        subject = f"{_SUBJECTS[notice.event]} {notice.job_id}"
    reason = f"{kind}: {notice.error}" if kind and notice.error else f": {notice.error}" if notice.error else kind
    return one_line(f"{subject} {_PAST[notice.event]}{reason}", LINE_MOST - len(of_one)) + of_one


def _within(notification: Notification) -> str:
    seconds = round((notification.until_us - notification.since_us) / 1e6)
    return f" in {span(seconds)}" if seconds else ""


def facts(notification: Notification) -> Iterator[tuple[str, str]]:
    """Yield the known fields as pairs of a label and a text of one line."""
    notice = notification.notice
    rows = (
        ("Job", notice.job_id),
        ("Name", notice.name),
        ("Function", notice.function),
        ("Queue", notice.queue),
        ("User", notice.user),
        ("Tags", ", ".join(notice.tags)),
        ("Correlation id", notice.correlation_id),
        ("Attempt", str(notice.attempt or "")),
        ("Worker", notice.worker),
        ("Error", f"{notice.error_class}: {notice.error}".strip(": ")),
        ("Runs again", shown(notice.retry_at_us) if notice.retry_at_us else ""),
        ("First", shown(notification.since_us)),
        ("Last", shown(notification.until_us) if notification.count > 1 else ""),
        ("Fleet", notification.namespace),
    )
    for label, text in rows:
        if text:
            yield label, one_line(text, 1_000)


def shown(at_us: int) -> str:
    """Return a time, in µs since 1970, as a text in UTC."""
    return f"{datetime.fromtimestamp(at_us / 1e6, UTC):%Y-%m-%d %H:%M:%S} UTC"


def as_text(notification: Notification) -> str:
    """Return all of a notification as lines of text."""
    lead = [headline(notification), ""]
    if notification.count > 1:
        lead += ["One of them:", ""]
    return "\n".join(lead + [f"{label + ':':<16}{text}" for label, text in facts(notification)]) + "\n"


def as_html(notification: Notification) -> str:
    """Return all of a notification as a page of HTML. Texts of jobs are escaped."""
    rows = "".join(
        f'<tr><th align="left" valign="top">{escape(label)}</th><td>{escape(text)}</td></tr>'
        for label, text in facts(notification)
    )
    lead = "<p>One of them:</p>" if notification.count > 1 else ""
    line = escape(headline(notification))
    return f"<!DOCTYPE html><html><body><h3>{line}</h3>{lead}<table>{rows}</table></body></html>\n"


def as_data(notification: Notification) -> dict[str, Any]:
    """Return all of a notification as plain data for JSON. In ``text``, which chats show, mentions are disabled."""
    notice = notification.notice
    kinds = notification.event != "several" and not notification.is_trial
    return {
        "text": _MENTION.sub(lambda found: f"{found[0]}\u200b", headline(notification)),
        "id": notification.id,
        "fleet": notification.namespace,
        "channel": notification.channel,
        "event": "trial" if notification.is_trial else notification.event,
        "count": notification.count,
        "since": notification.since.isoformat(),
        "until": notification.until.isoformat(),
        "fingerprint": notification.fingerprint,
        "job": {
            "id": notice.job_id,
            "name": notice.name,
            "function": notice.function,
            "queue": notice.queue,
            "user": notice.user,
            "tags": list(notice.tags),
            "correlation_id": notice.correlation_id,
            "attempt": notice.attempt,
            "worker": notice.worker,
            "error_class": notice.error_class,
            "error": notice.error,
        }
        if kinds
        else None,
    }
