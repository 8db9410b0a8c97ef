"""The search finds no violation in a few plans, finds planted bugs, and makes what fails small."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulation.afterwards import EXPLAINED, SHARE
from tests.simulation.bugs import BUGS
from tests.simulation.generator import generated
from tests.simulation.judge import LEFT
from tests.simulation.plan import Plan, Step
from tests.simulation.probe import IDLE, LATE_NEWS, LEASED
from tests.simulation.search import Story, judged, search, stories
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


@pytest.mark.parametrize("story", [one for one in STORIES if not one.bug], ids=lambda one: str(one.name))
def test_what_has_failed_once_does_not_fail_again(story: Story) -> None:
    assert judged(story.plan, stops=False).breaches == []


@pytest.mark.parametrize(
    ("bug", "job", "seen"),
    [
        ("ack-keeps-lease", {}, LEASED),
        ("trip-forever", {}, LEFT),
        ("explain-silent", {"delay": 60.0}, EXPLAINED),
        ("wake-forgotten", {}, IDLE),
        ("news-left", {"dependants": 1}, LATE_NEWS),
    ],
)
def test_what_the_fleet_mends_itself_is_seen(bug: str, job: dict[str, Any], seen: int) -> None:
    has_dependants = job.pop("dependants", 0) if (job := dict(job)) else 0
    steps = []
    for n in range(6):
        one = {"id": f"a{n}", "acts": [["sleep", 0.1]], **job}
        verb, args = "enqueue", one
        if has_dependants:
            verb, args = "flow", {"name": f"f{n}", "jobs": [one, {"id": f"b{n}", "acts": [], "after": [0]}]}
        steps.append(Step(12_000_000 + 370_000 * n, "producer.1", verb, args))
    plan = Plan(SHARE, 1, 1, 1, {}, tuple(steps), 15_000_000)

    assert seen in judged(plan, BUGS[bug], stops=False).invariants
    assert judged(plan, stops=False).breaches == []  # without the bug


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
