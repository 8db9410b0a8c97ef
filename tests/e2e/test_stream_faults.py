"""A reader that goes away again and again, while workers are killed, replies lost and the server restarted."""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from jobfleet import Chunk, Fleet, Job
from tests.support.fleet import LONG, Program, Programs
from tests.support.havoc import Havoc
from tests.support.proxy import Proxy
from tests.support.server import RedisServer
from tests.support.waiting import wait_until

FAULTS = ("child", "worker", "reply", "restart")
KEPT = 300


@contextmanager
def talker(folder: Path, seed: int, kept: int) -> Iterator[tuple[Proxy, Havoc]]:
    """Workers behind a proxy, on a server that keeps what it has confirmed."""
    with RedisServer("--appendonly", "yes", "--appendfsync", "always", tcp=True) as server, Proxy(server) as proxy:
        programs = Programs(proxy.url, folder, is_fresh=False)

        def start() -> Program:
            return programs.ready(
                "talking", lease=3, reap_interval=0.2, with_reaper=1, stream_chunks=kept, stream_bytes="500MiB"
            )

        try:
            yield proxy, Havoc(start, seed, lambda *_: None, proxy=proxy, server=server)
        finally:
            programs.close()
            sys.stdout.write(programs.logs())


def read_some(proxy: Proxy, job_id: str, seen: list[Chunk], dice: random.Random) -> None:
    """Read with another client until the reader goes away. Meanwhile all connections may be cut."""
    count = dice.randrange(1, 60)
    with Fleet(proxy.url, patience=30) as reader:
        for chunk in reader.stream(job_id, seen[-1].position if seen else None):
            seen.append(chunk)
            count -= 1
            if dice.randrange(60) == 0:
                proxy.cut()
            if not count:
                return


def emitted_since(proxy: Proxy, job_id: str, number: int) -> int:
    """How many chunks this run has stored since one of its chunks, or in all if it is another run."""
    with Fleet(proxy.url, patience=30) as reader:
        last = next(iter(reader.stream(job_id, tail=1, follow=False)))
    return last.number - number if last.number > number else last.number


def total(chunk: Chunk) -> int:
    """The number of a chunk among all that the job has stored, in all its runs."""
    return int(chunk.position.rpartition("-")[2])


def wrong(chunks: list[Chunk]) -> list[tuple[Chunk, Chunk]]:
    """The neighbours between which something is missing without a notice, repeated, or in the wrong order."""
    found = []
    for one, two in pairwise(chunks):
        is_next = total(two) == total(one) + 1 + two.dropped
        if two.epoch == one.epoch:
            is_right = is_next and not two.is_restart and two.number == one.number + 1 + two.dropped
        else:
            is_right = is_next and two.is_restart and two.epoch > one.epoch and two.number <= 1 + two.dropped
        if not is_right:
            found.append((one, two))
    return found


def check(folder: Path, *, seed: int, kept: int, disconnects: int, faults: int) -> None:
    with talker(folder, seed, kept) as (proxy, breaks), Fleet(proxy.url, patience=60) as fleet:
        job_id = fleet.enqueue(Job("talk", "talk.on"))
        seen: list[Chunk] = []
        for number in range(disconnects):
            read_some(proxy, job_id, seen, breaks.dice)
            if number % (disconnects // faults) == 0:
                breaks.strike(*FAULTS)
            if kept == KEPT and number % 20 == 0:  # the reader stays away for so long that it misses some
                wait_until(
                    lambda: emitted_since(proxy, job_id, seen[-1].number) > 2 * KEPT, timeout=LONG, why="it missed"
                )
        (folder / "enough").touch()
        seen += fleet.stream(job_id, seen[-1].position)
        count = fleet.wait(job_id, timeout=LONG).result
        left = list(fleet.stream(job_id, follow=False))

    epochs = Counter(chunk.epoch for chunk in seen)
    dropped = sum(chunk.dropped for chunk in seen)
    sys.stderr.write(
        f"seed {seed}, {kept} kept: {disconnects} disconnects, {len(seen)} chunks read, {dropped} reported as dropped, "
        f"{len(epochs)} runs, {dict(breaks.done)}\n"
    )
    assert wrong(seen) == []
    assert [chunk for chunk in seen if chunk.value != chunk.number - 1] == []
    assert seen[-1].number == count, "the stream ends with the last chunk of the run that has completed"
    assert len(seen) + dropped == total(seen[-1])
    assert [total(one) for one in left] == list(range(total(seen[-1]) - len(left) + 1, total(seen[-1]) + 1))
    assert len(left) == min(kept, total(seen[-1]))
    assert (dropped > 0) == (kept == KEPT)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBFLEET_TEST_FOLDER", str(tmp_path))


def test_a_reader_misses_and_repeats_nothing_whatever_happens(tmp_path: Path) -> None:
    check(tmp_path, seed=1, kept=KEPT, disconnects=40, faults=4)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kept", [KEPT, 10_000_000], ids=["short", "whole"])
def test_a_reader_misses_and_repeats_nothing_over_a_thousand_disconnects(tmp_path: Path, kept: int, seed: int) -> None:
    check(tmp_path, seed=seed, kept=kept, disconnects=1000, faults=40)
