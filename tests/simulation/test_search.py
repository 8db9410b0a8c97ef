"""The search finds no violation in a few plans, finds planted bugs, and makes what fails small."""

from __future__ import annotations

import pytest

from tests.simulation.bugs import BUGS
from tests.simulation.generator import generated
from tests.simulation.search import judged, search, stories
from tests.simulation.shrink import shrink
from tests.simulation.story import sentences

STORIES = stories()


def test_no_plan_of_a_short_search_violates_an_invariant() -> None:
    report = search(8.0)

    assert [(one.plan.seed, one.breaches) for one in report.failures] == []
    assert report.faults > report.seeds > 0
    assert report.runs > 0


@pytest.mark.parametrize("bug", ["settle-tokenless", "lease-early", "signal-twice"])
def test_a_planted_bug_is_found_and_its_story_is_short(bug: str) -> None:
    story = next(one for one in STORIES if one.bug == bug)

    verdict = judged(story.plan, BUGS[bug])

    assert verdict.breaches
    assert judged(story.plan).breaches == []  # without the bug
    assert len(sentences(story.plan)) <= 40


def test_a_plan_shrinks_to_what_makes_it_fail() -> None:
    plan = generated(4)
    wanted = next(step for step in plan.steps if step.verb == "enqueue")

    shrunk = shrink(plan, lambda smaller: any(step.args.get("id") == wanted.args["id"] for step in smaller.steps))

    assert [step.args["id"] for step in shrunk.plan.steps] == [wanted.args["id"]]
    assert (shrunk.plan.workers, shrunk.plan.children, shrunk.is_least) == (1, 1, True)


@pytest.mark.parametrize("bug", sorted(BUGS))
def test_each_bug_still_has_its_place_in_the_source(bug: str) -> None:
    with BUGS[bug].planted() as scripts:
        assert scripts or BUGS[bug].patches
