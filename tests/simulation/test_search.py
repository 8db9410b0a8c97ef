"""The search finds planted bugs and nothing else, and a failing plan is shrunk while it fails."""

from __future__ import annotations

import pytest

from tests.simulation.bugs import BUGS
from tests.simulation.generator import generated
from tests.simulation.plan import Plan
from tests.simulation.search import breaches_of, judged, search, stories
from tests.simulation.shrink import shrink
from tests.simulation.story import told


def test_a_search_finds_nothing_in_the_product() -> None:
    report = search(8.0)

    assert [line for verdict in report.failures for line in breaches_of(verdict)] == []
    assert report.coverage.faults


@pytest.mark.parametrize(("name", "invariant"), [("priority-inverted", 17), ("early", 16), ("ack-unfenced", 7)])
def test_a_planted_bug_is_found(name: str, invariant: int) -> None:
    report = search(60.0, bug=BUGS[name], most=1)

    assert invariant in report.failures[0].invariants


@pytest.mark.parametrize("name", sorted(BUGS))
def test_each_bug_still_has_its_place_in_the_source(name: str) -> None:
    with BUGS[name].planted() as scripts:
        assert scripts or BUGS[name].patches


def test_a_plan_is_shrunk_to_the_steps_that_matter() -> None:
    plan = generated(3)
    needed = plan.steps[len(plan.steps) // 2]

    def fails(smaller: Plan) -> bool:
        return any((step.actor, step.verb) == (needed.actor, needed.verb) for step in smaller.steps)

    shrunk = shrink(plan, fails, seconds=20.0)

    assert [(step.actor, step.verb) for step in shrunk.plan.steps] == [(needed.actor, needed.verb)]
    assert (shrunk.plan.workers, shrunk.plan.reapers, shrunk.plan.settings) == (1, 0, {})
    assert len(told(shrunk.plan)) == 3


@pytest.mark.parametrize("story", stories(), ids=lambda story: story.name)
def test_a_story_is_told_again(story: object) -> None:
    for one in stories():
        if one == story:
            assert bool(judged(one.plan, BUGS[one.bug] if one.bug else None).breaches) == bool(one.bug)
