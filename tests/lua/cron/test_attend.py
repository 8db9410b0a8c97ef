from __future__ import annotations

from jobfleet.store.calls.presence import Attended, attend
from tests.lua.world import World
from tests.support.seed import S

GONE = 20 * S


def test_a_reaper_announces_itself_whether_or_not_there_are_entries(world: World) -> None:
    answer = world.run(attend(world.keys, "r1", "reaper", gone_us=GONE))

    assert answer == Attended(reapers=0, entries=0, fires=True)
    assert world.state() == world.moved({"cron-duty": {"reaper:r1": "now"}})
    assert 0 < world.raw.pttl(world.keys.cron_duty) <= 200_000
    assert world.again(attend(world.keys, "r1", "reaper", gone_us=GONE)) == Attended(1, 0, fires=True)


def test_a_worker_fires_where_there_are_entries_and_no_reaper(world: World) -> None:
    world.raw.hset(world.keys.cron, "tick", "1 x\nr")
    before = world.state()

    answer = world.run(attend(world.keys, "w1", "worker", gone_us=GONE))

    assert answer == Attended(reapers=0, entries=1, fires=True)
    assert world.state() == {**before, "cron-duty": {"worker:w1": "now"}}
    assert world.again(attend(world.keys, "w1", "worker", gone_us=GONE)).fires


def test_a_worker_without_entries_fires_only_where_it_brings_some(world: World) -> None:
    assert world.run(attend(world.keys, "w1", "worker", gone_us=GONE)) == Attended(0, 0, fires=False)
    assert world.state() == world.moved({})

    assert world.run(attend(world.keys, "w1", "worker", gone_us=GONE, wanted=True)).fires
    assert world.state() == world.moved({"cron-duty": {"worker:w1": "now"}})


def test_a_worker_leaves_it_to_a_reaper(world: World) -> None:
    world.raw.hset(world.keys.cron, "tick", "1 x\nr")
    world.raw.zadd(world.keys.cron_duty, {"reaper:r1": world.seed.at(-10), "worker:w1": world.seed.at(-1)})

    answer = world.run(attend(world.keys, "w1", "worker", gone_us=GONE, wanted=True))

    assert answer == Attended(reapers=1, entries=1, fires=False)
    assert world.state()["cron-duty"] == {"reaper:r1": "now-10s"}


def test_a_relay_of_an_outbox_fires_nothing_and_keeps_nobody_from_it(world: World) -> None:
    world.raw.hset(world.keys.cron, "tick", "1 x\nr")
    assert world.run(attend(world.keys, "o1", "relay", gone_us=GONE)).fires
    assert world.run(attend(world.keys, "o2", "relay", gone_us=GONE)).reapers == 0

    answer = world.run(attend(world.keys, "w1", "worker", gone_us=GONE))

    assert answer == Attended(reapers=0, entries=1, fires=True)
    assert world.run(attend(world.keys, "w2", "worker", gone_us=GONE)).fires
    assert world.run(attend(world.keys, "o1", "nobody", gone_us=GONE)) == Attended(0, 1, fires=False)
    assert world.state()["cron-duty"] == {"relay:o2": "now", "worker:w1": "now", "worker:w2": "now"}


def test_two_workers_fire_and_a_third_waits_until_one_is_gone(world: World) -> None:
    world.raw.hset(world.keys.cron, "tick", "1 x\nr")
    world.raw.zadd(world.keys.cron_duty, {"worker:w1": world.seed.at(-5), "worker:w2": world.seed.at(-15)})

    assert not world.run(attend(world.keys, "w3", "worker", gone_us=GONE)).fires
    assert world.run(attend(world.keys, "w1", "worker", gone_us=GONE)).fires
    world.raw.zadd(world.keys.cron_duty, {"worker:w2": world.seed.at(-21)})
    assert world.run(attend(world.keys, "w3", "worker", gone_us=GONE)).fires

    assert world.state()["cron-duty"] == {"worker:w1": "now", "worker:w3": "now"}


def test_the_silent_and_those_of_a_clock_that_was_set_back_are_let_go(world: World) -> None:
    world.raw.zadd(world.keys.cron_duty, {"reaper:old": world.seed.at(-21), "reaper:late": world.seed.at(45)})

    assert world.run(attend(world.keys, "r1", "reaper", gone_us=GONE)).reapers == 0
    assert world.state()["cron-duty"] == {"reaper:r1": "now"}


def test_a_process_that_stops_gives_its_place_away(world: World) -> None:
    world.raw.zadd(world.keys.cron_duty, {"worker:w1": world.seed.at(-10), "reaper:r1": world.seed.at(-10)})

    assert world.run(attend(world.keys, "w1", "nobody", gone_us=GONE)) == Attended(1, 0, fires=False)
    assert world.state()["cron-duty"] == {"reaper:r1": "now-10s"}
    world.run(attend(world.keys, "r1", "nobody", gone_us=GONE))
    assert world.state() == world.moved({"cron-duty": None})
