"""The jobs of one user on a page."""

from __future__ import annotations

from typing import Any

import streamlit as st

from jobfleet.model import JobResult
from jobfleet.model.option_types import Seconds
from jobfleet.panels.fragment import refreshing
from jobfleet.panels.reading import ask
from jobfleet.panels.table import job_table
from jobfleet.panels.words import headline, plain, under_bar

REFRESH = 1.0


def render_user_jobs(user: str, limit: int = 20, refresh: Seconds = REFRESH) -> None:
    """Show the jobs of a user: progress bars of the open jobs, a table of the ended ones.

    The panel refreshes without rerunning the page.

    Args:
        user: The user, as in ``Job(user=…)``.
        limit: Most jobs to show, newest first; default 20.
        refresh: Seconds between two refreshes, at least 0.1; default 1.
    """

    def draw() -> bool:
        seen = ask(lambda fleet: fleet.jobs(user=user, limit=limit).jobs)
        if seen.value is None:
            st.warning(plain(seen.problem))
        elif not seen.value:
            st.info(plain(f"No jobs of {user}."))
        else:
            _draw(seen.value, user)
        return False

    refreshing(draw, every=refresh, is_over=False)


def _draw(jobs: list[JobResult[Any]], user: str) -> None:
    still_open = [job for job in jobs if not job.status.is_final]
    ended = [job for job in jobs if job.status.is_final]
    for job in still_open:
        st.progress(min(max(job.progress, 0.0), 1.0), text=f"{headline(job)} · {under_bar(job)}")
    if ended:
        job_table(ended, key=f"jobfleet-user-{user}", without="user")
