"""The blocking link to Redis with its pool, and what both links share: the interface, busy polling, packing."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, Protocol, cast

from redis.exceptions import NoPermissionError, ReadOnlyError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from jobfleet.clock import monotonic
from jobfleet.store.call import Command
from jobfleet.store.connect import ASKED, Greeting, connections, info_of
from jobfleet.store.replies import CONNECTION_ERRORS
from jobfleet.store.target import Target

# Links: send commands and receive replies in one exchange. Only links use sockets.
#
# redis-py's own retries are disabled, because a reply may be lost after the script ran, and only the store knows how
# to retry.


pack: Callable[[Command], bytes] | None
try:
    import hiredis
except ImportError:  # redis-py's own packing takes five times as long
    pack = None
else:
    pack = cast(Callable[[Command], bytes], hiredis.pack_command)
LINK_ERRORS = (*CONNECTION_ERRORS, RedisError)
"""Errors that a greeting may also get: SELECT of a missing database, or INFO without permission."""
DROPPED = (*CONNECTION_ERRORS, ReadOnlyError)
"""Errors that end a connection: a server that became a replica stays one, and the address may lead to its successor."""
LATE = 2.0
"""Seconds after the timeout of a blocking command at which its connection counts as half open."""


class Link(Protocol):
    """A connection to a server."""

    def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one pipeline; return a reply or an exception for each."""

    def exchange_as_made(self, parts: Iterator[Sequence[Command]]) -> list[Any]:
        """Send each non-empty part as soon as it is made; return a reply or an exception for each command."""

    def greet(self, *, leaves: bool) -> Mapping[str, str] | BaseException:
        """Return the INFO of the server that a new connection leads to; empty without permission, or of a cluster.

        Args:
            leaves: Whether to close the idle connections, because they lead to another server.
        """

    def close(self) -> None:
        """Close the connections."""


class AsyncLink(Protocol):
    """An asynchronous connection to a server."""

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one pipeline; return a reply or an exception for each."""

    async def exchange_as_made(self, parts: Iterator[Sequence[Command]]) -> list[Any]:
        """Send each non-empty part as soon as it is made; return a reply or an exception for each command."""

    async def block(self, commands: Sequence[Command], timeout: float) -> list[Any]:
        """Send commands in one pipeline, of which the first may block for `timeout` seconds."""

    @property
    def server(self) -> str | None:
        """The run id of the server that the connections lead to; None if it is unknown."""

    async def look_again(self) -> None:
        """Check which server the address leads to now; close connections that lead to another one."""

    async def greet(self, *, leaves: bool) -> Mapping[str, str] | BaseException:
        """Return the INFO of the server that a new connection leads to; see `Link.greet`."""

    async def close(self) -> None:
        """Close the connections."""


def packed(connection: Any, commands: Sequence[Command]) -> Any:
    """Encode commands for the socket."""
    if pack is not None:
        return [pack(commands[0]) if len(commands) == 1 else b"".join([pack(command) for command in commands])]
    return connection.pack_commands(commands)


def answered(error: BaseException) -> BaseException:
    """Strip the tracebacks of an error, because they would form a reference cycle with the list of replies."""
    part: BaseException | None = error
    while part is not None:  # its cause has a traceback, too
        part.__traceback__ = None
        part = part.__cause__ or part.__context__
    return error


def fill(replies: list[Any], commands: Sequence[Command], error: BaseException) -> list[Any]:
    """Use the error as the reply to each command that got none."""
    return replies + [answered(error)] * (len(commands) - len(replies))


# Busy polling: a producer polls for a reply for a moment before it sleeps.
#
# On a virtual machine, to wake a sleeping thread takes longer than a nearby server takes to reply. Between two polls
# the CPU is free for other threads, because the server may need the same CPU. If replies come later, from another
# city or an overloaded server, polling would only waste CPU. Therefore each failure pauses the polling, for longer
# each time, like the halt polling of KVM (Linux, Documentation/virt/kvm/halt-polling.rst).


MOST_LEFT_OUT = 255
give_way: Callable[[], object] = os.sched_yield if hasattr(os, "sched_yield") else partial(time.sleep, 0)


class Odds:
    """Decides whether to poll: after the nth failure in a row, it skips 2ⁿ − 1 exchanges.

    Args:
        limit: Seconds for which a reply is polled; 0 for never.
    """

    __slots__ = ("_left_out", "_misses", "limit")

    def __init__(self, limit: float) -> None:
        self.limit: float = limit
        self._misses = 0
        self._left_out = 0

    def are_good(self) -> bool:
        """Whether to poll for the reply of this exchange; call it once per exchange."""
        if self._left_out:
            self._left_out -= 1
            return False
        return self.limit > 0

    def found(self) -> None:
        """Record that a reply came during the polling."""
        self._misses = 0

    def missed(self) -> None:
        """Record that no reply came during the polling."""
        self._misses += 1
        self._left_out = min(2**self._misses - 1, MOST_LEFT_OUT)


class BusyPoll:
    """Polls for the replies of a blocking link; one thread at a time, because several would compete for the CPU.

    Args:
        limit: Seconds for which a reply is polled; 0 for never.
    """

    def __init__(self, limit: float) -> None:
        self.odds: Odds = Odds(limit)
        self._turn = threading.Lock()

    def look(self, connection: Any) -> None:
        """Return when a redis-py connection has data to read, or the time is over.

        Raises:
            ConnectionError: The server has closed the connection (redis-py's exception).
        """
        if not self.odds.are_good() or not self._turn.acquire(blocking=False):
            return
        try:
            until = monotonic() + self.odds.limit
            while not connection.can_read(0):
                if monotonic() >= until:
                    self.odds.missed()
                    return
                give_way()
            self.odds.found()
        finally:
            self._turn.release()


class AsyncBusyPoll:
    """Keeps an event loop awake while a reply is due; other callbacks of the loop run as usual.

    Args:
        limit: Seconds for which a reply is polled; 0 for never.
    """

    def __init__(self, limit: float) -> None:
        self.odds: Odds = Odds(limit)
        self._due = 0
        self._until = 0.0
        self._is_called = False

    def sent(self) -> None:
        """Record that a reply is due."""
        self._due += 1
        if self._due > 1 or not self.odds.are_good():
            return
        self._until = monotonic() + self.odds.limit
        if not self._is_called:
            self._call()

    def done(self) -> None:
        """Record that the reply has come, or is not awaited any more."""
        self._due -= 1
        if self._until and not self._due:
            self._until = 0.0
            self.odds.found()

    def _call(self) -> None:
        """Do nothing: a loop with a pending callback polls its sockets without sleeping."""
        self._is_called = True
        asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        self._is_called = False
        if not self._until:
            return
        if monotonic() < self._until:
            give_way()
            self._call()
        else:
            self._until = 0.0
            self.odds.missed()


MOST = 32
"""Default for the most connections. A server runs one command at a time, so more do not make it faster."""
LOOK_EVERY = 1.0
"""Seconds between two looks at the idle connections."""
LOOKS = 10
"""Looks after which those connections are closed that were idle at each of them, except one."""


class Pool:
    """Connections, safe for threads and after a fork.

    The order of two steps makes a lock unnecessary: who returns a connection puts it back before it looks for waiting
    threads, and who waits registers before it looks for a connection. So one of the two sees the other.

    Args:
        connect: Opens a connection.
        most: The most connections that are open.
        patience: Seconds for which a caller waits for a free connection.

    Attributes:
        idle: The free connections, the last used one at the end.
    """

    def __init__(self, connect: Callable[[], Any], *, most: int, patience: float) -> None:
        self._connect = connect
        self._most = most
        self._patience = patience
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self.idle: list[Any] = []
        self._permits: list[None] = [None] * self._most
        self._waiting: deque[threading.Lock] = deque()
        self._nested: set[int] = set()
        self._lent: list[None] = []
        self._shrinking: threading.Thread | None = None

    def take(self) -> Any:
        """Return a free connection, or a new one; wait for one if as many as allowed are in use.

        Raises:
            redis.exceptions.TimeoutError: None became free in time.
        """
        if self._pid != os.getpid():  # a forked child must not share its parent's sockets
            self._begin()
        try:
            return self.idle.pop()
        except IndexError:
            return self._opened() or self._awaited()

    def give(self, connection: Any) -> None:
        """Return a connection after use."""
        self.idle.append(connection)
        if self._waiting or len(self.idle) > 1:
            self._tidy()

    def drop(self, connection: Any) -> None:
        """Close a connection that cannot be used again."""
        connection.disconnect()
        self._release()

    def close(self) -> None:
        """Close the idle connections."""
        while (connection := self._popped(-1)) is not None:
            self.drop(connection)

    def nest(self) -> bool:
        """Begin a section in which this thread has a connection and may need another one.

        It may then exceed the limit. Otherwise threads that all wait for each other's connections would block.

        Returns:
            False if it is in such a section already, which then must not be ended twice.
        """
        thread = threading.get_ident()
        if thread in self._nested:
            return False
        self._nested.add(thread)
        return True

    def unnest(self) -> None:
        """End such a section."""
        self._nested.discard(threading.get_ident())

    def _opened(self) -> Any:
        """Open a connection; None if as many as allowed are open."""
        try:
            self._permits.pop()
        except IndexError:
            if threading.get_ident() not in self._nested:
                return None
            self._lent.append(None)
        try:
            return self._connect()
        except BaseException:
            self._release()
            raise

    def _awaited(self) -> Any:
        until, turn = monotonic() + self._patience, threading.Lock()
        turn.acquire()
        register = self._waiting.append
        while True:
            register(turn)
            connection = self._popped(-1) or self._opened()
            if connection is not None:
                self._leave(turn)
                return connection
            if not turn.acquire(timeout=max(0.0, until - monotonic())):
                self._leave(turn)
                raise RedisTimeoutError(f"all {self._most} connections were in use for {self._patience:g} s")
            register = self._waiting.appendleft  # it was its turn, and another thread was faster

    def _leave(self, turn: threading.Lock) -> None:
        try:
            self._waiting.remove(turn)
        except ValueError:  # it was woken, which another one may need now
            self._wake()

    def _wake(self) -> None:
        try:
            self._waiting.popleft().release()
        except IndexError:
            return

    def _release(self) -> None:
        """Allow another connection in the place of one that is closed."""
        try:
            self._lent.pop()
        except IndexError:
            self._permits.append(None)
        if self._waiting:
            self._wake()

    def _tidy(self) -> None:
        if self._lent and (connection := self._popped(0)) is not None:
            self.drop(connection)
        if self._waiting:
            self._wake()
        elif len(self.idle) > 1 and self._shrinking is None:
            self._shrinking = threading.Thread(target=self._shrink, name="jobfleet-pool", daemon=True)
            try:
                self._shrinking.start()
            except RuntimeError:  # too many threads, or the interpreter ends; the caller has its reply all the same
                self._shrinking = None

    def _shrink(self) -> None:
        """Close connections that nobody needs, until at most one is idle."""
        pause = threading.Event()
        while len(self.idle) > 1:
            unused = len(self.idle)
            for _ in range(LOOKS):
                pause.wait(LOOK_EVERY)
                unused = min(unused, len(self.idle))
                if unused <= 1:  # all are needed, or closed
                    break
            for _ in range(unused - 1):
                if (connection := self._popped(0)) is not None:
                    self.drop(connection)
        self._shrinking = None

    def _popped(self, place: int) -> Any:
        try:
            return self.idle.pop(place)
        except IndexError:
            return None


class SocketLink:
    """Blocking connections, safe for threads and after a fork."""

    def __init__(
        self,
        at: Target,
        *,
        connect_timeout: float,
        socket_timeout: float,
        busy_poll: float = 0.0,
        max_connections: int = MOST,
    ) -> None:
        self.busy_poll: BusyPoll = BusyPoll(busy_poll)
        self._make = connections(at, connect_timeout=connect_timeout, socket_timeout=socket_timeout)
        self._fake = at.fake
        self.pool: Pool = Pool(self._connect, most=max_connections, patience=socket_timeout)
        self._greeting = Greeting(needs_primary=False)  # a write reveals a replica, and reads may use one

    def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one pipeline; return a reply or an exception for each."""
        if not commands:
            return []
        replies: list[Any] = []
        connection = None
        try:
            connection = self.pool.take()
            if self._fake:
                _exchange_fake(connection, commands, replies)
            else:
                connection.send_packed_command(packed(connection, commands), check_health=False)
                self.busy_poll.look(connection)
                for _ in commands:
                    replies.append(read_reply(connection))  # noqa: PERF401 - what came before an error stays
        except LINK_ERRORS as error:
            if connection is not None:
                self.pool.drop(connection)
                self.pool.close()  # the idle connections are probably broken too; each would fail one call
            return fill(replies, commands, error)
        except BaseException:
            if connection is not None:
                self.pool.drop(connection)
            raise
        self.pool.give(connection)
        return replies

    def exchange_as_made(self, parts: Iterator[Sequence[Command]]) -> list[Any]:
        """Send each non-empty part as soon as it is made; return a reply or an exception for each command."""
        if self._fake:
            return self.exchange(list(chain.from_iterable(parts)))
        sent: list[Command] = []
        replies: list[Any] = []
        connection = None
        self.pool.nest()  # a hook that runs while a part is made may call the fleet
        try:
            for part in parts:
                sent += part
                connection = connection or self.pool.take()
                connection.send_packed_command(packed(connection, part), check_health=False)
            for _ in sent:
                replies.append(read_reply(connection))  # noqa: PERF401 - what came before an error stays
        except LINK_ERRORS as error:
            if connection is not None:
                self.pool.drop(connection)
                self.pool.close()
            sent += chain.from_iterable(parts)  # make the remaining calls, so that all can be sent again
            return fill(replies, sent, error)
        except BaseException:
            if connection is not None:
                self.pool.drop(connection)
            raise
        finally:
            self.pool.unnest()
        if connection is not None:
            self.pool.give(connection)
        return replies

    def _connect(self) -> Any:
        connection = self._make()
        try:
            connection.connect()
            if self._greeting.is_due and not self._fake:
                connection.send_command(*ASKED)
                self._greeting.hear(_reply_to_greeting(connection))
        except BaseException:
            connection.disconnect()
            raise
        return connection

    def greet(self, *, leaves: bool) -> Mapping[str, str] | BaseException:
        """Return the INFO of the server that a new connection leads to; empty if the user may not ask."""
        if leaves:
            self.pool.close()
        connection = self._make()
        try:
            connection.connect()
            connection.send_command(*ASKED)
            return _reply_to_greeting(connection)
        except LINK_ERRORS as error:
            return answered(error)
        finally:
            connection.disconnect()

    def close(self) -> None:
        """Close the connections."""
        self.pool.close()


def _reply_to_greeting(connection: Any) -> Mapping[str, str]:
    """Read the answer to the greeting; nothing if the user may not ask, as on some managed servers."""
    try:
        return info_of(connection.read_response(disable_decoding=True))
    except NoPermissionError:
        return {}


def read_reply(connection: Any) -> Any:
    """Return the next reply, or the error of the server in its place."""
    try:
        return connection.read_response(disable_decoding=True)
    except DROPPED:
        raise
    except RedisError as error:
        return answered(error)


def _exchange_fake(connection: Any, commands: Sequence[Command], replies: list[Any]) -> None:
    for command in commands:
        connection.send_command(*command)
        replies.append(read_reply(connection))
