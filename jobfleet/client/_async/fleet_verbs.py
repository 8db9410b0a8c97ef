# Made by scripts/unasync from the verbs in jobfleet/operations. Change those, and run scripts/unasync.
"""Verbs of operators: `jobfleet.operations` declares them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobfleet.client._async.audit import AsyncAudit

if TYPE_CHECKING:
    from jobfleet.model.option_types import Durability


class AsyncFleetVerbs(AsyncAudit):
    """The verbs of `fleet`."""

    async def pause(
        self,
        queue: str | None = None,
        *,
        group: str | None = None,
        function: str | None = None,
        by: str | None = None,
        reason: str | None = None,
    ) -> bool:
        """Pause a queue, a group or a function: none of its jobs start.

        Running jobs continue. With a function, other functions of the queue are not affected.

        Args:
            queue: The queue; it is created if it does not exist.
            group: Only this group of the queue.
            function: Only jobs of this function; without a queue, in all queues.
            by: The person or program that pauses, for the record.
            reason: The reason, for the record: one line, at most 200 characters.

        Returns:
            False if it was already paused.

        Raises:
            ConfigError: Nothing is named, or what is named cannot be paused together; or too many are paused.
            InvalidJob: The name of the function or the group, or the reason, is not valid.
        """
        from jobfleet.operations import pause

        return await self._act(pause.pause, by, queue, group=group, function=function, by=by, reason=reason)

    async def resume(
        self, queue: str | None = None, *, group: str | None = None, function: str | None = None, by: str | None = None
    ) -> bool:
        """Resume a paused queue, group or function.

        Safe to repeat. If it is interrupted, a worker or a reaper completes it. The withheld jobs of a function go back to
        their old places.

        Args:
            queue: The queue. With a group or a function, only that one resumes in this queue.
            group: Only this group of the queue.
            function: Only jobs of this function; without a queue, in all queues.
            by: The person or program that does it, for the record.

        Returns:
            False if it was not paused.

        Raises:
            ConfigError: Nothing is named, what is named cannot be resumed together, or there is no such queue; or the
                function is paused in every queue, and a queue is named.
            InvalidJob: The name of the function or the group is not valid.
        """
        from jobfleet.operations import pause

        return await self._act(pause.resume, by, queue, group=group, function=function)

    async def set_durability(self, queue: str, durability: Durability | None, *, by: str | None = None) -> bool:
        """Set the durability of jobs of a queue that have none of their own, nor from their function.

        Producers apply it within five seconds. Jobs that are already in the queue keep their level.

        Args:
            queue: The queue; it is created if it does not exist.
            durability: The level: fast, replicated or fsync; 'none' (None) for that of the fleet.
            by: The person or program that does it, for the record.

        Returns:
            False if it was so before.

        Raises:
            ConfigError: The queue is new, and there are too many queues.
            InvalidJob: The level or the name of the queue is not valid.
        """
        from jobfleet.operations import queues

        return await self._act(queues.set_durability, by, queue, durability)

    async def purge_queue(self, queue: str, *, by: str | None = None) -> int:
        """Cancel every waiting job of a queue. Running jobs continue.

        Args:
            queue: The queue.
            by: The person or program that cancels, for the record.

        Returns:
            How many there were.

        Raises:
            ConfigError: There is no such queue.
        """
        from jobfleet.operations import queues

        return await self._act(queues.purge_queue, by, queue, by=by)

    async def remove_queue(
        self, queue: str, *, purge: bool = False, by: str | None = None, dry_run: bool = False
    ) -> int:
        """Remove a queue that no worker serves and that has no open jobs, with its counts, limits and pauses.

        A queue with waiting jobs or dead letters is removed only with purge, one with running jobs never. Results stay
        until their TTL ends. A later enqueue creates the queue again.

        Args:
            queue: The queue.
            purge: Cancel its waiting jobs and delete its dead letters.
            by: The person or program that removes it, for the record.
            dry_run: Only check whether it can be removed.

        Returns:
            How many dead letters were deleted.

        Raises:
            ConfigError: There is no such queue; a worker serves it; jobs are open, or dead without `purge`; a cron
                entry puts jobs there; readers of its journal have not read all.
            InvalidJob: The name of the queue is not valid.
        """
        from jobfleet.operations import queues

        return await self._act(queues.remove_queue, by, queue, purge=purge, by=by, dry_run=dry_run)
