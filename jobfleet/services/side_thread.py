"""Calls of code that may block or hang, each in its own thread with a time limit."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


class SideThread:
    """Makes one call at a time, each in its own thread. It abandons threads that hang, and counts them.

    Args:
        name: The name of the threads.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._left: list[threading.Thread] = []

    @property
    def left_behind(self) -> int:
        """The number of abandoned threads that still hang."""
        self._left = [thread for thread in self._left if thread.is_alive()]
        return len(self._left)

    async def call(self, function: Callable[[T], Any], argument: T, *, timeout: float) -> None:
        """Call a function, and await its result if it is awaitable.

        Args:
            function: The function; it may hang.
            argument: Its argument.
            timeout: Time limit in seconds.

        Raises:
            TimeoutError: The limit was exceeded; the thread is abandoned.
            BaseException: The function raised it.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def settle(error: BaseException | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        def work() -> None:
            error: BaseException | None = None
            try:
                answer = function(argument)
                if inspect.isawaitable(answer):
                    asyncio.run(_awaited(answer))
            except BaseException as raised:  # noqa: BLE001 - user code may raise anything; the caller gets the error
                error = raised if isinstance(raised, Exception) else RuntimeError(repr(raised))
            with suppress(RuntimeError):  # the loop is closed, so no one waits for the result
                loop.call_soon_threadsafe(settle, error)

        thread = threading.Thread(target=work, name=self._name, daemon=True)
        thread.start()
        try:
            async with asyncio.timeout(timeout):
                await done
        except TimeoutError:
            if done.cancelled() and thread.is_alive():
                self._left.append(thread)
            raise


async def _awaited(answer: Any) -> None:
    await answer
