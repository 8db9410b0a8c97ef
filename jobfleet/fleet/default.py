"""Module functions over a default fleet."""

from __future__ import annotations

import threading
from typing import Any, TypeVar, Unpack, overload

from jobfleet.config.argument_types import FleetSettings
from jobfleet.fleet.sync import Fleet
from jobfleet.functions.default_fleet import offered_settings, provide_default_fleet
from jobfleet.functions.registry import Registry
from jobfleet.model import Job, JobId, JobResult
from jobfleet.model.option_types import Seconds

T = TypeVar("T")
_lock = threading.Lock()
_default: Fleet | None = None


def configure(
    url: str | None = None,
    namespace: str | None = None,
    *,
    registry: Registry | None = None,
    **settings: Unpack[FleetSettings],
) -> Fleet:
    """Set the default fleet, which the module functions and ``@job`` functions use; return it.

    Without this call, the settings name it (``JOBFLEET_URL``, jobfleet.toml).

    Args:
        url: The URL of Redis; default from the settings.
        namespace: The prefix that separates fleets that share a Redis.
        registry: The functions that this process knows; default the one that ``@job`` fills.
        settings: Any other setting by name; see the reference of settings.

    Raises:
        ConfigError: A setting is wrong.
    """
    fleet = Fleet(url, namespace, registry=registry, **settings)
    set_default_fleet(fleet)
    return fleet


def set_default_fleet(fleet: Fleet | None) -> Fleet | None:
    """Replace the default fleet; return the previous one, which stays open. None if there was or will be none."""
    global _default
    with _lock:
        before, _default = _default, fleet
    return before


def default_fleet() -> Fleet:
    """The default fleet, made on first use.

    Raises:
        ConfigError: A setting is wrong.
    """
    global _default  # noqa: PLW0603 - the one default of the process
    with _lock:
        if _default is None:
            offered = offered_settings()
            _default = Fleet.of(offered) if offered is not None else Fleet()
        return _default


def enqueue(job: Job[T]) -> JobId[T]:
    """Put a job into the default fleet; return its id. See `Fleet.enqueue`."""
    return default_fleet().enqueue(job)


@overload
def poll(job_id: JobId[T]) -> JobResult[T]: ...
@overload
def poll(job_id: str) -> JobResult[Any]: ...
def poll(job_id: str) -> JobResult[Any]:
    """Read the state and the result of a job. See `Fleet.poll`."""
    return default_fleet().poll(job_id)


@overload
def wait(job_id: JobId[T], timeout: Seconds | None = None) -> JobResult[T]: ...
@overload
def wait(job_id: str, timeout: Seconds | None = None) -> JobResult[Any]: ...
def wait(job_id: str, timeout: Seconds | None = None) -> JobResult[Any]:
    """Wait until a job has ended; return its result. See `Fleet.wait`."""
    return default_fleet().wait(job_id, timeout=timeout)


def cancel(job_id: str, *, by: str | None = None) -> bool:
    """Cancel a job; return False if it has already ended. See `Fleet.cancel`."""
    return default_fleet().cancel(job_id, by=by)


provide_default_fleet(default_fleet)
