"""The line between a worker's process and an isolated one: a socket pair that carries msgpack frames.

Down: hello, run, flag, stop, answer, leave.
Up: ready, refused, report, extend, note, steps, keep, extend_flow, stands, ended, and from a ward turn.
"""

from __future__ import annotations

import asyncio
import os
import queue
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import msgpack

from jobfleet.clock import monotonic

READ_SIZE = 1 << 16
CHUNKS = 8
HINTS = 10_000
"""Frames that may wait before lines of a log are dropped."""
ROOM = 1 << 20
"""What a frame may take beside a payload or a result."""
REPORT_EVERY = 0.05
"""Seconds between two reports of a job; its last one goes before its end."""

LOOK_EVERY = 1.0
"""Seconds after which a silent end looks whether its socket is still there."""

OVER: tuple[Any, ...] = ()

OnFrame = Callable[[list[Any]], None]
OnGarbage = Callable[[Exception], None]


def unpacker(max_payload: int) -> Any:
    """Takes frames apart whose payload is that large at most."""
    return msgpack.Unpacker(max_buffer_size=2 * max_payload + ROOM)


class Line:
    """The worker's end: never waits, and calls back on the loop.

    Args:
        sock: Its socket.
        max_payload: Bytes of the largest payload or result.
        on_frame: Takes each frame that comes.
        on_garbage: Is told, once, of what is no frame, or one that nobody can take; nothing is read after it.
    """

    def __init__(self, sock: socket.socket, max_payload: int, on_frame: OnFrame, on_garbage: OnGarbage) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._on_frame = on_frame
        self._on_garbage = on_garbage
        self._is_deaf = False
        self._unpacker = unpacker(max_payload)
        self._left = bytearray()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self._read, CHUNKS)

    def send(self, *frame: Any) -> None:
        """Send a frame; what the socket does not take at once goes later."""
        had = bool(self._left)
        self._left += msgpack.packb(frame)
        if not had:
            self._write()
            if self._left:
                self._loop.add_writer(self._sock, self._write)

    def _write(self) -> None:
        try:
            while self._left:
                del self._left[: self._sock.send(self._left)]
        except BlockingIOError:
            return
        except OSError:  # the process is gone; its death is told elsewhere
            self._left.clear()
        self._loop.remove_writer(self._sock)

    def read_all(self) -> None:
        """Take in all that has come; the other end is gone."""
        self._read(sys.maxsize)

    def _read(self, most: int) -> None:
        """Take in what has come, in so many pieces at most: others want the loop, too."""
        try:
            while not self._is_deaf and (data := self._sock.recv(READ_SIZE)):
                self._take(data)
                most -= 1
                if not most or self._sock.fileno() < 0:  # a frame was the last one
                    return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._loop.remove_reader(self._sock)

    def _take(self, data: bytes) -> None:
        try:
            self._unpacker.feed(data)
            for frame in self._unpacker:
                self._on_frame(frame)
        except Exception as error:  # noqa: BLE001 - a job can write whatever it likes to a line of its process
            self._is_deaf = True
            self._on_garbage(error)

    def close(self) -> None:
        """Close it; twice is harmless."""
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock)
            self._loop.remove_writer(self._sock)
            self._sock.close()


class ChannelEnd:
    """The isolated process's end: a thread of its own writes, so that a job never waits for its worker.

    Args:
        sock: Its socket.
        on_cut: Called when the socket is not there any more: a job has closed it, and nobody would ever hear
            of its end.
    """

    def __init__(self, sock: socket.socket, on_cut: Callable[[], None]) -> None:
        self._sock = sock
        self._on_cut = on_cut
        self._file = _file_of(sock)
        self._frames: queue.SimpleQueue[tuple[Any, ...] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._latest: dict[Any, tuple[Any, ...]] = {}
        self._thread = threading.Thread(target=self._write, name="jobfleet-talker", daemon=True)
        self._thread.start()

    def send(self, *frame: Any) -> None:
        """Send a frame, from any thread."""
        self._frames.put(frame)

    def say(self, *frame: Any) -> None:
        """Send a frame and return when it is on its way; for what is said before any job runs."""
        try:
            self._sock.sendall(_packed(frame))
        except OSError:
            self._on_cut()

    def hint(self, *frame: Any) -> None:
        """Send a frame unless too many wait already, from any thread."""
        if self._frames.qsize() < HINTS:
            self._frames.put(frame)

    def report(self, *frame: Any) -> None:
        """Send a report of a run (its number comes second) unless a later one overtakes it, from any thread."""
        with self._lock:
            is_first = not self._latest
            self._latest[frame[1]] = frame
        if is_first:
            self._frames.put(None)

    def close(self) -> None:
        """Send what is left, and no more."""
        self._frames.put(OVER)
        self._thread.join()

    def _take(self) -> list[tuple[Any, ...]]:
        with self._lock:
            latest, self._latest = self._latest, {}
        return list(latest.values())

    def _write(self) -> None:
        due = 0.0
        is_waiting = False
        frame: tuple[Any, ...] | None = None
        while frame is not OVER:
            frame = None
            try:
                frame = self._frames.get(timeout=max(0.0, due - monotonic()) if is_waiting else LOOK_EVERY)
                is_waiting = is_waiting or frame is None
            except queue.Empty:
                if not is_waiting:
                    self._look()
                    continue
            out: list[tuple[Any, ...]] = []
            if is_waiting and (frame is not None or monotonic() >= due):
                is_waiting = False
                if latest := self._take():
                    due = monotonic() + REPORT_EVERY
                    out += latest
            if frame:
                out.append(frame)
            try:
                for one in out:
                    self._sock.sendall(_packed(one))
            except OSError:
                self._on_cut()

    def _look(self) -> None:
        if _file_of(self._sock) != self._file:
            self._on_cut()


def _file_of(sock: socket.socket) -> tuple[int, int] | None:
    """Which file a socket's descriptor stands for; None when for none."""
    try:
        status = os.fstat(sock.fileno())
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _packed(frame: tuple[Any, ...]) -> bytes:
    """A frame as bytes; a job that has taken all memory it may does not keep its process from speaking for long."""
    while True:
        try:
            packed: bytes = msgpack.packb(frame)
            return packed
        except MemoryError:
            time.sleep(REPORT_EVERY)


def heard(sock: socket.socket, max_payload: int) -> Iterator[list[Any]]:
    """The frames that come to an isolated process, until the worker is gone."""
    source = unpacker(max_payload)
    with suppress(OSError):
        while data := _received(sock):
            source.feed(data)
            yield from source


def _received(sock: socket.socket) -> bytes:
    while True:
        try:
            return sock.recv(READ_SIZE)
        except MemoryError:  # the job's doing; what has come is still there
            time.sleep(REPORT_EVERY)
