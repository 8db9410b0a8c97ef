"""A claim in flight."""

from __future__ import annotations

from typing import NamedTuple

from jobfleet.store.call import Call
from jobfleet.store.records import Claimed


class Asked(NamedTuple):
    """A claim in flight.

    Attributes:
        call: The call.
        nonce: Its nonce.
        limit: The maximal number of jobs.
        since: When its nonce was first sent (boot-time clock). Its leases did not begin earlier.
        doubts: The number of doubts when it was sent.
        is_repeat: Whether its nonce was sent before, so that the answer may be outdated.
    """

    call: Call[Claimed]
    nonce: int
    limit: int
    since: float
    doubts: int
    is_repeat: bool
