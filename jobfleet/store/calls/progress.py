"""The call for progress reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from jobfleet.store.call import Argument, Call
from jobfleet.store.keys import Lane
from jobfleet.store.script import load


class Report(NamedTuple):
    """The last progress report of a job.

    Attributes:
        id: The job's id.
        token: The fencing token of the run.
        n: It increases with each report of the run, so that listeners can order them.
        record: Encoded value, message and details.
    """

    id: str
    token: int
    n: int
    record: bytes


def progress(lane: Lane, reports: Sequence[Report], *, ttl_ms: int) -> Call[str]:
    """Store and publish at most 50 reports unless newer ones exist; returns one letter each: o ok, l lost, c cancel."""
    if (seals := lane.seals) is not None:
        reports = [one._replace(record=seals.value(one.record, "progress", one.id)) for one in reports]
    places = [place for report in reports for place in (lane.progress(report.id), lane.reported(report.id))]
    args: list[Argument] = [lane.tag, ttl_ms]
    for report in reports:
        args.extend(report)
    return Call(load("progress"), (lane.runs, *places), tuple(args), lambda reply: reply[1].decode())
