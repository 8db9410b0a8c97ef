"""What a child tells about its runs: log lines, spans, and counts for Prometheus and for samples."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from jobfleet.clock import monotonic, span, to_seconds
from jobfleet.codec.frames import is_record, read_fields
from jobfleet.config import JobConfig
from jobfleet.errors import EncodingError
from jobfleet.functions.port import NOTHING, Carrier, RunFacts, RunSpan, Tracer
from jobfleet.metrics.tally import UNKNOWN, Tally
from jobfleet.model.signals import ForeignError, RateLimited
from jobfleet.outcome import Outcome, Raised
from jobfleet.retry.decision import Decision, Fail, Retry
from jobfleet.retry.tries import Tries
from jobfleet.samples import BUCKETS, CANCELLED, COMPLETED, FAILED, RETRIED, RUN, STARTED, WAIT, bucket_of
from jobfleet.store.calls.settle import PAST, BriefCompletion, Completion, Failure, Item
from jobfleet.store.keys import Lane
from jobfleet.worker.run.failure import class_of, is_writable, traceback_text, users_frames
from jobfleet.worker.run.run import Run

# The log lines of runs: one per transition.
#
# Lines that need no action are logged with ``--verbose`` or the setting `log_jobs` only.


log = logging.getLogger("jobfleet.worker")
LONGEST_TRACEBACK = 10_000
"""The maximal length in characters of the traceback of an error whose text cannot be written."""
LOGGED_AT_ONCE = ("fail", "retry", "park")
"""Endings that are logged with their reason, where the reason is known."""
_UNLIMITED: set[str] = set()
"""The functions of which was logged that they name no limit."""


def level_of_jobs(config: JobConfig) -> int | None:
    """Return the level of the lines about starts and good endings; None if they are not logged.

    Callers ask once, because a line costs more than a small job.
    """
    level = logging.INFO if config.log_jobs else logging.DEBUG
    return level if log.isEnabledFor(level) else None


def log_started(run: Run, level: int) -> None:
    """A run has started."""
    extra = {"run": run, "_shown": "started"}
    log.log(level, "job.started job_id=%s function=%s", run.id, _function(run), extra=extra)


def log_ended(run: Run, level: int, item: Item | None, letter: str) -> None:
    """Redis has stored an end that needs no action. It is not logged before, because until then the job may run again.

    Args:
        run: The run.
        level: The level of the line.
        item: What has settled the run.
        letter: The answer of Redis: c if the job was cancelled instead.
    """
    if item is None or item.verb in LOGGED_AT_ONCE:
        return
    event = "cancelled" if letter == "c" else PAST[item.verb]
    duration_us = run.ending.ended_us - run.started_us
    if isinstance(item, Completion | BriefCompletion):
        duration_us = item.duration_us
    seconds = duration_us / 1e6
    shown = f"{event} {'in' if event == 'completed' else 'after'} {_duration(seconds)}"
    text, extra = "job.%s job_id=%s function=%s duration=%.3f", {"run": run, "_shown": shown}
    log.log(level, text, event, run.id, _function(run), seconds, extra=extra)


def log_retried(run: Run, tries: Tries, outcome: Outcome, delay_us: int) -> None:
    """A run has failed and is retried. Its traceback is logged with ``--verbose`` only."""
    _log_failed("retried", logging.WARNING, run, tries, outcome, f"retried in {_duration(delay_us / 1e6)}")


def log_failed(run: Run, tries: Tries, outcome: Outcome, reason: str) -> None:
    """A job has failed for good. Error trackers read the exception of the record."""
    _log_failed("failed", logging.ERROR, run, tries, outcome, "failed", reason)


def _log_failed(event: str, level: int, run: Run, tries: Tries, outcome: Outcome, shown: str, reason: str = "") -> None:
    if not log.isEnabledFor(level):
        return
    last = tries.last_error or reason
    extra: dict[str, object] = {"run": run, "error": last, "_shown": f"{shown}: {last}" if last else shown}
    if reason:
        extra["error_class"] = reason
    exc_info = None
    if isinstance(outcome, Raised):
        extra["error_class"] = kind = class_of(outcome.error)
        extra["error"] = last.removeprefix(f"{kind}: ")
        # The traceback of an EncodingError is the codec's, which helps nobody.
        if not isinstance(outcome.error, EncodingError) and (level >= logging.ERROR or log.isEnabledFor(logging.DEBUG)):
            if is_writable(outcome.error):
                exc_info = (type(outcome.error), outcome.error, users_frames(outcome.error))
            else:  # the exception would break the user's handlers
                last = f"{last}\n{traceback_text(outcome.error, LONGEST_TRACEBACK)}"
    text = "job.%s job_id=%s function=%s attempt=%d %s"
    attempt = Tries.parse(run.grant.tries).attempt
    log.log(level, text, event, run.id, _function(run), attempt, last, exc_info=exc_info, extra=extra)


def log_refused(run: Run, outcome: Outcome) -> None:
    """A service has refused a run. Warn once per function if this closes no limit, because the function has none."""
    error = outcome.error if isinstance(outcome, Raised) else None
    error = error.steers if isinstance(error, ForeignError) else error
    if not isinstance(error, RateLimited) or run.handler is None or _function(run) in _UNLIMITED:
        return
    gates = run.handler.function.gates
    if gates is None or not gates.limits:
        _UNLIMITED.add(_function(run))
        text = "limit.unused function=%s it raises %s, so only this job waits: write %s"
        named = f"RateLimited for {error.limit!r} and does not name this limit in its options" if error.limit else ""
        remedy = f"@job(limits=[{error.limit or 'NAME'!r}])"
        log.warning(text, _function(run), named or "RateLimited and names no limit", remedy, extra={"run": run})


def log_parked(run: Run, reason: str, grace: float | None) -> None:
    """A job waits for a worker that can run it.

    Args:
        run: The run.
        reason: Why this worker cannot run it.
        grace: The seconds after which the job fails; None if a worker may come at once, so that nobody needs to act.
    """
    extra = {"run": run, "event": "job.parked"}
    if grace is None:
        log.info("Parked %s: %s", run.id, reason, extra=extra)
    else:
        shown = f"{grace / 3600:g} h" if grace >= 3600 else f"{grace:g} s"
        log.warning("Parked %s: %s Goes to the dead letters in %s.", run.id, reason, shown, extra=extra)


def log_lost(run: Run, why: str) -> None:
    """Another run owns the job by now."""
    log.warning("job.lost job_id=%s token=%d %s", run.id, run.token, why, extra={"run": run})


def _duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.2f} s" if seconds >= 0.01 else f"{seconds:.4f} s"
    return span(seconds)


def _function(run: Run) -> str:
    return str(run.header.get("function", "?"))


# The span of a run: its start, with the facts of the run, and its end. Without a tracer, nothing here is called.


TRACEPARENT = "traceparent"
COUNTS = 7
"""The counts at the beginning of the text of the tries."""
_PART = (1 << 56) - 1


def with_traceparent(tries: str, traceparent: str) -> str:
    """The text of the tries of a failed run, with its span behind the seven counts; `Tries.parse` passes over it."""
    numbers = numbers_of(traceparent)
    head, newline, history = tries.partition("\n")
    counts = head.split(":")[:COUNTS]
    counts += ["0"] * (COUNTS - len(counts))
    return f"{':'.join(counts)}:{numbers}{newline}{history}" if tries and numbers else tries


def traceparent_in(tries: str) -> str:
    """The traceparent of the run that failed before; empty if it, or what was counted since, was not traced."""
    return traceparent_of(":".join(tries.partition("\n")[0].split(":")[COUNTS:]))


def numbers_of(traceparent: str) -> str:
    """A traceparent as four numbers, because a worker of another version expects numbers there."""
    version, _, rest = traceparent.partition("-")
    if version != "00":
        return ""
    whole = int(rest.replace("-", ""), 16)
    return ":".join(str(whole >> shift & _PART) for shift in (168, 112, 56, 0))


def traceparent_of(numbers: str) -> str:
    """The traceparent of four numbers; empty for anything else, which a later version may write."""
    parts = numbers.split(":")
    if len(parts) != 4 or not all(part.isdecimal() and int(part) <= _PART for part in parts):
        return ""
    whole = 0
    for part in parts:
        whole = whole << 56 | int(part)
    text = f"{whole:050x}"
    return f"00-{text[:32]}-{text[32:48]}-{text[48:]}" if len(text) == 50 else ""


def begin_span(tracer: Tracer, run: Run, child: str) -> RunSpan | None:
    """Begin the span of a run; None if the tracer fails, which must not cost the job its run.

    Args:
        tracer: Makes the span.
        run: The run.
        child: The id of the child.
    """
    header, tries = run.header, Tries.parse(run.grant.tries)
    try:
        return tracer.run(
            RunFacts(
                job_id=run.id,
                queue=run.lane.queue,
                function=str(header["function"]),
                attempt=tries.attempt,
                fence=run.token,
                worker=child,
                size=len(run.grant.envelope),
                carrier=_carrier(header.get("trace")),
                previous=traceparent_in(run.grant.tries),
                parents={parent: trace for parent, _, ending in run.parents if (trace := _trace_in(ending))},
                correlation_id=str(header.get("correlation_id") or ""),
                flow=str(header.get("flow") or ""),
                is_recurring="nominal" in header,
            )
        )
    except Exception:
        log.exception("job.untraced job_id=%s", run.id, extra={"run": run})
        return None


def end_span(span: RunSpan, outcome: Outcome, decision: Decision) -> None:
    """Record in a span how its run ends."""
    detail: dict[str, Any] = {}
    match decision:
        case Retry(delay_us):
            detail["delay"] = to_seconds(delay_us)
        case Fail(reason):
            detail["reason"] = reason
        case _:
            pass
    try:
        span.concluded(outcome, type(decision).__name__.lower(), detail)
    except Exception:
        log.exception("job.untraced its span does not have its outcome")


def trace_context_of(run: Run) -> Carrier:
    """The trace context for the process that runs the code of a run: the span of the run, and the rest of its own."""
    if run.span is None:
        return NOTHING
    return {**_carrier(run.header.get("trace")), TRACEPARENT: run.span.traceparent}


def span_of_batch(runs: Sequence[Run], function: str) -> RunSpan | None:
    """The span of a call that runs a batch; None without a tracer."""
    spans = [run.span for run in runs if run.span is not None]
    return spans[0].batch(spans, function) if spans else None


def _carrier(found: object) -> Carrier:
    """A carrier from a header; nothing if a foreign client has written something else."""
    if not isinstance(found, Mapping):
        return NOTHING
    return {name: text for name, text in found.items() if isinstance(name, str) and isinstance(text, str)}


def _trace_in(ending: bytes) -> str:
    """The traceparent in the record of a parent's end; empty if there is none."""
    record = ending.partition(b"\n")[2]
    if not record or not is_record(record):
        return ""
    try:
        found = read_fields(record).get("trace", "")
    except EncodingError:
        return ""
    return found if isinstance(found, str) else ""


SETTLED = "sd"
LONGEST = 200
"""The maximal length of an unregistered name, because any client may have put it into a job."""


class Counting:
    """Counts runs. An ending is counted when Redis has answered, because only then it is certain.

    Args:
        tally: Where it counts.
        now_us: Redis's time, µs.
    """

    def __init__(self, tally: Tally, now_us: Callable[[], int]) -> None:
        self._tally = tally
        self._now_us = now_us
        self.is_on = tally.is_on
        """Whether the counts are read. Callers check this first to save time."""

    def started(self, runs: Iterable[Run]) -> None:
        """Count the starts of these runs that were not counted yet."""
        for run in runs:
            if run.started_us and not run.is_counted:
                run.is_counted = True
                self._tally.count("jobs_started_total", (run.lane.queue, function_of(run)))

    def settled(self, run: Run, letter: str) -> None:
        """Count the ending of a run.

        Args:
            run: The run.
            letter: The answer of the script: s or d for settled, c for cancelled instead, another letter for lost.
        """
        item, outcome = run.ending.item, "cancelled" if letter == "c" else "lost"
        if letter in SETTLED and item is not None:
            outcome = PAST[item.verb]
        if outcome == "withheld":
            return  # it was never started
        queue, started = run.lane.queue, run.started_us
        if run.output.chunks is not None:
            self._tally.count("chunks_emitted_total", (queue,), run.output.chunks.emitted)
        took = waited = UNKNOWN
        if started:
            waited = started - run.grant.due
            took = (
                item.duration_us
                if isinstance(item, Completion | BriefCompletion | Failure)
                else self._now_us() - started
            )
        is_whole = started != 0 and not run.is_counted
        self._tally.run_finished(queue, function_of(run), outcome, took, waited, is_whole=is_whole)
        if outcome == "completed":
            return
        if outcome == "retried":
            self._tally.count("jobs_retried_total", (queue, "error"))
        elif outcome == "failed" and isinstance(item, Failure):
            self._tally.count("jobs_dead_lettered_total", (queue, item.reason))
        elif outcome == "lost":
            self._tally.count("fenced_writes_total", (queue,))


def function_of(run: Run) -> str:
    """The function name for the label of a run; a question mark for an invalid name."""
    name = run.header.get("function")
    if run.handler is None and not (isinstance(name, str) and 0 < len(name) <= LONGEST):
        return "?"
    return cast(str, name)


EXACT = 200
"""Completed runs per second and function up to which every one is in the histograms."""
UNKNOWN_FUNCTION = "?"
FIELDS = {"fail": FAILED, "retry": RETRIED}
COMPLETIONS = frozenset({Completion, BriefCompletion})
Row = list[Any]


class FunctionRuns:
    """The runs of a function in a lane, since the start of the child.

    Attributes:
        completed: Number of completed runs.
        skip: Completed runs are in the histograms if their number has none of these bits.
        ends: Number of other endings by the field of a point; under `STARTED` those that no field counts.
        wait: Number of runs by the bucket of their wait.
        run: Number of runs by the bucket of their run time.
    """

    __slots__ = ("completed", "ends", "function", "last", "queue", "run", "sent", "since", "skip", "wait", "was")

    def __init__(self, queue: str, function: str) -> None:
        self.queue, self.function = queue, function
        self.completed = 0
        self.skip = 0
        self.ends = {FAILED: 0, RETRIED: 0, CANCELLED: 0, STARTED: 0}
        self.wait, self.run = [0] * BUCKETS, [0] * BUCKETS
        self.sent: dict[int, Any] = {}
        self.last = (0, 0)
        self.was, self.since = 0, monotonic()

    def complete(self, runs: Sequence[Run], items: Sequence[Completion | BriefCompletion]) -> None:
        """Count completed runs, at most `EXACT` at a time, and add their share to the histograms."""
        before, weight = self.completed, self.skip + 1
        self.completed = completed = before + len(runs)
        for at in range(-(before + 1) % weight, len(runs), weight):
            self.observe(runs[at], items[at].duration_us, weight)
        if completed - self.was > EXACT * weight:  # a burst, before its rate is known
            self.skip = 2 * self.skip + 1

    def observe(self, run: Run, took: int, weight: int) -> None:
        """Add a run to the histograms."""
        waited = run.started_us - run.grant.due
        self.wait[bucket_of(max(0, waited))] += weight
        self.run[bucket_of(max(0, took))] += weight

    def adapt(self) -> None:
        """Choose the share of runs for the histograms by the rate since the last call."""
        now = monotonic()
        rate = (self.completed - self.was) / max(0.1, now - self.since)
        self.was, self.since = self.completed, now
        self.skip = (1 << max(0, int(rate / EXACT)).bit_length()) - 1

    def news(self, running: int) -> dict[int, Any]:
        """Return what is new since the last call; another thread may count meanwhile."""
        completed = self.completed
        ended = completed + sum(self.ends.values())
        if (ended, running) == self.last:
            return {}
        self.last = (ended, running)
        wait, run = list(self.wait), list(self.run)
        now = {**self.ends, COMPLETED: completed, STARTED: max(ended + running, self.sent.get(STARTED, 0))}
        now |= {WAIT: wait, RUN: run}
        before, self.sent = self.sent, now
        new: dict[int, Any] = {}
        for field, value in now.items():
            if isinstance(value, list):
                was = before.get(field) or [0] * BUCKETS
                spread = {at: value[at] - was[at] for at in range(BUCKETS) if value[at] != was[at]}
                if spread:
                    new[field] = spread
            elif value != before.get(field, 0):
                new[field] = value - before.get(field, 0)
        return new


class RunCounts:
    """Counts the runs of a child by queue and function, with histograms of wait and run time, for the samples.

    This is on by default, so an ending costs as little as possible: the runs that one trip has settled are counted
    together, and a share of the completed ones goes into two buckets. A function that completes up to `EXACT` runs per
    second has every run in its histograms. Above that rate, every second run is taken and counts twice, or every
    fourth, and so on: percentiles need no more.

    Args:
        running: Returns the runs that have not ended.
        now_us: Redis's time, µs.
    """

    def __init__(self, running: Callable[[], Iterable[Run]], now_us: Callable[[], int]) -> None:
        self._running = running
        self._now_us = now_us
        self._by_lane: dict[Lane, dict[str, FunctionRuns]] = {}

    def settled(self, runs: Sequence[Run], items: Sequence[Item], letters: str) -> None:
        """Count the endings of runs of one lane that the script has answered together.

        Args:
            runs: The runs; at most `EXACT`.
            items: How each ended.
            letters: The answers of the script, one letter each; see `RunEvents.settled`.
        """
        if not COMPLETIONS.issuperset(map(type, items)) or letters.strip(SETTLED):
            for run, item, letter in zip(runs, items, letters, strict=True):
                self._settled_one(run, item, letter)
            return
        completed = cast("Sequence[Completion | BriefCompletion]", items)
        handlers = [run.handler for run in runs]
        if handlers.count(handlers[0]) == len(handlers):
            self._meet(runs[0]).complete(runs, completed)
            return
        for handler in set(handlers):
            places = [at for at, other in enumerate(handlers) if other is handler]
            self._meet(runs[places[0]]).complete([runs[at] for at in places], [completed[at] for at in places])

    def _settled_one(self, run: Run, item: Item, letter: str) -> None:
        if not run.started_us:
            return
        runs = self._meet(run)
        if letter in SETTLED and isinstance(item, Completion | BriefCompletion):
            runs.complete((run,), (item,))
            return
        if letter not in SETTLED:
            runs.ends[CANCELLED if letter == "c" else STARTED] += 1
        elif item.verb != "withhold":
            runs.ends[FIELDS.get(item.verb, STARTED)] += 1
        took = item.duration_us if isinstance(item, BriefCompletion | Failure) else self._now_us() - run.started_us
        runs.observe(run, took, 1)

    def _meet(self, run: Run) -> FunctionRuns:
        """The runs of a function that is new here; all functions that this child does not know are one."""
        name = UNKNOWN_FUNCTION if run.handler is None else function_of(run)
        try:
            return self._by_lane[run.lane][name]
        except KeyError:
            made = FunctionRuns(run.lane.queue, name)
            return self._by_lane.setdefault(run.lane, {}).setdefault(name, made)

    def take(self) -> list[Row]:
        """Return what is new since the last call: rows of queue, function and a point. May be called in any thread."""
        running: dict[FunctionRuns, int] = {}
        for run in list(self._running()):
            if run.started_us:
                runs = self._meet(run)
                running[runs] = running.get(runs, 0) + 1
        rows = []
        for by_name in list(self._by_lane.values()):
            for runs in list(by_name.values()):
                if new := runs.news(running.get(runs, 0)):
                    rows.append([runs.queue, runs.function, new])
                runs.adapt()
        return rows
