"""Recurring jobs: their schedule, and the policies for late fires. Pure."""

from __future__ import annotations

from jobfleet.cron.entry import SAME_GROUP, Cron, CronEntry, Planned, Times, from_us, plan, plan_starts, to_us
from jobfleet.cron.outcomes import FireOutcomes
from jobfleet.cron.schedule import Fire, Schedule

__all__ = [
    "SAME_GROUP",
    "Cron",
    "CronEntry",
    "Fire",
    "FireOutcomes",
    "Planned",
    "Schedule",
    "Times",
    "from_us",
    "plan",
    "plan_starts",
    "to_us",
]
