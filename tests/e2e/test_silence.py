"""A worker or a reaper that cannot do its work says so: once when it begins, and once when it is over."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from jobfleet import Fleet, Job, JobStatus
from jobfleet.store.keys import Keyspace
from jobfleet.worker.interruption import Stop
from tests.support.fleet import LONG, Program, Programs
from tests.support.scraping import samples
from tests.support.server import RedisServer, free_port
from tests.support.waiting import wait_until

LANE = Keyspace("jobfleet").lane("default", 0)
REFUSED = "connection refused|no such socket|Connection closed by server|it is loading its data .LOADING."


def lines(program: Program) -> list[str]:
    """What it has logged of Redis and of its duties, without the time.

    `redis.moved` follows a restart with the next heartbeat, which may be at any time.
    """
    said = [
        line.partition(" ")[2].strip()
        for line in program.said.splitlines()
        if " redis." in line and " redis.moved " not in line
    ]
    return [re.sub(r" +", " ", line) for line in said]


def fitting(found: list[str], *patterns: str) -> bool:
    """Whether there are exactly these lines."""
    return len(found) == len(patterns) and all(
        re.fullmatch(pattern, line) for pattern, line in zip(patterns, found, strict=True)
    )


def lost(reason: str, running: int) -> str:
    return (
        rf"WARNING redis\.lost url=\S+ reason=({reason})\. {running} running jobs continue; "
        r"none is claimed, renewed or settled until Redis replies"
    )


def back(renewed: int, gone: int) -> str:
    return rf"INFO redis\.back url=\S+ after=\d+\.\ds renewed={renewed} settled=0 lost={gone}"


def await_looks(server: RedisServer, count: int = 20) -> None:
    """Wait until the server was asked so often which one it is that everybody has asked several times."""
    raw = server.client()
    asked = [int(raw.info("commandstats").get("cmdstat_info", {"calls": 0})["calls"])]

    def has_asked() -> bool:
        asked.append(int(raw.info("commandstats")["cmdstat_info"]["calls"]))
        return asked[-1] - asked[0] - (len(asked) - 1) >= count  # this function asks, too

    wait_until(has_asked, timeout=LONG, why="all have asked")


class Gates:
    """Jobs that run until their gate opens."""

    def __init__(self, programs: Programs, fleet: Fleet, folder: Path, count: int) -> None:
        self.path = folder / "gate"
        self._fleet = fleet
        self.ids = [fleet.enqueue(Job("gate", "hist.gate", (str(self.path),), max_retries=0)) for _ in range(count)]
        for job_id in self.ids:
            programs.history.await_start(job_id)

    def open(self) -> set[JobStatus]:
        self.path.touch()
        return {self._fleet.wait(job_id, timeout=LONG).status for job_id in self.ids}


def test_a_worker_logs_the_loss_and_the_return_of_redis_once_for_all_its_children(
    own_programs: Programs, own_fleet: Fleet, own_server: RedisServer, tmp_path: Path
) -> None:
    worker = own_programs.ready(processes=3)
    worker.await_children(3)
    gates = Gates(own_programs, own_fleet, tmp_path, 4)

    own_server.kill()
    worker.await_line("redis.lost")
    own_server.restart()
    worker.await_line("redis.back")

    assert gates.open() == {JobStatus.COMPLETED}
    assert fitting(lines(worker), lost(REFUSED, 4), back(4, 0)), lines(worker)
    assert worker.said.count("redis://") + worker.said.count("unix://") >= 2


def test_leases_that_were_lost_meanwhile_are_counted(
    own_programs: Programs, own_fleet: Fleet, own_server: RedisServer, tmp_path: Path
) -> None:
    worker = own_programs.ready()
    Gates(own_programs, own_fleet, tmp_path, 2)

    own_server.kill()
    worker.await_line("redis.lost")
    for path in own_server.folder.glob("appendonlydir/*"):
        path.unlink()
    own_server.restart()
    worker.await_line("redis.back")

    assert fitting(lines(worker), lost(REFUSED, 2), back(0, 2)), lines(worker)


def test_jobs_that_end_during_the_outage_are_not_counted_as_lost(
    own_programs: Programs, own_fleet: Fleet, own_server: RedisServer, tmp_path: Path
) -> None:
    worker = own_programs.ready(processes=2)
    gates = Gates(own_programs, own_fleet, tmp_path, 6)

    own_server.kill()
    worker.await_line("redis.lost")
    gates.path.touch()
    wait_until(lambda: len(own_programs.history.ended()) == 6, timeout=LONG, why="they have ended")
    own_server.restart()
    worker.await_line("redis.back")

    assert gates.open() == {JobStatus.COMPLETED}
    found = re.search(r"renewed=(\d+) settled=(\d+) lost=(\d+)", worker.said)
    assert found is not None
    renewed, settled, gone = map(int, found.groups())
    assert (renewed + settled, gone) == (6, 0)


def counts_of(worker: Program) -> dict[str, int]:
    """What the line about the end of the outage counts."""
    worker.await_line("redis.back")
    (line,) = (line for line in worker.said.splitlines() if "redis.back" in line)
    return {name: int(count) for name, count in re.findall(r"([a-z]+)=(\d+)(?!\S)", line)}


class Deafness:
    """An outage at whose end the child of a worker hears no reply until `over` is touched, but has sent endings."""

    def __init__(self, programs: Programs, fleet: Fleet, server: RedisServer, folder: Path, **settings: object) -> None:
        self.over = folder / "over"
        self.worker = programs.ready(slots=20, socket_timeout=3, beat=1, **settings)
        fleet.wait(fleet.enqueue(Job("nap", "hist.nap", (0,))), timeout=LONG)  # the server has the scripts now
        self.gates = Gates(programs, fleet, folder, 19)
        begin = folder / "begin"
        deaf = fleet.enqueue(Job("seize", "hist.seize", (str(begin), str(self.over)), max_retries=0))
        programs.history.await_start(deaf)
        raw = server.client()
        lease = raw.zscore(LANE.lease, deaf)

        server.pause()
        self.worker.await_line("redis.lost")
        self.gates.path.touch()  # only now, so that no time-out of the worker comes before the endings are sent
        wait_until(lambda: programs.history.ended() >= set(self.gates.ids), timeout=LONG, why="they have ended")
        begin.touch()
        wait_until(lambda: "block" in programs.history.path.read_text(), timeout=LONG, why="the child is deaf")
        server.resume()
        wait_until(lambda: fleet.statistics()["completed"] > 1, timeout=LONG, why="endings are executed")
        wait_until(lambda: raw.zscore(LANE.lease, deaf) != lease, timeout=LONG, why="leases are renewed")


def test_endings_that_redis_has_executed_but_not_yet_answered_are_not_counted_as_lost(
    own_programs: Programs, own_fleet: Fleet, own_server: RedisServer, tmp_path: Path
) -> None:
    deafness = Deafness(own_programs, own_fleet, own_server, tmp_path, lease=120)
    assert "redis.back" not in deafness.worker.said, deafness.worker.said  # nobody knows yet what became of them
    deafness.over.touch()

    counts = counts_of(deafness.worker)
    assert deafness.gates.open() == {JobStatus.COMPLETED}
    assert counts["lost"] == 0, counts
    assert counts["settled"] > 0, counts
    assert sum(counts.values()) == 20, counts
    assert "job.lost" not in deafness.worker.said


def test_the_end_of_an_outage_is_logged_though_a_child_stays_deaf(
    own_programs: Programs, own_fleet: Fleet, own_server: RedisServer, tmp_path: Path
) -> None:
    deafness = Deafness(own_programs, own_fleet, own_server, tmp_path, lease=9)

    counts = counts_of(deafness.worker)
    assert counts["lost"] == 0, counts
    assert counts["unknown"] > 0, counts
    assert sum(counts.values()) == 20, counts


def test_endings_that_redis_refuses_are_counted_as_lost(
    own_programs: Programs, own_fleet: Fleet, own_server: RedisServer, tmp_path: Path
) -> None:
    worker = own_programs.ready(slots=20)
    gates = Gates(own_programs, own_fleet, tmp_path, 6)

    own_server.kill()
    worker.await_line("redis.lost")
    gates.path.touch()
    wait_until(lambda: len(own_programs.history.ended()) == 6, timeout=LONG, why="they have ended")
    for path in own_server.folder.glob("appendonlydir/*"):
        path.unlink()
    own_server.restart()

    assert counts_of(worker) == {"renewed": 0, "settled": 0, "lost": 6}


def break_disk(server: RedisServer) -> None:
    raw = server.client()
    raw.config_set("save", "3600 1")
    (server.folder / "dump.rdb" / "in its way").mkdir(parents=True)

    def is_broken() -> bool:
        raw.bgsave()
        wait_until(lambda: not raw.info("persistence")["rdb_bgsave_in_progress"], why="the snapshot has ended")
        return bool(raw.info("persistence")["rdb_last_bgsave_status"] == "err")

    wait_until(is_broken, why="a snapshot has failed")


def mend_disk(server: RedisServer) -> None:
    server.client().config_set("save", "")


def be_replica(server: RedisServer) -> None:
    server.client().replicaof("127.0.0.1", free_port())


def be_primary(server: RedisServer) -> None:
    server.client().replicaof("NO", "ONE")


@pytest.mark.first(1)
@pytest.mark.parametrize(
    ("begin", "end", "reason"),
    [
        (break_disk, mend_disk, r"it cannot save to its disk \(MISCONF\)"),
        (be_replica, be_primary, r"it is a read-only replica, not the primary \(READONLY\)"),
        (RedisServer.pause, RedisServer.resume, "timed out"),
    ],
    ids=["full disk", "no primary", "frozen"],
)
def test_a_redis_that_answers_but_does_not_serve_is_named_as_what_it_is(
    own_programs: Programs,
    own_fleet: Fleet,
    own_server: RedisServer,
    tmp_path: Path,
    begin: Callable[[RedisServer], None],
    end: Callable[[RedisServer], None],
    reason: str,
) -> None:
    worker = own_programs.ready(socket_timeout=1, beat=1, with_reaper=True)
    gates = Gates(own_programs, own_fleet, tmp_path, 1)

    begin(own_server)
    worker.await_line("redis.lost")
    end(own_server)
    worker.await_line("redis.back")

    assert gates.open() == {JobStatus.COMPLETED}
    assert fitting(lines(worker), lost(reason, 1), back(1, 0)), lines(worker)


def test_a_reaper_logs_the_loss_and_the_return_of_redis(own_programs: Programs, own_server: RedisServer) -> None:
    reaper = own_programs.reaper()

    own_server.kill()
    reaper.await_line("redis.lost")
    own_server.restart()
    reaper.await_line("redis.back")

    assert fitting(
        lines(reaper),
        rf"WARNING redis\.lost url=\S+ reason=({REFUSED})\. "
        "No recurring job fires and no expired lease is reaped until Redis replies",
        r"INFO redis\.back url=\S+ after=\d+\.\ds",
    ), lines(reaper)


def test_a_password_is_masked_where_the_loss_is_logged(own_programs: Programs) -> None:
    with RedisServer("--requirepass", "sesame", tcp=True) as server:
        url = f"redis://:sesame@127.0.0.1:{server.port}/0"
        own_programs.url = url
        reaper = own_programs.reaper()
        server.kill()
        reaper.await_line("redis.lost")

    assert "sesame" not in reaper.said


@pytest.mark.parametrize("what", ["worker", "reaper"])
def test_outages_are_in_the_metrics_while_they_last_and_after(
    own_programs: Programs, own_server: RedisServer, what: str
) -> None:
    program = own_programs.ready(metrics_port=0) if what == "worker" else own_programs.reaper(metrics_port=0)

    def metric(name: str) -> float:
        ((_, value),) = samples(program, name)
        return value

    assert (metric("redis_connected"), metric("redis_outages_total")) == (1, 0)
    own_server.kill()
    program.await_line("redis.lost")
    assert (metric("redis_connected"), metric("redis_outages_total")) == (0, 1)
    wait_until(lambda: metric("redis_outage_seconds_total") > 1, timeout=LONG, why="seconds are counted")
    own_server.restart()
    program.await_line("redis.back")

    assert (metric("redis_connected"), metric("redis_outages_total")) == (1, 1)


def test_a_worker_in_the_calling_process_logs_them_too(
    own_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "jobfleet.worker")
    stop = Stop()

    def has(event: str) -> bool:
        return any(record.getMessage().startswith(event) for record in caplog.records)

    with Fleet(own_server.url) as fleet:
        own_server.kill()
        thread = threading.Thread(target=fleet.run_worker, kwargs={"stop": stop})
        thread.start()
        try:
            wait_until(lambda: has("redis.lost"), why="it says that it waits")
            own_server.restart()
            wait_until(stop.ready.is_set, why="it is there")
            own_server.kill()
            wait_until(lambda: sum("redis.lost" in one.getMessage() for one in caplog.records) == 2, why="it says so")
            own_server.restart()
            wait_until(lambda: has("redis.back") and "renewed=0" in caplog.text, why="it says that all is well")
        finally:
            stop.set()
            thread.join()

    said = [record.getMessage().partition(" ")[0] for record in caplog.records if "redis." in record.getMessage()]
    assert said == ["redis.lost", "redis.back", "redis.lost", "redis.back"]


def test_a_worker_with_a_reaper_logs_once_that_the_server_was_restarted(
    own_programs: Programs, own_server: RedisServer
) -> None:
    worker = own_programs.ready(processes=2, with_reaper=True, beat=0.2)
    own_server.kill()
    worker.await_line("redis.lost")
    own_server.restart()
    worker.await_line("redis.moved")
    await_looks(own_server)

    assert worker.said.count("redis.moved") == 1


def test_a_worker_in_the_calling_process_logs_once_that_the_server_was_restarted(
    own_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    def has(event: str) -> bool:
        return any(record.getMessage().startswith(event) for record in caplog.records)

    stop = Stop()
    with Fleet(own_server.url, beat=0.2) as fleet:
        thread = threading.Thread(target=fleet.run_worker, kwargs={"stop": stop, "with_reaper": True})
        thread.start()
        try:
            wait_until(stop.ready.is_set, why="it is there")
            own_server.kill()
            wait_until(lambda: has("redis.lost"), why="it says so")
            own_server.restart()
            wait_until(lambda: has("redis.moved"), why="it has seen the restarted server")
            await_looks(own_server)
        finally:
            stop.set()
            thread.join()

    assert sum(record.getMessage().startswith("redis.moved") for record in caplog.records) == 1
