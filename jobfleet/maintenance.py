"""Jobs that look after the fleet itself; every worker knows them.

``Job(name="Cleanup", function="jobfleet.maintenance.cleanup", cron_expression="0 2 * * *")``
"""

from __future__ import annotations

from jobfleet.client.maintenance import built_in
from jobfleet.functions.registry import REGISTRY

cleanup = REGISTRY.functions.setdefault("jobfleet.maintenance.cleanup", built_in())

__all__ = ["cleanup"]
