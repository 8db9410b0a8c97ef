"""The output stream of a job as server-sent events, whatever serves them, until the server of the host stops."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping

from jobfleet.clock import monotonic
from jobfleet.errors import JobNotFound, StoreUnavailable
from jobfleet.model.result import Chunk

END = "end"
"""The id of the last event of a stream. A browser that returns with it has seen everything."""
BEAT = 10.0
"""Seconds without a chunk after which a line is sent, so that a connection that is gone is noticed."""
STOP_SEEN_WITHIN = 0.25
"""Seconds after which a stream ends when its server stops."""
AGAIN_AFTER = 1.0
"""Seconds between two attempts to read a stream while Redis is away."""
BEAT_LINE = ": beat\n\n"
END_EVENT = f"id: {END}\nevent: {END}\ndata: {{}}\n\n"

Read = Callable[[str | None], AsyncIterator[Chunk]]
"""Reads the stream after a position."""


async def output_events(
    read: Read,
    position: str | None,
    *,
    shown: Callable[[Chunk], Mapping[str, object]],
    may_go_on: Callable[[], Awaitable[bool]],
    is_stopping: Callable[[], bool],
    problem: Callable[[StoreUnavailable], Mapping[str, object]],
) -> AsyncGenerator[str, None]:
    """Yield an event per chunk, with its position as the id, and after the last one an event ``end``.

    Args:
        read: Reads the stream.
        position: The position of the last chunk that the client has; None for none.
        shown: Returns the JSON of a chunk.
        may_go_on: Asked every `BEAT` seconds whether the client may still see the job.
        is_stopping: Whether the server stops.
        problem: Returns the JSON of the event that is sent once when Redis does not reply. The stream continues later.
    """
    is_away, asked = False, monotonic()
    while not is_stopping():
        chunks = _paced(read(position), is_stopping)
        try:
            async for chunk in chunks:
                if monotonic() - asked >= BEAT or chunk is None:
                    asked = monotonic()
                    if not await may_go_on():
                        return
                if chunk is None:
                    yield BEAT_LINE
                    continue
                position, is_away = chunk.position, False
                yield f"id: {position}\ndata: {json.dumps(shown(chunk), allow_nan=False)}\n\n"
            if not is_stopping():
                yield END_EVENT
            return
        except JobNotFound:  # all that was known about it has gone while Redis was away
            yield END_EVENT
            return
        except StoreUnavailable as error:
            if not is_away:
                yield f"event: problem\ndata: {json.dumps(problem(error))}\n\n"
            is_away = True
            await asyncio.sleep(AGAIN_AFTER)
        finally:
            await chunks.aclose()


async def _paced(source: AsyncIterator[Chunk], is_stopping: Callable[[], bool]) -> AsyncGenerator[Chunk | None, None]:
    """Yield the chunks of a source, and None for each `BEAT` seconds without, until the source or the server ends."""
    following = asyncio.ensure_future(_next(source))
    since = monotonic()
    try:
        while not is_stopping():
            if (await asyncio.wait((following,), timeout=STOP_SEEN_WITHIN))[0]:
                chunk = following.result()
                if chunk is None:
                    return
                yield chunk
                following, since = asyncio.ensure_future(_next(source)), monotonic()
            elif monotonic() - since >= BEAT:
                since = monotonic()
                yield None
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)  # its error was raised where its result was asked for
        if isinstance(source, AsyncGenerator):
            await source.aclose()


async def _next(source: AsyncIterator[Chunk]) -> Chunk | None:
    return await anext(source, None)


# Whether the server of a host application stops.
#
# uvicorn waits for open requests before it stops, and ASGI does not notify an application earlier. So an open page
# would keep the process up. While uvicorn serves, it handles the signals of the process, and its handler has the
# server.


def is_stopping() -> bool:
    """Whether uvicorn was asked to stop; False also for another server."""
    for signum in (signal.SIGTERM, signal.SIGINT):
        server = getattr(signal.getsignal(signum), "__self__", None)
        if getattr(server, "should_exit", False) is True:
            return True
    return False
