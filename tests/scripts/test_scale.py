"""`python -m bench.scale`: three simulated workers for a second."""

from __future__ import annotations

import json
from pathlib import Path

from bench.scale.__main__ import COLUMNS, main


def test_simulated_workers_run_all_jobs_and_each_column_has_a_figure(tmp_path: Path) -> None:
    path = tmp_path / "scale.json"

    code = main(["--workers", "3", "--rate", "50", "--seconds", "1", "--lanes", "2", "--out", str(path)])

    (row,) = json.loads(path.read_text())["rows"]
    assert code == 0
    assert list(row) == list(COLUMNS)
    assert row["workers"] == 3
    assert 0 < row["settles_per_job"] <= 1
    assert row["claims_per_job"] > 0
    assert row["connections"] >= 3 * 4
