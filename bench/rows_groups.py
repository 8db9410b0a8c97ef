"""Rows with groups and limits: each drain beside a plain one of the same round."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from bench.figure import Figure, Reading, Row, Target
from bench.functions import add, add_limited
from bench.setting import Server, Setting, fill
from jobfleet import Fleet, Job
from jobfleet.model.option_types import Order

PLAIN, FREE = "a plain drain", "a drain of 1,000 groups"
GROUPS = 1_000
SLOTS = 100


class Drained(NamedTuple):
    """Jobs a second from the first start to the last end; µs a job of Redis, enqueue included."""

    rate: float
    redis_us: float


def _drain(
    server: Server,
    count: int,
    groups: int,
    prepare: Callable[[Fleet], object] | None = None,
    order: Order | None = None,
    function: str = add.name,
) -> Drained:
    with Fleet(server.url) as fleet:
        before = server.cpu()
        names: list[str | None] = [f"tenant-{number}" for number in range(groups)]
        names = names or [None]
        jobs = (Job("bench", function, (10, 20), group=names[n % len(names)], order=order) for n in range(count))
        fill(fleet, jobs)
        if prepare is not None:
            prepare(fleet)
        worker = server.worker("-p", "1", "-c", str(SLOTS))
        seen = server.drained(count)
        server.wait(lambda: fleet.queues()[0].totals["completed"] == count, "the lane has counted all", step=0.05)
        spent = server.cpu() - before
        server.kill(worker)
    return Drained((count - 1) / (seen.last - seen.first), spent / count * 1e6)


def groups(setting: Setting) -> Mapping[str, Reading]:
    count = setting.size(40_000, 6_000)
    with setting.server() as server:
        plain = _drain(server, count, 0)
    with setting.server() as server:
        ours = _drain(server, count, GROUPS)
    return {
        "groups_drain": Reading(ours.rate, plain.rate),
        "groups_redis": Reading(ours.redis_us, plain.redis_us),
    }


def limits(setting: Setting) -> Mapping[str, Reading]:
    count = setting.size(40_000, 6_000)
    with setting.server() as server:
        plain = _drain(server, count, 0).rate
    with setting.server() as server:
        whole = _drain(server, count, 0, lambda fleet: fleet.limits.set("default", concurrency=1_000, rate="900000/s"))
    with setting.server() as server:
        each = _drain(
            server, count, GROUPS, lambda fleet: fleet.limits.set("default", group="*", concurrency=50, rate="90000/s")
        )
    with setting.server() as server:
        named = _drain(
            server, count, 0, lambda fleet: fleet.limits.named("bench", concurrency=1_000, rate=900_000),
            function=add_limited.name,
        )  # fmt: skip
    return {
        "limits_queue": Reading(whole.rate, plain),
        "limits_groups": Reading(each.rate, plain),
        "limits_named": Reading(named.rate, plain),
    }


def sequences(setting: Setting) -> Mapping[str, Reading]:
    """Drains of strict sequences beside drains of ordinary groups of the same number."""
    count = setting.size(20_000, 4_000)
    with setting.server() as server:
        free = _drain(server, count, GROUPS)
    with setting.server() as server:
        ours = _drain(server, count, GROUPS, order="strict")
    return {
        "sequences_drain": Reading(ours.rate, free.rate),
        "sequences_redis": Reading(ours.redis_us, free.redis_us),
    }


ROWS = (
    Row(
        "groups",
        (
            Figure("groups_drain", "drain with 1,000 groups", "jobs/s", PLAIN, Target("≥", 0.60, "ratio")),
            Figure("groups_redis", "Redis CPU a job with 1,000 groups, enqueue + drain", "µs", PLAIN),
        ),
        groups,
    ),
    Row(
        "limits",
        (
            Figure("limits_queue", "drain under a limit and a rate of the queue", "jobs/s", PLAIN),
            Figure("limits_groups", "drain with 1,000 groups, a limit and a rate on each", "jobs/s", PLAIN),
            Figure("limits_named", "drain under a named limit with a rate and a concurrency", "jobs/s", PLAIN),
        ),
        limits,
    ),
    Row(
        "sequences",
        (
            Figure("sequences_drain", "drain of 1,000 strict sequences", "jobs/s", FREE),
            Figure("sequences_redis", "Redis CPU a job of 1,000 strict sequences, enqueue + drain", "µs", FREE),
        ),
        sequences,
    ),
)
