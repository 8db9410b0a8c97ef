"""`doctor` compares the payload store of this process with that of each worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jobfleet import Fleet, Job, PayloadUnavailable
from jobfleet.config import JobConfig
from jobfleet.functions.registry import Registry
from jobfleet.operations.doctor.snapshot import Checkup
from jobfleet.operations.doctor.storage import payload_store
from jobfleet.operations.workers import WorkerInfo
from tests.payloads.conftest import LARGE
from tests.support.fleet import LONG
from tests.support.waiting import wait_until
from tests.worker.conftest import Working

AWAY = "away: The payload store cannot be reached: PermissionError: no"


@pytest.mark.parametrize(
    ("own", "workers", "recorded", "level", "text"),
    [
        ("aa", ["aa"], "aa", "ok", "This process and 1 worker read the payload store aa."),
        (
            "empty",
            ["aa"],
            "aa",
            "fault",
            "This process sees an empty payload store, and the payload store of the fleet",
        ),
        (
            "bb",
            ["bb"],
            "aa",
            "fault",
            "This process sees the payload store bb, and the payload store of the fleet is aa",
        ),
        ("aa", ["empty", "aa"], "aa", "ok", "This process and 2 workers read the payload store aa."),
        (
            "aa",
            ["unmounted", "aa"],
            "aa",
            "fault",
            "Workers see another payload store than aa, that of the fleet, or an",
        ),
        ("", ["", ""], "", "ok", "No payload store is set; Redis holds all arguments and results."),
        ("aa", ["aa", "pending"], "", "ok", "This process and 1 worker read the payload store aa."),
        ("empty", ["empty"], "", "ok", "The payload store can be read; nothing was written to it yet."),
        ("aa", ["empty"], "", "ok", "This process and 1 worker read the payload store aa."),
        (AWAY, ["aa"], "", "fault", "The payload store cannot be reached: PermissionError: no"),
        (
            "aa",
            ["aa", AWAY],
            "",
            "fault",
            "Workers cannot read the payload store: w1. The payload store cannot be",
        ),
        ("", ["aa"], "", "warning", "Workers have a payload store, and this process has none: w0."),
        ("aa", ["aa", ""], "", "fault", "Workers have no payload store: w1."),
        ("aa", ["bb", "aa"], "", "fault", "Workers see another payload store than this process: w0."),
    ],
)
def test_each_way_in_which_a_store_is_not_shared(
    own: str, workers: list[str], recorded: str, level: str, text: str
) -> None:
    alive = tuple(WorkerInfo(f"w{number}", payloads=store) for number, store in enumerate(workers))

    finding = payload_store(Checkup(JobConfig(), 0, workers=alive, payloads=own, payloads_recorded=recorded))

    assert (finding.level, finding.seen[: len(text)]) == (level, text)
    assert bool(finding.remedy) is (level != "ok")


def test_a_worker_reports_the_store_that_it_reads(
    registry: Registry, working: Working, redis_url: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    fleet = Fleet(redis_url, registry=registry, beat=0.2, **settings)
    other = Fleet(redis_url, registry=registry, **settings | {"payload_store": f"file://{tmp_path}"})
    fleet.enqueue(Job("j", "test.repeat", (LARGE,), delay=3600))

    def finding(of: Fleet) -> str:
        return next(str(one) for one in of.doctor().findings if one.check == "payloads")

    with fleet, other, working(of=fleet):
        wait_until(
            lambda: any(one.payloads not in ("", "pending") for one in fleet.workers()), timeout=LONG, why="it reports"
        )
        assert finding(fleet).startswith("ok: payloads: This process and 1 worker read the payload store ")
        with pytest.raises(PayloadUnavailable, match="leads this process to an empty one"):
            other.enqueue(Job("j", "test.repeat", (LARGE,), delay=3600))
        assert finding(other).startswith("fault: payloads: This process sees an empty payload store, and the payload")
