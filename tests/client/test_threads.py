"""A client that several threads use from the first moment on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from jobfleet import Fleet

THREADS = 8


@pytest.fixture
def restless() -> Iterator[None]:
    """Switch between threads as often as possible."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("restless")
def test_threads_that_begin_together_share_one_store(redis_url: str) -> None:
    barrier = Barrier(THREADS)

    def store_of(fleet: Fleet) -> int:
        barrier.wait(timeout=30)
        return id(fleet.store)

    with ThreadPoolExecutor(THREADS) as threads:
        for _ in range(50):
            with Fleet(redis_url) as fleet:
                assert len(set(threads.map(store_of, [fleet] * THREADS))) == 1
