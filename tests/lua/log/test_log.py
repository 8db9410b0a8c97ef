from __future__ import annotations

from jobfleet.store.calls.run import Entry, lines, log
from tests.lua.world import World

TEN_MINUTES = 600_000


def entry(world: World, suffix: str, n: int, text: str = "hello", *, token: int = 7) -> Entry:
    return Entry(world.id(suffix), token, n, TEN_MINUTES, f"5 20 {text}".encode() if text else b"")


def texts(world: World, suffix: str) -> list[str]:
    return [line.text for line in world.run(lines(world.lane, world.id(suffix)))]


def test_lines_of_running_jobs_are_kept_in_order_for_a_while(world: World) -> None:
    world.seed.running("a")
    world.seed.running("b", token=8)
    entries = [entry(world, "a", 1), entry(world, "b", 1, "other", token=8), entry(world, "a", 2, "two\nlines")]
    call = log(world.lane, entries, most_lines=10, most_bytes=1000)

    assert world.run(call) == "ooo"

    assert world.state() == world.moved(
        {
            "log:mail.0.a": ("7 1 10 5 20 hello\n7 2 24 5 20 two\nlines", 600),
            "log:mail.0.b": ("8 1 10 5 20 other", 600),
        }
    )


def test_lines_that_come_twice_are_kept_once(world: World) -> None:
    world.seed.running("a")
    call = log(world.lane, [entry(world, "a", n) for n in (1, 2)], most_lines=10, most_bytes=1000)
    world.run(call)

    assert world.again(call) == "kk"
    assert world.run(log(world.lane, [entry(world, "a", n) for n in (2, 3)], most_lines=10, most_bytes=1000)) == "ko"
    assert texts(world, "a") == ["hello"] * 3


def test_a_line_without_the_token_or_the_run_is_lost(world: World) -> None:
    world.seed.running("a", token=8)
    world.seed.waiting("b")
    world.seed.completed("c")
    entries = [entry(world, suffix, 1) for suffix in "abc"]

    assert world.refused(log(world.lane, entries, most_lines=10, most_bytes=1000)) == "lll"


def test_a_later_run_goes_on_where_the_earlier_one_ended(world: World) -> None:
    world.seed.running("a", token=8)
    world.raw.rpush(world.lane.log(world.id("a")), "7 9 100 5 20 before")

    assert world.run(log(world.lane, [entry(world, "a", 1, token=8)], most_lines=10, most_bytes=1000)) == "o"
    assert world.state()["log:mail.0.a"] == ("7 9 100 5 20 before\n8 1 110 5 20 hello", 600)


def test_the_last_lines_are_kept(world: World) -> None:
    world.seed.running("a")
    for first in (1, 4):
        entries = [entry(world, "a", n, f"line {n}") for n in range(first, first + 3)]
        world.run(log(world.lane, entries, most_lines=4, most_bytes=1000))

    assert texts(world, "a") == ["line 3", "line 4", "line 5", "line 6"]


def test_the_last_bytes_are_kept(world: World) -> None:
    world.seed.running("a")
    for n in range(1, 6):
        world.run(log(world.lane, [entry(world, "a", n, f"line {n}")], most_lines=100, most_bytes=22))

    assert texts(world, "a") == ["line 4", "line 5"]


def test_the_last_line_is_kept_however_large_it_is(world: World) -> None:
    world.seed.running("a")

    assert world.run(log(world.lane, [entry(world, "a", 1)], most_lines=9, most_bytes=5)) == "o"
    assert texts(world, "a") == ["hello"]


def test_an_empty_line_says_how_long_the_log_is_kept(world: World) -> None:
    world.seed.running("a")
    world.raw.rpush(world.lane.log(world.id("a")), "7 1 10 5 20 hello")

    assert world.run(log(world.lane, [entry(world, "a", 2, "")], most_lines=9, most_bytes=99)) == "k"
    assert world.state() == world.moved({"log:mail.0.a": ("7 1 10 5 20 hello", 600)})


def test_numbers_of_many_digits_stay_whole(world: World) -> None:
    token = 1_790_000_000_000_123
    world.seed.running("a", token=token)

    world.run(log(world.lane, [entry(world, "a", 10**15, token=token)], most_lines=9, most_bytes=99))

    (line,) = world.run(lines(world.lane, world.id("a")))
    assert (line.token, line.n) == (token, 10**15)


def test_fifty_lines_of_one_job_fit_a_call(world: World) -> None:
    world.seed.running("a")
    entries = [entry(world, "a", n) for n in range(1, 51)]

    assert world.run(log(world.lane, entries, most_lines=100, most_bytes=10_000)) == "o" * 50
