"""`jobfleet bench`: a quick look, for people and for programs."""

from __future__ import annotations

import json

import pytest

from tests.cli.hand import Cli
from tests.support import users

pytestmark = pytest.mark.skipif(
    users.ARE_USED, reason="it has a namespace of its own, which users of another may not touch"
)

ROWS = {"enqueue, one at a time": 10, "enqueue, in bulk": 50, "drain, one worker in here": 60}


def test_it_prints_a_line_for_each_of_its_measurements(cli: Cli) -> None:
    result = cli("bench", "--jobs", "50")

    head, *lines = result.stdout.splitlines()
    assert (result.exit_code, head.split()) == (0, ["jobs", "seconds", "jobs/s"])
    assert {line[:26].strip(): int(line[26:].split()[0]) for line in lines} == ROWS


def test_json_has_the_same(cli: Cli) -> None:
    result = cli("bench", "--jobs", "50", "-o", "json")

    rows = json.loads(result.stdout)
    assert result.exit_code == 0
    assert {row["name"]: row["jobs"] for row in rows} == ROWS
    assert all(row["seconds"] > 0 and row["jobs_per_second"] == row["jobs"] / row["seconds"] for row in rows)
