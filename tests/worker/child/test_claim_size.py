"""A child asks for fewer jobs where its last claim brought many bytes."""

from __future__ import annotations

from jobfleet.store.keys import Keyspace
from jobfleet.store.records import Claimed, Grant
from jobfleet.worker.child.claimer import MOST_BYTES, ClaimSize

LANE, OTHER = (Keyspace("jobfleet").lane(queue, 0) for queue in ("default", "other"))


def brought(count: int, size: int) -> Claimed:
    return Claimed("claimed", grants=tuple(Grant(f"default.0.{n}", n, 0, 2, b"x" * size, "", "") for n in range(count)))


def test_a_child_begins_with_a_few_and_doubles_while_they_are_small() -> None:
    portions = ClaimSize()
    asked = []
    for _ in range(5):
        asked.append(portions.of(LANE, 50))
        portions.took(LANE, brought(asked[-1], 100))

    assert asked == [8, 16, 32, 50, 50]
    assert (portions.of(OTHER, 50), portions.of(LANE, 3)) == (8, 3)


def test_a_claim_of_many_bytes_makes_the_next_one_small_until_they_are_small_again() -> None:
    portions = ClaimSize()
    for _ in range(4):
        portions.took(LANE, brought(8, 100))
    portions.took(LANE, brought(50, MOST_BYTES // 5))
    asked = [portions.of(LANE, 50)]
    for _ in range(4):
        portions.took(LANE, brought(5, 100))
        asked.append(portions.of(LANE, 50))

    assert asked == [5, 10, 20, 40, 50]


def test_jobs_of_a_mebibyte_are_claimed_by_four_from_the_second_claim_on() -> None:
    portions = ClaimSize()
    portions.took(LANE, brought(8, MOST_BYTES // 4))

    assert portions.of(LANE, 50) == 4


def test_a_job_is_asked_for_however_large_it_may_be() -> None:
    portions = ClaimSize()
    portions.took(LANE, brought(2, 2 * MOST_BYTES))

    assert portions.of(LANE, 50) == 1
