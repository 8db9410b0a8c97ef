from __future__ import annotations

from jobfleet.store.calls.run import Report, progress
from tests.lua.world import World


def report(world: World, suffix: str, token: int = 7, n: int = 3) -> Report:
    return Report(world.id(suffix), token, n, b"half of " + suffix.encode())


def test_progress_of_a_running_job_is_kept_for_a_while(world: World) -> None:
    world.seed.running("a")
    call = progress(world.lane, [report(world, "a")], ttl_ms=600_000)

    assert world.run(call) == "o"

    assert world.state() == world.moved({"progress:mail.0.a": ("half of a", 600), "reported:mail.0.a": ("7 3", 600)})
    assert world.again(call) == "o"


def test_the_last_report_stands(world: World) -> None:
    world.seed.running("a")
    last = Report(world.id("a"), 7, 4, b"all of it")

    assert world.run(progress(world.lane, [report(world, "a"), last], ttl_ms=600_000)) == "oo"
    assert world.state()["progress:mail.0.a"] == ("all of it", 600)


def test_an_older_report_does_not_override_a_newer_one(world: World) -> None:
    world.seed.running("a")
    world.run(progress(world.lane, [Report(world.id("a"), 7, 297, b"297")], ttl_ms=600_000))

    with world.listening(world.id("a")) as heard:
        assert world.again(progress(world.lane, [Report(world.id("a"), 7, 36, b"36")], ttl_ms=600_000)) == "o"

    assert heard == []
    assert world.state()["progress:mail.0.a"] == ("297", 600)


def test_the_reports_of_another_run_count_from_the_beginning(world: World) -> None:
    world.seed.running("a", token=8)
    world.raw.set(world.lane.reported(world.id("a")), "7 297")

    world.run(progress(world.lane, [Report(world.id("a"), 8, 1, b"begun")], ttl_ms=600_000))

    assert world.state()["progress:mail.0.a"] == ("begun", 600)


def test_progress_without_the_token_or_the_run_is_lost(world: World) -> None:
    world.seed.running("a", token=8)
    world.seed.waiting("b")
    world.seed.completed("c")

    assert world.refused(progress(world.lane, [report(world, suffix) for suffix in "abcd"], ttl_ms=1_000)) == "llll"


def test_a_job_that_is_to_stop_learns_it_and_its_progress_is_kept(world: World) -> None:
    world.seed.running("a", cancel="ann")
    world.seed.running("b")
    reports = [report(world, "a"), report(world, "b"), report(world, "b", token=6)]

    assert world.run(progress(world.lane, reports, ttl_ms=600_000)) == "col"
    assert world.state() == world.moved(
        {
            "progress:mail.0.a": ("half of a", 600),
            "progress:mail.0.b": ("half of b", 600),
            "reported:mail.0.a": ("7 3", 600),
            "reported:mail.0.b": ("7 3", 600),
        }
    )


def test_who_listens_hears_how_far_a_job_has_come(world: World) -> None:
    world.seed.running("a")
    world.seed.running("b", token=8)

    with world.listening(world.id("a")) as heard:
        world.run(progress(world.lane, [report(world, "a", n=5), report(world, "b")], ttl_ms=1_000))

    assert heard == [("events:mail.0.a", "1 progressed a 7 5 now"), ("events", "1 progressed a 7 5 now")]
