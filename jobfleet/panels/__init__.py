"""Panels for Streamlit pages: progress, a dashboard, a button that cancels, a user's jobs. Extra ``streamlit``.

They refresh themselves as fragments, so the page around them is neither blocked nor run again, and they look at the
default fleet. What cannot be shown, an unknown job or a Redis that is away, is said in a line.
"""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("streamlit") is None:
    raise ImportError("jobfleet.panels needs Streamlit: pip install 'jobfleet[streamlit]'")

from jobfleet.panels.dashboard import render_job_status_dashboard
from jobfleet.panels.progress import cancel_job_button, create_job_progress_widget, render_job_progress
from jobfleet.panels.user import render_user_jobs

__all__ = [
    "cancel_job_button",
    "create_job_progress_widget",
    "render_job_progress",
    "render_job_status_dashboard",
    "render_user_jobs",
]
