"""Processes that die, in a model of a fleet: who is charged, how often the innocent run again, how long it takes."""

from __future__ import annotations

from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobfleet.retry.tries import NO_SUSPICION, PARTS, Suspicion, Tries, has_room, seat, suspicion_of
from tests.support.suspects import KINDS, MOST_DEATHS, OPENING, RESTART, Story, crowd

suspicions = st.builds(Suspicion, st.integers(2, 9), st.integers(1, 200))


@given(
    count=st.integers(8, 60),
    culprits=st.integers(0, 4),
    kind=st.sampled_from(KINDS),
    children=st.integers(1, 4),
    slots=st.integers(1, 30),
    wards=st.sampled_from([0, 1, 2, 12]),
    duration=st.floats(0.1, 100),
    seed=st.integers(0, 1000),
)
def test_every_story_ends_with_the_innocent_done_and_uncharged(
    count: int, culprits: int, kind: str, children: int, slots: int, wards: int, duration: float, seed: int
) -> None:
    tasks = crowd(count, culprits, kind, duration=duration, seed=seed)

    story = Story(tasks, children=children, slots=slots, wards=wards, seed=seed).run()

    assert story.deaths < MOST_DEATHS
    assert all(task.ended_at is not None for task in tasks)
    if slots > 1:  # whoever has a process for itself is charged when that is shared with nobody
        assert not any(task.has_failed or task.tries.crashes for task in story.innocent)
    if kind in ("early", "late"):
        assert {task.has_failed for task in tasks if task.kills_at is not None} <= {True}


@given(slots=st.integers(2, 100), duration=st.floats(1, 600), share=st.floats(0.05, 0.95), seed=st.integers(0, 99))
def test_one_death_from_outside_costs_one_run_and_no_wait(slots: int, duration: float, share: float, seed: int) -> None:
    tasks = crowd(2 * slots, 0, "early", duration=duration, seed=seed)
    at = share * 0.8 * duration

    story = Story(tasks, children=2, slots=slots, kills=[(at, 0)], seed=seed).run()

    assert set(story.reruns) <= {0, 1}
    assert sum(story.reruns) == slots
    assert story.done_at <= at + RESTART + 1.2 * duration + 0.001
    assert not any(task.tries.crashes for task in tasks)


@given(st.lists(st.floats(0, 20), max_size=8), st.integers(0, 99))
def test_many_deaths_from_outside_charge_nobody(moments: list[float], seed: int) -> None:
    tasks = crowd(40, 0, "early", seed=seed)

    Story(tasks, children=2, slots=20, kills=[(at, number % 2) for number, at in enumerate(moments)], seed=seed).run()

    lonely = sum(task.tries.crashes for task in tasks)  # killed from outside while nothing else was in its process
    assert not any(task.has_failed for task in tasks) or lonely >= 3
    assert all(task.ended_at is not None for task in tasks)


@pytest.mark.parametrize("culprits", [1, 2, 3])
@pytest.mark.parametrize("slots", [10, 100])
@pytest.mark.parametrize("kind", KINDS)
def test_culprits_hold_up_the_innocent_for_a_few_runs_only(kind: str, slots: int, culprits: int) -> None:
    stories = [
        Story(crowd(19 * slots // 10, culprits, kind, seed=seed), children=2, slots=slots, seed=seed).run()
        for seed in range(5)
    ]

    longest = 3 * 1.2
    assert mean(story.done_at for story in stories) <= (2.5 + culprits) * (longest + RESTART + OPENING)
    assert mean(mean(story.reruns) for story in stories) <= 1 + culprits
    assert max(max(story.reruns) for story in stories) <= 2 + 4 * culprits
    assert sum(task.tries.crashes for story in stories for task in story.innocent) == 0


@given(count=st.integers(8, 60), slots=st.integers(4, 30), wards=st.sampled_from([0, 1, 12]), seed=st.integers(0, 99))
def test_a_culprit_that_was_alone_at_first_costs_others_one_run_and_is_charged_for_the_rest(
    count: int, slots: int, wards: int, seed: int
) -> None:
    tasks = crowd(count, 1, "early", duration=60.0, seed=seed)
    (culprit,) = (task for task in tasks if task.kills_at is not None)
    culprit.tries = Tries(crashes=1, deaths=1, suspects=1)

    story = Story(tasks, children=2, slots=slots, wards=wards, seed=seed).run()

    assert culprit.has_failed
    assert (culprit.tries.crashes, story.deaths) == (3, culprit.runs)
    assert culprit.runs <= 3, "once more in a child, and alone after that"
    assert max(story.reruns) <= 1
    assert not any(task.has_failed or task.tries.crashes for task in story.innocent)


@given(st.lists(suspicions, max_size=30), suspicions)
def test_a_group_has_room_while_each_of_its_members_bears_one_more(members: list[Suspicion], other: Suspicion) -> None:
    assert has_room(members, other) == all(len(members) < one.width for one in [*members, other])


@given(st.lists(st.lists(suspicions, max_size=5), max_size=6), suspicions, st.integers(0, 8))
def test_a_seat_is_in_a_group_with_room_and_there_is_none_only_if_no_group_has(
    groups: list[list[Suspicion]], other: Suspicion, most: int
) -> None:
    number = seat(groups, other, most)

    if number is None:
        assert len(groups) >= most
        assert not any(has_room(group, other) for group in groups)
    elif number == len(groups):
        assert len(groups) < most
    else:
        assert has_room(groups[number], other)


@given(st.integers(1, 10_000))
def test_suspects_are_split_until_each_is_alone(count: int) -> None:
    splits = 0
    while (width := Suspicion(2, count).width) > 1:
        assert PARTS * width >= count
        count, splits = width, splits + 1
    assert splits <= 7


@pytest.mark.parametrize("tries", ["", "1:2", "a:b:c:d:e", "0:0:0:0:\udcff", "0:0:0:0:2:x", "\n", ":::::"])
def test_a_record_that_cannot_be_read_is_no_suspicion(tries: str) -> None:
    assert suspicion_of(tries) == NO_SUSPICION
