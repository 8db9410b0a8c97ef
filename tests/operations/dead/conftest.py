"""Dead letters by the thousand, without a run of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from jobfleet import Fleet, Job
from jobfleet.codec import seal_record
from jobfleet.functions.registry import Registry
from jobfleet.store.calls.lease import claim
from jobfleet.store.calls.settle import fail, settle

Bury = Callable[..., list[str]]


@pytest.fixture
def wide(redis_url: str, registry: Registry) -> Iterator[Fleet]:
    """A client whose queue `mail` has four lanes."""
    with Fleet(redis_url, registry=registry, lanes="mail=4", patience=5) as wide:
        yield wide


@pytest.fixture
def bury(wide: Fleet) -> Bury:
    """Enqueue jobs, and let them fail for good; return their ids in the order of their letters."""
    nonce = iter(range(1, 1_000_000))

    def bury(jobs: Sequence[Job], error: str = "no luck", error_class: str = "ValueError") -> list[str]:
        with ThreadPoolExecutor(1) as pool:  # a thread has no event loop
            return pool.submit(bury_here, jobs, error, error_class).result()

    def bury_here(jobs: Sequence[Job], error: str, error_class: str) -> list[str]:
        ids: list[str] = [receipt.id for receipt in wide.enqueue_many(jobs)]
        record = seal_record({"function": jobs[0].function, "error": error, "error_class": error_class})
        for job_id in ids:
            lane = wide.context.keys.lane_of(job_id)
            call = claim(lane, child="w1.0", nonce=next(nonce), lease_us=60_000_000, limit=1)
            (grant,) = wide.store.run(call).grants
            item = fail(grant.id, grant.token, record=record, ttl_ms=60_000, duration_us=5, reason="error",
                        tries="1:1:0:0:0\n1 1700000000000000 ValueError: no luck")  # fmt: skip
            wide.store.run(settle(lane, [item]))
        return ids

    return bury
