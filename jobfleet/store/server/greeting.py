"""The greeting of a connection: which server replies, and whether it may be used.

An address may lead to another server than before. After a failover, a name, a virtual address or a proxy leads to the
new primary, while connections to the old one stay open as long as it runs. Therefore a component that holds leases asks
for the run id and role of the server on each new connection. A replica is refused as if it had refused a write.
"""

from __future__ import annotations

from collections.abc import Mapping

from redis.exceptions import ReadOnlyError

from jobfleet.store.call import Command
from jobfleet.store.server.connect import check_version

ASKED: Command = ("INFO", "server", "replication")


def info_of(reply: bytes) -> dict[str, str]:
    """Parse the text of INFO to a mapping."""
    lines = (line.partition(":") for line in reply.decode().splitlines())
    return {name: value for name, _, value in lines if value}


class Greeting:
    """The information from the greetings of a link's connections.

    Args:
        needs_primary: Whether to refuse a replica.

    Attributes:
        server: The run id of the server that replied last; None before the first reply, or if it is unknown.
    """

    def __init__(self, *, needs_primary: bool) -> None:
        self._needs_primary = needs_primary
        self._is_checked = False
        self.server: str | None = None

    @property
    def is_due(self) -> bool:
        """Whether a new connection needs a greeting."""
        return self._needs_primary or not self._is_checked

    def hear(self, info: Mapping[str, str]) -> bool:
        """Process a greeting; return whether older connections must be closed because they lead to another server.

        Raises:
            ConfigError: The server is too old.
        """
        if not self._is_checked:
            check_version(info)
            self._is_checked = True
        before, self.server = self.server, info.get("run_id")
        return self._needs_primary and before is not None and before != self.server

    def refuses(self, info: Mapping[str, str]) -> ReadOnlyError | None:
        """Return the error for a server that may not be used, so that the call is retried; None if it may be used."""
        if self._needs_primary and info.get("role") == "slave":
            return ReadOnlyError("You can't write against a read only replica.")
        return None
