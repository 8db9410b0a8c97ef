"""How far the claims of a child have come that leave jobs to others."""

from __future__ import annotations

import pytest

from jobfleet.store.keys import Keyspace
from jobfleet.worker.child.routing import Lookahead
from tests.support.clock import Clock

LANE, OTHER = (Keyspace("jf").lane("mail", index) for index in (0, 1))


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
    assert passing.text(LANE) == "p 2 5 17"
    assert passing.again_in(LANE) == pytest.approx(0.1)
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


def test_a_look_at_the_head_leaves_the_pass_where_it_was() -> None:
    passes = Lookahead()
    passes.went(LANE, "1 200 p 2 17 1")

    passes.look_ahead_of([LANE])

    assert passes.text(LANE) == ""
    assert passes.went(LANE, "1 200 p 2 5 1"), "the pass goes on at once"
    assert passes.text(LANE) == "p 2 17 1"
