"""Events in their wire format: one line of text per job, as lib/events/event.lua writes it.

The form is ``version event id token n at``, followed by the stage for ``stopping`` and ``replayed``. `token` and `n`
order the events of one job. `at` is Redis's time in µs. Pub/sub can drop messages, so an event is only a hint; the
state is in keys.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import NamedTuple

VERSION = 1
_LINE = re.compile(
    rf"^{VERSION} (\S+) (\S+) ([0-9]{{1,17}}) ([0-9]{{1,17}}) ([0-9]{{1,17}})(?: ([a-z]*))?(?: .*)?$", re.MULTILINE
)

STAGED = frozenset({"stopping", "replayed"})
"""Events that carry a stage as an extra word."""

LAST = 1_000_000
"""The `n` of the event that ends a run."""


class Event(NamedTuple):
    """One event of a job.

    Attributes:
        event: A verb in the past tense: enqueued, claimed, progressed, completed, retried, failed, released,
            parked, withheld, expired, cancelled, rescheduled, signalled, edited, debounced, replayed, unblocked,
            forgotten; or stopping.
        id: The job's id.
        token: The fencing token of the run; 0 outside of a run.
        n: The order of the events of one run.
        at: The time by Redis's clock.
        stage: For ``stopping``: asked, raised, terminated, killed or condemned. For ``replayed``: edited, if the
            arguments were changed. Otherwise empty.
    """

    event: str
    id: str
    token: int
    n: int
    at: datetime
    stage: str = ""


def read_events(message: str) -> list[Event]:
    """Parse a message of an event channel; skip lines of a later version."""
    return [
        Event(
            event,
            job_id,
            int(token),
            int(n),
            datetime.fromtimestamp(int(at) / 1e6, UTC),
            stage if event in STAGED else "",
        )
        for event, job_id, token, n, at, stage in _LINE.findall(message)
    ]
