"""The retry options of a header: which values are read."""

from __future__ import annotations

from typing import Any

import pytest

from jobfleet.codec import read_header, seal
from jobfleet.errors import EncodingError


def test_delays_and_a_bound_are_read() -> None:
    header = {"function": "f", "retry_delay": 1, "retry_delays": [1, 0, (1 << 53) - 1], "retry_for": 5}

    assert read_header(seal(header)) == header


@pytest.mark.parametrize(
    "fields",
    [{"retry_delays": 5}, {"retry_delays": []}, {"retry_delays": [1.5]}, {"retry_delays": [1, -1]},
     {"retry_delays": [True]}, {"retry_delays": [1 << 53]}, {"retry_delays": ["1"]}, {"retry_for": -1},
     {"retry_for": 1.5}, {"retry_for": [1]}],
    ids=str,
)  # fmt: skip
def test_other_values_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(EncodingError):
        read_header(seal({"function": "f", **fields}))
