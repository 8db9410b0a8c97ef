"""What a worker reports of its runs."""

from __future__ import annotations

from typing import cast

import pytest
import redis

from jobfleet import Fleet
from jobfleet.functions.registry import Registry
from jobfleet.samples import COMPLETED, FAILED, RETRIED, RUN, STARTED, WAIT, read_report


@pytest.mark.parametrize("samples", [True, False])
def test_a_worker_reports_each_ending_by_queue_and_function(redis_url: str, raw: redis.Redis, samples: bool) -> None:
    with Fleet(redis_url, registry=Registry(), samples=samples) as fleet:

        @fleet.job(name="app.send", queue="mail")
        def send(number: int) -> int:
            return number

        @fleet.job(name="app.fail", queue="bulk", max_retries=1, retry_delay=0)
        def fail() -> None:
            raise OSError

        for number in range(5):
            send.enqueue(number)
        fail.enqueue()
        fleet.run_worker(burst=True)
        reports = [read_report(cast(bytes, raw.get(key))) for key in raw.keys(fleet.context.keys.report("*"))]

    found = {
        (name, field): value
        for report in reports
        if report
        for name, row in report.rows.items()
        for field, value in row.items()
    }
    counts = {(queue, field): value for ((queue, _), field), value in found.items() if field not in (WAIT, RUN)}
    expected = {
        ("mail", STARTED): 5,
        ("mail", COMPLETED): 5,
        ("bulk", STARTED): 2,
        ("bulk", FAILED): 1,
        ("bulk", RETRIED): 1,
    }
    assert counts == (expected if samples else {})
    spreads = {
        (queue, field): sum(value.values()) for ((queue, _), field), value in found.items() if field in (WAIT, RUN)
    }
    assert spreads == ({("mail", WAIT): 5, ("mail", RUN): 5, ("bulk", WAIT): 2, ("bulk", RUN): 2} if samples else {})
