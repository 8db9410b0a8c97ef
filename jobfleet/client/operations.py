"""The part of both clients that operates the fleet: `Fleet`'s, and `AsyncFleet`'s."""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jobfleet.client.base import ClientBase
from jobfleet.operations.jobs import cancel, overview
from jobfleet.operations.operation import BulkOperation, T
from jobfleet.operations.queues import pause as queues_pause
from jobfleet.operations.queues import remove
from jobfleet.operations.workers import commands

if TYPE_CHECKING:
    from jobfleet.client.flowing import AsyncFlows, Flows
    from jobfleet.client.limiting import AsyncLimits, Limits
    from jobfleet.client.recurring import AsyncRecurring, Recurring


class Operations(ClientBase):
    """How queues, workers and results of a `Fleet` are seen to."""

    @abstractmethod
    def _do(self, operation: BulkOperation[T]) -> T:
        """Run an operation; the fleet that inherits this has it."""

    @property
    def flows(self) -> Flows:
        """Jobs that wait for one another: ``fleet.flows.enqueue(flow)``, and the verbs about them."""
        from jobfleet.client.flowing import Flows

        return Flows(self.context, self._do)

    @property
    def cron(self) -> Recurring:
        """The recurring jobs: ``fleet.cron()`` lists them, ``fleet.cron.add(…)`` adds one."""
        from jobfleet.client.recurring import Recurring  # croniter is for those who use it

        return Recurring(self.context, self._do)

    @property
    def limits(self) -> Limits:
        """What queues and groups may do: ``fleet.limits()`` lists it, ``fleet.limits.set(…)`` sets it."""
        from jobfleet.client.limiting import Limits

        return Limits(self.context, self._do)

    def command_workers(
        self,
        ids: Sequence[str],
        command: str,
        *,
        processes: int | None = None,
        grace: float | None = None,
        timeout: float = 10.0,
        by: str | None = None,
    ) -> list[commands.Confirmation]:
        """Have workers do something, and wait until their presence shows that they did; how each stands.

        Args:
            ids: The workers.
            command: ``quiet``, ``resume``, ``stop``, ``scale`` or ``dump``.
            processes: How many children each is to have, for ``scale``.
            grace: Seconds that running jobs may take to end, for ``stop``; default what each was started with.
            timeout: Seconds to wait; who has not confirmed by then may still do so.
            by: Who wants it, for the record.

        Raises:
            ConfigError: There is no such command, or it lacks its number.
        """
        order = commands.Order(ids, command, processes=processes, grace=grace, timeout=timeout, by=by)
        while True:
            confirmations = self._do(order.turn(self.context))
            if order.is_over:
                return confirmations
            time.sleep(order.pause)

    def pause(
        self,
        queue: str | None = None,
        *,
        group: str | None = None,
        function: str | None = None,
        by: str | None = None,
        reason: str | None = None,
    ) -> bool:
        """Let no job of a queue, a group or a function be started; running ones go on. False when it was so already.

        Args:
            queue: The queue; with a group or a function, only there.
            group: A group of that queue.
            function: A function's name on the wire; without a queue, in every queue that there is.
            by: Who asks, for the record.
            reason: Why, for the record: one line, at most 200 characters.

        Raises:
            ConfigError: Nothing is named, what is named cannot be paused together, or there is no such queue.
            InvalidJob: That is no name of a function or a group, or no such reason.
        """
        return self._do(queues_pause.pause(self.context, queues_pause.Place(queue, group, function), by, reason))

    def resume(self, queue: str | None = None, *, group: str | None = None, function: str | None = None) -> bool:
        """Let a paused queue go on, or a group or a function; False when it was not paused.

        The jobs of a function that were set aside are put back where they stood. Repeating the call is safe.

        Args:
            queue: The queue; with a group or a function, only there.
            group: A group of that queue.
            function: A function's name on the wire; without a queue, in every queue that there is.

        Raises:
            ConfigError: Nothing is named, what is named cannot be resumed together, or there is no such queue.
            InvalidJob: That is no name of a function or a group.
        """
        return self._do(queues_pause.resume(self.context, queues_pause.Place(queue, group, function)))

    def purge_queue(self, queue: str, *, by: str | None = None) -> int:
        """Cancel every waiting job of a queue; how many there were."""
        return self._do(cancel.purge_queue(self.context, queue, by))

    def remove_queue(self, queue: str, *, purge: bool = False, by: str | None = None) -> int:
        """Remove a queue that nobody serves and in which nothing is open; how many dead letters went with it.

        Its counts, limits and pauses go, too. Results stay until their time is over. Whoever enqueues into it later
        makes it again.

        Args:
            queue: Its name.
            purge: Cancel the jobs that wait, and let dead letters go; else either keeps the queue.
            by: Who asks.

        Raises:
            ConfigError: There is no such queue; a worker serves it; jobs are open, or dead without `purge`; a cron
                entry puts jobs there; readers of its journal have not read all.
            InvalidJob: That is no name of a queue.
        """
        return self._do(remove.remove_queue(self.context, queue, purge=purge, by=by))

    def clean(self, older_than: float, queue: str | None = None) -> int:
        """Let go the results of jobs that ended longer ago than so many seconds; of how many.

        Results go by themselves with their TTL; this is for those who want them gone sooner. An id stays known for
        as long as its enqueue may be repeated (the settings ``dedupe_window`` and ``own_id_window``), and dead
        letters stay until they are purged.
        """
        return self._do(overview.clean(self.context, older_than, queue))


class AsyncOperations(ClientBase):
    """How queues, workers and results of an `AsyncFleet` are seen to."""

    @abstractmethod
    async def _do(self, operation: BulkOperation[T]) -> T:
        """Run an operation; the fleet that inherits this has it."""

    @property
    def flows(self) -> AsyncFlows:
        """Jobs that wait for one another: ``await fleet.flows.enqueue(flow)``, and the verbs about them."""
        from jobfleet.client.flowing import AsyncFlows

        return AsyncFlows(self.context, self._do)

    @property
    def cron(self) -> AsyncRecurring:
        """The recurring jobs: ``await fleet.cron()`` lists them, ``await fleet.cron.add(…)`` adds one."""
        from jobfleet.client.recurring import AsyncRecurring  # croniter is for those who use it

        return AsyncRecurring(self.context, self._do)

    @property
    def limits(self) -> AsyncLimits:
        """What queues and groups may do: ``await fleet.limits()`` lists it, ``await fleet.limits.set(…)`` sets it."""
        from jobfleet.client.limiting import AsyncLimits

        return AsyncLimits(self.context, self._do)

    async def command_workers(
        self,
        ids: Sequence[str],
        command: str,
        *,
        processes: int | None = None,
        grace: float | None = None,
        timeout: float = 10.0,
        by: str | None = None,
    ) -> list[commands.Confirmation]:
        """Have workers do something, and wait until their presence shows that they did; how each stands.

        Args:
            ids: The workers.
            command: ``quiet``, ``resume``, ``stop``, ``scale`` or ``dump``.
            processes: How many children each is to have, for ``scale``.
            grace: Seconds that running jobs may take to end, for ``stop``; default what each was started with.
            timeout: Seconds to wait; who has not confirmed by then may still do so.
            by: Who wants it, for the record.

        Raises:
            ConfigError: There is no such command, or it lacks its number.
        """
        order = commands.Order(ids, command, processes=processes, grace=grace, timeout=timeout, by=by)
        while True:
            confirmations = await self._do(order.turn(self.context))
            if order.is_over:
                return confirmations
            await asyncio.sleep(order.pause)

    async def pause(
        self,
        queue: str | None = None,
        *,
        group: str | None = None,
        function: str | None = None,
        by: str | None = None,
        reason: str | None = None,
    ) -> bool:
        """Let no job of a queue, a group or a function be started; running ones go on. False when it was so already.

        Args:
            queue: The queue; with a group or a function, only there.
            group: A group of that queue.
            function: A function's name on the wire; without a queue, in every queue that there is.
            by: Who asks, for the record.
            reason: Why, for the record: one line, at most 200 characters.

        Raises:
            ConfigError: Nothing is named, what is named cannot be paused together, or there is no such queue.
            InvalidJob: That is no name of a function or a group, or no such reason.
        """
        return await self._do(queues_pause.pause(self.context, queues_pause.Place(queue, group, function), by, reason))

    async def resume(self, queue: str | None = None, *, group: str | None = None, function: str | None = None) -> bool:
        """Let a paused queue go on, or a group or a function; False when it was not paused.

        The jobs of a function that were set aside are put back where they stood. Repeating the call is safe.

        Args:
            queue: The queue; with a group or a function, only there.
            group: A group of that queue.
            function: A function's name on the wire; without a queue, in every queue that there is.

        Raises:
            ConfigError: Nothing is named, what is named cannot be resumed together, or there is no such queue.
            InvalidJob: That is no name of a function or a group.
        """
        return await self._do(queues_pause.resume(self.context, queues_pause.Place(queue, group, function)))

    async def purge_queue(self, queue: str, *, by: str | None = None) -> int:
        """Cancel every waiting job of a queue; how many there were."""
        return await self._do(cancel.purge_queue(self.context, queue, by))

    async def remove_queue(self, queue: str, *, purge: bool = False, by: str | None = None) -> int:
        """Remove a queue that nobody serves and in which nothing is open; how many dead letters went with it.

        Its counts, limits and pauses go, too. Results stay until their time is over. Whoever enqueues into it later
        makes it again.

        Args:
            queue: Its name.
            purge: Cancel the jobs that wait, and let dead letters go; else either keeps the queue.
            by: Who asks.

        Raises:
            ConfigError: There is no such queue; a worker serves it; jobs are open, or dead without `purge`; a cron
                entry puts jobs there; readers of its journal have not read all.
            InvalidJob: That is no name of a queue.
        """
        return await self._do(remove.remove_queue(self.context, queue, purge=purge, by=by))

    async def clean(self, older_than: float, queue: str | None = None) -> int:
        """Let go the results of jobs that ended longer ago than so many seconds; of how many.

        Results go by themselves with their TTL; this is for those who want them gone sooner. An id stays known for
        as long as its enqueue may be repeated (the settings ``dedupe_window`` and ``own_id_window``), and dead
        letters stay until they are purged.
        """
        return await self._do(overview.clean(self.context, older_than, queue))
