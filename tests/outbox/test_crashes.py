"""A short run of `scripts/outbox crashes`, in which everything is killed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.support.outbox import crashes
from tests.support.tools import tool


@tool("postgresql")
@pytest.mark.timeout(400)  # servers and programs start again and again, on a machine that may be busy
def test_killed_at_every_step_each_order_has_one_job(tmp_path: Path) -> None:
    report = crashes.run(tmp_path, orders=30, seed=3, share=0.08)

    assert report.faults() == []
    assert (len(report.orders), report.rolled_back) == (24, 6)
    assert report.kills.total() >= 1


def test_each_kind_of_fault_is_found() -> None:
    report = crashes.Report({1, 2, 3}, 1, Counter({2: 1, 3: 2, 4: 1}), enqueued=4, left=1)

    assert report.faults() == [
        "orders without a job: [1]",
        "jobs without an order: [4]",
        "orders with two jobs: [3]",
        "Redis has counted 4 jobs for 3 orders",
        "1 rows are left",
    ]
    assert "3 orders committed" in str(report)
