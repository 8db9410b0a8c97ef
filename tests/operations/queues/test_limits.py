"""`limits`, groups and their pauses."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis

from jobfleet import Cron, Fleet, InvalidJob, Job, JobStatus, Priority
from jobfleet.codec import read_header
from jobfleet.config import JobConfig
from jobfleet.errors import ConfigError
from jobfleet.functions.manifest import function_record
from jobfleet.functions.registry import Registry
from jobfleet.model.limits import LimitInfo
from jobfleet.operations.cron import Decorated, decorated
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.store.keys import Keyspace
from jobfleet.store.records import FleetSeen
from tests.client.either import Either
from tests.support.each import each
from tests.support.groups import faults

Work = Callable[[], Awaitable[None]]
LANE = Keyspace("jobfleet").lane("default", 0)


def add(group: str | None = None, **options: Any) -> Job:
    return Job("x", "app.add", (1, 2), group=group, **options)


async def test_a_job_of_a_group_runs_and_tells_its_group(client: Either, work: Work, raw: redis.Redis) -> None:
    job_id = await client("enqueue", add("acme"))
    assert (await client("poll", job_id)).group == "acme"

    await work()

    result = await client("poll", job_id)
    assert (result.status, result.result, result.group) == (JobStatus.COMPLETED, 3, "acme")
    assert faults(raw, LANE) == []
    assert raw.exists(LANE.grouped, LANE.held, LANE.ring, LANE.meta) == 0


async def test_what_is_set_is_listed_changed_and_cleared(client: Either) -> None:
    await client("enqueue", add())
    limits = client.fleet.limits

    async def do(answer: Any) -> Any:
        return await answer if hasattr(answer, "__await__") else answer

    assert await do(limits.set("default", concurrency=10, rate="100/s", aging=60))
    assert await do(limits.set("default", group="*", concurrency=4))
    assert await do(limits.set("default", group="acme", concurrency=math.inf, rate="10/min", burst=3, weight=2))
    assert await do(limits.set("default", group="acme", weight=2)) is False
    assert await do(limits("default")) == [
        LimitInfo("default", None, concurrency=10, rate="100/s", burst=100, aging=60.0),
        LimitInfo("default", "*", concurrency=4),
        LimitInfo("default", "acme", concurrency=math.inf, rate="10/min", burst=3, weight=2.0),
    ]

    assert await do(limits.set("default", group="acme", rate=math.inf))
    assert await do(limits.set("default", aging=0))
    rows = await do(limits())
    assert [(row.group, row.rate, row.burst, row.aging) for row in rows] == [
        (None, "100/s", 100, None), ("*", None, None, None), ("acme", "none", None, None),
    ]  # fmt: skip

    for group in (None, "*", "acme"):
        assert await do(limits.clear("default", group=group))
    assert await do(limits.clear("default")) is False
    assert await do(limits()) == []


async def test_a_paused_group_is_listed_with_who_and_why(client: Either) -> None:
    await client("enqueue", add("acme"))

    assert await client("pause", "default", group="acme", by="ann", reason="db is down")
    assert await client("pause", "default", group="acme") is False
    rows = client.fleet.limits()
    row = (await rows if hasattr(rows, "__await__") else rows)[0]
    assert (row.group, row.paused, row.paused_reason) == ("acme", "ann", "db is down")
    assert row.paused_at is not None
    assert await client("resume", "default", group="acme")
    assert await client("resume", "default", group="acme") is False


WRONG: list[tuple[str, dict[str, Any]]] = [
    *(("concurrency", {"concurrency": value}) for value in (0, -1, 1.5, True, "4", math.nan, 10**7)),
    *(("rate", {"rate": value}) for value in ("", "x", "10", "10/", "10/week", "-1/s", "0/s", 0, -1, True, "1e9/s")),
    *(("burst", {"rate": "1/s", "burst": value}) for value in (0, -1, 1.5, True)),
    ("burst", {"burst": 3}),
    *(("weight", {"group": "acme", "weight": value}) for value in (0, -1, 0.001, 101, True, "2", math.inf)),
    ("weight", {"weight": 2}),
    *(("aging", {"aging": value}) for value in (-1, "x", True, math.inf)),
    ("aging", {"group": "acme", "aging": 60}),
    *(("group", {"group": value, "concurrency": 1}) for value in ("", "a\nb", "a\0b", "x" * 201, 7)),
    ("", {}),
]


@each("field, wanted", WRONG)
def test_what_is_wrong_is_refused_by_name_and_changes_nothing(
    fleet: Fleet, raw: redis.Redis, field: str, wanted: dict[str, Any]
) -> None:
    fleet.enqueue(add())

    with pytest.raises(InvalidJob) as caught:
        fleet.limits.set("default", **wanted)

    assert caught.value.field == field
    assert not raw.exists(LANE.conf)


def test_a_queue_that_is_not_known_is_refused(fleet: Fleet) -> None:
    with pytest.raises(ConfigError, match="No queue 'mial'"):
        fleet.limits.clear("mial")
    with pytest.raises(ConfigError, match="No queue 'mial'"):
        fleet.resume("mial", group="acme")


def test_a_limit_is_set_before_the_first_job_of_a_queue(fleet: Fleet) -> None:
    assert fleet.limits.set("mail", concurrency=1)
    assert fleet.limits.set("bulk", group="*", concurrency=2)

    assert [(one.queue, one.group, one.concurrency) for one in fleet.limits()] == [("bulk", "*", 2), ("mail", None, 1)]


def test_a_limit_of_a_misspelt_queue_is_reported_at_the_line_that_sets_it(fleet: Fleet) -> None:
    fleet.enqueue(Job("x", "app.add", (1, 2), queue="mail"))

    with pytest.warns(UserWarning, match=r"^Queue 'mial' is new; did you mean 'mail'\?") as told:
        fleet.limits.set("mial", concurrency=1)

    assert told[0].filename == __file__


@pytest.mark.parametrize("reason", ["two\nlines", "x" * 201])
def test_a_reason_is_one_line(fleet: Fleet, reason: str) -> None:
    fleet.enqueue(add())

    with pytest.raises(InvalidJob) as caught:
        fleet.pause("default", group="acme", reason=reason)
    assert caught.value.field == "reason"
    with pytest.raises(InvalidJob, match="give one line"):
        fleet.pause("default", reason=reason)


@pytest.fixture
def wide(redis_url: str, registry: Registry) -> Any:
    """A client of a fleet whose queue has four lanes."""
    with Fleet(redis_url, registry=registry, lanes={"default": 4}) as fleet:
        yield fleet


def test_a_group_has_one_lane_of_several_and_its_limits_hold_in_all(wide: Fleet, raw: redis.Redis) -> None:
    ids = [wide.enqueue(add(f"g{n % 5}")) for n in range(20)]

    lanes = {(n % 5, job_id.split(".")[1]) for n, job_id in enumerate(ids)}
    assert len(lanes) == 5
    assert len({lane for _, lane in lanes}) > 1
    assert wide.limits.set("default", group="g0", concurrency=2)
    assert [row.concurrency for row in wide.limits("default")] == [2]
    assert {raw.hget(LANE.tag.replace(":0}", f":{n}}}") + "conf", "limit:g0") for n in range(4)} == {b"2 - - - -"}
    assert wide.limits.set("default", aging=60)


@pytest.mark.parametrize(("field", "wanted"), [("concurrency", {"concurrency": 4}), ("rate", {"rate": "1/s"})])
def test_a_limit_of_a_queue_of_several_lanes_is_refused(wide: Fleet, field: str, wanted: dict[str, Any]) -> None:
    wide.enqueue(add())

    with pytest.raises(InvalidJob, match="has 4 lanes, which count by themselves") as caught:
        wide.limits.set("default", **wanted)

    assert caught.value.field == field


@pytest.mark.parametrize("other", [{"unique": "k"}, {"id": "a"}])
def test_two_places_in_a_queue_of_several_lanes_are_refused(wide: Fleet, other: dict[str, Any]) -> None:
    with pytest.raises(InvalidJob, match="would each place the job in a lane of its own, of 4") as caught:
        wide.enqueue(add("acme", **other))

    assert caught.value.field == "group"


async def test_a_function_has_a_group_that_a_job_may_change(client: Either, registry: Registry) -> None:
    registry.register(max, name="app.max", group="acme")

    ids = [await client("enqueue", Job("x", "app.max", (1, 2), group=group)) for group in (None, "zeta")]

    assert [(await client("poll", job_id)).group for job_id in ids] == ["acme", "zeta"]


async def test_every_verb_for_waiting_jobs_knows_those_of_groups(client: Either, raw: redis.Redis) -> None:
    ids = [await client("enqueue", add("acme", tags=("eu",))) for _ in range(60)]
    later = await client("enqueue", add("acme", delay=600, tags=("eu",)))
    plain = await client("enqueue", add(tags=("eu",)))

    queue = (await client("queues"))[0]
    assert (queue.queued, queue.scheduled, queue.by_priority["normal"]) == (61, 1, 62)
    page = await client("jobs", limit=100)
    assert {row.id for row in page.jobs} == {*ids, later, plain}
    waiting = await client("jobs", status=JobStatus.SCHEDULED)
    assert [row.id for row in waiting.jobs] == [later]
    assert await client("count_open", tags=("eu",)) == 62

    assert await client("reschedule", ids[0], priority=Priority.LOW)
    assert await client("reschedule_many", queue="default", priority=Priority.HIGH) == 62
    assert (await client("queues"))[0].by_priority["high"] == 62
    moved = await client("move", ids[0], "bulk")
    assert (await client("poll", moved)).group == "acme"
    assert await client("cancel", ids[1])
    assert await client("cancel_many", tags=("eu",), queue="bulk") == 1
    assert faults(raw, LANE) == []
    assert await client("purge_queue", "default") == 60
    assert raw.exists(LANE.grouped, LANE.gdue, LANE.ring, LANE.meta, *LANE.ready) == 0


async def test_a_job_of_a_group_that_waits_for_another_joins_its_group_then(
    client: Either, work: Work, raw: redis.Redis
) -> None:
    parent = await client("enqueue", add())
    child = await client("enqueue", add("acme", depends_on=[parent]))
    assert (await client("poll", child)).status is JobStatus.BLOCKED
    assert [row.id for row in (await client("jobs", status=JobStatus.BLOCKED)).jobs] == [child]
    assert not raw.exists(LANE.grouped)

    await work()

    assert (await client("poll", child)).status is JobStatus.COMPLETED
    assert faults(raw, LANE) == []


def test_a_recurring_job_fires_into_its_group(fleet: Fleet, raw: redis.Redis, registry: Registry) -> None:
    fleet.cron.add("sums", "0 2 * * *", add("acme"))

    assert fleet.poll(fleet.cron.run("sums")).group == "acme"
    assert faults(raw, LANE) == []


def test_a_decorated_function_recurs_in_its_group(registry: Registry) -> None:
    function = registry.register(min, name="app.min", group="acme", cron=Cron("0 2 * * *"))
    seen = FleetSeen(0, {}, (), {"app.min": function_record(function)})

    (found,) = decorated(FleetContext(JobConfig(), registry=registry), seen)

    assert isinstance(found, Decorated)
    assert (found.entry.meta, read_header(found.entry.envelope)["group"]) == ("g acme", "acme")
