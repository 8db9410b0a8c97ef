"""How far the claims of a child have come that leave jobs to others."""

from __future__ import annotations

from jobfleet.store.keys import Keyspace
from jobfleet.worker.child.lookahead import Lookahead

LANE, OTHER = (Keyspace("jf").lane("mail", index) for index in (0, 1))


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_claim_that_has_seen_all_leaves_nothing_to_go_on_from() -> None:
    passing = Lookahead(Clock())

    assert (passing.went(LANE, "0 17"), passing.text(LANE), passing.again_in(LANE)) == (False, "", None)


def test_a_claim_whose_looks_ran_out_is_followed_at_once_by_one_that_goes_on() -> None:
    passing = Lookahead(Clock())

    assert passing.went(LANE, "1 200 p 2 5 7") is True
    assert (passing.text(LANE), passing.text(OTHER)) == ("p 2 5 7", "")


def test_the_end_of_a_pass_is_kept_for_a_second() -> None:
    clock = Clock()
    passing = Lookahead(clock)
    passing.went(LANE, "1 200 p 2 5 7")

    assert passing.went(LANE, "0 10 p 2 5 17") is False
    clock.now += 0.9
    assert (passing.text(LANE), passing.again_in(LANE)) == ("p 2 5 17", 100.0 + 1.0 - clock.now)
    clock.now += 0.2
    assert passing.again_in(LANE) == 0.0
    assert (passing.text(LANE), passing.again_in(LANE)) == ("", None)


def test_a_pass_over_many_is_repeated_less_often() -> None:
    clock = Clock()
    passing = Lookahead(clock)
    for number in range(100):
        passing.went(LANE, f"1 200 p 2 5 {number}")

    assert passing.again_in(LANE) == 20.0
    clock.now += 19.9
    assert passing.text(LANE) == "p 2 5 99"


def test_what_was_learned_meanwhile_begins_all_anew() -> None:
    passing = Lookahead(Clock())
    passing.went(LANE, "1 200 p 2 5 7")

    passing.forget()

    assert passing.text(LANE) == ""
