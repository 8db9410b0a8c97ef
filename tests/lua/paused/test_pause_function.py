from __future__ import annotations

from jobfleet.store.calls.control import Pause, pause_function, read_functions, read_resuming
from tests.lua.world import World


def conf(world: World) -> str:
    text: str = world.state()["conf"]["functions"]
    return text


def test_a_function_is_paused_once_and_the_first_who_did_is_remembered_and_why(world: World) -> None:
    world.seed.journal()

    assert world.run(pause_function(world.lane, "mail.send", by="ann", reason=" the provider\nis down ")) is True

    assert world.state() == {"conf": {"journal": "1000", "functions": "mail.send ann@now the provider is down"}}
    assert world.again(pause_function(world.lane, "mail.send", by="bob")) is False


def test_several_may_be_paused_each_by_somebody(world: World) -> None:
    world.run(pause_function(world.lane, "mail.send", by="ann"))
    world.run(pause_function(world.lane, "mail.sen", by=None))

    assert conf(world) == "mail.send ann@now\nmail.sen -@now"
    assert world.again(pause_function(world.lane, "mail.sen", by="bob")) is False


def test_one_that_is_being_resumed_stays_paused(world: World) -> None:
    world.seed.paused_functions("~mail.send ann@1", "bill ann@1")

    assert world.run(pause_function(world.lane, "mail.send", by="bob")) is True

    assert conf(world) == "bill ann@1\nmail.send bob@now"


def test_so_many_are_kept_and_no_more(world: World) -> None:
    world.seed.paused_functions(*(f"f{number} ann@1" for number in range(64)))

    assert world.refused(pause_function(world.lane, "one.more", by="ann")) is None
    assert world.refused(pause_function(world.lane, "f7", by="ann")) is False


def test_what_is_written_is_read_again() -> None:
    text = "mail.send ann@5 it is @ fault\n~bill -@6\nf -@7"

    assert read_functions(text) == {"mail.send": Pause("ann", 5, "it is @ fault"), "f": Pause(None, 7)}
    assert read_resuming(text) == ["bill"]
    assert (read_functions(""), read_resuming("")) == ({}, [])
