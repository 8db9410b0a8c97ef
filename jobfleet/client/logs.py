"""Reading a job's own log: a page at a time, and on while the job runs. See `verbs` for the form."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

from jobfleet.client.base import PollSchedule
from jobfleet.model.logline import LogLine
from jobfleet.operations.jobs import poll
from jobfleet.operations.jobs.logs import Reading, read
from jobfleet.store.pubsub import AsyncListener, Listener

if TYPE_CHECKING:
    from jobfleet.client.aio import AsyncClient
    from jobfleet.client.sync import Client


POLL_S = 0.5
"""Seconds between looks while a job is followed; its end is noticed at once."""


def reading(fleet: Client, how_far: Reading, *, follow: bool) -> Iterator[LogLine]:
    """The lines of a log one after the other; the events of the job hint that there may be more."""
    channel = fleet.context.keys.lane_of(how_far.job_id).job_events(how_far.job_id)
    listener = Listener(fleet.store.at, (channel,)).subscribed() if follow else None
    patience = PollSchedule(fleet.config, None)
    try:
        while True:
            if follow and patience.should_mark:
                fleet._do(poll.listen(fleet.context, how_far.job_id))  # noqa: SLF001 - a part of it
            yield from fleet._do(read(fleet.context, how_far))  # noqa: SLF001 - a part of it
            if how_far.is_more:
                continue
            if listener is None or how_far.is_over:
                return
            listener.get(POLL_S)
    finally:
        if listener is not None:
            listener.close()


async def areading(fleet: AsyncClient, how_far: Reading, *, follow: bool) -> AsyncIterator[LogLine]:
    """The same, awaited."""
    channel = fleet.context.keys.lane_of(how_far.job_id).job_events(how_far.job_id)
    listener = AsyncListener(fleet.store.at, (channel,)) if follow else None
    patience = PollSchedule(fleet.config, None)
    try:
        if listener is not None:
            await listener.subscribed()
        while True:
            if follow and patience.should_mark:
                await fleet._do(poll.listen(fleet.context, how_far.job_id))  # noqa: SLF001 - a part of it
            for line in await fleet._do(read(fleet.context, how_far)):  # noqa: SLF001 - a part of it
                yield line
            if how_far.is_more:
                continue
            if listener is None or how_far.is_over:
                return
            await listener.get(POLL_S)
    finally:
        if listener is not None:
            await listener.close()
