"""How long Redis keeps what has ended or been moved aside. Periods that must agree are here once.

The retention of results and dead letters is a setting (`result_ttl`, `dead_ttl`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobfleet.config import JobConfig

DAY_MS = 86_400_000
TOMBSTONE_MS = DAY_MS
"""Milliseconds for which the end of a cancelled, replaced or moved job is known; `settle.lua` uses the same period."""
PARENTS_KEPT_MS = 30 * DAY_MS
"""Milliseconds for which the parents of a blocked job are kept. Sweeps renew it."""
FLOW_LEAST_MS = 7 * DAY_MS
"""Milliseconds for which a flow's record is kept at least: an open flow without a blocked job may still grow."""
LAST_KEPT_MS = 600_000
"""Milliseconds for which a result is kept even if `keep_last` later ones exist, so that all who wait for it read it."""
ASIDE_MS = 30 * DAY_MS
"""Milliseconds for which damaged data that was moved aside is kept."""
NOTICES_MS = 7 * DAY_MS
"""Milliseconds for which a channel's marks and deliveries are kept; `gather.lua` uses the same period for marks."""


def flow_ttl_ms(config: JobConfig) -> int:
    """Milliseconds for which a flow's record is kept: as long as its jobs. Sweeps renew it while jobs are blocked."""
    return max(FLOW_LEAST_MS, round(max(config.result_ttl, config.failed_result_ttl, config.dead_ttl) * 1000))
