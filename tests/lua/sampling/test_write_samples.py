from __future__ import annotations

from jobfleet.store.calls.samples import write_samples
from tests.lua.world import World


def test_points_are_appended_to_their_series(world: World) -> None:
    world.raw.hset(world.keys.samples, "holder", "a")
    world.run(write_samples(world.keys, "a", "10s:1", [("q:mail", b"one"), ("t", b"1")], ttl_ms=90_000))

    assert world.run(write_samples(world.keys, "a", "10s:1", [("q:mail", b"two")], ttl_ms=90_000)) is True

    assert world.state() == {"samples": {"holder": "a"}, "samples:10s:1": {"q:mail": "onetwo", "t": "1"}}
    assert 0 < world.raw.pttl(world.keys.samples_of("10s:1")) <= 90_000


def test_a_process_without_the_duty_writes_nothing(world: World) -> None:
    world.raw.hset(world.keys.samples, "holder", "b")

    assert world.refused(write_samples(world.keys, "a", "10s:1", [("t", b"1")], ttl_ms=9)) is False
