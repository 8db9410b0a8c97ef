"""The search finds no violation in a few plans, finds planted bugs, and makes what fails small."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.simulation.afterwards import EXPLAINED, SHARE
from tests.simulation.bugs import BUGS
from tests.simulation.generator import generated
from tests.simulation.judge import LEFT
from tests.simulation.plan import REPLICATED, VERBS, Plan, Step
from tests.simulation.probe import IDLE, LATE_NEWS, LEASED
from tests.simulation.search import Story, judged, search, stories
from tests.simulation.shrink import shrink
from tests.simulation.story import sentence, sentences

STORIES = stories()
SECOND = 1_000_000


def test_no_plan_of_a_short_search_violates_an_invariant() -> None:
    report = search(8.0)

    assert [(one.plan.seed, one.breaches) for one in report.failures] == []
    assert report.faults > report.seeds > 0
    assert report.runs > 0


@pytest.mark.parametrize("bug", ["lease-early", "signal-twice", "lost-wake-up"])
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
        ("cap-ignored", {"function": "grouped", "acts": [["sleep", 2.0]]}, 22),
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


def test_a_failover_loses_what_no_replica_has_confirmed_and_nothing_else() -> None:
    steps = (
        Step(12_000_000, "producer.1", "enqueue", {"id": "a", "delay": 30.0}),
        Step(13_000_000, "server", "unreplicate", {"for_us": 9_000_000}),
        Step(14_000_000, "producer.2", "enqueue", {"id": "b", "delay": 30.0}),
        Step(15_000_000, "server", "failover", {}),
    )
    plan = Plan(1, 1, 1, 1, {**REPLICATED}, steps, 16_000_000)

    verdict, wrong = judged(plan, stops=False), judged(plan, BUGS["wait-ignored"], stops=False)

    assert verdict.breaches == []
    assert verdict.outcome is not None
    assert [run.job for run in verdict.outcome.runs] == ["default.0.a"]
    assert verdict.outcome.acknowledged["default.0.b"][0][3] == "unknown StoreUnavailable"
    assert [(one.invariant, one.what) for one in wrong.breaches] == [
        (1, "the enqueue of default.0.b was confirmed, and it is unknown")
    ]


def test_a_fault_waits_for_the_reply_at_which_it_aims() -> None:
    steps = (
        Step(SECOND, "network", "drop_reply", {"machine": "worker.1", "script": "claim", "word": "claimed"}),
        *(Step(5 * SECOND, "producer.1", "enqueue", {"id": f"a{n}", "acts": [["sleep", 1.0]]}) for n in range(3)),
    )
    plan = Plan(1, 1, 1, 1, {"slots": 2}, steps, 10 * SECOND)

    verdict, wrong = judged(plan, stops=False), judged(plan, BUGS["claim-nonceless"], stops=False)

    assert verdict.breaches == []
    assert verdict.coverage.hits == {("drop_reply", "claim claimed"): 1}
    assert 10 in wrong.invariants


def test_a_story_is_in_words() -> None:
    steps = (
        Step(0, "operator", "limit", {"name": "api", "concurrency": 1}),
        Step(1_500_000, "network", "late_request", {"script": "enqueue", "count": 5, "by_us": 1_338_000}),
        Step(1_600_000, "network", "drop_reply", {"script": "claim", "word": "claimed"}),
        Step(
            2_000_000, "producer.1", "enqueue",
            {"id": "j1", "acts": [["fail", 1]], "delay": 1.4, "function": "limited"},
        ),
        Step(3_000_000, "server", "failover", {"lost": 50, "down_us": 35_000}),
        Step(4_000_000, "worker.1", "freeze", {"child": 0, "seen": False}),
        Step(5_000_000, "clock", "jump", {"machine": "worker.2", "by_us": -7_247_000}),
    )  # fmt: skip

    assert sentences(Plan(1, 2, 1, 0, {"lease": 6.0}, steps, 6_000_000, travel_us=200)) == [
        "There are two workers with one child each, and no reapers.",
        "Settings: lease = 6.0.",
        "Each message travels for 0.2 ms.",
        "     0.000 s  Operator defines the limit api: concurrency 1.",
        "     1.500 s  The network holds the next 5 requests of `enqueue`, for 1.338 s, and the client sees no end.",
        (
            "     1.600 s  The network loses the next reply to `claim` that begins with `claimed`, "
            "and the connection is reset."
        ),
        "     2.000 s  Producer 1 enqueues j1, which fails in its first attempt (due after 1.4 s, function limited).",
        "     3.000 s  The server fails over to its replica within 0.035 s, and loses the last 50 writes.",
        "     4.000 s  Child 0 of worker 1 freezes, unseen by its parent: it hangs.",
        "     5.000 s  The clock of worker 2 jumps back by 7.247 s.",
        "     6.000 s  All faults are over.",
    ]


def test_each_step_has_a_sentence_also_without_its_arguments() -> None:
    lines = [line for seed in range(100) for line in sentences(generated(seed))]

    assert [line for line in lines if re.search(r"[][{}'?]|None|unnamed", line)] == []
    assert all(sentence(Step(0, "worker.1", verb, {})) for verb in VERBS)


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
