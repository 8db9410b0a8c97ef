from __future__ import annotations

import pytest

from jobfleet import Fleet, Job
from jobfleet.errors import UnknownQueue
from jobfleet.operations.queues import is_hot
from tests.support.each import each


@each(
    "jobs, lanes, hot",
    [
        (400, [400, 0], True),
        (400, [400, 100, 90], True),
        (400, [400, 100, 100], False),
        (99, [99, 0], False),
        (400, [400], False),
    ],
)
def test_a_lane_is_hot_if_it_has_many_more_jobs_than_the_others(jobs: int, lanes: list[int], hot: bool) -> None:
    assert is_hot(jobs, lanes) is hot


@pytest.mark.filterwarnings("ignore:No worker has published")
def test_the_lanes_of_one_server_have_no_node(redis_url: str) -> None:
    with Fleet(redis_url, lanes="wide=2") as fleet:
        assert fleet.spread() == []
        ids = list(fleet.enqueue_many([Job("x", "test.add", queue="wide") for _ in range(9)]))
        rows = fleet.spread("wide")

        assert [(row.queue, row.lane, row.node, row.running, row.is_hot) for row in rows] == [
            ("wide", 0, None, 0, False),
            ("wide", 1, None, 0, False),
        ]
        assert sum(row.queued for row in rows) == len(ids)
        with pytest.raises(UnknownQueue):
            fleet.spread("other")
