"""The network of a simulated run: connections between processes and the server, and what goes wrong with them.

A connection replaces that of redis-py, below the product's pools, links and channels. A request travels, is executed in
one moment, and its reply travels back. What is on the way does not belong to the process that has sent it: it arrives
also when that process has died.
"""

from __future__ import annotations

import asyncio
import math
import random
import signal
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from contextvars import Context
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError

from jobfleet.store.call import Command
from tests.simulation.loop import PROCESS, Process, SimLoop
from tests.simulation.server import Server

NEAREST, FARTHEST = 100e-6, 600e-6
"""Seconds that a request or a reply travels."""


AT_REPLIES = ("drop_reply", "kill_replied")
"""Faults that happen when a reply leaves the server; the others when a request leaves its machine."""


class Armed:
    """A fault that waits for an exchange.

    Args:
        kind: ``drop_request``, ``drop_reply``, ``late_request``; or one that ends the process: ``kill_sending`` before
            its request leaves, ``kill_sent`` after that, and ``kill_replied`` when the reply leaves.
        actor: The machine whose exchanges it hits; empty for all.
        script: The script, or command, that must be in the exchange; empty for any.
        word: The first word that its reply must have, of a fault at replies; empty for any.
        count: How many exchanges it hits.
        is_silent: Whether the connection stays open without an answer, instead of being reset.
        by_us: By how much a late request is late.
    """

    def __init__(
        self, kind: str, *, actor: str, script: str, word: str, count: int, is_silent: bool, by_us: int, block: bool
    ) -> None:
        self.kind, self.actor, self.script, self.word, self.count = kind, actor, script, word, count
        self.is_silent, self.by_us, self.block = is_silent, by_us, block


class Connection:
    """A connection of a process; it has what jobfleet uses of redis-py's.

    Attributes:
        process: Whose it is.
        machine: Where that runs.
        is_open: Whether the client may use it.
        is_known: Whether the server knows it.
        is_stuck: Whether nothing passes any more, without a sign: half open.
        queue: Commands that the server has received and not executed.
        channels: The channels to which it is subscribed.
        wait: The timer of the pop on which the server blocks for it.
    """

    def __init__(self, network: Network) -> None:
        process = PROCESS.get()
        assert process is not None
        self._network = network
        self.process: Process = process
        self.machine = process.machine.name
        self.number = 0
        self.is_open = self.is_known = self.is_stuck = False
        self.inbox: deque[Any] = deque()
        self.waiter: asyncio.Future[None] | None = None
        self.queue: deque[Command] = deque()
        self.channels: set[str] = set()
        self.wait: asyncio.TimerHandle | None = None
        self.arrives = self.returns = 0.0

    async def connect(self) -> None:
        """Connect."""
        await self._network.connect(self)

    async def send_command(self, *command: Any) -> None:
        """Send a command."""
        self._network.send(self, [command])

    async def send_packed_command(self, commands: Sequence[Command], check_health: bool = True) -> None:
        """Send commands; the network patches `packed`, so they are not encoded."""
        self._network.send(self, commands)

    async def read_response(self, disable_decoding: bool = False, disconnect_on_error: bool = True) -> Any:
        """Return the next reply."""
        while not self.inbox:
            if not self.is_open:
                raise RedisConnectionError("Connection closed by server.")
            self.waiter = asyncio.get_running_loop().create_future()
            await self.waiter
        reply = self.inbox.popleft()
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def disconnect(self, nowait: bool = False) -> None:
        """Close it."""
        self._network.closed_by_client(self)

    def heard(self, replies: Iterable[Any]) -> None:
        """Replies have come."""
        if self.is_open and not self.is_stuck:
            self.inbox.extend(replies)
            self._wake()

    def reset(self) -> None:
        """The connection is gone, and the client sees it."""
        if self.is_open:
            self.is_open = False
            self.inbox.append(RedisConnectionError("Connection reset by peer"))
            self._wake()

    def _wake(self) -> None:
        waiter, self.waiter = self.waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


class Network:
    """All connections.

    Args:
        loop: The loop.
        dice: Draw the times that messages take.
        note: Writes a line of the trace.
        travel_us: How long each message travels; 0 for random times. Otherwise clients also read
            only in turns, as a loop that is busy does: what comes within the time of three messages is read at once.
    """

    def __init__(self, loop: SimLoop, dice: random.Random, note: Callable[[str], None], travel_us: int = 0) -> None:
        self._loop, self._dice, self._note = loop, dice, note
        self._travels = (travel_us / 1e6,) * 2 if travel_us else (NEAREST, FARTHEST)
        self._turn_us = 3 * travel_us
        self.server: Server
        self.is_up = True
        self.delays: dict[str, tuple[int, int]] = {}
        """Extra µs, at least and at most, by machine; "" for all."""
        self.cut: dict[str, str] = {}
        """Machines that do not reach the server, and in which direction: up, down or both."""
        self.armed: list[Armed] = []
        self.hits: Counter[tuple[str, str]] = Counter()
        """Faults that have hit an exchange, see `Coverage`."""
        self._connections: dict[Connection, None] = {}
        self._blocked: dict[Connection, tuple[str, ...]] = {}
        self._subscribed: dict[str, dict[Connection, None]] = {}
        self._held: dict[str, list[Callable[[], None]]] = {}
        self._count = 0
        self._context = Context()
        self._context.run(PROCESS.set, None)

    def _later(self, seconds: float, act: Callable[..., None], *args: Any) -> asyncio.TimerHandle:
        """Let something happen that belongs to no process."""
        return self._loop.call_later(seconds, act, *args, context=self._context)

    def make(self, *_: Any, **__: Any) -> Callable[[], Connection]:
        """In place of `async_connections`."""
        return lambda: Connection(self)

    # --- the client's side -----------------------------------------------------------------------

    async def connect(self, connection: Connection) -> None:
        """Open a connection, or raise what redis-py raises."""
        self._count += 1
        connection.number = self._count
        await asyncio.sleep(self._travel(connection))
        while connection.machine in self.cut:
            await asyncio.sleep(1.0)  # SYN is sent again, until the caller gives up
        if not self.is_up:
            raise RedisConnectionError("Connection refused")
        connection.is_open = connection.is_known = True
        self._connections[connection] = None
        if connection.process.is_dead:
            return
        connection.process.on_death.append(lambda: self.closed_by_client(connection))

    def send(self, connection: Connection, commands: Sequence[Command]) -> None:
        """Put a request on its way."""
        if not connection.is_open:
            raise RedisConnectionError("Connection lost")
        if connection.process.is_dead or connection.is_stuck:
            return
        ready = (one for one in self.armed if one.kind not in AT_REPLIES and self._hits(one, connection, commands))
        fault = next(ready, None)
        if fault is not None:
            self._note(f"{connection.process.name} {fault.kind} {_brief(commands)}")
        kind = "" if fault is None else fault.kind
        if fault is not None and kind == "drop_request":
            self._break(connection, is_silent=fault.is_silent)
        elif fault is not None and kind == "late_request":
            connection.is_stuck = True
            self._later(fault.by_us / 1e6, self._arrive_late, connection, commands)
        elif kind != "kill_sending":
            connection.arrives = max(connection.arrives, self._loop.time() + self._travel(connection))
            self._at(connection.arrives, "up", connection, lambda: self._arrive(connection, commands))
        if kind.startswith("kill"):
            connection.process.signal(signal.SIGKILL)

    def closed_by_client(self, connection: Connection) -> None:
        """The client has closed a connection, or has died."""
        connection.is_open = False
        if connection.is_known and not connection.is_stuck and not self._loop.is_over:
            arrives = max(connection.arrives, self._loop.time() + self._travel(connection))
            self._at(arrives, "up", connection, lambda: self._forget(connection))

    def _travel(self, connection: Connection) -> float:
        seconds = self._dice.uniform(*self._travels)
        for name in ("", connection.machine):
            if name in self.delays:
                seconds += self._dice.uniform(*self.delays[name]) / 1e6
        return seconds

    def _hits(
        self, fault: Armed, connection: Connection, commands: Sequence[Command], replies: Sequence[Any] = ()
    ) -> bool:
        if fault.count <= 0 or (fault.actor and fault.actor != connection.machine):
            return False
        if (
            not fault.script
            and not fault.block
            and any(command[0] in ("BZPOPMIN", "SUBSCRIBE") for command in commands)
        ):
            return False
        names = [self.server.name_of(command) for command in commands]
        words = [*map(_word, replies)] or [""] * len(names)
        met = [
            (name, word) for name, word in zip(names, words, strict=False)  # SUBSCRIBE has a reply per channel
            if fault.script in ("", name) and fault.word in ("", word)
        ]  # fmt: skip
        if not met:
            return False
        self.hits.update((fault.kind, f"{name} {word}".rstrip()) for name, word in met)
        fault.count -= 1
        return True

    def _at(self, when: float, direction: str, connection: Connection, act: Callable[[], None]) -> None:
        """Let something happen at the other end, unless a partition holds it back."""

        def happen() -> None:
            if self.cut.get(connection.machine) in (direction, "both"):
                self._held.setdefault(connection.machine, []).append(act)
            else:
                act()

        self._loop.call_at(when, happen, context=self._context)

    def _break(self, connection: Connection, *, is_silent: bool) -> None:
        """End a connection: both sides learn of it, or none does, as with a firewall that has forgotten it."""
        if is_silent:
            connection.is_stuck = True
        else:
            self._forget(connection)
            self._later(self._travel(connection), connection.reset)

    # --- the server's side -----------------------------------------------------------------------

    def _arrive(self, connection: Connection, commands: Sequence[Command]) -> None:
        if connection.is_known and self.is_up:
            connection.queue.extend(commands)
            if connection not in self._blocked:
                self._serve(connection)

    def _arrive_late(self, connection: Connection, commands: Sequence[Command]) -> None:
        """Execute a request that was on its way for long; its client may have given up, and the reply gets lost."""
        if self.is_up and not any(command[0] in ("BZPOPMIN", "SUBSCRIBE") for command in commands):
            self._execute(connection, commands, "late ")

    def _serve(self, connection: Connection) -> None:
        """Execute what a connection has sent, up to a pop that blocks."""
        queue = connection.queue
        while queue:
            first = queue[0]
            if first[0] == "BZPOPMIN":
                if not self._pop(connection, first):
                    return
                continue
            if first[0] in ("SUBSCRIBE", "UNSUBSCRIBE"):
                self._subscribe(connection, queue.popleft())
                continue
            part = []
            while queue and queue[0][0] not in ("BZPOPMIN", "SUBSCRIBE", "UNSUBSCRIBE"):
                part.append(queue.popleft())
            self._reply(connection, self._execute(connection, part), part)

    def _execute(self, connection: Connection, commands: Sequence[Command], how: str = "") -> list[Any]:
        replies, names = self.server.execute(commands)
        keys = " ".join(f"{name}:{_word(reply)}" for name, reply in zip(names, replies, strict=True))
        digest = zlib.crc32(repr((commands, replies)).encode())
        self._note(f"{connection.process.name} {how}{keys} {digest:08x}")
        self._wake_blocked()
        return replies

    def _reply(self, connection: Connection, replies: list[Any], commands: Sequence[Command]) -> None:
        for fault in self.armed:
            if fault.kind in AT_REPLIES and self._hits(fault, connection, commands, replies):
                self._note(f"{connection.process.name} {fault.kind} {_brief(commands)}")
                if fault.kind == "kill_replied":
                    connection.process.signal(signal.SIGKILL)
                    return
                self._break(connection, is_silent=fault.is_silent)
                return
        returns = self._loop.time() + self._travel(connection)
        if self._turn_us:  # a loop that is busy reads in one turn what has come since the last
            returns = math.ceil(round(returns * 1e6) / self._turn_us) * self._turn_us / 1e6
        connection.returns = max(connection.returns, returns)
        self._at(connection.returns, "down", connection, lambda: connection.heard(replies))

    def _pop(self, connection: Connection, command: Command) -> bool:
        """Pop for a connection; if there is nothing, let it wait. Return whether the command has its reply."""
        keys = [str(key) for key in command[1:-1]]
        found = self.server.pop(keys)
        if found is None:
            if connection.wait is None:
                connection.wait = self._later(float(command[-1]), self._wait_over, connection)
                self._blocked[connection] = tuple(keys)
                self._watch()
            return False
        self._note(f"{connection.process.name} pop {keys[0]}")
        self._unblock(connection)
        connection.queue.popleft()
        self._reply(connection, [found], [command])
        return True

    def _watch(self) -> None:
        self.server.watch(list(dict.fromkeys(key for keys in self._blocked.values() for key in keys)))

    def _wake_blocked(self) -> None:
        if not self.server.has_woken:
            return
        for connection in list(self._blocked):
            if connection in self._blocked and self._pop(connection, connection.queue[0]):
                self._loop.call_soon(self._serve, connection, context=self._context)

    def _wait_over(self, connection: Connection) -> None:
        self._unblock(connection)
        command = connection.queue.popleft()
        self._reply(connection, [None], [command])
        self._serve(connection)

    def _unblock(self, connection: Connection) -> None:
        if self._blocked.pop(connection, None) is not None:
            self._watch()
        if connection.wait is not None:
            connection.wait.cancel()
            connection.wait = None

    def _subscribe(self, connection: Connection, command: Command) -> None:
        replies = []
        for name in sorted(map(str, command[1:])):
            listeners = self._subscribed.setdefault(name, {})
            if command[0] == "SUBSCRIBE":
                listeners[connection] = None
                connection.channels.add(name)
                replies.append([b"subscribe", name.encode(), len(connection.channels)])
            else:
                listeners.pop(connection, None)
                connection.channels.discard(name)
                replies.append([b"unsubscribe", name.encode(), len(connection.channels)])
            self.server.listened(name, len(listeners))
        self._reply(connection, replies, [command])

    def publish(self, channel: bytes, text: bytes) -> None:
        """Send a message to the subscribers of a channel."""
        for connection in list(self._subscribed.get(channel.decode(), ())):
            self._reply(connection, [[b"message", channel, text]], [("PUBLISH", channel)])

    def _forget(self, connection: Connection) -> None:
        """The server has no such connection any more."""
        connection.is_known = False
        self._connections.pop(connection, None)
        self._unblock(connection)
        connection.queue.clear()
        for name in sorted(connection.channels):
            self._subscribed[name].pop(connection, None)
            self.server.listened(name, len(self._subscribed[name]))
        connection.channels.clear()

    # --- faults ----------------------------------------------------------------------------------

    def has_stuck(self) -> bool:
        """Whether a client uses a connection on which nothing passes."""
        return any(one.is_stuck and one.is_open and not one.process.is_dead for one in self._connections)

    def blocked(self) -> list[tuple[str, ...]]:
        """The keys for which each pop that blocks now waits."""
        return list(self._blocked.values())

    def reset_all(self) -> None:
        """End all connections, as a server does that ends."""
        for connection in list(self._connections):
            self._break(connection, is_silent=False)
        self._subscribed.clear()

    def partition(self, machine: str, direction: str = "both") -> None:
        """Cut a machine off from the server; nobody is notified."""
        self.cut[machine] = direction

    def mend(self, machine: str, *, is_reset: bool) -> None:
        """End a partition: what was held back arrives, or the connections are reset."""
        if self.cut.pop(machine, None) is None:
            return
        held = self._held.pop(machine, [])
        if is_reset:
            for connection in [one for one in self._connections if one.machine == machine]:
                self._break(connection, is_silent=False)
            return
        for act in held:
            act()


def _word(reply: Any) -> str:
    while isinstance(reply, list) and reply:
        reply = reply[0]
    if isinstance(reply, bytes):
        return reply[:24].decode("utf-8", "replace").partition("\r")[0]
    return type(reply).__name__ if isinstance(reply, Exception) else str(reply)


def _brief(commands: Sequence[Command]) -> str:
    return " ".join(str(command[0]) for command in commands[:3])
