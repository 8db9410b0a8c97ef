"""Tools to test code that enqueues jobs: the pytest fixture `jobs` and its value, `Jobs`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jobfleet.testing.jobs import Jobs

__all__ = ["Jobs"]


def __getattr__(name: str) -> Any:
    if name != "Jobs":  # imported on use: pytest loads this package in every run
        raise AttributeError(f"module 'jobfleet.testing' has no attribute {name!r}")
    from jobfleet.testing.jobs import Jobs

    return Jobs
