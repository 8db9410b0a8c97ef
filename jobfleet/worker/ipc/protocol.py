"""What the processes of a worker tell each other: frames over pipes, signals, and the ids and kinds of children."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import msgpack

if TYPE_CHECKING:
    from jobfleet.functions.registry import JobFunction


# The pipes between a supervisor and its children. A frame is a msgpack list that starts with its kind.
#
# Down: hello, alive, renewed, lost, cancel, server, lanes, kinds, forgotten, quiet, resume, drain, hurry.
# Up: importing, loaded, ready, serving, refused, state, pulse, lost, examined, retire, condemned, chaos.


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


def new_worker_id() -> str:
    """Make an id ``host:pid:random`` of at most 48 characters, without the separators that scripts use."""
    host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname().partition(".")[0])[:24] or "host"
    return f"{host}:{os.getpid()}:{secrets.token_hex(3)}"


# Kinds of children: children that know the same functions and serve the same queues are of the same kind.


KIND_RULE = re.compile(r"[0-9a-f]{16}")
DEFAULT = "default"
"""The queue of functions that do not name one."""
IDLE = (
    "worker.idle it serves no queue, because its modules register no job function: decorate one with @job, "
    "or name queues with -Q (queues=)"
)


class Kind(NamedTuple):
    """The functions and queues that a child knows and serves.

    Attributes:
        id: A digest of `functions`.
        functions: Queue by function; under "" the queues that are served.
    """

    id: str
    functions: Mapping[str, str]


def kind_of(
    functions: Mapping[str, JobFunction[Any, Any, Any]], queues: Sequence[str], *, plain: Iterable[str] = ()
) -> Kind:
    """Return the kind of a child with these functions and queues.

    Args:
        functions: The registered functions.
        queues: The queues that the child serves.
        plain: The names of functions that run without registration.
    """
    known = dict.fromkeys(plain, DEFAULT)
    known |= {name: str(function.given.get("queue") or DEFAULT) for name, function in list(functions.items())}
    fields = {"": " ".join(sorted(queues)), **dict(sorted(known.items()))}
    digest = hashlib.sha256("\n".join(f"{name} {queue}" for name, queue in fields.items()).encode())
    return Kind(digest.hexdigest()[:16], fields)


END_LOADING = signal.SIGTERM
"""The signal that ends a child that still loads its modules. Later, the child ignores it."""
NOT_FOR_CHILDREN = (signal.SIGINT, END_LOADING, signal.SIGTSTP, signal.SIGQUIT, signal.SIGHUP)
"""Signals that children ignore. A terminal sends some of them to all processes in its foreground group."""


MOST_BYTES = 1 << 16
"""Bytes of the stacks of a child; what is longer is cut at a line."""
CUT = "… (cut)"


def bounded(lines: Iterable[str], most: int = MOST_BYTES) -> str:
    """Join lines up to a number of bytes; the rest is not even made."""
    kept: list[str] = []
    left = most - len(CUT.encode())
    for line in lines:
        left -= len(line.encode(errors="replace")) + 1
        if left < 0:
            return "\n".join([*kept, CUT])
        kept.append(line)
    return "\n".join(kept)
