"""`python -m bench.scale`: three simulated workers on one server, and on a cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.scale import drain
from bench.scale.__main__ import COLUMNS, main


@pytest.mark.slow
def test_simulated_workers_run_all_jobs_and_each_column_has_a_figure(tmp_path: Path) -> None:
    path = tmp_path / "scale.json"

    arguments = ["--workers", "3", "--nodes", "0,2", "--rate", "50", "--seconds", "1", "--lanes", "4"]
    code = main([*arguments, "--out", str(path)])

    rows = json.loads(path.read_text())["rows"]
    assert code == 0
    assert [(row["nodes"], row["workers"]) for row in rows] == [(0, 3), (2, 3)]
    for row in rows:
        assert list(row) == list(COLUMNS)
        assert 0 < row["settles_per_job"] <= 1
        assert row["claims_per_job"] > 0
        assert row["connections"] >= 3 * 4


def test_a_queue_is_drained_on_one_server_and_on_nodes(tmp_path: Path) -> None:
    path = tmp_path / "drain.json"

    code = main(["--drain", "60", "--repeats", "2", "--nodes", "0,2", "--lanes", "4", "--out", str(path)])

    rows = json.loads(path.read_text())["rows"]
    assert code == 0
    assert [row["nodes"] for row in rows] == [0, 2]
    for row in rows:
        assert list(row) == list(drain.COLUMNS)
        assert row["drain_per_s"] > 0
        assert row["drain_busiest_us"] <= row["drain_servers_us"]
