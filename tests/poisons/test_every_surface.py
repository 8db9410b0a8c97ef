"""Poisons that are generated from the key table, and everything that reads: pages, routes, duties, commands, workers.

Which poisons and which readers the quick test tries follows from a seed. `JOBFLEET_TEST_SEED` sets it, and
``scripts/test -m slow tests/poisons`` tries them all.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from jobfleet.operations.doctor.findings import Level
from jobfleet.store.key_table import FLEET_KEY_TABLE, KEY_TABLE
from tests.poisons.surfaces import Surfaces
from tests.poisons.world import KEYS, LANE, NOT_POISONED, World
from tests.support.key_poisons import KeyPoison, poisons_of
from tests.support.server import RedisServer

SEED = os.environ.get("JOBFLEET_TEST_SEED", "1")
POISONS, READERS = 2, 4
"""How many poisons of each row of the key table the quick test tries, and how many readers read each."""
JOBS = 12
"""How many rows of the key table are poisoned for workers."""
pytestmark = [
    pytest.mark.filterwarnings("ignore:No worker has published:UserWarning"),
    pytest.mark.not_on("users", "redis", "valkey", "cluster", "sentinel", "tls", reason="it has a server of its own"),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The fleet, built once; each read begins with a copy of its keys."""
    server = RedisServer()
    raw = redis.Redis.from_url(server.direct, protocol=2, socket_timeout=20)
    world = World(server.url, raw, str(Path(tmp_path_factory.mktemp("archive")) / "archive.db"))
    try:
        world.build()
        logging.disable(logging.CRITICAL)  # thousands of lines about damage
        yield world
    finally:
        logging.disable(logging.NOTSET)
        world.fleet.close()
        server.stop()


def cases(world: World, rng: random.Random) -> Iterator[tuple[str, list[KeyPoison]]]:
    """The poisons of each row of the key table, in an order that the seed gives; one of another type comes first."""
    for kind, keys in world.kinds().items():
        world.restore()  # the last reader of the kind before may have let a lock go
        poisons = list(poisons_of(world.raw, kind, rng.choice(keys)))
        rng.shuffle(poisons)
        poisons.sort(key=lambda one: one.of != "key" or not one.how.startswith("is a "))
        yield kind, [poisons[0], *(one for one in poisons[1:] if not one.how.startswith("is a "))]


def failures(world: World, rng: random.Random, *, poisons: int, readers: int) -> list[str]:
    """What goes wrong: a line for each poison and reader."""

    async def look() -> list[str]:
        surfaces = Surfaces(world)
        by_kind = await surfaces.readers()
        found = []
        for kind, some in cases(world, rng):
            every = [one for one in by_kind.get(kind, ()) if one.group != "job"]
            for poison in some[:poisons]:
                found += [
                    f"{poison.name} | {surface.name}: {problem[:300]}"
                    for surface in rng.sample(every, min(readers, len(every)))
                    if (problem := await surfaces.problem(surface, poison))
                ]
        return found

    return asyncio.run(look())


def test_the_world_has_a_key_of_each_row_of_the_key_table(world: World) -> None:
    rows = {f"lane {row.name}" for row in KEY_TABLE} | {f"fleet {row.name}" for row in FLEET_KEY_TABLE}
    assert set(world.kinds()) == rows - NOT_POISONED, "give the world a key of a new row: World.build or World._fill"


@pytest.mark.timeout(600)
def test_no_poison_stops_a_page_a_route_a_duty_or_a_command(world: World) -> None:
    rng = random.Random(SEED)
    found = failures(world, rng, poisons=POISONS, readers=READERS)
    assert not found, f"JOBFLEET_TEST_SEED={SEED}:\n" + "\n".join(found)


@pytest.mark.timeout(300)
def test_no_poison_stops_a_worker_or_repeats_a_job(world: World) -> None:
    async def look(rng: random.Random) -> list[str]:
        surfaces = Surfaces(world)
        (jobs,) = [one for one in surfaces.all() if one.group == "job"]
        some = [poisons[rng.randrange(4)] for kind, poisons in cases(world, rng) if kind.startswith("lane ")]
        return [
            f"{poison.name}: {problem}"
            for poison in rng.sample(some, JOBS)
            if (problem := await surfaces.problem(jobs, poison))
        ]

    found = asyncio.run(look(random.Random(SEED)))
    assert not found, f"JOBFLEET_TEST_SEED={SEED}:\n" + "\n".join(found)


LONG = (
    "lane done",
    "lane claim:<child>",
    "lane conf",
    "fleet gate:<name>",
    "fleet consumers",
    "fleet rescue-jobs:<rescue>",
)
"""Rows of the key table of which scripts search a text. A pattern that is not linear takes hours for 10 MB."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", LONG)
def test_a_text_of_10_mb_keeps_no_script_busy_and_is_not_sent_to_a_browser(world: World, kind: str) -> None:
    rng = random.Random(SEED)

    async def look() -> list[str]:
        surfaces = Surfaces(world)
        every = (await surfaces.readers())[kind]
        ((_, poisons),) = [one for one in cases(world, rng) if one[0] == kind]
        long = [one for one in poisons if "10 MB" in one.how]
        return [
            f"{poison.name} | {surface.name}: {problem[:300]}"
            for poison in rng.sample(long, min(3, len(long)))
            for surface in rng.sample(every, min(READERS, len(every)))
            if (problem := await surfaces.problem(surface, poison))
        ]

    found = asyncio.run(look())  # the client of the test gives up when a script keeps the server busy
    assert not found, f"JOBFLEET_TEST_SEED={SEED}:\n" + "\n".join(found)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("readers", [READERS, 1000])
def test_no_poison_of_all_stops_anything(world: World, readers: int) -> None:
    found = failures(world, random.Random(SEED), poisons=100_000, readers=readers)
    assert not found, "\n".join(found)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_no_poison_of_all_stops_a_worker(world: World) -> None:
    async def look() -> list[str]:
        surfaces = Surfaces(world)
        (jobs,) = [one for one in surfaces.all() if one.group == "job"]
        return [
            f"{poison.name}: {problem}"
            for _, poisons in cases(world, random.Random(SEED))
            for poison in poisons
            if (problem := await surfaces.problem(jobs, poison))
        ]

    found = asyncio.run(look())
    assert not found, "\n".join(found)


FIXED = [row.name for row in FLEET_KEY_TABLE if "<" not in row.name or row.listed]


@pytest.mark.parametrize("name", FIXED)
def test_doctor_names_a_key_of_the_wrong_type(world: World, name: str) -> None:
    (key, *_) = world.kinds()[f"fleet {name}"]
    world.restore()
    kind = "string" if world.raw.type(key) != b"string" else "hash"
    (poison,) = [one for one in poisons_of(world.raw, f"fleet {name}", key) if one.how == f"is a {kind}"]
    for command in poison.commands:
        world.raw.execute_command(*command)  # type: ignore[no-untyped-call]

    told = "\n".join(one.seen for one in world.fleet.doctor().findings if one.level is Level.FAULT)

    assert key.decode().partition("}:")[2] in told


COUNTERS = [(LANE.totals, "run_us"), (LANE.totals, "journal"), (KEYS.consumers, "archive")]


@pytest.mark.parametrize(("key", "field"), COUNTERS, ids=lambda one: one.rpartition(":")[2])
def test_doctor_names_a_counter_that_no_server_has_counted(world: World, key: str, field: str) -> None:
    world.restore()
    world.raw.hset(key, field, "9" * 400)

    told = "\n".join(one.seen for one in world.fleet.doctor().findings if one.level is Level.FAULT)

    assert f"{key.rpartition(':')[2]} has b'{field}': b'999" in told
    assert world.fleet.scale("default").queue == "default"


FOUND_BY_CHANCE = (
    # row of the key table, key, field or place, value, who reads it
    ("lane totals", LANE.totals, "journal_low", "-1", "duty notify"),
    ("lane totals", LANE.totals, "journal_low", "-1", "duty archive"),
    ("lane filing", LANE.filing, "mark", "", "page /dead/group"),
    ("lane filing", LANE.filing, "mark", "9-" + "9" * 30, "duty dead"),
    ("lane fired", LANE.fired, "nightly", "9223372036854775808 x", "duty cron"),
    ("lane fired", LANE.fired, "nightly", "-9223372036854775809 x", "duty cron"),
    ("fleet queues", KEYS.queues, "x" * 2**21, "1:1", "route /limits"),
    ("fleet versions", KEYS.versions, "0.1.0", "9223372036854775808", "page /"),
)


@pytest.mark.parametrize("token", ["", "garbage", "nan", "400 digits"])
def test_a_lane_without_a_token_that_can_be_read_goes_on(world: World, token: str) -> None:
    async def look() -> str:
        surfaces = Surfaces(world)
        (jobs,) = [one for one in surfaces.all() if one.group == "job"]
        text = "9" * 400 if token == "400 digits" else token
        poison = KeyPoison("lane lane", LANE.lane.encode(), token, (("HSET", LANE.lane, "token", text),))
        return await surfaces.problem(jobs, poison)

    assert asyncio.run(look()) == ""


@pytest.mark.parametrize(
    "row", FOUND_BY_CHANCE, ids=lambda row: f"{row[0]} {row[2][:12]} {row[3][:12]} {row[4]}".replace("/", "_")
)
def test_what_chance_has_found_stops_nothing_again(world: World, row: tuple[str, str, str, str, str]) -> None:
    kind, key, field, value, reader = row

    async def look() -> str:
        surfaces = Surfaces(world)
        await surfaces.readers()
        (surface,) = [one for one in surfaces.all() if one.name == reader]
        is_set = world.raw.type(key) == b"zset"
        write = ("ZADD", key, value, field) if is_set else ("HSET", key, field, value)
        return await surfaces.problem(surface, KeyPoison(kind, key.encode(), value, (write,)))

    assert asyncio.run(look()) == ""


ROWS = (
    # key, field or member, value, page
    ("rescue:{rescue}", "total", "garbage", "/rescues"),
    ("rescue:{rescue}", "state", "\xff", "/dead"),
    ("dead-group:{group}", "state", "none of ours", "/dead"),
    ("dead-group:{group}", "first", "inf", "/dead/{group}"),
    ("cron", "nightly", "garbage", "/cron"),
    ("queues", "default", "9223372036854775808", "/jobs"),
    ("queues", "default", "x", "/queues/default"),
    ("gate:limit:gpt", "most", "nan", "/limits"),
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]} {row[1]} on {row[3]}")
def test_a_page_names_the_damaged_row_and_shows_the_others(world: World, row: tuple[str, str, str, str]) -> None:
    name, field, value, path = (part.format(**world.names) for part in row)

    async def look() -> tuple[int, str, int, dict[str, object]]:
        surfaces = Surfaces(world)
        world.restore()
        before = await surfaces.asked(path)
        world.raw.hset(f"{{jobfleet}}:{name}", field, value.encode("latin-1"))
        status, page = await surfaces.asked(path)
        code, answer = await surfaces.asked(f"/api/v1{path}")
        shown = {one for one in world.tokens if one.encode() in before[1] and one not in (field, name)}
        assert not [one for one in shown if one.encode() not in page], "the others are shown"
        return status, page.decode(), code, json.loads(answer)

    status, page, code, answer = asyncio.run(look())
    damaged = str(answer.get("damaged"))

    assert (status, code) == (200, 200)
    assert "Damaged data." in page
    assert "jobfleet doctor" in page
    assert re.search(rf"{re.escape(name.partition(':')[0])}.*{re.escape(field)}", damaged), damaged
