"""One enqueue per session: Streamlit runs a page at each click, and the page must not repeat its jobs."""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass, field, fields, replace
from hashlib import sha256

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.scriptrunner_utils.script_run_context import ScriptRunContext

from jobfleet.functions.registry import REGISTRY, JobFunction
from jobfleet.model import Job

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
