"""The pipes between a supervisor and its children. A frame is a msgpack list that starts with its kind.

Down: hello, alive, renewed, lost, cancel, server, lanes, kinds, forgotten, quiet, resume, drain, hurry.
Up: importing, loaded, ready, serving, refused, state, pulse, lost, examined, retire, condemned, chaos.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import msgpack

READ_SIZE = 1 << 16


class Sender:
    """Writes frames to a pipe; it never waits for a peer that is gone or does not read.

    Args:
        descriptor: The writing end of the pipe.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        os.set_blocking(descriptor, False)
        self._left = b""

    def send(self, *frame: Any) -> None:
        """Send a frame."""
        self._left += msgpack.packb(frame)
        with suppress(BlockingIOError, BrokenPipeError):
            while self._left:
                written = os.write(self._descriptor, self._left)
                self._left = self._left[written:]

    def close(self) -> None:
        """Close the pipe, so that the peer reads end of file."""
        os.close(self._descriptor)


async def frames(descriptor: int) -> AsyncIterator[list[Any]]:
    """Yield the frames of a pipe until end of file."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    unpacker = msgpack.Unpacker(max_buffer_size=1 << 26, strict_map_key=False)
    try:
        while chunk := await reader.read(READ_SIZE):
            unpacker.feed(chunk)
            for frame in unpacker:
                yield frame
    finally:
        transport.close()
