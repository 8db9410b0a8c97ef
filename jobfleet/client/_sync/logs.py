# Made by scripts/unasync from jobfleet/client/_async/logs.py. Change that, and run scripts/unasync.
"""Read the log of a job, page by page, and follow it while the job runs."""

from __future__ import annotations

from collections.abc import Iterator

from jobfleet.client._sync.connection import Connection
from jobfleet.client.base import Marking
from jobfleet.model.result import LogLine
from jobfleet.operations.jobs import poll
from jobfleet.operations.jobs.logs import Reading, read
from jobfleet.operations.operation import drive_blocking

POLL_S = 0.5
"""Seconds between reads while a job is followed. Its end is noticed at once."""


def reading(client: Connection, how_far: Reading, *, follow: bool) -> Iterator[LogLine]:
    """Yield the lines of a log. The events of the job hint at new lines."""
    channel = client.context.keys.lane_of(how_far.job_id).job_events(how_far.job_id)
    listener = client.listener.listen((channel,)) if follow else None
    marking = Marking()
    try:
        if listener is not None:
            listener.subscribed()
        while True:
            if follow and marking.is_due:
                drive_blocking(client.store, poll.listen(client.context, how_far.job_id))
            for line in drive_blocking(client.store, read(client.context, how_far)):
                yield line
            if how_far.is_more:
                continue
            if listener is None or how_far.is_over:
                return
            listener.get(POLL_S)
    finally:
        if listener is not None:
            listener.close()
