"""`python -m bench.finisher URL SINGLY SPACING`: claims all jobs, ends some one at a time, then the rest together."""

from __future__ import annotations

import sys
import time

from jobfleet.codec.frames import seal_record
from jobfleet.operations.operation import batches
from jobfleet.store.calls import settle
from jobfleet.store.calls.lease import claim
from jobfleet.store.keys import Keyspace
from jobfleet.store.sync import Store
from jobfleet.store.target import target

FUNCTION = "bench.waited"
LEASE_US = 600_000_000


def main(url: str, singly: int, spacing: float) -> None:
    """End the jobs of the default queue, in the order in which they were enqueued."""
    lane = Keyspace("jobfleet").lane("default", 0)
    record = seal_record({"function": FUNCTION})
    store = Store(target(url))
    claimed: list[tuple[str, int]] = []
    while True:
        call = claim(lane, child="bench.1", nonce=len(claimed) + 1, lease_us=LEASE_US, limit=50)
        grants = store.run(call).grants
        if not grants:
            break
        claimed += [(grant.id, grant.token) for grant in grants]
    ends = [
        settle.complete(job_id, token, record=record, ttl_ms=600_000, duration_us=1)
        for job_id, token in sorted(claimed)
    ]
    time.sleep(1)  # the waits must be idle when the first job ends
    for item in ends[:singly]:
        store.run(settle.settle(lane, [item]))
        time.sleep(spacing)  # so that no end disturbs the wake of the one before
    for part in batches(ends[singly:], 50):
        store.run(settle.settle(lane, part))
    store.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
