"""A worker inside the test's process, with functions of its own."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from jobfleet import Fleet
from jobfleet.functions.registry import REGISTRY, Registry
from tests.support.fleet import APPS

Working = Callable[..., AbstractContextManager[threading.Event]]


@pytest.fixture
def fleet(redis_url: str, registry: Registry) -> Iterator[Fleet]:
    """A fleet with these functions, whose settings suit tests."""
    with Fleet(redis_url, registry=registry, lease=6, retry_delay=0.05, patience=30) as fleet:
        yield fleet


@pytest.fixture
def working(fleet: Fleet) -> Working:
    """A worker in a thread, while the block runs; of another fleet where one is named."""

    @contextmanager
    def run(*, of: Fleet = fleet, **options: Any) -> Iterator[threading.Event]:
        stop = threading.Event()
        thread = threading.Thread(target=of.run_worker, kwargs={"stop": stop, **options})
        thread.start()
        try:
            yield stop
        finally:
            stop.set()
            thread.join(60)
            assert not thread.is_alive(), "the worker has not ended"

    return run


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch, registry: Registry) -> Iterator[None]:
    """Functions of a module that isolated processes can import."""
    monkeypatch.syspath_prepend(str(APPS))
    known = dict(REGISTRY.functions)
    import cells as loaded  # type: ignore[import-not-found]

    registry.functions |= {name: one for name, one in REGISTRY.functions.items() if name.startswith("cell.")}
    yield
    del sys.modules[loaded.__name__]
    REGISTRY.functions.clear()
    REGISTRY.functions.update(known)
