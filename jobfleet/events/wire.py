"""Events on the wire: one line of text a job, as lib/event.lua packs them.

``version event id token n at``, and for ``stopping`` and ``replayed`` the stage: token and n order the events of one
job; at is Redis's time in µs. Pub/sub drops messages, so an event only ever hints; state is in keys.
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
"""The events that say more in a word of their own."""

LAST = 1_000_000
"""The `n` of an event that ends a run."""


class Event(NamedTuple):
    """One thing that happened to a job.

    Attributes:
        event: A verb in the past tense: enqueued, claimed, progressed, completed, retried, failed, released,
            parked, withheld, expired, cancelled, rescheduled, debounced, replayed, unblocked; or stopping.
        id: The job.
        token: The run; 0 outside of one.
        n: Orders the events of one run.
        at: When, by Redis's clock.
        stage: Of ``stopping``: asked, raised, terminated, killed or condemned; of ``replayed``: edited, when its
            arguments were changed; else empty.
    """

    event: str
    id: str
    token: int
    n: int
    at: datetime
    stage: str = ""


def read_events(message: str) -> list[Event]:
    """Read a message of an event channel; lines of a later version are passed over."""
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
