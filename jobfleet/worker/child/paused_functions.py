"""Jobs of paused functions: what is claimed of them goes back unstarted, out of the reach of claims."""

from __future__ import annotations

import logging

from jobfleet.codec import read_header
from jobfleet.errors import EncodingError
from jobfleet.store.calls import settle
from jobfleet.store.records import Claimed, Grant

log = logging.getLogger("jobfleet.worker")


def withheld(grant: Grant, claimed: Claimed) -> settle.Item | None:
    """What puts a job away whose function is paused; nothing for one that is to be started."""
    try:
        function = read_header(grant.envelope).get("function")
    except EncodingError:
        return None  # the runner says what is wrong with it
    if not isinstance(function, str) or function not in claimed.functions:
        return None
    log.debug("job.withheld job_id=%s function=%s it is paused", grant.id, function)
    return settle.withhold(grant.id, grant.token, due=grant.due, function=function)
