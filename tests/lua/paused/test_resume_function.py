from __future__ import annotations

import pytest

from jobfleet.store.calls.control import resume_function
from tests.lua.world import World


def test_a_function_that_is_resumed_leaves_a_mark_until_the_end(world: World) -> None:
    world.seed.paused_functions("a ann@1 why", "mail.send ann@1", "b ann@1")

    assert world.run(resume_function(world.lane, "mail.send")) is True
    assert world.state() == {"conf": {"functions": "a ann@1 why\n~mail.send ann@1\nb ann@1"}}
    assert world.again(resume_function(world.lane, "mail.send")) is False

    assert world.run(resume_function(world.lane, "mail.send", is_done=True)) is True
    assert world.state() == {"conf": {"functions": "a ann@1 why\nb ann@1"}}
    assert world.again(resume_function(world.lane, "mail.send", is_done=True)) is False


def test_with_the_last_one_the_field_goes(world: World) -> None:
    world.seed.journal()
    world.seed.paused_functions("~mail.send ann@1")

    assert world.run(resume_function(world.lane, "mail.send", is_done=True)) is True

    assert world.state() == {"conf": {"journal": "1000"}}


def test_the_end_of_one_resume_does_not_end_a_pause_that_came_after_it(world: World) -> None:
    world.seed.paused_functions("mail.send bob@2")

    assert world.refused(resume_function(world.lane, "mail.send", is_done=True)) is False


@pytest.mark.parametrize("is_done", [False, True])
def test_what_is_not_paused_is_left_alone(world: World, is_done: bool) -> None:
    assert world.refused(resume_function(world.lane, "mail.send", is_done=is_done)) is False
    world.seed.paused_functions("mail.sender ann@1", "send ann@1")

    assert world.refused(resume_function(world.lane, "mail.send", is_done=is_done)) is False
