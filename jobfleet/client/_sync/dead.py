# Made by scripts/unasync from jobfleet/client/_async/dead.py. Change that, and run scripts/unasync.
"""Operations on dead letters and their groups, and `Rescue`: the rescue of a group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

from jobfleet.client._sync.audit import Audit, Part

if TYPE_CHECKING:
    from jobfleet.operations.dead_groups import DeadGroup, DeadGroups
    from jobfleet.operations.dead_letters import DeadFilters, DeadLetters
    from jobfleet.operations.fleet_context import FleetContext
    from jobfleet.operations.operation import Driver
    from jobfleet.operations.rescues import RescueStatus


class Dead(Audit):
    """Operations of a client on dead letters and their groups."""

    def dead(
        self, queue: str | None = None, *, limit: int = 50, cursor: str = "", **filters: Unpack[DeadFilters]
    ) -> DeadLetters:
        """Return a page of the dead letters that match all given filters, newest first.

        A page costs a bounded number of commands. So a page of letters that match rarely may be short, or even empty,
        and still have a cursor.

        Args:
            queue: A queue; None for all.
            limit: The most dead letters to return; default 50.
            cursor: `DeadLetters.cursor` of the previous page.
            filters: Which letters; see `DeadFilters`.

        Raises:
            ConfigError: There is no such queue, or the cursor is not from such a page.
            InvalidJob: A filter has a wrong value, or `limit` is not a whole number from 0.
        """
        from jobfleet.operations import dead_letters
        from jobfleet.operations.dead_letters import DeadFilter

        return self._do(dead_letters.dead(self.context, DeadFilter(queue=queue, **filters), limit=limit, cursor=cursor))

    def count_dead(self, queue: str | None = None, **filters: Unpack[DeadFilters]) -> int:
        """Count the dead letters that `replay_many` would replay now. The filters and the errors are the same."""
        from jobfleet.operations import dead_letters
        from jobfleet.operations.dead_letters import DeadFilter

        return self._do(dead_letters.count(self.context, DeadFilter(queue=queue, **filters)))

    def dead_groups(self, queue: str | None = None, *, limit: int = 50, cursor: str = "") -> DeadGroups:
        """Return a page of the groups of dead letters, those with the newest letters first.

        A group has the letters of one function whose errors differ only in numbers, ids and addresses. The 1,000
        groups with the newest letters are kept, each for 90 days.

        Args:
            queue: Count only the letters of this queue, and leave out groups without any; None for all queues.
            limit: The most groups to return; default 50.
            cursor: `DeadGroups.cursor` of the previous page.

        Raises:
            ConfigError: There is no such queue, or the cursor is not from such a page.
            InvalidJob: `limit` is not a whole number from 1.
        """
        from jobfleet.operations import dead_groups

        return self._do(dead_groups.groups(self.context, queue, limit=limit, cursor=cursor))

    def dead_group(self, fingerprint: str) -> DeadGroup:
        """Return one group of dead letters.

        Raises:
            UnknownGroup: There is no such group.
            InvalidJob: The text is not a fingerprint.
        """
        from jobfleet.operations import dead_groups

        return self._do(dead_groups.group(self.context, fingerprint))

    def rescue(
        self,
        fingerprint: str,
        *,
        rate: float | str = "10/s",
        canary: Sequence[int] = (1, 10),
        stop_after: int = 1,
        by: str | None = None,
    ) -> Rescue:
        """Replay a group of dead letters in steps: a canary, and when it has ended well, the rest at a rate.

        The reapers carry it out. It stops by itself when jobs fail again. Letters that come later are not replayed.

        Args:
            fingerprint: The group.
            rate: Jobs per second after the canary, or a text such as ``5/min``; at most 1,000 per second.
            canary: The numbers of jobs to replay first. The next number follows when all jobs before it have ended.
            stop_after: The number of jobs that fail again after which it stops.
            by: The person or program that rescues, for the record.

        Raises:
            UnknownGroup: There is no such group.
            ConfigError: The group has no dead letters, or a rescue of it is not over.
            InvalidJob: An argument is not valid.
        """
        from jobfleet.operations import rescues

        plan = self._act(rescues.start, by, fingerprint, rate=rate, canary=canary, stop_after=stop_after, by=by)
        return Rescue(self.context, self._do, plan)

    def rescues(self, *, limit: int = 50) -> list[RescueStatus]:
        """Return the last rescues, the newest first; at most 100 are kept, each for 30 days.

        Args:
            limit: The most rescues to return; default 50.

        Raises:
            InvalidJob: `limit` is not a whole number from 1.
        """
        from jobfleet.operations import rescues

        return self._do(rescues.listing(self.context, limit=limit))

    def rescue_of(self, rescue: str) -> Rescue:
        """Return a rescue by its id, or the last one of a group by the fingerprint.

        Raises:
            UnknownRescue: There is no such rescue.
        """
        from jobfleet.operations import rescues

        return Rescue(self.context, self._do, self._do(rescues.find(self.context, rescue)))


class Rescue(Part):
    """The rescue of a group of dead letters, which the reapers carry out.

    Args:
        context: The context of the client.
        do: Runs an operation.
        rescue: The id of the rescue.

    Attributes:
        id: The id of the rescue.
    """

    def __init__(self, context: FleetContext, do: Driver, rescue: str) -> None:
        super().__init__(context, do)
        self.id = rescue

    def __str__(self) -> str:
        return self.id

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    def status(self) -> RescueStatus:
        """Return the state of the rescue, with the counts of its jobs.

        Raises:
            UnknownRescue: The rescue is not kept any more.
        """
        from jobfleet.operations import rescues

        return self._do(rescues.status(self._context, self.id))

    def stop(self, *, by: str | None = None) -> bool:
        """Replay no further letter. Return False if the rescue was not running.

        Args:
            by: The person or program that stops it, for the record.

        Raises:
            UnknownRescue: The rescue is not kept any more.
        """
        from jobfleet.operations import rescues

        action = rescues.action(self._context, "stop", self.id)
        return self._audited(action, rescues.stop(self._context, self.id, by), by)

    def undo(self, *, by: str | None = None) -> int:
        """Stop the rescue, and make dead letters again of its jobs that have not started.

        They get their old error and history. Return how many there were, in all calls. Repeating the call is safe.

        Args:
            by: The person or program that undoes it, for the record.

        Raises:
            UnknownRescue: The rescue is not kept any more.
        """
        from jobfleet.operations import rescues

        action = rescues.action(self._context, "undo", self.id)
        self._audited(action, rescues.undo(self._context, self.id, by), by)
        return (self.status()).undone
