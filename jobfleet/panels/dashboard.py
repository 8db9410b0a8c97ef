"""The dashboard and the jobs of one user: counts, queues, and tables of jobs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import streamlit as st

from jobfleet.clock import span
from jobfleet.fleet.sync import Fleet
from jobfleet.model import JobResult, JobStatus
from jobfleet.model.option_types import Seconds
from jobfleet.panels.reading import ask, refreshing
from jobfleet.panels.words import headline, plain, row_of, under_bar

REFRESH = 2.0
RUNNING_SHOWN = 10
ENDED_SHOWN = 20


class Overview(NamedTuple):
    """The data of one drawing of the dashboard.

    Attributes:
        counts: `Fleet.statistics`.
        running: Running jobs, at most 10.
        ended: The jobs that ended last, newest first, at most 20.
    """

    counts: dict[str, Any]
    running: list[JobResult[Any]]
    ended: list[JobResult[Any]]


def render_job_status_dashboard(refresh: Seconds = REFRESH) -> None:
    """Show the default fleet: counts, queues, progress bars of running jobs, and the jobs that ended last.

    The panel refreshes without rerunning the page.

    Args:
        refresh: Seconds between two refreshes, at least 0.1; default 2.
    """

    def draw() -> bool:
        seen = ask(_overview)
        if seen.value is None:
            st.warning(plain(seen.problem))
        else:
            _draw(seen.value)
        return False

    refreshing(draw, every=refresh, is_over=False)


def _overview(fleet: Fleet) -> Overview:
    running = fleet.jobs(status=JobStatus.RUNNING, limit=RUNNING_SHOWN).jobs
    return Overview(fleet.statistics(), running, fleet.ended(limit=ENDED_SHOWN))


def _draw(seen: Overview) -> None:
    counts = seen.counts
    for row in (
        {
            "Waiting": counts["queue_size"],
            "Running": counts["running"],
            "Completed": counts["completed"],
            "Failed": counts["failed"],
        },
        {
            "Workers": counts["workers"],
            "Dead letters": counts["dead_letters"],
            "Success rate": f"{counts['success_rate']:.0%}" if counts["completed"] + counts["failed"] else "–",
            "Average time": span(counts["average_duration"]) if counts["average_duration"] else "–",
        },
    ):
        for column, (name, value) in zip(st.columns(4), row.items(), strict=True):
            column.metric(name, f"{value:,}" if isinstance(value, int) else value)
    with st.container():  # a fixed place, so that the elements below it do not move
        _draw_running(seen)
    st.subheader("Queues")
    if counts["by_queue"]:
        st.dataframe([_queue_row(name, row) for name, row in counts["by_queue"].items()], hide_index=True)
    else:
        st.caption("There is no queue yet; the first job creates one.")

    st.subheader("Ended last")
    if seen.ended:
        job_table(seen.ended, key="jobfleet-dashboard-ended")
    else:
        st.caption("No job has ended yet.")


def _draw_running(seen: Overview) -> None:
    counts = seen.counts
    if counts["workers"] == 0 and counts["queue_size"]:
        st.warning("Jobs are waiting, but no worker is running.")
    st.subheader("Running")
    if not seen.running:
        st.caption("No job is running.")
    for job in seen.running:
        st.progress(min(max(job.progress, 0.0), 1.0), text=f"{headline(job)} · {under_bar(job)}")
    if counts["running"] > len(seen.running):
        st.caption(f"… and {counts['running'] - len(seen.running):,} more.")


def _queue_row(name: str, row: dict[str, Any]) -> dict[str, object]:
    shown = ("queued", "scheduled", "blocked", "retrying", "running", "completed", "failed", "cancelled")
    return {"queue": name, **{word: row[word] for word in shown}}


USER_REFRESH = 1.0


def render_user_jobs(user: str, limit: int = 20, refresh: Seconds = USER_REFRESH) -> None:
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
            _draw_of_user(seen.value, user)
        return False

    refreshing(draw, every=refresh, is_over=False)


def _draw_of_user(jobs: list[JobResult[Any]], user: str) -> None:
    still_open = [job for job in jobs if not job.status.is_final]
    ended = [job for job in jobs if job.status.is_final]
    for job in still_open:
        st.progress(min(max(job.progress, 0.0), 1.0), text=f"{headline(job)} · {under_bar(job)}")
    if ended:
        job_table(ended, key=f"jobfleet-user-{user}", without="user")


COLUMNS = ("job", "status", "progress", "message", "queue", "user", "started", "took", "id")


def job_table(jobs: Iterable[JobResult[Any]], *, key: str, without: str = "") -> None:
    """Show jobs in a table.

    Args:
        jobs: The jobs, one per row.
        key: Unique key of the table within the page.
        without: Name of a column to leave out, for example because all rows have the same value.
    """
    st.dataframe(
        [row_of(job) for job in jobs],
        hide_index=True,
        key=key,
        column_order=[name for name in COLUMNS if name != without],
        column_config={
            "progress": st.column_config.ProgressColumn(min_value=0.0, max_value=1.0, format="percent"),
            "message": st.column_config.TextColumn(width="medium"),
            "id": st.column_config.TextColumn(width="small"),
        },
    )
