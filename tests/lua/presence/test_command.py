from __future__ import annotations

from jobfleet.events import Command
from jobfleet.store.calls.presence import beat, command
from tests.lua.world import World
from tests.support.seed import S


def test_a_worker_that_beats_is_told(world: World) -> None:
    world.run(beat(world.keys, "w1", account=b"", gone_us=20 * S))

    with world.listening() as heard:
        assert world.again(command(world.keys, Command("scale", "w1", "0af", "ann@box", 4))) is True

    assert heard == [("control", "scale w1 0af ann%40box 4")]


def test_nobody_is_told_of_a_worker_that_is_not_known(world: World) -> None:
    world.run(beat(world.keys, "w1", account=b"", gone_us=20 * S))

    with world.listening() as heard:
        assert world.refused(command(world.keys, Command("stop", "w2", "0"))) is False

    assert heard == []
