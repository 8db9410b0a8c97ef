"""When the live workers have started, by the functions that they know."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from jobfleet.codec import decode
from jobfleet.cron import from_us
from jobfleet.errors import EncodingError
from jobfleet.store.calls.inspect import LATEST_US
from jobfleet.store.records import FleetSeen, KindsSeen
from jobfleet.store.rows import number_of

Starts = Mapping[str, list[datetime]]


def starts_of(fleet: FleetSeen, kinds: KindsSeen, *, gone_us: int) -> Starts:
    """Return the starts of live workers by function, by Redis's clock.

    A worker of an older version does not report its start, and is left out.

    Args:
        fleet: A reading of the fleet.
        kinds: The kinds of its workers.
        gone_us: Silence in µs after which a worker counts as gone.
    """
    functions = {row.kind: row.functions for row in kinds.kinds}
    starts: dict[str, list[datetime]] = {}
    for worker in fleet.workers:
        if fleet.now - worker.beat > gone_us:
            continue
        joined, known = _account(worker.account)
        if joined:
            for function in {name for kind in known for name in functions.get(kind, {}) if name}:
                starts.setdefault(function, []).append(from_us(joined))
    return starts


def _account(account: bytes) -> tuple[int, list[str]]:
    """Read from an account when its worker has joined the fleet (µs; 0 if unknown), and the kinds of its children."""
    try:
        fields = decode(account) if account else None
    except EncodingError:
        fields = None
    if not isinstance(fields, dict):
        return 0, []
    joined, kinds = number_of(fields.get("joined", 0)), fields.get("kinds")
    return joined if 0 < joined < LATEST_US else 0, [str(kind) for kind in kinds] if isinstance(kinds, list) else []
