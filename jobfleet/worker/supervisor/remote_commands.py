"""The control channel, as a supervisor hears it: requests to cancel a running job, and operators' commands.

A message may be lost. A request to cancel stands in the run's record, and comes with the next renewal; a command is
repeated by whoever gave it, until the worker's presence shows its nonce.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from jobfleet.events import CancelRequest, Command, NewKind, read_control
from jobfleet.store.connect import Target
from jobfleet.store.keys import Keyspace
from jobfleet.store.pubsub import AsyncListener
from jobfleet.worker.supervisor.child_handle import ChildHandle

log = logging.getLogger("jobfleet.worker")
PAUSE = 0.05
REMEMBERED = 64
"""How many commands are remembered, so that a repetition is not obeyed twice."""


class Commanded(Protocol):
    """What can be done to a worker, from afar or by a signal."""

    def quiet(self, by: str) -> None:
        """Claim no more."""

    def resume(self, by: str) -> None:
        """Claim again."""

    def stop(self, by: str, grace: float | None) -> None:
        """Drain and leave; the first time only."""

    def scale(self, by: str, size: int) -> None:
        """Have so many children."""

    def dump(self) -> None:
        """Show what the children hold and do."""


class RemoteCommands:
    """Obeys the control channel.

    Args:
        at: The server.
        keys: The fleet's keys.
        worker: Whose commands are meant.
        children: The children by process id, as they come and go.
        commanded: Does what is wanted.
        confirm: Shows the fleet at once how things stand.
        scale_max: Most processes that ``scale`` may ask for: anyone who can publish can ask.
    """

    def __init__(
        self,
        at: Target,
        keys: Keyspace,
        worker: str,
        children: Mapping[int, ChildHandle],
        *,
        commanded: Commanded,
        confirm: Callable[[], Awaitable[None]],
        scale_max: int,
    ) -> None:
        self._at = at
        self._keys = keys
        self._worker = worker
        self._children = children
        self._commanded = commanded
        self._confirm = confirm
        self._scale_max = scale_max
        self._known: deque[str] = deque(maxlen=REMEMBERED)
        self._is_to_reconnect = False
        self.obeyed = ""
        """The nonce of the last command that was heard."""

    def reconnect(self) -> None:
        """Listen on a new connection, soon: another server publishes by now."""
        self._is_to_reconnect = True

    async def listen(self) -> None:
        """Listen for ever."""
        listener = AsyncListener(self._at, (self._keys.control,))
        try:
            while True:
                message = await listener.get(5.0)
                if self._is_to_reconnect:
                    self._is_to_reconnect = False
                    await listener.reset()
                if message is None:
                    await asyncio.sleep(PAUSE)
                    continue
                await self._hear(message)
        finally:
            await listener.close()

    async def _hear(self, message: str) -> None:
        match read_control(message):
            case CancelRequest(job, token, child, by):
                for handle in self._children.values():
                    if handle.child == child:
                        handle.cancel(job, token, by)
            case NewKind():
                await self._confirm()
            case Command(worker=self._worker) as command:
                self.obeyed = command.nonce
                if command.nonce not in self._known:
                    self._known.append(command.nonce)
                    log.info("worker.commanded verb=%s by=%s", command.verb, command.by)
                    self._obey(command)
                await self._confirm()
            case _:
                pass

    def _obey(self, command: Command) -> None:
        match command:
            case Command(verb="quiet", by=by):
                self._commanded.quiet(by)
            case Command(verb="resume", by=by):
                self._commanded.resume(by)
            case Command(verb="stop", by=by, value=grace):
                self._commanded.stop(by, grace)
            case Command(verb="scale", by=by, value=size) if size is not None and size > self._scale_max:
                log.warning(
                    "worker.refused verb=scale processes=%d by=%s: at most %d, unless scale_max says otherwise",
                    size,
                    by,
                    self._scale_max,
                )
            case Command(verb="scale", by=by, value=size) if size is not None and size >= 1:
                self._commanded.scale(by, int(size))
            case Command(verb="dump"):
                self._commanded.dump()
            case _:
                log.warning("worker.puzzled verb=%s value=%s", command.verb, command.value)
