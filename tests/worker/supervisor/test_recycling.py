"""When a supervisor replaces a child that asks for it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from jobfleet.clock import boottime
from jobfleet.config import JobConfig
from jobfleet.metrics.tally import Tally
from jobfleet.worker.supervisor.children import YOUNG, Recycling
from jobfleet.worker.supervisor.metrics import WorkerMetrics


class Children:
    """Notes which children are replaced."""

    def __init__(self) -> None:
        self.state, self.size, self.draining = "running", 1, list[Any]()
        self.replaced: list[Any] = []

    def replace(self, handle: Any, grace: float | None, *, is_fit: bool) -> None:
        self.replaced.append(handle)


def replaced(*, loading: float, ready: float) -> bool:
    """Whether a child is replaced for its size, that loaded for so many seconds and has been ready for so many."""
    now, children = boottime(), Children()
    metrics = WorkerMetrics(JobConfig(processes=1), "w", Tally())
    handle = SimpleNamespace(
        child="w.1", is_replaced=False, kept_at=float("-inf"), born=now - ready - loading, ready_at=now - ready
    )
    Recycling(cast(Any, children), grace=1.0, metrics=metrics).retire(cast(Any, handle), "memory")
    return bool(children.replaced)


def test_a_child_that_was_too_large_when_it_became_ready_is_not_replaced() -> None:
    assert not replaced(loading=0.0, ready=YOUNG / 2)


def test_the_time_that_a_child_loads_its_modules_does_not_count() -> None:
    assert not replaced(loading=2 * YOUNG, ready=YOUNG / 2)


def test_a_child_that_has_grown_is_replaced() -> None:
    assert replaced(loading=0.0, ready=2 * YOUNG)
