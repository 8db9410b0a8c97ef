"""Texts of the panels: status, times, and untrusted texts made safe to show. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from jobfleet.clock import local, span
from jobfleet.model import JobResult, JobStatus

LONGEST = 200
BADGES = {
    JobStatus.BLOCKED: ("gray", "link"),
    JobStatus.SCHEDULED: ("gray", "schedule"),
    JobStatus.QUEUED: ("gray", "hourglass_empty"),
    JobStatus.RUNNING: ("blue", "play_arrow"),
    JobStatus.RETRYING: ("orange", "replay"),
    JobStatus.COMPLETED: ("green", "check"),
    JobStatus.FAILED: ("red", "error"),
    JobStatus.CANCELLED: ("gray", "block"),
    JobStatus.EXPIRED: ("gray", "timer_off"),
}
"""Colour and icon per status. Streamlit ships these icons; emoji would depend on the fonts of the reader's machine."""

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:&])")


def plain(text: object) -> str:
    """Escape an untrusted text as Markdown, on one line of at most 200 characters."""
    line = " ".join(str(text).split())
    if len(line) > LONGEST:
        line = f"{line[: LONGEST - 1]}…"
    return _MARKDOWN.sub(r"\\\1", line)


def label(job: JobResult[Any]) -> str:
    """The name of a job to show: its label, else its function, else its id."""
    return job.name or job.function or job.id


def headline(job: JobResult[Any]) -> str:
    """A job in one line of Markdown: its label, and its status as a badge."""
    status = "stopping" if job.status is JobStatus.RUNNING and job.cancel_requested_by else job.status.value
    colour, icon = BADGES[job.status]
    return f"**{plain(label(job))}** :{colour}-badge[:material/{icon}: {status}]"


def under_bar(job: JobResult[Any]) -> str:
    """The text beside a progress bar: percentage and progress message."""
    words = [f"{job.progress:.0%}"]
    if job.progress_message:
        words.append(plain(job.progress_message))
    return " · ".join(words)


def facts(job: JobResult[Any]) -> str:
    """Times, duration, number of retries and user, as far as they are known."""
    words = []
    if job.status.is_waiting and job.scheduled_at is not None and job.status is not JobStatus.QUEUED:
        words.append(f"due {clock(job.scheduled_at)}")
    if job.started_at is not None:
        words.append(f"started {clock(job.started_at)}")
    if job.duration is not None:
        words.append(f"{'took' if job.status.is_final else 'for'} {span(job.duration.total_seconds())}")
    if job.retry_count:
        words.append(f"{job.retry_count} {'retry' if job.retry_count == 1 else 'retries'}")
    if job.user:
        words.append(f"by {plain(job.user)}")
    return " · ".join(words)


def clock(at: datetime | None) -> str:
    """A time in this machine's zone, with its offset, and with its date if that is not today; empty for None."""
    if at is None:
        return ""
    text, now = local(at), local(datetime.now(UTC))
    return text[len("2026-11-27 ") :] if text[:10] == now[:10] else text


def row_of(job: JobResult[Any]) -> dict[str, object]:
    """A job as a row of `job_table`."""
    return {
        "job": label(job),
        "status": job.status.value,
        "progress": job.progress or None,
        "message": job.error if job.error and job.status.is_final else job.progress_message,
        "queue": job.queue,
        "user": job.user or "",
        "started": clock(job.started_at),
        "took": span(job.duration.total_seconds()) if job.duration is not None else "",
        "id": job.id,
    }
