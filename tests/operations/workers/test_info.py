"""Workers as their heartbeats describe them."""

from __future__ import annotations

from jobfleet import Fleet
from jobfleet.codec import encode
from jobfleet.operations.workers import ChildInfo
from jobfleet.store.calls.presence import beat
from tests.support.each import each


@each("field", ["pid", "slots", "scale_max", "cpus", "started"])
def test_a_number_that_cannot_be_read_counts_as_not_reported(fleet: Fleet, field: str) -> None:
    account = encode({field: "many", "host": "box"})
    fleet.store.run(beat(fleet.context.keys, "box:1:a", account=account, gone_us=10**8))

    (worker,) = fleet.workers()

    assert (worker.host, getattr(worker, field) or 0) == ("box", 0)


def test_an_older_worker_reports_no_memory_no_cpu_and_no_children(fleet: Fleet) -> None:
    account = encode({"host": "box", "slots": 8, "running": 2})
    fleet.store.run(beat(fleet.context.keys, "box:1:a", account=account, gone_us=10**8))

    (worker,) = fleet.workers()

    assert (worker.memory, worker.cpu, worker.processes, worker.busy) == (None, None, (), 0.25)


def test_children_are_read_one_by_one(fleet: Fleet) -> None:
    rows = [["box:1:a.1", 7, "running", 3, 4, 5_000_000, 0.5, "of a later version"], ["too", "short"], "no row",
            ["box:1:a.2", 8, "loading", "many", 0, -1, "much"]]  # fmt: skip
    account = encode({"memory": 9_000_000, "cpu": 1.25, "processes": rows})
    fleet.store.run(beat(fleet.context.keys, "box:1:a", account=account, gone_us=10**8))

    (worker,) = fleet.workers()

    assert (worker.memory, worker.cpu) == (9_000_000, 1.25)
    assert worker.processes == (
        ChildInfo("box:1:a.1", 7, "running", 3, 4, 0.75, 5_000_000, 0.5),
        ChildInfo("box:1:a.2", 8, "loading", 0, 0, None, None, None),
    )
