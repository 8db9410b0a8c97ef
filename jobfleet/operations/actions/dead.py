"""Actions on dead letters and their groups, as the audit records them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from jobfleet.operations.audit import Action, Change, Outcome
from jobfleet.operations.dead_groups import GroupState, group
from jobfleet.operations.dead_letters import DeadFilter
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import Operation
from jobfleet.operations.rescues import status
from jobfleet.store.calls.dead import NotedRescue

FILTERS = ("queue", "function", "fingerprint", "tag", "user", "since", "until")
VERBS = {GroupState.RESOLVED: "resolve", GroupState.IGNORED: "ignore", GroupState.KNOWN: "reopen"}
"""The states that people set, and how."""


def of_many(verb: str, chosen: DeadFilter) -> Action:
    """An action on all letters that match: ``replay`` or ``purge``."""
    given = {name: getattr(chosen, name) for name in FILTERS}
    words = " ".join(f"{name}={one}" for name, one in given.items() if one is not None)
    return Action(f"dead.{verb}", words or "all queues")


def decide(context: FleetContext, fingerprint: str, state: GroupState) -> Action:
    """A decision about a group: one of `VERBS`."""
    after = {"state": str(state)}
    return Action(f"dead.{VERBS[state]}", f"{fingerprint}", after, partial(_state, context, fingerprint, after))


def _state(context: FleetContext, fingerprint: str, after: Mapping[str, Any]) -> Operation[Change]:
    found = yield from group(context, fingerprint)
    before = {"state": str(found.state), **({"decided_by": found.by} if found.by else {})}
    return Change(before, after)


def rescue(
    context: FleetContext, fingerprint: str, *, rate: float | str, canary: Sequence[int], stop_after: int
) -> Action:
    """A rescue of a group."""
    after = {"rate": rate, "canary": canary, "stop_after": stop_after}
    look = partial(_letters, context, fingerprint, after)
    return Action("rescue.start", f"{fingerprint}", after, look, lambda made: Outcome("done", after={"id": made}))


def _letters(context: FleetContext, fingerprint: str, after: Mapping[str, Any]) -> Operation[Change]:
    found = yield from group(context, fingerprint)
    return Change({"state": str(found.state), "letters": found.count}, after)


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
