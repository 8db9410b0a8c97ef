"""The pool of a blocking link. To take and to return an idle connection needs no lock."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from redis.exceptions import TimeoutError as RedisTimeoutError

from jobfleet.clock import monotonic
from jobfleet.store.link.pool import LOOK_EVERY, LOOKS


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
