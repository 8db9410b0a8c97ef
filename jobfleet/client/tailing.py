"""What happens to all jobs from now on, as it happens: for people who watch, since events may be missed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from jobfleet.client.base import MARK_EVERY
from jobfleet.client.sync import Client
from jobfleet.clock import monotonic
from jobfleet.events import Event, read_events
from jobfleet.operations.lanes import lanes
from jobfleet.store.calls import control
from jobfleet.store.keys import Lane
from jobfleet.store.pubsub import Listener

LOOK_EVERY = 2.0
"""Seconds between looks for queues that have come."""


def tail(fleet: Client, queue: str | None = None) -> Iterator[Event]:
    """The events of a queue, or of all, until whoever asks has had enough.

    Args:
        fleet: The client.
        queue: A queue; None for all, those that come meanwhile included.

    Raises:
        ConfigError: There is no such queue.
        StoreUnavailable: Redis was away for too long.
    """
    known: list[Lane] = []
    listener: Listener | None = None
    mark_at = 0.0
    try:
        while True:
            found = fleet._do(lanes(fleet.context, queue))  # noqa: SLF001 - a part of it
            if found != known:
                fresh = Listener(fleet.store.at, [lane.events for lane in found]).subscribed()
                if listener is not None:
                    listener.close()
                known, listener, mark_at = found, fresh, 0.0
            if monotonic() >= mark_at:
                _mark(fleet, known)
                mark_at = monotonic() + MARK_EVERY
            if listener is None:
                time.sleep(LOOK_EVERY)
            else:
                yield from _heard(listener)
    finally:
        if listener is not None:
            listener.close()


def _mark(fleet: Client, known: Sequence[Lane]) -> None:
    """Have the scripts of these lanes tell what they do."""
    if known:
        fleet.store.run_many([control.listen(lane) for lane in known])


def _heard(listener: Listener) -> Iterator[Event]:
    """What is heard until it is time to look again."""
    until = monotonic() + LOOK_EVERY
    while (left := until - monotonic()) > 0:
        message = listener.get(left)
        if message is not None:
            yield from read_events(message)
