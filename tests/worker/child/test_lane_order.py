"""Turns of queues and of priorities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.records import Grant
from jobfleet.worker.child.lanes import Priorities, Queues, Shares, queues_of

KEYS = Keyspace("jobfleet")
A, B, C = (KEYS.lane(queue, 0) for queue in "abc")
B2 = KEYS.lane("b", 1)


def dealt(queues: Queues, among: Collection[Lane], claims: int, *, jobs: int = 1) -> str:
    """The queues of so many claims, each of which brings so many jobs."""
    names = ""
    for _ in range(claims):
        lane = queues.first(among)
        assert lane is not None
        queues.took(lane, jobs)
        names += lane.queue
    return names


def test_shares_are_those_of_the_weights() -> None:
    shares = Shares({"x": 8, "y": 4, "z": 2, "w": 1})
    taken: Counter[str] = Counter()

    for _ in range(150):
        who = shares.order()[0]
        shares.took(who, 1)
        taken[who] += 1

    assert taken == {"x": 80, "y": 40, "z": 20, "w": 10}


def test_shares_count_jobs_and_not_turns() -> None:
    shares = Shares({"big": 1, "small": 1})
    taken: Counter[str] = Counter()

    for _ in range(1100):
        who = shares.order()[0]
        jobs = 10 if who == "big" else 1
        shares.took(who, jobs)
        taken[who] += jobs

    assert abs(taken["big"] - taken["small"]) <= 10


def test_who_had_nothing_to_do_makes_up_for_nothing() -> None:
    shares = Shares({"busy": 1, "idle": 1})
    for _ in range(100):
        shares.took("busy", 1)

    firsts = []
    for _ in range(6):
        firsts.append(shares.order()[0])
        shares.took(firsts[-1], 1)

    assert Counter(firsts) == {"busy": 3, "idle": 3}


def test_round_robin_queues_take_turns_and_their_lanes_too() -> None:
    queues = queues_of("round-robin", {})
    assert queues.serve((A, B, B2, C)) == [A, B, B2, C]

    assert dealt(queues, {A, B, B2, C}, 7, jobs=10) == "abcabca"
    assert queues.serve((A, B, B2, C)) == []
    assert dealt(queues, {A, B, B2, C}, 2, jobs=10) == "bc"

    lanes = []
    for _ in range(6):
        lane = queues.first({A, B, B2, C})
        assert lane is not None
        queues.took(lane, 1)
        lanes.append(lane)
    assert set(lanes) == {A, B, B2, C}


def test_a_claim_that_brings_nothing_counts_for_nothing() -> None:
    queues = queues_of("weighted", {"a": 1, "b": 1})
    queues.serve((A, B))

    queues.took(A, 0)

    assert queues.first({A, B}) == A


def test_priorities_have_shares_lane_by_lane() -> None:
    priorities, taken = Priorities(), Counter[str]()
    priorities.order(B)
    for _ in range(150):
        order = priorities.order(A)
        assert sorted(order) == ["0", "1", "2", "3"]
        taken[order[0]] += 1
        priorities.took(A, [Grant("a.0.x", 1, 0, int(order[0]), b"", "", "")])

    assert taken == {"0": 80, "1": 40, "2": 20, "3": 10}
    assert priorities.order(B) == "0123"
