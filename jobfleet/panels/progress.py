"""One job on a page: its progress bar, its cancel button, or both."""

from __future__ import annotations

from typing import Any, Literal

import streamlit as st

from jobfleet.model import JobResult, JobStatus
from jobfleet.model.option_types import Seconds
from jobfleet.panels.fragment import refreshing
from jobfleet.panels.reading import Answer, ask, read_job, redacted
from jobfleet.panels.words import facts, headline, plain, under_bar

POLL_INTERVAL = 0.5
BY = "streamlit"


def render_job_progress(job_id: str, poll_interval: Seconds = POLL_INTERVAL) -> JobResult[Any] | None:
    """Show the progress of a job as a bar that refreshes until the job has ended.

    Args:
        job_id: Id of the job.
        poll_interval: Seconds between two polls, at least 0.1; default 0.5.

    Returns:
        The job as it was when the page ran; None if the job is unknown or Redis is unreachable.
    """
    seen = read_job(job_id)

    def draw() -> bool:
        now = read_job(job_id)
        _bar(now)
        return _is_over(now)

    refreshing(draw, every=poll_interval, is_over=_is_over(seen))
    return seen.value


def create_job_progress_widget(
    job_id: str, poll_interval: Seconds = POLL_INTERVAL, *, by: str | None = None
) -> JobResult[Any] | None:
    """Show a job in a box: its progress bar, its outcome and a cancel button. The box refreshes until the job ends.

    Args:
        job_id: Id of the job.
        poll_interval: Seconds between two polls, at least 0.1; default 0.5.
        by: The person who cancels the job with the button, for the job's record; default ``streamlit``.

    Returns:
        The job as it was when the page ran; None if the job is unknown or Redis is unreachable.
    """
    seen = read_job(job_id)

    def draw() -> bool:
        with st.container(border=True, key=f"jobfleet-{job_id}"):
            title, button = st.columns([5, 1], vertical_alignment="center")
            with button:
                now = _button(job_id, by=by, key=f"jobfleet-widget-cancel-{job_id}", width="stretch")
            with title:
                if now.value is not None:
                    st.markdown(headline(now.value))
            _bar(now, with_headline=False)
            if now.value is not None and now.value.status is JobStatus.COMPLETED and now.value.result is not None:
                st.caption(f"Result: {plain(redacted(now.value.result))}")
        return _is_over(now)

    refreshing(draw, every=poll_interval, is_over=_is_over(seen))
    return seen.value


def cancel_job_button(job_id: str, *, by: str | None = None) -> bool:
    """Show a button that cancels a job. The button is disabled once the job has ended.

    Args:
        job_id: Id of the job.
        by: The person who cancels the job with the button, for the job's record; default ``streamlit``.

    Returns:
        True once after a press that cancelled the job or requested its cancellation.
    """
    key = f"jobfleet-cancel-{job_id}"
    _button(job_id, by=by, key=key)
    return bool(st.session_state.pop(f"{key}-done", False))


def _button(
    job_id: str, *, by: str | None, key: str, width: Literal["content", "stretch"] = "content"
) -> Answer[JobResult[Any]]:
    """Draw the button; return the job as it is after the press, if the button was pressed."""
    now = read_job(job_id)
    job = now.value
    is_stopping = job is not None and job.cancel_requested_by is not None and not job.status.is_final
    st.button(
        "Stopping …" if is_stopping else "Cancel",
        key=key,
        on_click=_cancel,
        args=(job_id, by, f"{key}-done"),
        disabled=job is None or job.status.is_final or is_stopping,
        width=width,
    )
    return now


def _cancel(job_id: str, by: str | None, done: str) -> None:
    answer = ask(lambda fleet: fleet.cancel(job_id, by=by or BY))
    st.session_state[done] = bool(answer.value)
    if answer.problem:
        st.toast(plain(answer.problem))


def _bar(now: Answer[JobResult[Any]], *, with_headline: bool = True) -> None:
    job = now.value
    if job is None:
        _say(now)
        return
    if with_headline:
        st.markdown(headline(job))
    st.progress(min(max(job.progress, 0.0), 1.0), text=under_bar(job))
    if job.status is JobStatus.FAILED:
        st.error(plain(f"{job.error_class}: {job.error}" if job.error_class else job.error or "failed"))
    elif job.status.is_final and job.status is not JobStatus.COMPLETED:
        st.caption(plain(job.error or job.status.value))
    small = facts(job)
    if small:
        st.caption(small)


def _say(now: Answer[Any]) -> None:
    if now.is_passing:
        st.warning(plain(now.problem))
    else:
        st.info(plain(now.problem))


def _is_over(now: Answer[JobResult[Any]]) -> bool:
    return now.value.status.is_final if now.value is not None else not now.is_passing
