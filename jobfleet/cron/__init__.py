"""Recurring jobs: their schedule, and the policies for late fires. Pure."""

from __future__ import annotations

from jobfleet.cron.entry import Cron, CronEntry, Planned, from_us, plan, to_us
from jobfleet.cron.schedule import Fire, Schedule

__all__ = ["Cron", "CronEntry", "Fire", "Planned", "Schedule", "from_us", "plan", "to_us"]
