"""The local buffer at the end of a program, of a loop and of a client, in a forked process, and behind a proxy."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobfleet import AsyncFleet, Fleet, InvalidJob, JobNotFound, JobStatus
from jobfleet.fleet.default import set_default_fleet
from jobfleet.functions.registry import Registry, job
from tests.client.test_buffer import names_in_order
from tests.client.test_buffer_refusals import add, buffer_lines
from tests.support.proxy import Proxy
from tests.support.server import RedisServer
from tests.support.waiting import wait_until

PROGRAM = """
import os, sys
from jobfleet import Fleet, Job

fleet = Fleet(sys.argv[1], patience=0, buffer=10)
fleet.enqueue(Job("first", "app.add", (0, 0)))
print("ready", flush=True)
sys.stdin.readline()
for number in range(3):
    print(fleet.submit(Job(f"job {number}", "app.add", (number, 0))).status, flush=True)
sys.stdin.readline()
END
"""


@pytest.fixture
def away() -> Iterator[RedisServer]:
    """A server that keeps everything when it is killed."""
    with RedisServer("--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


class Program:
    """A producer in a process of its own, with three jobs in its buffer."""

    def __init__(self, server: RedisServer, folder: Path, end: str = "") -> None:
        path = folder / "program.py"
        path.write_text(PROGRAM.replace("END", end))
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", path, server.url], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self._expect("ready")
        server.kill()
        self.go()
        for _ in range(3):
            self._expect("buffered")

    def _expect(self, line: str) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == f"{line}\n"

    def go(self) -> None:
        """Let the program continue."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def ended(self) -> str:
        """Wait for its end; return what it wrote to stderr."""
        return self.process.communicate(timeout=60)[1]


def names(server: RedisServer) -> list[str]:
    with Fleet(server.url) as fleet:
        return names_in_order(fleet)


SHORTLY = "import jobfleet.client.buffer; jobfleet.client.buffer.EXITING = 0.1"


@pytest.mark.parametrize("end", ["fleet.close(timeout=0); os._exit(0)", SHORTLY], ids=["close", "exit"])
def test_jobs_that_are_left_when_a_client_is_closed_or_a_program_ends_are_lost_and_logged(
    away: RedisServer, tmp_path: Path, end: str
) -> None:
    program = Program(away, tmp_path, end)
    program.go()

    written = program.ended()

    assert "buffer.lost jobs=3 first=default.0." in written
    assert "this producer ends, and they were not enqueued. No Redis at" in written
    away.restart()
    assert names(away) == ["first"]


def test_the_end_of_a_program_waits_for_the_server_and_flushes(away: RedisServer, tmp_path: Path) -> None:
    program = Program(away, tmp_path)
    program.go()
    away.restart()

    written = program.ended()

    assert "buffer.flushed jobs=3 refused=0 dropped=0" in written
    assert "buffer.lost" not in written
    assert names(away) == ["first", "job 0", "job 1", "job 2"]


def test_a_killed_program_loses_what_is_in_its_buffer(away: RedisServer, tmp_path: Path) -> None:
    program = Program(away, tmp_path)
    program.process.send_signal(signal.SIGKILL)
    program.ended()

    away.restart()

    assert names(away) == ["first"]


def test_a_forked_process_begins_with_an_empty_buffer(away: RedisServer, registry: Registry) -> None:
    with Fleet(away.url, registry=registry, patience=0, buffer=10) as fleet:
        fleet.enqueue(add(0))
        away.kill()
        kept = fleet.submit(add(1))
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                own = fleet.submit(add(2))
                os.write(writing, f"{fleet.buffered} {own.status}".encode())
                wait_until(lambda: not fleet.buffered, why="the child flushes its own job")
            finally:
                os._exit(0)
        assert os.read(reading, 100) == b"1 buffered"
        assert fleet.buffered == 1
        away.restart()
        os.waitpid(pid, 0)
        wait_until(lambda: not fleet.buffered, why="the parent flushes its job")
        for one in (reading, writing):
            os.close(one)

        assert fleet.poll(kept.id).status is JobStatus.QUEUED
        assert sorted(names(away)) == ["job 0", "job 1", "job 2"]


def test_a_closed_client_forgets_its_jobs_and_can_be_used_again(
    away: RedisServer, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    fleet = Fleet(away.url, registry=registry, patience=0, buffer=10)
    fleet.enqueue(add(0))
    away.kill()
    lost = fleet.submit(add(1))

    fleet.close(timeout=0)
    assert fleet.buffered == 0
    with pytest.raises(JobNotFound, match="was lost: its producer ended while Redis was unavailable"):
        fleet.poll(lost.id)
    again = fleet.submit(add(2))
    away.restart()
    fleet.close()  # flushes

    assert [line.split()[0] for line in buffer_lines(caplog)].count("buffer.lost") == 1
    with Fleet(away.url) as other:
        assert other.poll(again.id).status is JobStatus.QUEUED
    with pytest.raises(InvalidJob, match="timeout"):
        fleet.close(timeout="soon")  # type: ignore[arg-type]  # it is refused


def test_jobs_outlive_the_event_loop_that_enqueued_them(away: RedisServer, registry: Registry) -> None:
    fleet = AsyncFleet(away.url, registry=registry, patience=0, buffer=10)

    async def produce() -> str:
        await fleet.enqueue(add(0))
        away.kill()
        return await fleet.enqueue(add(1))

    job_id = asyncio.run(produce())  # the loop is closed now; the client is not
    away.restart()
    wait_until(lambda: not fleet.buffered, why="the buffer is flushed without the loop")

    with Fleet(away.url) as other:
        assert other.poll(job_id).status is JobStatus.QUEUED


def test_functions_of_the_default_fleet_share_one_buffer_in_all_loops(away: RedisServer) -> None:
    fleet = Fleet(away.url, patience=0, buffer=10, registry=Registry())
    before = set_default_fleet(fleet)
    hello = job(name="test.hello")(len)
    try:

        async def produce() -> object:
            handle = await hello.aenqueue("x")
            return (await handle.poll()).status

        hello.enqueue("x")
        away.kill()
        handle = hello.enqueue("x")
        assert (handle.receipt.status, handle.poll().status) == ("buffered", "buffered")
        assert [asyncio.run(produce()) for _ in range(2)] == ["buffered", "buffered"]
        assert fleet.buffered == 3
        away.restart()
        wait_until(lambda: not fleet.buffered, why="the buffer is flushed")
        assert handle.poll().status is JobStatus.QUEUED
    finally:
        set_default_fleet(before)
        fleet.close()


def test_a_silent_network_fills_the_buffer_and_another_one_flushes_it(
    away_on_tcp: RedisServer, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    with Proxy(away_on_tcp) as proxy:
        fleet = Fleet(proxy.url, registry=registry, patience=0, buffer=10, socket_timeout=0.1, connect_timeout=0.1)
        with fleet, caplog.at_level(logging.WARNING):
            fleet.enqueue(add(0))
            proxy.silence()
            receipts = [fleet.submit(add(number)) for number in (1, 2)]

            wait_until(lambda: not fleet.buffered, why="new connections work")
            assert [one.status for one in receipts] == ["buffered", "buffered"]
            assert [fleet.poll(one.id).status for one in receipts] == [JobStatus.QUEUED] * 2


@pytest.fixture
def away_on_tcp() -> Iterator[RedisServer]:
    with RedisServer(tcp=True) as server:
        yield server


class Broken(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise RuntimeError("the disk of the log is full")


def test_a_log_handler_that_raises_keeps_no_jobs_in_the_buffer(away: RedisServer, registry: Registry) -> None:
    handler = Broken()
    logger = logging.getLogger("jobfleet.client")
    logger.addHandler(handler)
    try:
        with Fleet(away.url, registry=registry, patience=0, buffer=10) as fleet:
            fleet.enqueue(add(0))
            away.kill()
            job_id = fleet.enqueue(add(1))
            away.restart()

            wait_until(lambda: fleet.buffered == 0, why="the buffer is flushed")
            assert fleet.poll(job_id).status is JobStatus.QUEUED
    finally:
        logger.removeHandler(handler)
