"""The greeting of a connection: which server answers, and whether it may be used.

An address may lead to another server than before: after a failover a name, a virtual address or a proxy leads to the
new primary, while connections to the old one stay open as long as it lives. So whoever holds leases asks each new
connection for the server's run id and role. A server that follows another one is refused as if it had answered a write.
"""

from __future__ import annotations

from collections.abc import Mapping

from redis.exceptions import ReadOnlyError

from jobfleet.store.call import Command
from jobfleet.store.connect import check_version

ASKED: Command = ("INFO", "server", "replication")


def info_of(reply: bytes) -> dict[str, str]:
    """INFO's text as a mapping."""
    lines = (line.partition(":") for line in reply.decode().splitlines())
    return {name: value for name, _, value in lines if value}


class Greeting:
    """What the greetings of a link's connections have told.

    Args:
        needs_primary: Whether a server that follows another one is refused.

    Attributes:
        server: The run id of the server that answered last; None before one did, and where it does not say.
    """

    def __init__(self, *, needs_primary: bool) -> None:
        self._needs_primary = needs_primary
        self._is_checked = False
        self.server: str | None = None

    @property
    def is_due(self) -> bool:
        """Whether a new connection is to be asked."""
        return self._needs_primary or not self._is_checked

    def hear(self, info: Mapping[str, str]) -> bool:
        """Take an answer; whether older connections are to be let go, since they lead to another server.

        Raises:
            ConfigError: The server is too old.
        """
        if not self._is_checked:
            check_version(info)
            self._is_checked = True
        before, self.server = self.server, info.get("run_id")
        return self._needs_primary and before is not None and before != self.server

    def refuses(self, info: Mapping[str, str]) -> ReadOnlyError | None:
        """Why a server may not be used, so that it is asked again later; None where it may."""
        if self._needs_primary and info.get("role") == "slave":
            return ReadOnlyError("You can't write against a read only replica.")
        return None
