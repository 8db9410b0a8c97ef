"""Read which commands of its role the user of this process may not run."""

from __future__ import annotations

from jobfleet.errors import JobfleetError
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import Operation, batches
from jobfleet.operations.unreadable import without_repair
from jobfleet.store.acl import probes, role_of, user_of
from jobfleet.store.calls import doctor
from jobfleet.store.target import FUNCTIONS


def lacking_commands(context: FleetContext) -> Operation[tuple[str, tuple[str, ...] | None]]:
    """Return the role of the user, and the commands of that role that it may not run; None if nobody can tell."""
    role = role_of(user_of(context.config.url))
    if context.config.scripts == FUNCTIONS:
        role = role.with_functions()
    parts = list(batches(probes(role, context.config.namespace), doctor.CHUNK))
    answers = yield without_repair([doctor.lacking(context.keys, part) for part in parts])
    found: list[str] = []
    for part, answer in zip(parts, answers, strict=True):
        if answer is None or isinstance(answer, JobfleetError):
            return role.name, None
        found += [part[number] for number in answer]
    return role.name, tuple(found)
