"""One job on a page: its progress bar, its cancel button, and one enqueue per session."""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass, field, fields, replace
from hashlib import sha256
from typing import Any, Literal

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.scriptrunner_utils.script_run_context import ScriptRunContext

from jobfleet.functions.registry import REGISTRY, JobFunction
from jobfleet.model import Job, JobResult, JobStatus
from jobfleet.model.option_types import Seconds
from jobfleet.panels.reading import Answer, ask, read_job, redacted, refreshing
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


# One enqueue per session: Streamlit runs a page at each click, and the page must not repeat its jobs.


KEY = "jobfleet-enqueued"
"""Where a session keeps its jobs."""
KEPT = 10_000
"""Most jobs that a session remembers; a page that enqueues more forgets those that it used longest ago."""


@dataclass(frozen=True, slots=True)
class _Enqueued:
    """A job of the session.

    Attributes:
        suffix: The suffix of its id.
        clicks: The buttons whose clicks led to its enqueue.
    """

    suffix: str
    clicks: frozenset[str]


@dataclass(slots=True)
class _Jobs:
    """The jobs that a session has enqueued.

    Attributes:
        run: An object that Streamlit makes for each run of the page.
        counts: How often this run has enqueued each job.
        known: The jobs, by content and number within a run.
    """

    run: object = None
    counts: Counter[str] = field(default_factory=Counter)
    known: OrderedDict[tuple[str, int], _Enqueued] = field(default_factory=OrderedDict)

    def suffix_of(self, job: Job, *, run: object, clicks: frozenset[str]) -> str:
        """The suffix of the id of an enqueue: that of an earlier run of the page, or the job's own."""
        if run is not self.run:
            self.run, self.counts = run, Counter()
        content = _content(job)
        key = content, self.counts[content]
        self.counts[content] += 1
        known = self.known.get(key)
        if known is None or known.clicks & clicks:
            known = self.known[key] = _Enqueued(job.suffix, clicks)
        self.known.move_to_end(key)
        while len(self.known) > KEPT:
            self.known.popitem(last=False)
        return known.suffix


def once_per_session(job: Job) -> Job:
    """Return a job of a page with the id that it had in an earlier run of the page, if there was one.

    An enqueue of the same id makes no second job. The same button, clicked again, makes another job. Two equal jobs
    in one run of the page are two jobs. A job that has an id, a unique key or a schedule is returned as it is.
    """
    context = get_script_run_ctx(suppress_warning=True)
    if context is None or job.id is not None or job.unique is not None or job.cron_expression is not None:
        return job
    if isinstance(job.function, JobFunction) and job.function.given.get("unique") is not None:
        return job
    jobs: _Jobs = st.session_state.setdefault(KEY, _Jobs())
    return replace(job, id=jobs.suffix_of(job, run=context.cursors, clicks=_clicks(context)))


def _clicks(context: ScriptRunContext) -> frozenset[str]:
    """The ids of the buttons whose clicks have started this run of the page."""
    widgets = context.session_state.get_widget_states()
    kinds = ((widget, widget.WhichOneof("value") or "") for widget in widgets)
    return frozenset(widget.id for widget, kind in kinds if "trigger" in kind and getattr(widget, kind))


def _content(job: Job) -> str:
    """A digest of all that a job says. A function counts by its place, because each run of a page defines it again."""
    function = job.function
    inner = function.function if isinstance(function, JobFunction) else function
    code = getattr(inner, "__code__", None)
    place = inner if code is None else (code.co_filename, code.co_firstlineno, code.co_qualname)
    values = [getattr(job, each.name) for each in fields(job) if each.compare and each.name not in {"function", "id"}]
    return sha256(repr((place, values)).encode("utf-8", "surrogatepass")).hexdigest()


if once_per_session not in REGISTRY.hooks.around_enqueues:
    REGISTRY.hooks.around_enqueues.insert(0, once_per_session)  # first: a hook of the user's may change each job
