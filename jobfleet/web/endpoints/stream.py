"""The answer with server-sent events. Unlike Starlette's, it ends its source at once, however the answer ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

from starlette.background import BackgroundTask
from starlette.responses import Response
from starlette.types import Receive, Scope, Send


class EventStream(Response):
    """Sends texts as they come, until the source or the connection ends.

    Args:
        source: The texts; it is closed at the end.
        feed: What the source reads; it is closed too, also if the source has not begun.
        end: Ends once the client may not read on; then the answer ends at once.
    """

    media_type = "text/event-stream"

    def __init__(
        self, source: AsyncGenerator[str, None], feed: AsyncGenerator[Any, None], end: Coroutine[Any, Any, None]
    ) -> None:
        self._source = source
        self._feed = feed
        self._end = end
        self.status_code = 200
        self.background: BackgroundTask | None = None
        self.body = b""
        self.init_headers({"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI has it
        """Send the answer."""
        sending = asyncio.ensure_future(self._send(send))
        others = asyncio.ensure_future(_gone(receive)), asyncio.ensure_future(self._end)
        try:
            await asyncio.wait((sending, *others), return_when=asyncio.FIRST_COMPLETED)
        finally:
            is_cut = others[1].done() and not sending.done()
            for task in (sending, *others):
                task.cancel()
            (outcome, *_) = await asyncio.gather(sending, *others, return_exceptions=True)
            await self._source.aclose()
            await self._feed.aclose()
        if is_cut:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        elif isinstance(outcome, Exception):
            raise outcome

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for text in self._source:
            await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    """Wait until the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
