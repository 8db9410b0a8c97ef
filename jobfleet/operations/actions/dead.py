"""Actions on dead letters and their groups, as the audit records them."""

from __future__ import annotations

from collections.abc import Sequence

from jobfleet.operations.audit import Action, Outcome
from jobfleet.operations.dead.filters import DeadFilter

FILTERS = ("queue", "function", "fingerprint", "tag", "user", "since", "until")


def of_many(verb: str, chosen: DeadFilter) -> Action:
    """An action on all letters that match: ``replay`` or ``purge``."""
    given = {name: getattr(chosen, name) for name in FILTERS}
    words = " ".join(f"{name}={one}" for name, one in given.items() if one is not None)
    return Action(f"dead.{verb}", words or "all queues")


def decide(verb: str, fingerprint: str) -> Action:
    """A decision about a group: ``resolve``, ``ignore`` or ``reopen``."""
    return Action(f"dead.{verb}", f"{fingerprint}")


def rescue(fingerprint: str, *, rate: float | str, canary: Sequence[int], stop_after: int) -> Action:
    """A rescue of a group."""
    after = {"rate": rate, "canary": canary, "stop_after": stop_after}
    return Action("rescue.start", f"{fingerprint}", after, end=lambda made: Outcome("done", after={"id": made}))


def stop_rescue(made: str) -> Action:
    """The stop of a rescue."""
    return Action("rescue.stop", f"{made}")


def undo_rescue(made: str) -> Action:
    """The undoing of a rescue."""
    return Action("rescue.undo", f"{made}")
