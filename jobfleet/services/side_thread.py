"""Calling what may block or hang, in a thread that nobody waits for longer than is allowed."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


class SideThread:
    """Calls one at a time, each in a thread of its own; those that hang are left behind, and counted.

    Args:
        name: What the threads are called.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._left: list[threading.Thread] = []

    @property
    def left_behind(self) -> int:
        """How many threads hang."""
        self._left = [thread for thread in self._left if thread.is_alive()]
        return len(self._left)

    async def call(self, function: Callable[[T], Any], argument: T, *, timeout: float) -> None:
        """Call a function, and await what it answers if that can be awaited.

        Args:
            function: What to call; it may hang.
            argument: With what.
            timeout: Seconds.

        Raises:
            TimeoutError: It took longer; its thread is left behind.
            BaseException: What it raised.
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
            except BaseException as raised:  # noqa: BLE001 - a user's code; it is told to whoever called
                error = raised if isinstance(raised, Exception) else RuntimeError(repr(raised))
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
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
