# Made by scripts/unasync from jobfleet/client/_async/limits_verbs.py. Change that, and run scripts/unasync.
# Made by scripts/unasync from the verbs in jobfleet/operations. Change those, and run scripts/unasync.
"""Verbs of operators: `jobfleet.operations` declares them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobfleet.client._sync.audit import Part

if TYPE_CHECKING:
    from jobfleet.model.option_types import Seconds


class LimitsVerbs(Part):
    """The verbs of `fleet.limits`."""

    def define(
        self,
        name: str,
        *,
        rate: str | int | None = None,
        concurrency: int | None = None,
        adaptive: tuple[int, int] | None = None,
        replace: bool = False,
        by: str | None = None,
    ) -> bool:
        """Define a named limit, which functions of all queues share, or change what is given of it.

        Args:
            name: The name: 1 to 64 letters, digits and characters of _.:-
            rate: Most of the costs of the jobs that start per time: 100/1m, 5/10s.
            concurrency: Most jobs that run at once.
            adaptive: Bounds of a concurrency that adapts itself.
            replace: Remove what is not given; otherwise it stays.
            by: The person or program that does it, for the record.

        Raises:
            InvalidJob: A value is wrong, or none is given, or there are too many limits.
        """
        from jobfleet.operations import gates

        return self._act(gates.define, by, name, rate=rate, concurrency=concurrency, adaptive=adaptive, replace=replace)

    def remove(self, name: str, *, by: str | None = None) -> bool:
        """Remove a named limit; its jobs are not limited any more.

        Args:
            name: The name of the limit.
            by: The person or program that does it, for the record.

        Raises:
            InvalidJob: The name is not valid.
        """
        from jobfleet.operations import gates

        return self._act(gates.remove, by, name)

    def close(
        self, name: str, seconds: Seconds | None = None, *, reason: str | None = None, by: str | None = None
    ) -> bool:
        """Let no further job of a named limit start. Running jobs continue.

        Args:
            name: The name of the limit.
            seconds: For how long; by default until somebody opens it.
            reason: The reason, for the record.
            by: The person or program that does it, for the record.

        Raises:
            InvalidJob: There is no such limit, or the time is not valid.
        """
        from jobfleet.operations import gates

        return self._act(gates.close_limit, by, name, seconds, reason=reason, by=by)

    def open(self, name: str, *, by: str | None = None) -> bool:
        """Open a named limit that is closed.

        Args:
            name: The name of the limit.
            by: The person or program that does it, for the record.

        Raises:
            InvalidJob: There is no such limit.
        """
        from jobfleet.operations import gates

        return self._act(gates.open_limit, by, name, by=by)

    def set(
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
        """Set the limits of a queue or of a group, for all workers together.

        Limits that are not given stay as they are. They apply from the next claim on; running jobs continue.

        Args:
            queue: The queue; it is created if it does not exist.
            group: A group of the queue; '*' for all groups without limits of their own.
            concurrency: Most jobs that run at once; 'none' exempts a group from the limit for all groups.
            rate: Most jobs that start in a time: 100/s, 10/min, 5/h.
            burst: Most jobs that start at once under the rate.
            weight: A group's share relative to others, 0.01 to 100; default 1.
            aging: Time after which a waiting job rises to the next priority; 0 means never.
            replace: Remove the limits that are not given.
            by: The person or program that does it, for the record.

        Raises:
            ConfigError: There are too many queues to create this one.
            InvalidJob: No limit is given; a value is wrong, does not apply to a queue, or does not apply to a group; or
                a limit of the whole queue is given and the queue has several lanes.
        """
        from jobfleet.operations import limits

        return self._act(
            limits.set_limit,
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

    def clear(self, queue: str, *, group: str | None = None, declared: bool = False, by: str | None = None) -> bool:
        """Delete the limits that were set for a queue, also its aging, or for a group.

        A limit that a function declares there in code applies again.

        Args:
            queue: The queue.
            group: A group of the queue; '*' for the default of all groups.
            declared: Also delete the limit that functions declare in code.
            by: The person or program that does it, for the record.

        Raises:
            ConfigError: The queue does not exist.
            InvalidJob: `group` is not a group name.
        """
        from jobfleet.operations import limits

        return self._act(limits.clear, by, queue, group=group, declared=declared)


class BreakersVerbs(Part):
    """The verbs of `fleet.breakers`."""

    def open(
        self, name: str, seconds: Seconds | None = None, *, reason: str | None = None, by: str | None = None
    ) -> bool:
        """Open a circuit breaker, so that no further job starts behind it. Running jobs continue.

        Args:
            name: The name: function:NAME, group:QUEUE:GROUP or limit:NAME, as 'jobfleet breakers ls' shows it.
            seconds: Until a trial; by default until somebody closes it.
            reason: The reason, for the record.
            by: The person or program that does it, for the record.

        Raises:
            InvalidJob: There is no such breaker, or the time is not valid.
        """
        from jobfleet.operations import gates

        return self._act(gates.open_breaker, by, name, seconds, reason=reason, by=by)

    def close(self, name: str, *, by: str | None = None) -> bool:
        """Close a circuit breaker: its jobs start again.

        Args:
            name: The name of the breaker.
            by: The person or program that does it, for the record.

        Raises:
            InvalidJob: There is no such breaker.
        """
        from jobfleet.operations import gates

        return self._act(gates.close_breaker, by, name, by=by)


class GroupsVerbs(Part):
    """The verbs of `fleet.groups`."""

    def resume(self, group: str, *, queue: str | None = None, by: str | None = None) -> bool:
        """Let a parked sequence go on with the job behind its head, which stays a dead letter.

        To run the head again instead, replay it: it takes its old place. A pause ends with 'jobfleet queues resume'.

        Args:
            group: The name of the sequence: its group.
            queue: Its queue, if several queues have a sequence of this name.
            by: The person or program that does it, for the record.

        Returns:
            False if it was not parked.

        Raises:
            ConfigError: Several queues have such a sequence.
            InvalidJob: The name is not valid.
            UnknownGroup: It has no open job and is not parked.
            UnknownQueue: There is no such queue.
        """
        from jobfleet.operations import limits

        return self._act(limits.resume_sequence, by, group, queue=queue)

    def skip(self, group: str, *, queue: str | None = None, by: str | None = None) -> str | None:
        """End the head of a sequence, so that the next job follows.

        A head that waits is cancelled, and one that runs is asked to stop. Behind a head that has failed, the sequence
        continues.

        Args:
            group: The name of the sequence: its group.
            queue: Its queue, if several queues have a sequence of this name.
            by: The person or program that does it, for the record.

        Returns:
            The id of the head; None if it ended in this moment.

        Raises:
            ConfigError: Several queues have such a sequence.
            InvalidJob: The name is not valid.
            UnknownGroup: It has no open job and is not parked.
            UnknownQueue: There is no such queue.
        """
        from jobfleet.operations import limits

        return self._act(limits.skip_head, by, group, queue=queue, by=by)
