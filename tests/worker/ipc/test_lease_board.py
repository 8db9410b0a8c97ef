"""The board: what a child posts, its supervisor reads; a torn record is never taken for a whole one."""

from __future__ import annotations

import os
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from jobfleet.worker.ipc.lease_board import HEADER, RECORD, LeaseBoard, LeaseBoardReader, Phase, Posted, create, overdue
from tests.support.waiting import wait_until

IDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=64)
TOKENS = st.integers(min_value=0, max_value=2**64 - 1)

WRITER = """
import sys
from jobfleet.worker.ipc.lease_board import LeaseBoard
board = LeaseBoard(int(sys.argv[1]))
print("go", flush=True)
n = 0
while True:
    n += 1
    job_id = f"q.0.{n:0{1 + n % 50}d}"
    place = board.post(job_id, n)
    if n % 3 == 0:
        board.started(place)
        board.returned(place)
    board.clear(place)
"""


def test_a_job_is_seen_on_its_way() -> None:
    descriptor = create(4)
    board, reader = LeaseBoard(os.dup(descriptor)), LeaseBoardReader(descriptor)

    place = board.post("mail.0.x", 2**63)
    seen = [reader.read()]
    for step in (board.started, board.ended, board.returned, board.clear):
        step(place)
        seen.append(reader.read())

    phases = (Phase.CLAIMED, Phase.STARTED, Phase.ENDED, Phase.RETURNED)
    assert seen == [*([Posted(phase, "mail.0.x", 2**63)] for phase in phases), []]
    assert board.capacity == board.room == 4
    reader.close()


@given(st.lists(st.tuples(IDS, TOKENS), max_size=8))
def test_whatever_is_posted_is_read(jobs: list[tuple[str, int]]) -> None:
    board = LeaseBoard(None, 8)

    places = [board.post(job_id, token) for job_id, token in jobs]

    assert board.read() == [Posted(Phase.CLAIMED, job_id, token) for job_id, token in jobs]
    assert len(set(places)) == len(places)
    assert board.room == 8 - len(jobs)


@given(IDS, TOKENS, IDS, TOKENS, st.integers(0, RECORD))
def test_a_record_half_overwritten_is_old_or_new_or_left_out(a: str, t: int, b: str, u: int, cut: int) -> None:
    old, new = LeaseBoard(None, 1), LeaseBoard(None, 1)
    old.post(a, t)
    new.post(b, u)

    torn = new._memory[HEADER : HEADER + cut]
    old._memory[HEADER : HEADER + cut] = torn

    assert [(one.id, one.token) for one in old.read()] in ([], [(a, t)], [(b, u)])


@given(st.binary(min_size=RECORD, max_size=RECORD))
def test_garbage_is_left_out(garbage: bytes) -> None:
    board = LeaseBoard(None, 2)
    board.post("good.0.x", 1)
    second = HEADER + RECORD * (1 if board._memory[HEADER] else 0)
    board._memory[second : second + RECORD] = garbage

    assert Posted(Phase.CLAIMED, "good.0.x", 1) in board.read()
    assert len(board.read()) <= 2


def test_a_reader_beside_a_busy_writer_sees_only_whole_records() -> None:
    descriptor = create(1)
    reader = LeaseBoardReader(descriptor)
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(descriptor)], pass_fds=(descriptor,), stdout=subprocess.PIPE
    )
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"go\n"
        seen: set[int] = set()

        def read_often() -> bool:
            for _ in range(5000):
                for one in reader.read():
                    assert int(one.id.rpartition(".")[2]) == one.token, one
                    assert one.id == f"q.0.{one.token:0{1 + one.token % 50}d}"
                    seen.add(one.token)
            return len(seen) > 500

        wait_until(read_often, timeout=60, why="many records have been seen")
    finally:
        writer.kill()
        writer.communicate()
        reader.close()


def test_a_reader_sees_when_the_loop_turned_last_whatever_is_posted() -> None:
    descriptor = create(1)
    board, reader = LeaseBoard(os.dup(descriptor)), LeaseBoardReader(descriptor)
    assert reader.turned_at == 0.0

    board.turn(1234.5678)
    place = board.post("a", 7)

    assert reader.turned_at == 1234.5678
    assert reader.read() == [Posted(Phase.CLAIMED, "a", 7)]
    board.clear(place)
    board.turn(0.0)
    assert reader.turned_at == 0.0
    assert board.capacity == 1
    reader.close()


def test_a_started_run_past_its_limit_is_named_with_its_limit() -> None:
    descriptor = create(4)
    board, reader = LeaseBoard(os.dup(descriptor)), LeaseBoardReader(descriptor)
    places = [board.post(f"mail.0.{name}", token) for token, name in enumerate("abcd")]
    before = reader.has_limits
    for place in places[:3]:
        board.started(place)
    board.limit(places[0], 100.0, 2.5)
    board.limit(places[1], 200.0, 3.0)
    board.limit(places[3], 100.0, 1.0)  # claimed, but not started

    assert (before, reader.has_limits) == (False, True)
    assert reader.overdue(100.0) == {}
    assert reader.overdue(100.1) == {("mail.0.a", 0): 2.5}
    assert reader.overdue(201.0) == {("mail.0.a", 0): 2.5, ("mail.0.b", 1): 3.0}
    board.limit(places[0], 300.0, 202.5)
    board.returned(places[1])
    assert reader.overdue(201.0) == {}
    board.limit(places[0], 0.0, 0.0)
    assert reader.overdue(10.0**9) == {}
    reader.close()


@given(st.floats(0, 10**12), st.floats(0, 10**12))
def test_a_limit_is_never_early(until: float, seconds: float) -> None:
    board = LeaseBoard(None, 1)
    board.started(board.post("mail.0.a", 1))

    board.limit(HEADER, until, seconds)

    assert overdue(board._memory, min(until, 4e8)) == {}
