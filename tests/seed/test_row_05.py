"""Row 5: strict priority, and first in first out within one."""

from __future__ import annotations

from pathlib import Path

from jobfleet import Fleet, Job, Priority, enqueue
from tests.support.fleet import Programs, settle_all


def test_the_most_urgent_first_and_within_a_priority_the_first(
    fleet: Fleet, programs: Programs, tmp_path: Path
) -> None:
    log = tmp_path / "order"
    ids = [
        enqueue(Job(name="Note", function="seed.note", args=(str(log), f"{priority.name} {n}"), priority=priority))
        for n in range(3)
        for priority in (Priority.LOW, Priority.CRITICAL, Priority.NORMAL, Priority.HIGH)
    ]

    programs.ready("seeds", slots=1)
    settle_all(fleet, ids)

    assert log.read_text().splitlines() == [
        f"{name} {n}" for name in ("CRITICAL", "HIGH", "NORMAL", "LOW") for n in range(3)
    ]
