"""`jobfleet queues spread`."""

from __future__ import annotations

import json

import pytest

from jobfleet import Fleet, Job
from tests.cli.hand import Cli, Hand


@pytest.mark.not_on("cluster", reason="the lanes of one server, which have no nodes; e2e/test_clusters.py has clusters")
def test_the_lanes_of_queues_are_listed(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    fleet.enqueue(Job("x", "demo.add", id="a"))

    assert cli("queues", "spread", "-o", "ids").stdout == "default.0\n"
    assert json.loads(cli("queues", "spread", "default", "-o", "json").stdout) == [
        {
            "queue": "default",
            "lane": 0,
            "node": None,
            "queued": 1,
            "later": 0,
            "running": 0,
            "is_hot": False,
            "is_away": False,
        }
    ]
    titles, row = cli("queues", "spread").stdout.splitlines()
    assert titles.split() == ["QUEUE", "LANE", "NODE", "QUEUED", "LATER", "RUNNING", "NOTE"]
    assert row.split() == ["default", "0", "-", "1", "0", "0"]
    assert cli("queues", "spread", "other").exit_code == 3
