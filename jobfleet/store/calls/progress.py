"""progress."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from jobfleet.store.call import Argument, Call
from jobfleet.store.keys import Lane
from jobfleet.store.script import load


class Report(NamedTuple):
    """One job's last progress.

    Attributes:
        id: The job.
        token: The run.
        n: Grows with each report of the run, so that listeners can order them.
        record: Encoded value, message and details.
    """

    id: str
    token: int
    n: int
    record: bytes


def progress(lane: Lane, reports: Sequence[Report], *, ttl_ms: int) -> Call[str]:
    """Keep and publish at most 50 reports, but none that is older; a letter each: o fine, l lost, c to be cancelled."""
    places = [place for report in reports for place in (lane.progress(report.id), lane.reported(report.id))]
    args: list[Argument] = [lane.tag, ttl_ms]
    for report in reports:
        args.extend(report)
    return Call(load("progress"), (lane.runs, *places), tuple(args), lambda reply: reply[1].decode())
