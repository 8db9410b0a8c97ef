"""The actions of operators as the audit records them: on jobs, dead letters, and what a fleet consists of.

Of arguments, an action has the names and none of the values.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from jobfleet.operations.audit import Action, Change, Outcome
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import Operation
from jobfleet.operations.rescues import status
from jobfleet.store.calls.dead import NotedRescue

# --------------------------------------------------------------------------------------- many jobs


# --------------------------------------------------------------------------------------------------------- dead letters


def stop_rescue(context: FleetContext, made: str) -> Action:
    """The stop of a rescue."""
    after = {"state": "stopped"}
    return Action("rescue.stop", f"{made}", after, partial(_rescue, context, made, after))


def undo_rescue(context: FleetContext, made: str) -> Action:
    """The undoing of a rescue. One without jobs in flight is stopped."""
    return Action("rescue.undo", f"{made}", {}, partial(_rescue, context, made, {}), _undone)


def _rescue(context: FleetContext, made: str, after: Mapping[str, Any]) -> Operation[Change]:
    found = yield from status(context, made)
    return Change({"state": found.state, "replayed": found.replayed, "in_flight": found.in_flight}, after)


def _undone(noted: NotedRescue) -> Outcome:
    return Outcome("done" if noted.state != noted.before else "unchanged", after={"state": noted.state})


# ------------------------------------------------------------------------------------------------------------ the fleet


def detach_archive() -> Action:
    """The end of the archive: events are not kept for it any more."""
    return Action("archive.detach", "all queues")
