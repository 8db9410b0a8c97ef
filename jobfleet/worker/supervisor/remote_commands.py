"""The channels of a supervisor: requests to cancel running jobs on one, operators' commands on the other.

A message may be lost. A request to cancel is also in the run's record, and arrives with the next renewal. The sender of
a command repeats it until the worker's heartbeat shows its nonce. Each user that may cancel jobs may publish on the
channel ``control``, so a command that arrives there is not executed (docs/adr/0071).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from jobfleet.events import CancelRequest, Command, NewKind, read_control
from jobfleet.store.channels import AsyncChannels
from jobfleet.store.keys import Keyspace
from jobfleet.store.target import Target
from jobfleet.worker.supervisor.child_handle import ChildHandle

log = logging.getLogger("jobfleet.worker")
LISTENED_FOR = 5.0
"""Seconds per read of the channels."""
REMEMBERED = 64
"""Number of remembered commands, so that a repeated command is not executed again."""
ANSWERS_MOST = 4
"""Questions for stacks that are answered at once."""


class Commanded(Protocol):
    """The actions on a worker that a command or a signal can request."""

    def quiet(self, by: str) -> None:
        """Claim nothing more."""

    def resume(self, by: str) -> None:
        """Claim again."""

    def stop(self, by: str, grace: float | None) -> None:
        """Drain and leave; a repeated call has no effect."""

    def scale(self, by: str, size: int) -> None:
        """Set the number of children."""

    def dump(self) -> None:
        """Log the jobs and the stacks of the children."""


class RemoteCommands:
    """Passes on requests to cancel, and executes commands.

    Args:
        at: The server.
        keys: The fleet's keys.
        worker: The worker's id; other workers' commands are ignored.
        children: The current children by process id.
        commanded: Executes the commands.
        confirm: Publishes the worker's state at once.
        scale_max: Maximum number of processes for ``scale``.
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
        self._has_refused = False
        self._is_to_reconnect = False
        self._answers: set[asyncio.Task[None]] = set()
        self.obeyed = ""
        """The nonce of the last received command."""

    def reconnect(self) -> None:
        """Reconnect soon, because another server publishes now."""
        self._is_to_reconnect = True

    async def listen(self) -> None:
        """Receive messages until cancelled."""
        channels = AsyncChannels(self._at)
        channels.subscribe((self._keys.control, self._keys.commands))
        try:
            while True:
                messages = await channels.read(LISTENED_FOR)
                if self._is_to_reconnect:
                    self._is_to_reconnect = False
                    await channels.close()  # the next read connects again
                for message in messages:
                    if message.text is not None:
                        await self._hear(message.channel, message.text)
        finally:
            await channels.close()

    async def _hear(self, channel: str, message: str) -> None:
        match read_control(message):
            case CancelRequest(job, token, child, by):
                for handle in self._children.values():
                    if handle.child == child:
                        handle.cancel(job, token, by)
            case NewKind():
                await self._confirm()
            case Command(worker=self._worker) as command if channel != self._keys.commands:
                self._refuse(command)
            case Command(worker=self._worker) as command:
                self.obeyed = command.nonce
                if command.nonce not in self._known:
                    self._known.append(command.nonce)
                    log.info("worker.commanded verb=%s by=%s", command.verb, command.by)
                    self._obey(command)
                await self._confirm()
            case _:
                pass

    def _refuse(self, command: Command) -> None:
        """Do not execute a command of the channel ``control``; log the first: users that may cancel can send many."""
        if command.nonce in self._known or self._has_refused:
            return
        self._has_refused = True
        log.warning(
            "worker.refused verb=%s by=%s: it came over the channel for cancellations, like any further ones; if an "
            "operator sent it, use the jobfleet of this version",
            command.verb,
            command.by,
        )

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
                    "worker.refused verb=scale processes=%d by=%s: the maximum is %d; raise scale_max to allow more",
                    size,
                    by,
                    self._scale_max,
                )
            case Command(verb="scale", by=by, value=size) if size is not None and size >= 1:
                self._commanded.scale(by, int(size))
            case Command(verb="dump"):
                self._commanded.dump()
            case Command(verb="stacks", nonce=nonce, value=number) if number is not None:
                self._show_stacks(nonce, int(number))
            case _:
                log.warning("worker.puzzled verb=%s value=%s", command.verb, command.value)

    def _show_stacks(self, nonce: str, number: int) -> None:
        if len(self._answers) >= ANSWERS_MOST:
            log.warning("worker.refused verb=stacks child=%d: others are being answered", number)
            return
        from jobfleet.worker.supervisor.stacks import answer  # few are ever asked

        work = answer(self._at, self._keys, list(self._children.values()), nonce, number)
        task = asyncio.ensure_future(work)
        self._answers.add(task)
        task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._answers.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("child.stacks cannot be shown", exc_info=error)
