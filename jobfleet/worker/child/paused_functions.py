"""Jobs of paused functions: they go back without a start, to a place that claims do not read."""

from __future__ import annotations

import logging

from jobfleet.codec import header_or_empty
from jobfleet.store.calls import settle
from jobfleet.store.records import Claimed, Grant

log = logging.getLogger("jobfleet.worker")


def withheld(grant: Grant, claimed: Claimed) -> settle.Item | None:
    """What settles a job whose function is paused; None for a job that may start."""
    function = header_or_empty(grant.envelope).get("function")  # the runner reports a header that cannot be read
    if not isinstance(function, str) or function not in claimed.functions:
        return None
    log.debug("job.withheld job_id=%s function=%s it is paused", grant.id, function)
    return settle.withhold(grant.id, grant.token, due=grant.due, function=function)
