"""Jobs of paused functions: what is claimed of them goes back unstarted, out of the reach of claims."""

from __future__ import annotations

import logging
from collections.abc import Callable

from jobfleet.codec import read_header
from jobfleet.errors import EncodingError
from jobfleet.store.calls import settle
from jobfleet.store.values import Claimed, Grant

log = logging.getLogger("jobfleet.worker")


def withhold(claimed: Claimed, put_away: Callable[[Grant, settle.Item], None]) -> list[Grant]:
    """Put away what was claimed of paused functions; answer the rest, which is to be started."""
    rest = []
    for grant in claimed.grants:
        try:
            function = read_header(grant.envelope).get("function")
        except EncodingError:
            function = None  # the runner says what is wrong with it
        if isinstance(function, str) and function in claimed.functions:
            log.debug("job.withheld job_id=%s function=%s it is paused", grant.id, function)
            put_away(grant, settle.withhold(grant.id, grant.token, due=grant.due, function=function))
        else:
            rest.append(grant)
    return rest
