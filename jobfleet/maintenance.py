"""Jobs that maintain the fleet itself; every worker knows them.

``Job(name="Cleanup", function="jobfleet.maintenance.cleanup", cron_expression="0 2 * * *")``
"""

from __future__ import annotations

from typing import Any

from jobfleet.fleet import default as _default  # noqa: F401 - provides the default fleet that it cleans
from jobfleet.functions.callables import CLEANUP
from jobfleet.functions.registry import REGISTRY, JobFunction
from jobfleet.services.cleanup import built_in

cleanup: JobFunction[..., Any, Any] = REGISTRY.functions.setdefault(CLEANUP, built_in())

__all__ = ["cleanup"]
