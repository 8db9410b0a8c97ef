"""Recurring jobs: when they fire, and what becomes of fires that were not seen in time. Pure."""

from __future__ import annotations

from jobfleet.cron.entry import Cron, CronEntry, Planned, from_us, plan, to_us
from jobfleet.cron.schedule import Fire, Schedule

__all__ = ["Cron", "CronEntry", "Fire", "Planned", "Schedule", "from_us", "plan", "to_us"]
