"""`python -m bench.dashboard`: each page is requested, and pages stay open, on a small fleet."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.dashboard.__main__ import main
from jobfleet.web.app import MENU


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:No worker has published")
def test_each_page_has_figures(tmp_path: Path) -> None:
    path = tmp_path / "web.json"

    size = ["--jobs", "30", "--dead", "5", "--workers", "2", "--functions", "2"]
    code = main([*size, "--requests", "1", "--open", "3", "--seconds", "1", "--out", str(path)])

    written = json.loads(path.read_text())
    assert code == 0
    assert written["size"] == {"jobs": 30, "dead": 5, "workers": 2, "functions": 2}
    assert {page.path for page, _ in MENU} <= {row["path"] for row in written["pages"]}
    assert all(row["size"] > 1000 and row["p50"] <= row["p95"] for row in written["pages"])
    assert (written["open"]["pages"], written["open"]["addresses"]) == (3, 3)
