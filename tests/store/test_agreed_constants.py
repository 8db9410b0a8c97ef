"""What Lua spells by itself is what Python says."""

from __future__ import annotations

import re

import pytest

from jobfleet.model.names import LANES_MOST
from jobfleet.store import damage, keys
from jobfleet.store.script import load

US = 1000


@pytest.mark.parametrize(
    ("script", "pattern", "value"),
    [
        ("settle", r"'cancelled', (\d+),", keys.TOMBSTONE_MS),
        ("gather", r"MARKS_LAST = 7 \* (\d+)", keys.NOTICES_MS // 7 * US),
        ("open_queue", r"MOST_LANES = (\d+)", LANES_MOST),
        ("tick", r"bounded\(state\[3\], (\d+)\)", damage.LONGEST_US),
        ("tick", r"\.lease, (\d+)\)", damage.LONGEST_US),
    ],
)
def test_a_script_uses_the_number_that_python_names(script: str, pattern: str, value: int) -> None:
    assert [int(found) for found in re.findall(pattern, load(script).plain.decode())] == [value]
