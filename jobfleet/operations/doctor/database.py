"""The check of the transactional outbox: are its rows relayed, and are there bad ones? Pure."""

from __future__ import annotations

from jobfleet.clock import span
from jobfleet.operations.doctor.findings import Finding, Level
from jobfleet.operations.doctor.snapshot import Checkup
from jobfleet.operations.explain.reasons import counted
from jobfleet.outbox.statements import is_relayed, name_of_url

NAME = "database"
LATE = 60.0
"""Age in seconds from which a waiting row is a warning."""
STUCK = 3600.0
"""Age in seconds from which it is a fault: the ids of jobs are remembered for a limited time."""


def database(seen: Checkup) -> Finding:
    """Whether every row was relayed in time."""
    counts = seen.sql_outbox
    if counts is None:
        others = f" Reapers relay {', '.join(dict.fromkeys(seen.relayed))}." if seen.relayed else ""
        return Finding(NAME, Level.OK, f"No transactional outbox is set.{others}")
    if isinstance(counts, str):
        return Finding(NAME, Level.FAULT, counts, "Correct outbox_url, or start the database.")
    text = f"{counted(counts.waiting, 'row')} of the outbox wait."
    if counts.waiting:
        text = f"{text[:-1]}; the oldest was written {span(counts.lag)} ago."
    if counts.refused:
        refused = f"{counted(counts.refused, 'row')} refused, the oldest {span(counts.refused_for)} ago"
        text = f"{text} {refused}: {counts.error}"
        remedy = "Look at them with 'jobfleet outbox ls', then retry or drop them."
        return Finding(NAME, Level.FAULT, text, remedy)
    url = seen.config.outbox_url
    if url is not None and not is_relayed(name_of_url(url), seen.relayed):
        remedy = "Start a reaper with outbox_url, a worker with with_reaper, or 'jobfleet up'."
        level = Level.FAULT if counts.lag >= STUCK else Level.WARNING
        return Finding(NAME, level, f"{text} No live reaper relays them.", remedy)
    if counts.lag < LATE:
        return Finding(NAME, Level.OK, text)
    if counts.error:
        text = f"{text} {counts.error}"
    remedy = "Start a reaper with outbox_url, and look at its log for outbox.away and outbox.delayed."
    return Finding(NAME, Level.FAULT if counts.lag >= STUCK else Level.WARNING, text, remedy)
