"""The channel between a worker's process and an isolated process: a socket pair that carries msgpack frames.

Down: hello, run, flag, stop, answer, leave.
Up: ready, refused, report, extend, note, emit, room, steps, keep, undo, extend_flow, confirm, acquire_lock,
release_lock, ended; quarantine processes also send turn.
"""

from __future__ import annotations

import asyncio
import collections
import os
import queue
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import msgpack

from jobfleet.clock import monotonic
from jobfleet.codec import Limits, decode, encode
from jobfleet.errors import EncodingError, InvalidJob, JobCancelled, TypeMismatch
from jobfleet.functions.callables import stable_name
from jobfleet.functions.port import FlowAddition
from jobfleet.functions.registry import Registry
from jobfleet.functions.typed_call import ArgumentsRefused
from jobfleet.model import ErrorType, Job
from jobfleet.model.flow import Flow
from jobfleet.model.signals import (
    Discard,
    ForeignError,
    RateLimited,
    RetryAfter,
    Snooze,
    Suspended,
    WorkerDraining,
    suspension_of,
)
from jobfleet.outcome import OutOfMemory
from jobfleet.retry.decision import Policy, classify, describe, with_header
from jobfleet.retry.tries import Tries
from jobfleet.worker.run.failure import traceback_text
from jobfleet.worker.run.handlers import Handler
from jobfleet.worker.run.interfaces import Died
from jobfleet.worker.run.run import Run

READ_SIZE = 1 << 16
CHUNKS = 8
HINTS = 10_000
"""The number of waiting frames at which log lines are dropped."""
ROOM = 1 << 20
"""The bytes of a frame beside its payload or result."""
REPORT_EVERY = 0.05
"""Seconds between two progress reports of a job. The last report is sent before the job ends."""

LOOK_EVERY = 1.0
"""Seconds without a frame after which the isolated process checks its socket."""

OVER: tuple[Any, ...] = ()

OnFrame = Callable[[list[Any]], None]
OnGarbage = Callable[[Exception], None]


def unpacker(max_payload: int) -> Any:
    """An unpacker for frames with a payload of at most `max_payload` bytes."""
    return msgpack.Unpacker(max_buffer_size=2 * max_payload + ROOM)


class Line:
    """The worker's end. It never waits, and calls back on the event loop.

    Args:
        sock: Its socket.
        max_payload: The maximal size of a payload or result in bytes.
        on_frame: Called with each frame.
        on_garbage: Called once with the error of an invalid frame. Nothing is read after it.
    """

    def __init__(self, sock: socket.socket, max_payload: int, on_frame: OnFrame, on_garbage: OnGarbage) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._on_frame = on_frame
        self._on_garbage = on_garbage
        self._is_closed_for_reading = False
        self._unpacker = unpacker(max_payload)
        self._left = bytearray()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self._read, CHUNKS)

    def send(self, *frame: Any) -> None:
        """Send a frame. What the socket does not accept at once is sent later."""
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
        except OSError:  # the process is gone; its death is noticed elsewhere
            self._left.clear()
        self._loop.remove_writer(self._sock)

    def read_all(self) -> None:
        """Read everything that is left, after the other end was closed."""
        self._read(sys.maxsize)

    def _read(self, most: int) -> None:
        """Read at most `most` pieces, so that the event loop is not blocked."""
        try:
            while not self._is_closed_for_reading and (data := self._sock.recv(READ_SIZE)):
                self._take(data)
                most -= 1
                if not most or self._sock.fileno() < 0:  # the frame has closed the socket
                    return
                if len(data) < READ_SIZE and most <= CHUNKS:  # that was all; if not, the event loop calls again
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
        except Exception as error:  # noqa: BLE001 - a job can write anything to the channel of its process
            self._is_closed_for_reading = True
            self._on_garbage(error)

    def close(self) -> None:
        """Close the channel. A second call does nothing."""
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock)
            self._loop.remove_writer(self._sock)
            self._sock.close()


class ChannelEnd:
    """The isolated process's end: a thread of its own writes, so that a job never waits for its worker.

    The caller writes the last frame of a run if nothing else is waiting, which saves a change of threads per job.

    Args:
        sock: Its socket.
        on_cut: Called when a job has closed the socket, because the job's end could not be reported any more.
    """

    def __init__(self, sock: socket.socket, on_cut: Callable[[], None]) -> None:
        self._sock = sock
        self._on_cut = on_cut
        self._file = _file_of(sock)
        self._frames: queue.SimpleQueue[tuple[Any, ...] | None] = queue.SimpleQueue()
        self._unsent: collections.deque[None] = collections.deque()
        """One item per frame that is in `_frames` or being sent. A signal handler may append, so no lock guards it."""
        self._writing = threading.Lock()
        self._lock = threading.Lock()
        self._latest: dict[Any, tuple[Any, ...]] = {}
        self._thread = threading.Thread(target=self._write, name="jobfleet-talker", daemon=True)
        self._thread.start()

    def send(self, *frame: Any) -> None:
        """Send a frame, from any thread."""
        self._put(frame)

    def finish(self, *frame: Any) -> None:
        """Send the last frame of a run after all earlier ones, from the thread that ran it."""
        with self._writing:
            if not self._unsent and not self._latest:
                self._send_all([frame])
                return
        self._put(frame)

    def _put(self, frame: tuple[Any, ...] | None) -> None:
        self._unsent.append(None)
        self._frames.put(frame)

    def send_now(self, *frame: Any) -> None:
        """Send a frame and return when the socket has it. Used before any job runs."""
        try:
            self._sock.sendall(_packed(frame))
        except OSError:
            self._on_cut()

    def hint(self, *frame: Any) -> None:
        """Send a frame from any thread, unless too many frames are waiting."""
        if self._frames.qsize() < HINTS:
            self._put(frame)

    def report(self, *frame: Any) -> None:
        """Send a report of a run from any thread. A later report replaces one that was not sent yet.

        The second item of the frame is the number of the run.
        """
        with self._lock:
            is_first = not self._latest
            self._latest[frame[1]] = frame
        if is_first:
            self._put(None)

    def close(self) -> None:
        """Send what is left, and stop."""
        self._put(OVER)
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
                was_put, is_waiting = True, is_waiting or frame is None
            except queue.Empty:
                was_put = False
                if not is_waiting:
                    self._look()
                    continue
            with self._writing:
                out: list[tuple[Any, ...]] = []
                if is_waiting and (frame is not None or monotonic() >= due):
                    is_waiting = False
                    if latest := self._take():
                        due = monotonic() + REPORT_EVERY
                        out += latest
                if frame:
                    out.append(frame)
                self._send_all(out)
                if was_put:
                    self._unsent.popleft()

    def _send_all(self, frames: Iterable[tuple[Any, ...]]) -> None:
        try:
            for frame in frames:
                self._sock.sendall(_packed(frame))
        except OSError:
            self._on_cut()

    def _look(self) -> None:
        if _file_of(self._sock) != self._file:
            self._on_cut()


def _file_of(sock: socket.socket) -> tuple[int, int] | None:
    """The device and inode of a socket; None if its descriptor is closed."""
    try:
        status = os.fstat(sock.fileno())
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _packed(frame: tuple[Any, ...]) -> bytes:
    """A frame as bytes. When a job has used up its memory limit, this waits until memory is free again."""
    while True:
        try:
            packed: bytes = msgpack.packb(frame)
            return packed
        except MemoryError:
            time.sleep(REPORT_EVERY)


class ReceivedFrames(Iterator[list[Any]]):
    """The frames that an isolated process receives, until the worker is gone.

    This is not a generator: an error that a signal handler of a job raises while it waits must not end it.

    Args:
        sock: The socket.
        max_payload: The maximal size of a payload or result in bytes.
    """

    def __init__(self, sock: socket.socket, max_payload: int) -> None:
        self._sock = sock
        self._source = unpacker(max_payload)

    def __next__(self) -> list[Any]:
        """Wait for a frame."""
        while (frame := self.arrived()) is None:
            data = b""
            try:
                data = _received(self._sock)
            except OSError as error:
                if error.errno is None:  # not of the socket: a signal handler that a job has left behind raises it
                    raise
            if not data:
                raise StopIteration
            self._source.feed(data)
        return frame

    def arrived(self) -> list[Any] | None:
        """A frame that was received with the one before; None if there is none."""
        frame: list[Any] | None = next(self._source, None)
        return frame


def _received(sock: socket.socket) -> bytes:
    while True:
        try:
            return sock.recv(READ_SIZE)
        except MemoryError:  # caused by the job; the data is still in the socket
            time.sleep(REPORT_EVERY)


# How a run in an isolated process ended, as data: the class of its error exists in that process only.


EndReport = dict[str, Any]
OF_VALUES = {"arguments": ArgumentsRefused, "mismatch": TypeMismatch, "encoding": EncodingError}
"""The errors about arguments and results, subclasses first."""
LONGEST = 64 * 1024
"""The maximal length of a text in a report. The history of a job keeps less."""


def describe_error(error: BaseException, policy: Policy, *, traceback_bytes: int) -> EndReport:
    """Describe what a job raised.

    Args:
        error: What it raised, whatever it is.
        policy: Its function's lists of exceptions.
        traceback_bytes: The maximal size of a traceback.
    """
    report: EndReport = {
        "text": describe(error)[:LONGEST],
        "class": type(error).__name__[:LONGEST].encode("utf-8", "replace").decode(),
        "type": str(classify(error, policy)),
        "traceback": traceback_text(error, traceback_bytes),
    }
    match suspension_of(error) or error:
        case Suspended(key=key, name=name, delay=delay):
            report |= {"how": "waiting", "wait": [key, name, delay]}
        case WorkerDraining():
            report |= {"how": "draining"}
        case RateLimited(delay=delay, limit=limit):
            report |= {"how": "snooze", "delay": delay, "limit": limit or ""}
        case Snooze(delay=delay):
            report |= {"how": "snooze", "delay": delay}
        case RetryAfter(delay=delay, reason=reason):
            report |= {"how": "retry", "delay": delay, "reason": _text(reason)}
        case Discard(reason=reason):
            report |= {"how": "discard", "reason": _text(reason)}
        case JobCancelled() | asyncio.CancelledError():
            report |= {"how": "stopped"}
        case EncodingError() as wrong:
            how = next(how for how, kind in OF_VALUES.items() if isinstance(wrong, kind))
            report |= {"how": how, "reason": _text(wrong), "field": wrong.field, "path": _text(wrong.path)}
        case _:
            report |= {"how": "raised"}
    return report


def describe_ending(run: Run, handler: Handler, error: BaseException, *, traceback_bytes: int) -> EndReport:
    """Describe what a job raised, with what the functions and lists of its decorator say of it.

    Args:
        run: The run of the job.
        handler: Its function.
        error: What it raised, whatever it is.
        traceback_bytes: The maximal size of a traceback.
    """
    report = describe_error(error, handler.policy, traceback_bytes=traceback_bytes)
    if handler.policy.delay_of is not None and report["how"] == "raised" and report["type"] == ErrorType.TRANSIENT:
        policy, failures = with_header(handler.policy, run.header), Tries.parse(run.grant.tries).failures
        if policy.delay_of is not None and failures < policy.max_retries:
            report["retry_delay"] = policy.delay_of(failures + 1, error)
    gates = handler.function.gates
    if gates is not None and gates.breaker is not None and gates.breaker.ignores(error):
        report["ignored"] = True
    return report


def error_of(report: EndReport, *, is_stopping: bool) -> BaseException:
    """What was raised, as the worker's process takes it.

    Args:
        report: The result of `describe_error`, or a report of the process itself: ``oom``, ``missing``.
        is_stopping: Whether the run was to stop.
    """
    how = report["how"]
    if how == "oom":
        return Died(OutOfMemory(report["reason"]))
    if how == "missing":
        return InvalidJob(report["reason"], field="run_in")
    if how in OF_VALUES:
        return OF_VALUES[how](report["reason"], field=report["field"], path=report["path"])
    if how == "waiting":
        return Suspended(*report["wait"])
    if how == "draining":
        return WorkerDraining()
    if how == "stopped" and is_stopping:
        return JobCancelled(report["text"])
    steers: RetryAfter | Snooze | Discard | None = None
    if how == "snooze":
        is_refused = "limit" in report
        steers = RateLimited(report["delay"], limit=report["limit"] or None) if is_refused else Snooze(report["delay"])
    elif how == "retry":
        steers = RetryAfter(report["delay"], reason=report["reason"])
    elif how == "discard":
        steers = Discard(report["reason"] or "")
    return ForeignError(
        report["text"],
        error_class=report["class"],
        error_type=ErrorType(report["type"]),
        traceback=report["traceback"],
        steers=steers,
        retry_delay=report.get("retry_delay"),
        is_ignored=report.get("ignored", False),
    )


def value_of(data: bytes, limits: Limits) -> Any:
    """A result that came over the line.

    Raises:
        EncodingError: It cannot be read.
    """
    return decode(data, limits=limits, what="result")


def _text(what: object) -> str | None:
    if what is None:
        return None
    try:
        return str(what)[:LONGEST].encode("utf-8", "replace").decode()
    except BaseException:  # noqa: BLE001 - the user's __str__ may raise anything
        return "(its text cannot be read)"


# Additions of jobs to a flow.


NOT_CARRIED = ("function", "depends_on", "cron_expression", "tz", "run_in")
CARRIED = tuple(option.name for option in fields(Job) if option.init and option.name not in NOT_CARRIED)
ENVELOPING = 8
"""Levels of nesting around an argument of a job."""


def seal_flow_addition(addition: FlowAddition, registry: Registry, *, limits: Limits) -> bytes:
    """Encode an addition.

    Raises:
        EncodingError: An argument cannot be encoded, or the addition is too large.
        InvalidJob: A function has no name that a worker could find.
    """
    jobs = []
    for node in addition.flow.nodes:
        options = {name: value for name in CARRIED if (value := getattr(node.job, name)) is not None}
        function = registry.get(_function_name(node.job, registry))
        if function is not None and function.typed is not None:
            options["args"], options["kwargs"] = function.typed.dump(tuple(node.job.args), node.job.kwargs)
        if "priority" in options:
            options["priority"] = int(options["priority"])
        links = [[link.parent, link.otherwise] for link in addition.flow.links.get(node.number, {}).values()]
        jobs.append([_function_name(node.job, registry), options, links])
    content = {
        "flow": addition.flow.name, "name": addition.name, "after": addition.after_this,
        "joins": list(addition.joins), "jobs": jobs,
    }  # fmt: skip
    return encode(content, limits=_around(limits), what="flow")


def open_flow_addition(record: bytes, *, limits: Limits) -> FlowAddition:
    """Decode what `seal_flow_addition` encoded.

    Raises:
        EncodingError: The record cannot be decoded.
    """
    content: Mapping[str, Any] = decode(record, limits=_around(limits), what="flow")
    flow = Flow(content["flow"])
    rows: Sequence[Any] = content["jobs"]
    for function, options, _ in rows:
        flow.add(Job(function=function, **options))
    for node, (_, _, links) in zip(flow.nodes, rows, strict=True):
        for parent, otherwise in links:
            flow.link(flow.nodes[parent], node, otherwise=otherwise)
    return FlowAddition(flow, content["name"], bool(content["after"]), tuple(content["joins"]))


def _around(limits: Limits) -> Limits:
    return replace(limits, max_depth=min(128, limits.max_depth + ENVELOPING))


def _function_name(job: Job, registry: Registry) -> str:
    if isinstance(job.function, str):
        return job.function
    known = getattr(job.function, "name", None)
    if isinstance(known, str):
        return known
    for function in registry.functions.values():
        if function.function is job.function:
            return function.name
    return stable_name(job.function, label=job.name)
