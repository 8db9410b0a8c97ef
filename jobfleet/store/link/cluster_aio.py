"""The asyncio link to a cluster: a link per node; the parts of an exchange are in flight at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from redis.exceptions import ClusterDownError
from redis.exceptions import ConnectionError as RedisConnectionError

from jobfleet.errors import ConfigError
from jobfleet.store.call import Command
from jobfleet.store.connect import async_connections, disconnect, node_at
from jobfleet.store.link.aio import AsyncSocketLink, read_reply
from jobfleet.store.link.cluster import ASK_SLOTS, REDIRECTIONS, WAITS, Router, SlotMap, with_asking
from jobfleet.store.link.sync import LINK_ERRORS, MOST, fill
from jobfleet.store.target import Address, Target


class AsyncClusterLink:
    """Asyncio connections to the nodes of a cluster, for one event loop."""

    def __init__(
        self,
        at: Target,
        *,
        connect_timeout: float,
        socket_timeout: float,
        busy_poll: float = 0.0,
        needs_primary: bool = False,
        max_connections: int = MOST,
    ) -> None:
        self._at = at
        self._options: Mapping[str, Any] = {
            "connect_timeout": connect_timeout,
            "socket_timeout": socket_timeout,
            "busy_poll": busy_poll,
            "needs_primary": needs_primary,
            "max_connections": max_connections,
        }
        assert at.cluster is not None  # noqa: S101 - for the type checker
        self._seeds = at.cluster
        self.router: Router = Router(at.cluster, at.shown, timeout=min(connect_timeout, socket_timeout))
        self._links: dict[Address, AsyncSocketLink] = {}
        self._first = asyncio.Lock()
        self._is_closed = False

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands to their nodes; return a reply or an exception for each."""
        if not commands:
            return []
        try:
            slots = await self._slots()
        except (*LINK_ERRORS, ConfigError) as error:
            return fill([], commands, error)
        parts = self.router.parts(commands, slots)
        if len(parts) == 1 and None not in parts and commands[-1][0] not in WAITS:  # the usual case
            ((address, _),) = parts.items()
            replies = await self._link(address).exchange(commands)
            self.router.heard(address, replies)
        else:
            sent = await self._sent([(one, slots.counted(one, commands, numbers)) for one, numbers in parts.items()])
            replies = self.router.joined(commands, parts, sent)
        for reply in replies:
            if isinstance(reply, Exception):
                asked = {number: one for one, numbers in parts.items() if one for number in numbers}
                return await self._followed(commands, replies, asked)
        return replies

    async def exchange_as_made(self, parts: Iterator[Sequence[Command]]) -> list[Any]:
        """Make all parts, and send them to their nodes; return a reply or an exception for each command."""
        return await self.exchange(list(chain.from_iterable(parts)))

    async def block(self, commands: Sequence[Command], timeout: float) -> list[Any]:
        """Send commands to the node of the first one, which may block for `timeout` seconds.

        The slots of the others must be the same. A redirection ends the wait with an error, so that the caller looks
        what has changed meanwhile, and waits again.
        """
        try:
            slots = await self._slots()
        except (*LINK_ERRORS, ConfigError) as error:
            return fill([], commands, error)
        ((address, _),) = self.router.parts(commands[:1], slots).items()
        if address is None:
            return fill([], commands, ClusterDownError("CLUSTERDOWN Hash slot not served"))
        replies = await self._link(address).block(commands, timeout)
        self.router.heard(address, replies)
        self.router.detours(commands, replies, dict.fromkeys(range(len(commands)), address))
        return self.router.given_up(replies)

    @property
    def server(self) -> str | None:
        """Identifies the primaries of the cluster; None if they are unknown."""
        return self.router.slots.id if self.router.slots is not None else None

    async def look_again(self) -> None:
        """Read the map of the slots again."""
        try:
            await self._refresh()
        except (*LINK_ERRORS, ConfigError):
            return  # the next call gets the error

    async def greet(self, *, leaves: bool) -> Mapping[str, str] | BaseException:  # noqa: ARG002 - the map tells
        """Read the map of the slots again."""
        try:
            await self._refresh()
        except (*LINK_ERRORS, ConfigError) as error:
            return error
        return {}

    async def close(self) -> None:
        """Close the connections."""
        self._is_closed = True
        for link in self._links.values():
            await link.close()

    async def _sent(self, parts: Sequence[tuple[Address | None, list[Command]]]) -> list[list[Any]]:
        """Exchange the parts with several nodes at the same time."""
        try:
            async with asyncio.TaskGroup() as tasks:
                started = [tasks.create_task(self._part(address, part)) for address, part in parts]
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
        return [task.result() for task in started]

    async def _part(self, address: Address | None, part: list[Command]) -> list[Any]:
        if address is None:
            return fill([], part, ClusterDownError("CLUSTERDOWN Hash slot not served"))
        return await self._link(address).exchange(part)

    async def _followed(self, commands: Sequence[Command], replies: list[Any], asked: dict[int, Address]) -> list[Any]:
        """Send commands again to the nodes that their replies name."""
        for _ in range(REDIRECTIONS):
            detours = self.router.detours(commands, replies, asked)
            if not detours:
                return replies
            parts = [(to.address, with_asking(commands, numbers, to)) for to, numbers in detours.items()]
            for (to, numbers), part in zip(detours.items(), await self._sent(parts), strict=True):
                for number, reply in zip(numbers, part[1::2] if to.is_asking else part, strict=True):
                    replies[number], asked[number] = reply, to.address
        return self.router.given_up(replies)

    async def _slots(self) -> SlotMap:
        """Return the map of the slots; read it if it is due.

        Raises:
            ConfigError: This is not a cluster.
            redis.RedisError: No node replied, and none has before.
        """
        if self._is_closed:
            raise RedisConnectionError("this store is closed")
        if self.router.slots is None:
            async with self._first:
                if self.router.slots is None:
                    await self._refresh()
        elif self.router.is_due():
            await self._refresh()
        slots = self.router.slots
        assert slots is not None  # noqa: S101 - for the type checker
        return slots

    async def _refresh(self) -> None:
        candidates = self.router.candidates()
        share = self.router.share(candidates)
        last: Exception | None = None
        for address in candidates:
            try:
                async with asyncio.timeout(share):
                    reply = await self._asked(address, share)
                return self.router.learn(reply, address)
            except LINK_ERRORS as error:
                last = error
        self.router.not_learnt()
        if self.router.slots is None and last is not None:
            raise last
        return None

    async def _asked(self, address: Address, timeout: float) -> Any:
        """Ask a node for the map, on a connection of its own: a node of the URL may be used for nothing else."""
        node = node_at(self._seeds, address, self._at.shown)
        connection = async_connections(node, connect_timeout=timeout)()
        try:
            await connection.connect()
            await connection.send_command(*ASK_SLOTS)
            return await read_reply(connection)
        finally:
            await disconnect(connection)

    def _link(self, address: Address | None) -> AsyncSocketLink:
        assert address is not None  # noqa: S101 - for the type checker
        link = self._links.get(address)
        if link is None:
            node = node_at(self._seeds, address, self._at.shown)
            link = self._links[address] = AsyncSocketLink(node, **self._options)
        return link
