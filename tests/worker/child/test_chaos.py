"""The faults of ``--chaos`` in one child: which exchanges lose replies, when the child dies, and what it reports."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from jobfleet.store.calls.lease import claim
from jobfleet.store.calls.run import keep
from jobfleet.store.calls.settle import Completion, settle
from jobfleet.store.keys import Keyspace
from jobfleet.worker.ipc.chaos import Chaos

LANE = Keyspace("ns").lane("q", 0)
IDS = ["q.0.a", "q.0.b"]
CLAIM = claim(LANE, child="w.1", nonce=1, lease_us=1, limit=2).by_hash()
KEEP = keep(LANE, "q.0.a", 1, ttl_ms=1, step="s:x", record=b"").by_hash(1)
SETTLE = settle(LANE, [Completion("complete", "token", one, 1, b"", 1, 1) for one in IDS], child="w.1").by_hash()
GRANTED = [b"claimed", b"1", b"0", b"7", b"22", b"q.0.a 1 q.0.b 2", [], [], []]
Faults = list[tuple[str, list[str]]]


@pytest.fixture
def deaths(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The signals that the child would have sent."""
    sent: list[Any] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    return sent


def chaos(rate: float, faults: Faults, seed: int = 1, child: str = "w.1") -> Chaos:
    return Chaos(rate, seed, child=child, held=lambda: IDS, report=lambda kind, ids: faults.append((kind, ids)))


def test_without_luck_each_kind_of_reply_is_lost_and_later_ones_with_it(deaths: list[Any]) -> None:
    faults: Faults = []
    made = chaos(1.0, faults)

    lost = [made.received([KEEP], [[b"kept"]]), made.received([("TIME",), CLAIM, KEEP], [[1, 2], GRANTED, [b"kept"]])]

    assert isinstance(lost[0][0], ConnectionError)
    assert lost[1][0] == [1, 2]
    assert lost[1][1] is lost[1][2]
    assert str(lost[1][1]) == "--chaos has lost the reply to claim"
    assert faults == [("keep", ["q.0.a"]), ("claim", IDS)]
    assert deaths == []


def test_a_child_dies_before_or_after_it_settles_and_reports_what_it_holds(deaths: list[Any]) -> None:
    before, after = 0, 0
    for seed in range(1, 40):
        faults: Faults = []
        made = chaos(1.0, faults, seed)
        made.sending([SETTLE])
        before += bool(deaths)
        if not deaths:
            made.received([SETTLE], [[b"settled", b"1", 0, "ss"]])
            after += bool(deaths)
        if deaths:
            assert faults[0] == ("kill", IDS)
            assert deaths[0] == (os.getpid(), signal.SIGKILL)
        deaths.clear()

    assert before > 5
    assert after > 5


def test_nothing_else_is_touched(deaths: list[Any]) -> None:
    faults: Faults = []
    made = chaos(1.0, faults)
    idle, gone = [b"empty", b"1", b"0"], ConnectionError("really")

    assert made.sending([CLAIM, ("TIME",)]) == [CLAIM, ("TIME",)]
    assert made.received([CLAIM, ("TIME",), SETTLE], [idle, [1, 2], gone])[:2] == [idle, [1, 2]]
    assert [kind for kind, _ in faults if kind != "kill"] == []
    quiet = chaos(0.0, faults)
    assert quiet.received([CLAIM], [GRANTED]) == [GRANTED]


def test_a_seed_chooses_the_same_faults_for_a_child_again(deaths: list[Any]) -> None:
    def choices(seed: int, child: str) -> list[str]:
        faults: Faults = []
        made = chaos(0.3, faults, seed, child)
        for _ in range(60):
            made.received([CLAIM], [GRANTED])
            faults.append(("-", []))
        return [kind for kind, _ in faults]

    assert choices(7, "w.1") == choices(7, "v.1")
    assert len({tuple(choices(7, f"w.{number}")) for number in range(5)}) == 5
    assert choices(0, "w.1") != choices(0, "w.1")
    assert deaths == []
