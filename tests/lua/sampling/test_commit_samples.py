from __future__ import annotations

from jobfleet.store.calls.samples import Commit, commit_samples
from tests.lua.world import World

COMMIT = Commit(
    last=7,
    epoch=1,
    hour=None,
    chunk=("10s:0", b"m", 60_000),
    minute=("1m:0", b"", 1),
    versions=["2.0"],
    counters={"lane mail:0": b"c", "worker w": b""},
)


def test_a_commit_marks_the_step_and_stores_the_counters(world: World) -> None:
    world.raw.hset(world.keys.samples, mapping={"holder": "a", "last": 6})
    world.raw.hset(world.keys.samples_of("counters"), mapping={"worker w": "gone", "worker v": "v"})
    world.raw.hset(world.keys.samples_of("10s:0"), "", "l")
    world.raw.zadd(world.keys.versions, {"1.0": world.now - 10_000_000, "2.0": world.now - 20_000_000})

    assert world.run(commit_samples(world.keys, "a", COMMIT)) is True

    assert world.state() == {
        "samples": {"holder": "a", "last": "7", "epoch": "1", "hour": ""},
        "samples:counters": {"worker v": "v", "lane mail:0": "c"},
        "samples:10s:0": {"": "lm"},
        "versions": {"1.0": "now-10s", "2.0": "now-20s"},
    }


def test_a_commit_at_the_end_of_a_minute_marks_it_too(world: World) -> None:
    world.raw.hset(world.keys.samples, "holder", "a")
    commit = COMMIT._replace(
        hour=3, chunk=("10s:0", b"", 1), minute=("1m:0", b"n", 60_000), counters={}, versions=["1"]
    )

    assert world.run(commit_samples(world.keys, "a", commit)) is True

    assert world.state() == {
        "samples": {"holder": "a", "last": "7", "epoch": "1", "hour": "3"},
        "samples:1m:0": {"": "n"},
        "versions": {"1": "now"},
    }


def test_only_the_last_versions_stay(world: World) -> None:
    world.raw.hset(world.keys.samples, "holder", "a")
    world.raw.zadd(world.keys.versions, {f"v{number}": world.now - 10_000_000 for number in range(200)})

    assert world.run(commit_samples(world.keys, "a", COMMIT)) is True

    assert len(world.state()["versions"]) == 200
    assert world.state()["versions"]["2.0"] == "now"


def test_a_process_without_the_duty_commits_nothing(world: World) -> None:
    world.raw.hset(world.keys.samples, "holder", "b")

    assert world.refused(commit_samples(world.keys, "a", COMMIT)) is False
