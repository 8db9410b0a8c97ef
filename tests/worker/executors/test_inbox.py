"""Which thread of an isolated process reads its channel, and when."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest

from jobfleet.worker.executors.isolated import job_host as module
from jobfleet.worker.executors.isolated.channel import ReceivedFrames
from jobfleet.worker.executors.isolated.job_host import Inbox
from tests.support.waiting import wait_until

OVER = ["over"]


class Frames(Iterator[list[Any]]):
    """Frames that are given one by one; it notes which threads have asked for one."""

    def __init__(self) -> None:
        self.given: queue.SimpleQueue[list[Any]] = queue.SimpleQueue()
        self.readers: list[str] = []

    def __next__(self) -> list[Any]:
        self.readers.append(threading.current_thread().name)
        frame = self.given.get()
        if frame == OVER:
            raise StopIteration
        return frame

    def arrived(self) -> list[Any] | None:
        """No frame arrives with another one."""
        return None


@pytest.fixture
def frames() -> Iterator[Frames]:
    frames = Frames()
    yield frames
    frames.given.put(OVER)  # whoever reads stops


def ignored(*_: object) -> None:
    """Take no notice."""


def orders_of(inbox: Inbox, count: int) -> tuple[threading.Thread, list[list[Any]]]:
    """A thread in the place of the main thread, which takes orders and begins their jobs."""
    taken: list[list[Any]] = []

    def take() -> None:
        for _ in range(count):
            taken.append(inbox.next_order())
            inbox.begun()

    thread = threading.Thread(target=take, name="main", daemon=True)
    thread.start()
    return thread, taken


def test_between_two_jobs_the_thread_of_the_jobs_reads_itself(frames: Frames) -> None:
    inbox = Inbox(frames, ignored, ignored)
    inbox.start()
    thread, taken = orders_of(inbox, 1)

    frames.given.put(["run", 1])
    thread.join()

    assert taken == [["run", 1]]
    assert frames.readers[0] == "main"


def test_a_job_that_goes_on_gets_its_frames_from_a_thread(frames: Frames) -> None:
    heard: list[list[Any]] = []
    inbox = Inbox(frames, heard.append, ignored)
    inbox.start()
    thread, _ = orders_of(inbox, 1)
    frames.given.put(["run", 1])
    thread.join()

    frames.given.put(["stop", 1])

    wait_until(lambda: heard == [["stop", 1]], why="a thread reads while the job runs")
    assert "jobfleet-reader" in frames.readers


def test_a_job_that_awaits_an_answer_gets_it_at_once(frames: Frames, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TICK", 3600.0)
    heard: list[list[Any]] = []
    inbox = Inbox(frames, heard.append, ignored)
    inbox.start()
    thread, _ = orders_of(inbox, 1)
    frames.given.put(["run", 1])
    thread.join()

    inbox.attend()
    frames.given.put(["answer", 1])

    wait_until(lambda: heard == [["answer", 1]], why="the thread reads for the answer")


def test_an_order_that_the_thread_has_read_before_the_job_is_over_is_not_missed(frames: Frames) -> None:
    inbox = Inbox(frames, ignored, ignored)
    inbox.start()
    thread, _ = orders_of(inbox, 1)
    frames.given.put(["run", 1])
    thread.join()
    inbox.attend()
    wait_until(lambda: frames.readers[-1] == "jobfleet-reader", why="the thread reads")
    frames.given.put(["run", 2])
    wait_until(lambda: not inbox._thread_reads, why="the thread has read the order")

    later, taken = orders_of(inbox, 1)

    later.join(timeout=30)
    assert taken == [["run", 2]]


def test_what_has_arrived_with_an_order_is_taken_before_its_job_begins() -> None:
    ours, theirs = socket.socketpair()
    heard: list[list[Any]] = []
    inbox = Inbox(ReceivedFrames(theirs, 1000), heard.append, ignored)  # nobody reads but this thread
    for frame in (["run", 1], ["stop", 1], ["leave"]):
        ours.sendall(msgpack.packb(frame))

    assert inbox.next_order() == ["run", 1]
    inbox.begun()

    assert heard == [["stop", 1]]
    assert inbox.next_order() == ["leave"]
    ours.close()
    theirs.close()


def test_orders_and_frames_in_any_rhythm_reach_the_right_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TICK", 0.0)  # the thread takes over as often as it can
    cuts: list[None] = []
    ours, theirs = socket.socketpair()
    heard: queue.SimpleQueue[list[Any]] = queue.SimpleQueue()
    inbox = Inbox(ReceivedFrames(theirs, 1000), heard.put, lambda: cuts.append(None))
    inbox.start()
    for number in range(2000):
        ours.sendall(msgpack.packb(["run", number]))
        assert inbox.next_order() == ["run", number]
        inbox.begun()
        if number % 3 == 0:
            inbox.attend()
            ours.sendall(msgpack.packb(["answer", number]))
            assert heard.get(timeout=30) == ["answer", number]

    inbox.close()
    ours.close()
    wait_until(lambda: len(cuts) > 0, why="the thread notices that the worker's process is gone")
    theirs.close()


def test_when_the_frames_end_the_process_ends_if_the_main_thread_reads_too(frames: Frames) -> None:
    cuts: list[None] = []
    inbox = Inbox(frames, ignored, lambda: cuts.append(None))
    frames.given.put(OVER)

    inbox.next_order()

    assert cuts == [None]
