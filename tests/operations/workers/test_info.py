"""Workers as their heartbeats describe them."""

from __future__ import annotations

import pytest

from jobfleet import Fleet
from jobfleet.codec import encode
from jobfleet.store.calls.presence import beat


@pytest.mark.parametrize("field", ["pid", "slots", "scale_max", "cpus", "started"])
def test_a_number_that_cannot_be_read_counts_as_not_reported(fleet: Fleet, field: str) -> None:
    account = encode({field: "many", "host": "box"})
    fleet.store.run(beat(fleet.context.keys, "box:1:a", account=account, gone_us=10**8))

    (worker,) = fleet.workers()

    assert (worker.host, getattr(worker, field) or 0) == ("box", 0)
