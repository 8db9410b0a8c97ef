"""The memory and the processor time of processes, and what they take of a processor now."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from jobfleet.worker.ipc import usage
from jobfleet.worker.ipc.lease_board import LeaseBoard, LeaseBoardReader, create
from jobfleet.worker.ipc.usage import Load, Meter, Usage, own_usage, total, usage_of
from tests.support.waiting import wait_until

MIB = 1024**2


@pytest.mark.skipif(not usage.IS_SHOWN, reason="the system shows a process only to itself")
def test_another_process_is_seen_and_one_that_is_gone_is_not() -> None:
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        wait_until(lambda: (usage_of(busy.pid) or Usage(0, 0)).seconds > 0.05, why="it has taken processor time")
        found = usage_of(busy.pid)
        assert found is not None
        assert MIB < found.memory < 1024 * MIB
    finally:
        busy.kill()
        busy.wait()
    assert usage_of(busy.pid) is None


def test_a_process_knows_its_own_use_on_every_system(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = own_usage()
    monkeypatch.setattr(usage, "IS_SHOWN", False)
    peak = own_usage()

    assert peak.memory >= 0.5 * shown.memory > 10 * MIB
    assert peak.seconds == pytest.approx(shown.seconds, rel=0.5, abs=0.5)


def test_a_share_needs_two_readings_and_a_second_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(usage, "boottime", lambda: clock.now)
    meter = Meter()

    def loads(seconds: float, **others: Usage | None) -> Load:
        return meter.loads({"a": Usage(MIB, seconds), **others})["a"]

    assert loads(5.0) == Load(MIB, None)
    clock.now = 102.0
    assert loads(6.0) == Load(MIB, 0.5)
    clock.now = 102.3
    assert loads(6.3) == Load(MIB, 0.5)
    clock.now = 104.0
    assert loads(9.0, b=None) == Load(MIB, 1.5)
    assert meter.loads({"b": None}) == {"b": Load(None, None)}
    assert loads(9.0) == Load(MIB, None)


def test_a_total_leaves_out_what_is_not_known() -> None:
    assert total({"a": Load(1, 0.5), "b": Load(2, None), "c": Load(None, None)}) == Load(3, 0.5)
    assert total({"a": Load(None, None)}) == Load(None, None)


def test_a_child_shows_on_its_board_what_it_uses() -> None:
    descriptor = create(4)
    board, reader = LeaseBoard(os.dup(descriptor)), LeaseBoardReader(descriptor)
    before = reader.usage
    board.turn(7.5)
    board.use(Usage(123 * MIB, 4.25))
    assert (before, reader.usage) == (None, Usage(123 * MIB, 4.25))
    assert (reader.turned_at, reader.read()) == (7.5, [])
    reader.close()
