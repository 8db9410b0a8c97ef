"""Panels for Streamlit pages: progress, a dashboard, a cancel button, the jobs of a user. Extra ``streamlit``.

On a page, an enqueue is done once per session: see `jobfleet.panels.progress`.
Panels show the default fleet. Each refreshes as a Streamlit fragment, so it neither blocks nor reruns the page.
If there is nothing to show, such as an unknown job or an unreachable Redis, the panel prints the reason in one line.
"""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("streamlit") is None:
    raise ImportError("jobfleet.panels needs Streamlit: pip install 'jobfleet[streamlit]'")

from jobfleet.panels.dashboard import render_job_status_dashboard, render_user_jobs
from jobfleet.panels.progress import cancel_job_button, create_job_progress_widget, render_job_progress

__all__ = [
    "cancel_job_button",
    "create_job_progress_widget",
    "render_job_progress",
    "render_job_status_dashboard",
    "render_user_jobs",
]
