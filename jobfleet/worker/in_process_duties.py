"""The duties of a reaper and of a supervisor that a worker inside a program has."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any

from jobfleet.errors import JobfleetError
from jobfleet.events import CancelRequest, read_control
from jobfleet.metrics.tally import Mute
from jobfleet.services.long_lived import start
from jobfleet.services.service import Service
from jobfleet.store.aio import AsyncStore
from jobfleet.store.channels import AsyncChannels
from jobfleet.store.keys import Keyspace
from jobfleet.worker.run.handlers import Handlers

LISTENED_FOR = 5.0
"""Seconds for which one read of the control channel waits."""
PAUSE = 0.05
"""Seconds between two attempts to cancel tasks."""
LOOK_EVERY = 0.5
"""Seconds between two checks whether the program has added notification channels."""


async def listen_for_cancels(
    store: AsyncStore,
    keys: Keyspace,
    child: str,
    on_cancel: Callable[[tuple[str, int], str], None],
    renew: Callable[[], Awaitable[object]],
) -> None:
    """Receive requests to cancel runs, until this is cancelled.

    Args:
        store: The connection, for its server.
        keys: The fleet's keys.
        child: The child whose runs may be cancelled.
        on_cancel: Called with each request: id and token of the run, and who has made the request.
        renew: Renews the leases when the subscription begins. Messages were missed before, and the reply of a renewal
            has the requests too.
    """
    channels = AsyncChannels(store.at)
    channels.subscribe((keys.control,))
    try:
        while True:
            for message in await channels.read(LISTENED_FOR):
                if message.text is None:
                    with suppress(JobfleetError):
                        await renew()
                    continue
                match read_control(message.text):
                    case CancelRequest(job, token, holder, by) if holder == child:
                        on_cancel((job, token), by)
                    case _:
                        pass
    finally:
        await channels.close()


async def cancelled(tasks: Iterable[asyncio.Future[None]]) -> None:
    """Cancel tasks and wait for their end. A client of Redis may swallow a cancellation, so it is repeated."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=PAUSE)


def modules_of(handlers: Handlers) -> list[str]:
    """The modules that isolated processes load. ``__main__`` cannot be loaded."""
    return sorted({function.__module__ for function in handlers.isolated} - {"__main__"})


def reaping(store: AsyncStore, keys: Keyspace, config: Any, tally: Mute, process: str) -> list[Service]:
    """The duties of a reaper, except for the leases, which are the duty of each worker."""
    from jobfleet.services.duties.cron import Cron  # croniter is for those who use it
    from jobfleet.services.duties.dead import Dead
    from jobfleet.services.duties.relay import Relay
    from jobfleet.services.duties.rescues import Rescues
    from jobfleet.services.duties.retention import Retention

    duties: list[Service] = [
        Cron(store, config, tally, process=process),
        Relay(store, keys, config, tally),
        Retention(store, keys, config, tally),
        Dead(store, keys, config, tally),
        Rescues(store, keys, config, tally),
    ]
    if config.samples:
        from jobfleet.services.duties.samples import Samples  # for those who do not turn them off

        duties.append(Samples(store, keys, config, tally, process=process))
    return duties


class Reporting:
    """Notifies people, fills the archive and relays the outbox, as far as the program has them.

    Args:
        store: The connection.
        keys: The fleet's keys.
        config: The settings.
        tally: Counts the metrics.
        process: The id of the worker.
    """

    def __init__(self, store: AsyncStore, keys: Keyspace, config: Any, tally: Mute, process: str) -> None:
        self._store = store
        self._keys = keys
        self._config = config
        self._tally = tally
        self._process = process
        self._services: list[Service] = []

    def started(self, log: logging.Logger) -> list[asyncio.Task[None]]:
        """Start all parts; return their tasks.

        Args:
            log: Gets the reports of failures.
        """
        parts = {"archive": self.archive, "outbox": self.outbox, "notify": self.notify}
        return [start(part, log, name) for name, part in parts.items()]

    async def archive(self) -> None:
        """Start to fill the archive, if there is one."""
        if self._config.archive_url is not None:
            from jobfleet.services.duties.archive import Archive

            self._start(Archive(self._store, self._keys, self._config, self._tally))

    async def outbox(self) -> None:
        """Start to relay the rows of the outbox, if there is one."""
        if self._config.outbox_url is not None:
            from jobfleet.services.duties.outbox import Outbox

            self._start(Outbox(self._store, self._config, self._tally))

    async def notify(self) -> None:
        """Start to notify people, as soon as there is a channel. The program may also add it later."""
        from jobfleet.services.duties.notify import Notify, channels_of

        while not (channels := channels_of(self._config)).rules:  # noqa: ASYNC110 - another thread adds them
            await asyncio.sleep(LOOK_EVERY)
        self._start(Notify(self._store, self._keys, self._config, self._tally, channels, consumer=self._process))

    def _start(self, service: Service) -> None:
        self._services.append(service)
        service.start()

    async def stop(self) -> None:
        """Stop the duties."""
        for service in self._services:
            await service.stop()
