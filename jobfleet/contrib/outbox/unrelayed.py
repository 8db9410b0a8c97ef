"""Warn a program that writes rows which nobody relays. Redis is asked once per process, at the first row."""

from __future__ import annotations

from jobfleet.client.base import ClientBase
from jobfleet.client.outbox_relays import outbox_relays
from jobfleet.errors import JobfleetError, warn
from jobfleet.event_loop import in_thread
from jobfleet.outbox.statements import is_relayed

_asked: set[tuple[str, str]] = set()
"""The namespaces and databases about which Redis was asked."""


def warn_if_unrelayed(client: ClientBase, name: str) -> None:
    """Warn if Redis replies, and no live reaper has announced that it relays a database.

    Args:
        client: The client whose settings the row has.
        name: The name of the database.
    """
    if _is_first(client, name):
        _warn(client, name, _relays(client))


async def warn_if_unrelayed_awaited(client: ClientBase, name: str) -> None:
    """As `warn_if_unrelayed`, without blocking the event loop."""
    if _is_first(client, name):
        _warn(client, name, await in_thread(_relays, client))


def _relays(client: ClientBase) -> tuple[str, ...] | None:
    """What is relayed; None if that cannot be read, because a program that writes rows needs no Redis."""
    try:
        return outbox_relays(client)
    except JobfleetError:
        return None


def _is_first(client: ClientBase, name: str) -> bool:
    asked = (client.config.namespace, name)
    if asked in _asked:
        return False
    _asked.add(asked)
    return True


def _warn(client: ClientBase, name: str, relayed: tuple[str, ...] | None) -> None:
    if relayed is None or is_relayed(name, relayed):
        return
    others = f" Relayed are {', '.join(dict.fromkeys(relayed))}." if relayed else ""
    warn(
        f"No live reaper has announced that it relays the outbox in {name}, namespace {client.config.namespace!r}: "
        f"its rows wait until one does.{others} Set outbox_url / JOBFLEET_OUTBOX_URL where a reaper, a worker with "
        "with_reaper or 'jobfleet up' runs."
    )
