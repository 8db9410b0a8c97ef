"""The dashboard: counts, queues, running jobs and the jobs that ended last."""

from __future__ import annotations

from typing import Any, NamedTuple

import streamlit as st

from jobfleet.clock import span
from jobfleet.fleet.sync import Fleet
from jobfleet.model import JobResult, JobStatus
from jobfleet.model.option_types import Seconds
from jobfleet.panels.fragment import refreshing
from jobfleet.panels.reading import ask
from jobfleet.panels.table import job_table
from jobfleet.panels.words import headline, plain, under_bar

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
