"""`Store`: runs calls, blocking. Only `AsyncStore` and this class do I/O with scripts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from jobfleet.store._sync.runner import CallRunner
from jobfleet.store.link.sync import MOST, Link, SocketLink
from jobfleet.store.target import Target
from jobfleet.store.trip import Recorder

if TYPE_CHECKING:
    from jobfleet.store.link.cluster_sync import ClusterLink


def _cluster_link() -> type[ClusterLink]:
    from jobfleet.store.link.cluster_sync import ClusterLink  # few fleets need it

    return ClusterLink


class Store(CallRunner):
    """Runs calls against a server; safe for threads.

    Args:
        at: The server.
        link: The connection to the server; by default sockets.
        patience: Seconds for which calls are retried while the server is unavailable; None for ever.
        connect_timeout: Time limit for connecting, in seconds.
        socket_timeout: Time limit for a reply, in seconds.
        busy_poll: Seconds for which a reply is polled before the thread sleeps; 0 for never.
        max_connections: The most connections that are open; callers wait for a free one.
        recorder: Learns of every round trip.
    """

    def __init__(
        self,
        at: Target,
        *,
        link: Link | None = None,
        patience: float | None = 10.0,
        connect_timeout: float = 5.0,
        socket_timeout: float = 5.0,
        busy_poll: float = 0.0,
        max_connections: int = MOST,
        recorder: Recorder | None = None,
    ) -> None:
        kind = SocketLink if at.cluster is None else _cluster_link()
        link = link or kind(
            at,
            connect_timeout=connect_timeout,
            socket_timeout=socket_timeout,
            busy_poll=busy_poll,
            max_connections=max_connections,
        )
        if at.watcher is not None:
            from jobfleet.store.link.watched import WatchedLink  # for tests and injected faults

            link = WatchedLink(link, at.watcher)
        super().__init__(at, link, patience=patience, timeout=socket_timeout)
        self.recorder = recorder

    def _sleep(self, seconds: float) -> None:
        time.sleep(seconds)
