"""Which outboxes are relayed, as live reapers have announced it."""

from __future__ import annotations

from jobfleet.client.base import ClientBase
from jobfleet.errors import StoreUnavailable
from jobfleet.outbox.statements import relayed_by
from jobfleet.store.calls.presence import attendants
from jobfleet.store.sync import Store
from jobfleet.store.target import target_of

ANSWER = 1.0
"""Seconds for which Redis may connect, and then reply."""
_OF_ONE_PROCESS = ("memory://", "embedded://")
"""Beginnings of URLs of servers that a program starts for itself."""


def outbox_relays(client: ClientBase) -> tuple[str, ...] | None:
    """Read, over a connection of its own, the names of the databases whose outboxes live reapers relay.

    Args:
        client: The client, for its settings; it may be an awaited one. It is not connected.

    Returns:
        One name per relay, such as ``sqlite/shop.db``; None if Redis does not reply at once, or is of this process.

    Raises:
        JobfleetError: Redis refuses this client, for example its password.
    """
    config = client.config
    if client.target is None and config.url.startswith(_OF_ONE_PROCESS):
        return None
    try:
        at = client.target or target_of(config)
        if at.fake:
            return None
        store = Store(at, patience=0.0, connect_timeout=ANSWER, socket_timeout=ANSWER, max_connections=1)
        try:
            found = store.run(attendants(client.context.keys))
        finally:
            store.close()
    except StoreUnavailable:
        return None
    return relayed_by(config, found)
