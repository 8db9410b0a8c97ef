"""Module functions over a default fleet."""

from __future__ import annotations

import threading
from typing import Any

from jobfleet.fleet.sync import Fleet
from jobfleet.functions.default_fleet import offered_settings, provide_default_fleet
from jobfleet.model import Job, JobResult
from jobfleet.model.options import Seconds

_lock = threading.Lock()
_default: Fleet | None = None


def configure(url: str | None = None, **settings: Any) -> Fleet:
    """Say which fleet the module functions and ``@job`` functions use; return it.

    Without this call it is the one that settings name (``JOBFLEET_URL``, jobfleet.toml).
    """
    fleet = Fleet(url, **settings)
    set_default_fleet(fleet)
    return fleet


def set_default_fleet(fleet: Fleet | None) -> Fleet | None:
    """Put another default fleet in place; return the one before."""
    global _default
    with _lock:
        before, _default = _default, fleet
    return before


def default_fleet() -> Fleet:
    """The default fleet, made on first use."""
    global _default  # noqa: PLW0603 - the one default of the process
    with _lock:
        if _default is None:
            offered = offered_settings()
            _default = Fleet.of(offered) if offered is not None else Fleet()
        return _default


def enqueue(job: Job) -> str:
    """Put a job into the default fleet; return its id. See `Fleet.enqueue`."""
    return default_fleet().enqueue(job)


def poll(job_id: str) -> JobResult[Any]:
    """What is known of a job. See `Fleet.poll`."""
    return default_fleet().poll(job_id)


def wait(job_id: str, timeout: Seconds | None = None) -> JobResult[Any]:
    """Wait for a job's end. See `Fleet.wait`."""
    return default_fleet().wait(job_id, timeout=timeout)


def cancel(job_id: str, *, by: str | None = None) -> bool:
    """Cancel a job; False when it has ended already. See `Fleet.cancel`."""
    return default_fleet().cancel(job_id, by=by)


provide_default_fleet(default_fleet)
