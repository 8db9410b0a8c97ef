"""A page with all panels: ``jobfleet up jobfleet.demo.reports``, and ``python -m jobfleet.panels`` beside it.

The page only enqueues and watches. Workers run the jobs, so no job is lost when the page is closed.
"""

from __future__ import annotations

import streamlit as st

from jobfleet import Job, JobfleetError, enqueue
from jobfleet.panels import (
    cancel_job_button,
    create_job_progress_widget,
    render_job_progress,
    render_job_status_dashboard,
    render_user_jobs,
)

st.set_page_config(page_title="Jobs", page_icon=":material/conveyor_belt:", layout="wide")
st.title("Jobs")

user = st.sidebar.text_input("Your name", "ann")
chapters = st.sidebar.slider("Chapters", 1, 20, 8)
seconds = st.sidebar.slider("Seconds per chapter", 0.1, 3.0, 0.5)
jobs = {
    "Write a report": Job("Report", "examples.report", (chapters, seconds), user=user),
    "Fetch, with retries": Job("Fetch", "examples.fetch", (2,), user=user),
    "Charge, and fail": Job("Charge", "examples.charge", (5,), user=user),
}
for label, job in jobs.items():
    if st.sidebar.button(label, width="stretch"):
        try:
            st.session_state["job"] = enqueue(job)
        except JobfleetError as error:
            st.sidebar.error(str(error))

mine, fleet, plain = st.tabs(["My jobs", "Fleet", "One job"])
job_id = st.session_state.get("job")
with mine:
    if job_id is not None:
        create_job_progress_widget(job_id, by=user)
    render_user_jobs(user)
with fleet:
    render_job_status_dashboard()
with plain:
    if job_id is None:
        st.info("Start a job at the left.")
    else:
        render_job_progress(job_id, poll_interval=0.5)
        if cancel_job_button(job_id, by=user):
            st.success("It was cancelled, or asked to stop.")
