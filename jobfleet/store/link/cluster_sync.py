"""The blocking link to a cluster: a pool per node; the parts of an exchange are in flight at the same time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from redis.exceptions import ClusterDownError

from jobfleet.errors import ConfigError
from jobfleet.store.call import Command
from jobfleet.store.connect import connections, node_at
from jobfleet.store.link.cluster import ASK_SLOTS, REDIRECTIONS, WAITS, Router, SlotMap, with_asking
from jobfleet.store.link.sync import LINK_ERRORS, MOST, SocketLink, fill, packed, read_reply
from jobfleet.store.target import Address, Target


class ClusterLink:
    """Blocking connections to the nodes of a cluster, safe for threads and after a fork.

    There is no lock: several threads may read the map at once, and each uses the newest one that it sees.
    """

    def __init__(
        self,
        at: Target,
        *,
        connect_timeout: float,
        socket_timeout: float,
        busy_poll: float = 0.0,
        max_connections: int = MOST,
    ) -> None:
        self._at = at
        self._options: Mapping[str, Any] = {
            "connect_timeout": connect_timeout,
            "socket_timeout": socket_timeout,
            "busy_poll": busy_poll,
            "max_connections": max_connections,
        }
        assert at.cluster is not None  # noqa: S101 - for the type checker
        self._seeds = at.cluster
        self.router: Router = Router(at.cluster, at.shown, timeout=min(connect_timeout, socket_timeout))
        self._links: dict[Address, SocketLink] = {}

    def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands to their nodes; return a reply or an exception for each."""
        if not commands:
            return []
        try:
            slots = self._slots()
        except (*LINK_ERRORS, ConfigError) as error:
            return fill([], commands, error)
        parts = self.router.parts(commands, slots)
        if len(parts) == 1 and None not in parts and commands[-1][0] not in WAITS:  # the usual case
            ((address, _),) = parts.items()
            replies = self._link(address).exchange(commands)
            self.router.heard(address, replies)
        else:
            sent = self._sent([(one, slots.counted(one, commands, numbers)) for one, numbers in parts.items()])
            replies = self.router.joined(commands, parts, sent)
        for reply in replies:
            if isinstance(reply, Exception):
                asked = {number: one for one, numbers in parts.items() if one for number in numbers}
                return self._followed(commands, replies, asked)
        return replies

    def exchange_as_made(self, parts: Iterator[Sequence[Command]]) -> list[Any]:
        """Make all parts, and send them to their nodes; return a reply or an exception for each command."""
        return self.exchange(list(chain.from_iterable(parts)))

    def greet(self, *, leaves: bool) -> Mapping[str, str] | BaseException:  # noqa: ARG002 - the map tells
        """Read the map of the slots again."""
        try:
            self._refresh()
        except (*LINK_ERRORS, ConfigError) as error:
            return error
        return {}

    def close(self) -> None:
        """Close the connections."""
        for link in list(self._links.values()):
            link.close()

    def _sent(self, parts: Sequence[tuple[Address | None, list[Command]]]) -> list[list[Any]]:
        """Send the parts to several nodes, then read all replies."""
        sendings: list[Sending] = []
        try:
            for address, part in parts:
                if address is not None:
                    sendings.append(Sending(self._link(address), part))
            replies = iter([sending.replies() for sending in sendings])
        except BaseException:
            for sending in sendings:
                sending.abandon()
            raise
        down = ClusterDownError("CLUSTERDOWN Hash slot not served")
        return [fill([], part, down) if address is None else next(replies) for address, part in parts]

    def _followed(self, commands: Sequence[Command], replies: list[Any], asked: dict[int, Address]) -> list[Any]:
        """Send commands again to the nodes that their replies name."""
        for _ in range(REDIRECTIONS):
            detours = self.router.detours(commands, replies, asked)
            if not detours:
                return replies
            parts = [(to.address, with_asking(commands, numbers, to)) for to, numbers in detours.items()]
            for (to, numbers), part in zip(detours.items(), self._sent(parts), strict=True):
                for number, reply in zip(numbers, part[1::2] if to.is_asking else part, strict=True):
                    replies[number], asked[number] = reply, to.address
        return self.router.given_up(replies)

    def _slots(self) -> SlotMap:
        """Return the map of the slots; read it if it is due.

        Raises:
            ConfigError: This is not a cluster.
            redis.RedisError: No node replied, and none has before.
        """
        if self.router.is_due():
            self._refresh()
        slots = self.router.slots
        if slots is None:  # another thread has just begun to read it
            self._refresh()
            slots = self.router.slots
        assert slots is not None  # noqa: S101 - for the type checker
        return slots

    def _refresh(self) -> None:
        candidates = self.router.candidates()
        share = self.router.share(candidates)
        last: Exception | None = None
        for address in candidates:
            try:
                return self.router.learn(self._asked(address, share), address)
            except LINK_ERRORS as error:
                last = error
        self.router.not_learnt()
        if self.router.slots is None and last is not None:
            raise last
        return None

    def _asked(self, address: Address, timeout: float) -> Any:
        """Ask a node for the map, on a connection of its own: a node of the URL may be used for nothing else."""
        node = node_at(self._seeds, address, self._at.shown)
        connection = connections(node, connect_timeout=timeout, socket_timeout=timeout)()
        try:
            connection.connect()
            connection.send_command(*ASK_SLOTS)
            return read_reply(connection)
        finally:
            connection.disconnect()

    def _link(self, address: Address | None) -> SocketLink:
        assert address is not None  # noqa: S101 - for the type checker
        link = self._links.get(address)
        if link is None:
            made = SocketLink(node_at(self._seeds, address, self._at.shown), **self._options)
            link = self._links.setdefault(address, made)
        return link


class Sending:
    """Commands that were sent to one node. Its replies must be read, or it must be abandoned.

    Args:
        link: The link to the node.
        commands: The commands.
    """

    def __init__(self, link: SocketLink, commands: Sequence[Command]) -> None:
        self._pool = link.pool
        self._commands = commands
        self._connection: Any = None
        self._error: Exception | None = None
        is_first = self._pool.nest()  # threads that have a connection here, and wait for one there, could block
        try:
            self._connection = self._pool.take()
            self._connection.send_packed_command(packed(self._connection, commands), check_health=False)
        except LINK_ERRORS as error:
            self._error = error
        except BaseException:
            self.abandon()
            raise
        finally:
            if is_first:
                self._pool.unnest()

    def replies(self) -> list[Any]:
        """Return a reply or an exception for each command."""
        found: list[Any] = []
        if self._error is None:
            try:
                for _ in self._commands:
                    found.append(read_reply(self._connection))  # noqa: PERF401 - what came before an error stays
            except LINK_ERRORS as error:
                self._error = error
        if self._error is None:
            connection, self._connection = self._connection, None
            self._pool.give(connection)
            return found
        if self._connection is not None:
            self.abandon()
            self._pool.close()
        return fill(found, self._commands, self._error)

    def abandon(self) -> None:
        """Close the connection, because replies are left on it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.drop(connection)
