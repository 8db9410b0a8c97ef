"""Limits, strict sequences and circuit breakers of a fleet: `fleet.limits`, `fleet.groups` and `fleet.breakers`."""

from __future__ import annotations

from jobfleet.client._async.audit import AsyncPart
from jobfleet.model.limits import BreakerInfo, LimitInfo, NamedLimit, SequenceInfo
from jobfleet.model.option_types import Seconds
from jobfleet.operations import actions, gates, limits
from jobfleet.operations import limits as operations


class AsyncLimits(AsyncPart):
    """The limits of an `AsyncFleet`."""

    async def __call__(self, queue: str | None = None) -> list[LimitInfo]:
        """Return the limits of a queue, or of all queues: first the queue, then its groups by name."""
        return await self._do(operations.listing(self._context, queue))

    async def set(
        self,
        queue: str,
        *,
        group: str | None = None,
        concurrency: float | None = None,
        rate: str | float | None = None,
        burst: int | None = None,
        weight: float | None = None,
        aging: Seconds | None = None,
        replace: bool = False,
        by: str | None = None,
    ) -> bool:
        """Set the limits of a queue or of a group, for all workers together. Values that are not given stay.

        The limits apply from the next claim on. Running jobs continue. Return False if nothing has changed.
        They override the limits that functions declare in code, each value by itself.

        Args:
            queue: The queue; it is created if it does not exist.
            group: One of its groups, ``"*"`` for all groups without limits of their own; default the queue itself.
            concurrency: How many jobs may run at once; ``math.inf`` exempts a group from the limit for all groups.
            rate: How many jobs may start per period: ``"100/s"``, ``"10/min"``, ``"5/h"``, a number per second, or
                ``math.inf``.
            burst: How many may start at once under the rate; default the number per period.
            weight: The share of a group relative to others, 0.01 to 100; default 1.
            aging: Seconds after which a waiting job of the queue gets the next priority; 0 for never.
            replace: Whether to remove the values that are not given, instead of keeping them.
            by: The person or program that sets them, for the audit.

        Raises:
            ConfigError: The queue is new, and there are too many queues.
            InvalidJob: A value is not valid, or is not allowed there; or the queue has several lanes, and the
                limit would span them.
        """
        return await self._act(
            operations.set_limit,
            by,
            queue,
            group=group,
            concurrency=concurrency,
            rate=rate,
            burst=burst,
            weight=weight,
            aging=aging,
            replace=replace,
        )

    async def clear(
        self, queue: str, *, group: str | None = None, declared: bool = False, by: str | None = None
    ) -> bool:
        """Delete the limits that were set for a queue or for a group. Return False if there were none.

        A limit that a function declares there in code applies again.

        Args:
            queue: The queue.
            group: One of its groups, ``"*"`` for the default of all groups; None for the queue itself.
            declared: Whether to delete the declared limit too. A worker that still declares it stores it again when it
                starts.
            by: The person or program that deletes them, for the audit.

        Raises:
            ConfigError: There is no such queue.
            InvalidJob: The name of the group is not valid.
        """
        return await self._act(operations.clear, by, queue, group=group, declared=declared)

    async def define(
        self,
        name: str,
        *,
        rate: str | int | None = None,
        concurrency: int | None = None,
        adaptive: tuple[int, int] | None = None,
        replace: bool = False,
        by: str | None = None,
    ) -> bool:
        """Define a named limit, which functions of all queues share: ``@job(limits=[name])``.

        What is not given stays as it was defined before. It applies to runs that start from now on. Return False if
        it was defined so before.

        Args:
            name: Its name: 1 to 64 letters, digits and characters of ``_.:-``.
            rate: The most that the costs of the jobs that start within any period are together: ``"100/1m"``,
                ``"5/10s"``, ``"1000/h"``, or a whole number per second.
            concurrency: The most jobs that run at once.
            adaptive: Bounds between which the concurrency grows slowly, and halves when a job raises `RateLimited`.
            replace: Whether to remove what is not given, instead of keeping it.
            by: The person or program that defines it, for the audit.

        Raises:
            InvalidJob: A value is not valid, or none is given.
        """
        return await self._act(
            gates.define, by, name, rate=rate, concurrency=concurrency, adaptive=adaptive, replace=replace
        )

    async def named(
        self,
        name: str,
        *,
        rate: str | int | None = None,
        concurrency: int | None = None,
        adaptive: tuple[int, int] | None = None,
        replace: bool = False,
        by: str | None = None,
    ) -> bool:
        """Define a named limit: the older name of `define`."""
        return await self.define(name, rate=rate, concurrency=concurrency, adaptive=adaptive, replace=replace, by=by)

    async def all_named(self) -> list[NamedLimit]:
        """Return the named limits and their present use, by name."""
        return await self._do(gates.named_limits(self._context))

    async def remove(self, name: str, *, by: str | None = None) -> bool:
        """Remove a named limit; its jobs are not limited any more. Return False if there was none.

        Args:
            name: Its name.
            by: The person or program that removes it, for the audit.

        Raises:
            InvalidJob: The name is not valid.
        """
        return await self._act(gates.remove, by, name)

    async def close(
        self, name: str, seconds: Seconds | None = None, *, reason: str | None = None, by: str | None = None
    ) -> bool:
        """Let no further job of a named limit start. Running jobs continue.

        Args:
            name: Its name.
            seconds: For how long; None until somebody opens it.
            reason: Why.
            by: The person or program that closes it.

        Raises:
            InvalidJob: A value is not valid.
        """
        return await self._act(gates.close_limit, by, name, seconds, reason=reason, by=by)

    async def open(self, name: str, *, by: str | None = None) -> bool:
        """Open a named limit that is closed. Return False if it was open.

        Args:
            name: Its name.
            by: The person or program that opens it.

        Raises:
            InvalidJob: The name is not valid.
        """
        return await self._act(gates.open_limit, by, name, by=by)


class AsyncGroups(AsyncPart):
    """The groups of an `AsyncFleet` whose jobs have an order."""

    async def __call__(self, queue: str | None = None, *, limit: int = 1000) -> list[SequenceInfo]:
        """Return the sequences that have open jobs or are parked, by queue and name.

        Args:
            queue: Only those of this queue.
            limit: How many are returned at most; never more than 10,000.

        Raises:
            InvalidJob: `limit` is not a whole number from 1.
            UnknownQueue: There is no such queue.
        """
        return await self._do(limits.list_sequences(self._context, queue, limit))

    async def show(self, group: str, *, queue: str | None = None) -> SequenceInfo:
        """Return a sequence with the first 20 jobs behind its head.

        Args:
            group: Its name.
            queue: Its queue, if several queues have a sequence of this name.

        Raises:
            ConfigError: Several queues have such a sequence.
            InvalidJob: The name is not valid.
            UnknownGroup: It has no open job and is not parked.
            UnknownQueue: There is no such queue.
        """
        return await self._do(limits.show_sequence(self._context, group, queue))

    async def skip(self, group: str, *, queue: str | None = None, by: str | None = None) -> str | None:
        """End the head of a sequence, so that the next job follows.

        A head that waits is cancelled, and one that runs is asked to stop. Behind a head that has failed, the sequence
        continues.

        Args:
            group: Its name.
            queue: Its queue, if several queues have a sequence of this name.
            by: The person or program that skips, for the record.

        Returns:
            The id of the head; None if it ended in this moment.

        Raises:
            ConfigError: Several queues have such a sequence.
            InvalidJob: The name is not valid.
            UnknownGroup: It has no open job and is not parked.
            UnknownQueue: There is no such queue.
        """
        seen = await self.show(group, queue=queue)
        work = limits.skip_head(self._context, group, seen.queue, by)
        return await self._audited(actions.skip_head(seen), work, by)

    async def resume(self, group: str, *, queue: str | None = None, by: str | None = None) -> bool:
        """Let a parked sequence go on with the job behind its head, which stays a dead letter.

        To run the head again instead, replay it: it takes its old place.

        Args:
            group: Its name.
            queue: Its queue, if several queues have a sequence of this name.
            by: The person or program that resumes, for the record.

        Returns:
            False if it was not parked.

        Raises:
            ConfigError: Several queues have such a sequence.
            InvalidJob: The name is not valid.
            UnknownGroup: It has no open job and is not parked.
            UnknownQueue: There is no such queue.
        """
        seen = await self.show(group, queue=queue)
        work = limits.resume_sequence(self._context, group, seen.queue)
        return await self._audited(actions.resume_sequence(seen), work, by)


class AsyncBreakers(AsyncPart):
    """The circuit breakers of an `AsyncFleet`."""

    async def __call__(self) -> list[BreakerInfo]:
        """Return the circuit breakers that have counted a run, by name."""
        return await self._do(gates.breakers(self._context))

    async def open(
        self, name: str, seconds: Seconds | None = None, *, reason: str | None = None, by: str | None = None
    ) -> bool:
        """Open a breaker, so that no further job starts behind it. Running jobs continue.

        Args:
            name: Its name: ``function:NAME``, ``group:QUEUE:GROUP`` or ``limit:NAME``.
            seconds: After this time some runs try again; None to stay open until somebody closes it.
            reason: Why.
            by: The person or program that opens it.

        Raises:
            InvalidJob: A value is not valid.
        """
        return await self._act(gates.open_breaker, by, name, seconds, reason=reason, by=by)

    async def close(self, name: str, *, by: str | None = None) -> bool:
        """Close a breaker, so that its jobs start again. Return False if it was closed.

        Args:
            name: Its name.
            by: The person or program that closes it.

        Raises:
            InvalidJob: The name is not valid.
        """
        return await self._act(gates.close_breaker, by, name, by=by)
