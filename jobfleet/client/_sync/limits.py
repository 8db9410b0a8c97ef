# Made by scripts/unasync from jobfleet/client/_async/limits.py. Change that, and run scripts/unasync.
"""Limits, strict sequences and circuit breakers of a fleet: `fleet.limits`, `fleet.groups` and `fleet.breakers`."""

from __future__ import annotations

from jobfleet.client._sync.limits_verbs import BreakersVerbs, GroupsVerbs, LimitsVerbs
from jobfleet.model.limits import BreakerInfo, LimitInfo, NamedLimit, SequenceInfo
from jobfleet.operations import gates, limits


class Limits(LimitsVerbs):
    """The limits of an `Fleet`."""

    def __call__(self, queue: str | None = None) -> list[LimitInfo]:
        """Return the limits of a queue, or of all queues: first the queue, then its groups by name."""
        return self._do(limits.listing(self._context, queue))

    def named(
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
        return self.define(name, rate=rate, concurrency=concurrency, adaptive=adaptive, replace=replace, by=by)

    def all_named(self) -> list[NamedLimit]:
        """Return the named limits and their present use, by name."""
        return self._do(gates.named_limits(self._context))


class Groups(GroupsVerbs):
    """The groups of an `Fleet` whose jobs have an order."""

    def __call__(self, queue: str | None = None, *, limit: int = 1000) -> list[SequenceInfo]:
        """Return the sequences that have open jobs or are parked, by queue and name.

        Args:
            queue: Only those of this queue.
            limit: How many are returned at most; never more than 10,000.

        Raises:
            InvalidJob: `limit` is not a whole number from 1.
            UnknownQueue: There is no such queue.
        """
        return self._do(limits.list_sequences(self._context, queue, limit))

    def show(self, group: str, *, queue: str | None = None) -> SequenceInfo:
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
        return self._do(limits.show_sequence(self._context, group, queue))


class Breakers(BreakersVerbs):
    """The circuit breakers of an `Fleet`."""

    def __call__(self) -> list[BreakerInfo]:
        """Return the circuit breakers that have counted a run, by name."""
        return self._do(gates.breakers(self._context))
