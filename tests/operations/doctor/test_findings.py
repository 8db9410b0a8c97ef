"""What no server of the tests can be: old, wrong in its clock, or without words. And the page, as it is told."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobfleet.config import JobConfig
from jobfleet.model.limits import DeclaredLimit
from jobfleet.operations.doctor.doctor import CHECKS, diagnose, limits, samples
from jobfleet.operations.doctor.findings import Finding, Level, named, size
from jobfleet.operations.doctor.server import UNGUARDED, clock, cluster, memory, persistence, replicas, results, version
from jobfleet.operations.doctor.snapshot import Checkup, Endings, KeptResult, LaneSeen, ahead
from jobfleet.store.calls.doctor import FOR_EVER, GONE, ClusterNode, Kept, Shard, Topology
from jobfleet.store.keys import Keyspace
from jobfleet.store.records import Counts
from tests.support.each import each

PAGE = Path(__file__).parents[3] / "docs" / "howto" / "doctor.md"
S = 1_000_000
NOW = 1_795_615_200 * S
COUNTS = Counts(NOW, (0,) * 4, (0,) * 4, (0,) * 4, 0, 0, 0, None, {})
MIB = 1024**2


def seen(*endings: Endings, info: dict[str, Any] | None = None, **fields: Any) -> Checkup:
    lane = Keyspace("jobfleet").lane("default", 0)
    lanes = tuple(LaneSeen(lane, COUNTS, endings=one) for one in endings)
    told = {name: str(value) for name, value in (info or {}).items()}
    return Checkup(JobConfig(result_ttl=7200.0), NOW, info=told, lanes=lanes, **fields)


def told(finding: Finding) -> tuple[Level, str]:
    return finding.level, finding.seen


def test_a_server_that_tells_nothing_has_no_fault() -> None:
    findings = {one.check: one.level for one in diagnose(seen()).findings}

    assert {check for check, level in findings.items() if level == Level.NOTE} == {
        "version", "eviction", "persistence", "replicas", "memory", "workers",
    }  # fmt: skip
    assert set(findings.values()) == {Level.OK, Level.NOTE}


@each(
    "info, level, text",
    [
        ({"redis_version": "7.2.0"}, Level.OK, "Redis 7.2.0."),
        ({"redis_version": "7.2.4", "valkey_version": "8.1.1"}, Level.OK, "Valkey 8.1.1."),
        ({"redis_version": "10.0.1"}, Level.OK, "Redis 10.0.1."),
        ({"redis_version": "7.0.15"}, Level.FAULT, "Redis 7.0.15; jobfleet needs Redis 7.2 or later."),
    ],
)
def test_a_server_that_is_too_old_is_a_fault(info: dict[str, str], level: Level, text: str) -> None:
    assert told(version(seen(info=info))) == (level, text)


@each(
    "began, now, ended, seconds",
    [
        (10 * S, 11 * S, 12 * S, 0.0),
        (10 * S, 10 * S, 10 * S, 0.0),
        (10 * S, 7 * S, 12 * S, 3.0),
        (10 * S, 17 * S, 12 * S, -5.0),
    ],
)
def test_clocks_differ_by_what_the_trip_cannot_account_for(began: int, now: int, ended: int, seconds: float) -> None:
    assert ahead(began, now, ended) == seconds


@pytest.mark.parametrize(
    ("by", "level", "text"),
    [
        (0.9, Level.OK, "This machine's clock agrees with the server's."),
        (2.0, Level.WARNING, "This machine's clock is 2 s ahead of the server's"),
        (-90.0, Level.WARNING, "This machine's clock is 1 min 30 s behind the server's"),
    ],
)
def test_a_clock_that_is_off_is_a_warning(by: float, level: Level, text: str) -> None:
    finding = clock(seen(ahead=by))

    assert finding.level is level
    assert finding.seen.startswith(text)


@each("fired_by, sampled, level, text", [
        (("worker w1",), None, Level.OK, "No reaper is alive, and nobody else takes samples."),
        (("reaper r1",), NOW - 30 * S, Level.OK, "The last sample is 30 s old."),
        (("reaper r1",), NOW + 30 * S, Level.OK, "The last sample is 0 ms old."),
        (("reaper r1", "worker w1"), None, Level.WARNING,
         "reaper r1 is alive, but there is no sample yet: no history, no autoscaling."),
        (("reaper r1", "reaper r2"), NOW - 90 * S, Level.WARNING,
         "reaper r1, reaper r2 are alive, but the last sample is 1 min 30 s old: no history, no autoscaling."),
    ])  # fmt: skip
def test_a_reaper_that_takes_no_samples_is_a_warning(
    fired_by: tuple[str, ...], sampled: int | None, level: Level, text: str
) -> None:
    assert told(samples(seen(fired_by=fired_by, sampled=sampled))) == (level, text)


def test_a_durability_that_the_server_cannot_provide_is_a_warning() -> None:
    info = {"role": "master", "aof_enabled": 0, "slave0": "ip=a,port=1,state=online,offset=4,lag=0"}
    checkup = replace(seen(info=info), config=JobConfig(durability="replicated", durability_replicas=2))
    lanes = tuple(replace(one, counts=replace(one.counts, durability="fsync")) for one in seen(Endings()).lanes)

    assert told(replicas(checkup)) == (Level.WARNING, "1 replica in step, but durability='replicated' needs 2.")
    assert told(persistence(replace(checkup, lanes=lanes))) == (
        Level.WARNING, "AOF is off, but some jobs have durability='fsync': the server refuses them."
    )  # fmt: skip


def test_samples_that_the_settings_turn_off_are_not_missed() -> None:
    checkup = replace(seen(fired_by=("reaper r1",)), config=JobConfig(samples=False))

    assert told(samples(checkup)) == (Level.OK, "The settings here take no samples.")


@each("info, level, text", [
        ({"aof_enabled": 1}, Level.OK, "AOF is on."),
        ({"aof_enabled": 1, "aof_last_write_status": "err"}, Level.FAULT, "AOF is on, but its last write has failed."),
        ({"aof_enabled": 0, "rdb_saves": 3, "rdb_last_save_time": NOW // S - 180, "rdb_changes_since_last_save": 1},
         Level.WARNING,
         "AOF is off; the last snapshot was 3 min ago: a crash of the server would lose 1 change."),
        ({"aof_enabled": 0}, Level.WARNING, "AOF is off, and no snapshot was made since the server's start."),
        ({"aof_enabled": 0, "rdb_saves": 3, "rdb_last_bgsave_status": "err", "rdb_changes_since_last_save": 9000},
         Level.WARNING,
         "AOF is off, and the last snapshot has failed: a crash of the server would lose 9,000 changes."),
    ])  # fmt: skip
def test_what_a_crash_of_the_server_would_cost(info: dict[str, Any], level: Level, text: str) -> None:
    assert told(persistence(seen(info=info))) == (level, text)


IN_STEP = "ip=10.0.0.2,port=6379,state=online,offset=42,lag=1"
LATE = "ip=10.0.0.3,port=6379,state=online,offset=4,lag=10"
LOADING = "ip=10.0.0.4,port=6379,state=wait_bgsave,offset=0,lag=0"


@each("url, info, level, text", [
        ("redis://h", {"role": "master"}, Level.OK, "There is no replica."),
        (
            "redis://h", {"role": "master", "slave0": IN_STEP}, Level.NOTE,
            "1 replica in step. A primary that is cut off would accept writes that a failover drops.",
        ),
        (
            "redis://h", {"role": "master", "slave0": IN_STEP, "min_slaves_good_slaves": 1}, Level.OK,
            "1 replica in step.",
        ),
        ("redis://h", {"role": "slave"}, Level.FAULT, "This server is a replica."),
        (
            "redis://h", {"role": "master", "slave0": IN_STEP, "slave1": LATE, "slave2": LOADING}, Level.WARNING,
            "2 replicas of 3 not in step: 10.0.0.3:6379, 10.0.0.4:6379. A failover to such a replica loses writes.",
        ),
        (
            "sentinel://h/jobs", {"role": "master"}, Level.WARNING,
            "The primary has no replica, so the Sentinels cannot replace it.",
        ),
        (
            "sentinels://h/jobs", {"role": "master", "slave0": IN_STEP, "slave1": LATE}, Level.FAULT, UNGUARDED,
        ),
        (
            "cluster://h", {"role": "master", "slave0": IN_STEP}, Level.FAULT, UNGUARDED,
        ),
        (
            "sentinel://h/jobs", {"role": "master", "slave0": IN_STEP, "min_slaves_good_slaves": 1}, Level.OK,
            "1 replica in step.",
        ),
    ])  # fmt: skip
def test_replicas_can_replace_the_primary(url: str, info: dict[str, Any], level: Level, text: str) -> None:
    assert told(replicas(replace(seen(info=info), config=JobConfig(url=url)))) == (level, text)


def test_a_primary_that_may_be_cut_off_is_no_fault_where_replicas_confirm_each_job() -> None:
    info = {"role": "master", "slave0": IN_STEP}
    checkup = replace(seen(info=info), config=JobConfig(url="sentinel://h/jobs", durability="replicated"))

    assert replicas(checkup).level is Level.NOTE


@each("used, limit, machine, level", [
        (79, 100, 0, Level.OK), (80, 100, 0, Level.WARNING), (95, 100, 0, Level.FAULT), (79, 0, 100, Level.OK),
        (80, 0, 100, Level.WARNING), (80, 0, 0, Level.OK), (80, 200, 90, Level.OK),
    ])  # fmt: skip
def test_memory_that_runs_out_is_told_in_time(used: int, limit: int, machine: int, level: Level) -> None:
    info = {"used_memory": used * MIB, "maxmemory": limit * MIB, "total_system_memory": machine * MIB}

    assert memory(seen(info=info)).level is level


def test_results_are_forecast_from_rate_lifetime_and_size() -> None:
    kept = (
        KeptResult("a", Kept(874, 3_000_000), 600.0),
        KeptResult("b", Kept(874, FOR_EVER), 5.0),
        KeptResult("c", Kept(0, GONE), 5.0),
    )
    endings = Endings(
        number=3600, seconds=1800.0, kept=kept
    )  # 2 a second, kept 3,600 s, 1 KiB each with what is around
    limits = [{}, {"maxmemory": 20 * MIB}, {"maxmemory": 10 * MIB}]

    findings = [results(seen(endings, info=info)) for info in limits]

    text = "7,200 jobs per hour end; their results will take about 7.03 MiB"
    assert [told(one) for one in findings] == [
        (Level.OK, f"{text}."),
        (Level.OK, f"{text} of 20 MiB."),
        (Level.WARNING, f"{text} of 10 MiB."),
    ]


@each("ended, hourly, level", [(None, "3,600,000", Level.WARNING), (30_000, "30,000", Level.OK),
     (7, "10,000", Level.OK), (9_999_999, "3,600,000", Level.WARNING)])  # fmt: skip
def test_load_that_has_just_begun_is_not_taken_for_that_of_an_hour(
    ended: int | None, hourly: str, level: Level
) -> None:
    kept = (KeptResult("a", Kept(874, 3_600_000), 0.0),)
    busy = Endings(number=10_000, seconds=10.0, kept=kept)  # all that was read is of ten seconds

    finding = results(seen(busy, info={"maxmemory": 1000 * MIB}, ended=ended))

    assert finding.level is level
    assert finding.seen.startswith(f"{hourly} jobs per hour end;")


def test_results_that_are_kept_by_number_are_forecast_for_twenty_minutes() -> None:
    kept = (
        KeptResult("a", Kept(874, 86_000_000), 400.0, is_counted=True),
        KeptResult("b", Kept(874, 600_000), 600.0, is_counted=True),
    )

    found = results(seen(Endings(number=3600, seconds=1800.0, kept=kept)))

    assert told(found) == (Level.OK, "7,200 jobs per hour end; their results will take about 2.34 MiB.")


def test_lanes_are_added_up_and_the_setting_says_how_long_where_nothing_else_does() -> None:
    lasting = Endings(number=1, seconds=1.0, kept=(KeptResult("a", Kept(874, FOR_EVER), 5.0),))

    assert results(seen(lasting, lasting)).seen == "7,200 jobs per hour end; their results will take about 14.1 MiB."


def test_sizes_and_names_are_worded_for_people() -> None:
    assert [size(number) for number in (0, 999, 1000, 1536, 200 * MIB, 1.5 * MIB * MIB)] == [
        "0 B", "999 B", "0.977 KiB", "1.5 KiB", "200 MiB", "1.5 TiB",
    ]  # fmt: skip
    assert named(["a", "b"]) == "a, b"
    assert named([str(n) for n in range(1007)]) == "0, 1, 2, 3, 4 and 1,002 more"


def test_functions_that_declare_different_limits_for_one_place_are_named() -> None:
    one, other = DeclaredLimit("mail", "*", concurrency=5), DeclaredLimit("mail", "*", rate="10/min")

    assert limits(seen(declared={"a.f": one, "a.g": one, "a.h": other._replace(queue="bulk")})).level is Level.OK
    assert told(limits(seen(declared={"a.f": one, "a.g": other, "a.h": one}))) == (
        Level.WARNING,
        "Functions declare different limits for each group of the queue 'mail' (5 at once by a.f, a.h; 10/min by a.g).",
    )


def test_the_page_names_every_check_in_its_order() -> None:
    rows = re.findall(r"^\| `([a-z]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)

    assert rows == [check(seen()).check for check in CHECKS]
    assert len(set(rows)) == len(rows)


def test_a_check_is_one_line() -> None:
    for one in diagnose(replace(seen(), ahead=3.0)).findings:
        assert "\n" not in one.seen + one.remedy
        assert str(one) == f"{one.level}: {one.check}: {one.seen}"


def shard(first: int, last: int, *healths: str) -> Shard:
    nodes = tuple(ClusterNode(f"h{first}:{number}", number == 0, health) for number, health in enumerate(healths))
    return Shard(((first, last),), nodes)


@each(
    "shards, level, text",
    [
        ((), Level.OK, "This is not a cluster."),
        ((shard(0, 16383, "online", "online"),), Level.OK, "2 nodes online; all slots are served."),
        (
            (shard(0, 9999, "online"), shard(10000, 16383, "failed", "online")),
            Level.FAULT,
            "No node serves 6,384 slots: calls for lanes there wait. Down: h10000:0.",
        ),
        ((shard(0, 16383, "online", "failed"),), Level.WARNING, "1 node of 2 not online: h0:1."),
        (
            (shard(0, 16383, "online"),),
            Level.WARNING,
            "No replica of h0:0: if it dies, calls for its lanes wait until it is back.",
        ),
    ],
)
def test_a_cluster_serves_all_slots_with_nodes_and_replicas(shards: tuple[Shard, ...], level: Level, text: str) -> None:
    assert told(cluster(seen(topology=Topology(shards)))) == (level, text)
