# Made by scripts/unasync from jobfleet/client/_async/audit.py. Change that, and run scripts/unasync.
"""Actions of operators with their records, `fleet.audit`, and the base of the parts of a client."""

from __future__ import annotations

from collections.abc import Generator
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from jobfleet.client._sync.background import Act, T
from jobfleet.client._sync.connection import Connection
from jobfleet.errors import JobfleetError, StoreUnavailable
from jobfleet.operations import audit
from jobfleet.operations.audit import Action
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import Driver, Operation, run_ahead

if TYPE_CHECKING:
    from jobfleet.model.audit import AuditPage
    from jobfleet.operations.verb import P, Verb


def audited(context: FleetContext, do: Driver, action: audit.Action, act: Act[T], *, by: str | None = None) -> T:
    """Do an action of an operator, and record it.

    Args:
        context: The context of the fleet.
        do: Runs an operation.
        action: What is done.
        act: Does it.
        by: The person or program that does it.
    """
    if not audit.is_audited(context, action, by):
        return act()
    try:
        begun = do(audit.begin(context, action, by))
    except StoreUnavailable as error:
        if not action.is_elsewhere:
            raise
        audit.report_refused(context, action, error)
        begun = None
    try:
        result = act()
    except StoreUnavailable:  # it may have been done
        raise
    except JobfleetError as error:
        _end(context, do, begun, audit.Outcome("error", error=type(error).__name__))
        raise
    _end(context, do, begun, action.end(result))
    return result


def _end(context: FleetContext, do: Driver, begun: audit.Begun | None, outcome: audit.Outcome) -> None:
    if begun is None:
        return
    try:
        do(audit.end(context, begun, outcome))
    except StoreUnavailable as error:  # what was done is not to seem to have failed
        audit.report_unended(begun, error)


def audited_operation(
    context: FleetContext, do: Driver, action: audit.Action, work: Operation[T], *, by: str | None
) -> T:
    """Run the operation of an action of an operator, and record it. Arguments that it refuses are not recorded."""
    if not audit.is_audited(context, action, by):
        return do(work)
    rest: Any = run_ahead(work)
    if not isinstance(rest, Generator):
        return cast(T, rest)
    going: Operation[T] = rest
    return audited(context, do, action, lambda: do(going), by=by)


def act(
    context: FleetContext, do: Driver, verb: Verb[P, T], act_by: str | None, /, *args: P.args, **named: P.kwargs
) -> T:
    """Run a verb, and record it unless it only looks, or a program does it with one job and does not say who it is."""
    work = verb(context, *args, **named)
    if named.get("dry_run") or (verb.is_of_one_job and act_by is None and context.source == "python"):
        return do(work)
    return audited_operation(context, do, verb.action(context, *args, **named), work, by=act_by)


class Audit(Connection):
    """A connection that records the actions of operators."""

    def _audited(self, action: audit.Action, work: Operation[T], by: str | None) -> T:
        return audited_operation(self.context, self._do, action, work, by=by)

    def _act(self, verb: Verb[P, T], act_by: str | None, /, *args: P.args, **named: P.kwargs) -> T:
        """Run a verb, and record it."""
        return act(self.context, self._do, verb, act_by, *args, **named)

    def record_refusal(self, action: str, target: str, *, by: str, why: str, count: int = 1) -> None:
        """Record in the audit that an action was refused, as the web dashboard does.

        Args:
            action: What was asked for, such as ``web.login``.
            target: To what.
            by: Who has asked for it.
            why: The code of the refusal.
            count: How many refusals the entry stands for.

        Raises:
            StoreUnavailable: Redis did not answer within `patience` seconds.
        """
        self._do(audit.refuse(self.context, audit.Action(action, target), by, why, count))

    def audit(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        by: str | None = None,
        action: str | None = None,
        target: str | None = None,
        limit: int = 50,
        cursor: str = "",
    ) -> AuditPage:
        """Return a page of what operators have done, the newest first.

        Args:
            since: Only entries that were recorded at this time or later. An action is recorded when it has ended.
            until: Only entries that were recorded before this time.
            by: Only actions of this person or program.
            action: Only this action, such as ``queue.pause``, or this kind, such as ``queue``.
            target: Only actions on a target that contains this text.
            limit: The largest number of entries.
            cursor: `AuditPage.cursor` of the previous page.

        Raises:
            InvalidJob: An argument has a wrong value.
            StoreUnavailable: Redis did not answer within `patience` seconds, or the archive did not answer.
        """
        from jobfleet.model.audit import AuditFilter

        chosen = AuditFilter(since=since, until=until, by=by, action=action, target=target)
        found = self._do(audit.page(self.context, chosen, limit=limit, cursor=cursor))
        while self.config.archive_url is not None and not found.is_full:
            records = self._audit_in_archive(chosen, found.low, limit)
            found = audit.continued(found, records, chosen, limit=limit)
            if len(records) < limit:
                break
        return found.page


class Part:
    """Operations of a client under a name of their own.

    Args:
        context: The names and settings of the fleet.
        do: Runs an operation.
    """

    def __init__(self, context: FleetContext, do: Driver) -> None:
        self._context = context
        self._do = do

    def _audited(self, action: Action, work: Operation[T], by: str | None) -> T:
        return audited_operation(self._context, self._do, action, work, by=by)

    def _act(self, verb: Verb[P, T], act_by: str | None, /, *args: P.args, **named: P.kwargs) -> T:
        """Run a verb, and record it."""
        return act(self._context, self._do, verb, act_by, *args, **named)
