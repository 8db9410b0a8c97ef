"""Built-in jobs that look after a fleet; every worker knows them by name.

``Job(name="Cleanup", function="jobfleet.maintenance.cleanup", cron_expression="0 2 * * *")``
"""

from __future__ import annotations

from typing import Any

from jobfleet.client.default import default_fleet
from jobfleet.client.registry import JobFunction
from jobfleet.client.sync import Fleet
from jobfleet.config import JobConfig

DAY = 86_400.0
DAYS = 7.0


def cleanup(days: float = DAYS) -> dict[str, int]:
    """Let go the results of jobs that ended longer ago than so many days; see `Fleet.clean`.

    Args:
        days: Days; results go by themselves with their TTL, this is for those who want them gone sooner.

    Returns:
        ``results``: of how many jobs.
    """
    return _clean(default_fleet(), days)


def built_in(name: str, config: JobConfig) -> JobFunction[..., Any, Any]:
    """A built-in job as a worker runs it: on the worker's own server.

    Args:
        name: One of `jobfleet.client.registry.BUILT_IN`.
        config: The worker's settings.
    """

    def run(days: float = DAYS) -> dict[str, int]:
        with Fleet.of(config) as fleet:
            return _clean(fleet, days)

    return JobFunction(run, name=name, options={})


def _clean(fleet: Fleet, days: float) -> dict[str, int]:
    return {"results": fleet.clean(days * DAY)}
