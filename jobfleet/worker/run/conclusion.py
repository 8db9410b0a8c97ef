"""What an outcome comes to: decided by the policy, and written down as what settles the run."""

from __future__ import annotations

import logging
from collections.abc import Callable

from jobfleet.codec import Limits, seal_record, seal_trusted
from jobfleet.codec.record import DESCRIBED
from jobfleet.config import JobConfig
from jobfleet.errors import EncodingError
from jobfleet.model import suffix_time_us
from jobfleet.outcome import Outcome, Raised, Succeeded, Unrunnable
from jobfleet.retry import (
    Complete,
    Decision,
    Drop,
    Expire,
    Fail,
    Park,
    PutBack,
    Release,
    Retry,
    Tries,
    decide,
    policy_of,
    with_header,
)
from jobfleet.store.calls import settle
from jobfleet.worker.run import event_log
from jobfleet.worker.run.failure import error_fields, unwritable
from jobfleet.worker.run.run import Run

log = logging.getLogger("jobfleet.worker")


class Endings:
    """Says what settles the runs of a child.

    Args:
        config: The settings.
        child: The child's id.
        limits: What a result may be.
        now_us: Redis's time, as the child knows it.
    """

    def __init__(self, config: JobConfig, *, child: str, limits: Limits, now_us: Callable[[], int]) -> None:
        self._child = child
        self._limits = limits
        self._now_us = now_us
        self._default_policy = policy_of({}, config)
        self._failed_ttl_ms = round(config.failed_result_ttl * 1000)
        self._dedupe_ms, self._own_id_ms = round(config.dedupe_window * 1000), round(config.own_id_window * 1000)
        self._traceback_bytes = config.traceback_bytes

    def item(self, run: Run, outcome: Outcome) -> settle.Item | None:
        """What settles a run; whatever the user's error does while it is written down, there is something."""
        try:
            return self._item_of(run, outcome)
        except Exception:
            log.exception("job.unwritable job_id=%s", run.id, extra={"run": run})
            return self._item_of(run, unwritable(outcome))

    def _item_of(self, run: Run, outcome: Outcome) -> settle.Item | None:
        if type(outcome) is Succeeded:  # what `decide` would say, without asking
            try:
                return self._complete(run, outcome.value)
            except EncodingError as error:
                outcome = Raised(error)
        outcome = _named(run, outcome)
        return self._carry_out(run, outcome, self._decided(run, outcome))

    def weighed(self, run: Run, outcome: Outcome) -> tuple[Outcome, Decision, settle.Item | None]:
        """The same, and what it came from, for hooks."""
        try:
            return self._weighed_of(run, outcome)
        except Exception:
            log.exception("job.unwritable job_id=%s", run.id, extra={"run": run})
            return self._weighed_of(run, unwritable(outcome))

    def _weighed_of(self, run: Run, outcome: Outcome) -> tuple[Outcome, Decision, settle.Item | None]:
        if isinstance(outcome, Succeeded):
            try:
                return outcome, Complete(outcome.value), self._complete(run, outcome.value)
            except EncodingError as error:
                outcome = Raised(error)
        outcome = _named(run, outcome)
        decision = self._decided(run, outcome)
        return outcome, decision, self._carry_out(run, outcome, decision)

    def _decided(self, run: Run, outcome: Outcome) -> Decision:
        policy = with_header(run.handler.policy if run.handler else self._default_policy, run.header)
        return decide(outcome, policy, Tries.parse(run.grant.tries), run.started_us)

    def _carry_out(self, run: Run, outcome: Outcome, decision: Decision) -> settle.Item | None:
        match decision:
            case Complete(value):
                return self._complete(run, value)
            case Retry(delay_us, tries):
                event_log.failed("retried", run, tries)
                return settle.retry(run.id, run.token, delay_us=delay_us, tries=tries.dump())
            case Release(delay_us, spent):
                kept = spent.dump() if spent is not None else ""
                return settle.release(run.id, run.token, delay_us=delay_us, tries=kept)
            case Park(delay_us, tries):
                if not run.grant.tries:
                    reason = outcome.reason if isinstance(outcome, Unrunnable) else "unrunnable"
                    event_log.parked(run, reason, self._default_policy.unknown_grace)
                return settle.park(run.id, run.token, delay_us=delay_us, tries=tries.dump())
            case PutBack(function, tries):
                if tries is not None:
                    return settle.release(run.id, run.token, tries=tries.dump())
                return settle.withhold(run.id, run.token, due=run.grant.due, function=function)
            case Expire():
                return settle.expire(run.id, run.token, ttl_ms=self._failed_ttl_ms)
            case Fail():
                return self._fail(run, outcome, decision)
            case Drop():
                return None

    def _complete(self, run: Run, value: object) -> settle.Item:
        duration = self._now_us() - run.started_us
        record = seal_trusted(self._fields(run, duration), value, limits=self._limits)
        handler, header = run.handler, run.header
        if "result_ttl" in header:
            ttl_ms = header["result_ttl"] // 1000
        else:
            ttl_ms = handler.result_ttl_ms if handler else self._failed_ttl_ms
        if ttl_ms < self._own_id_ms:
            record, ttl_ms = self._remembered(run, record, ttl_ms)
        return settle.complete(run.id, run.token, record=record, ttl_ms=ttl_ms, duration_us=duration)

    def _remembered(self, run: Run, record: bytes, ttl_ms: int) -> tuple[bytes, int]:
        """What is kept of a result that soon goes: its id must be refused for as long as it may come again."""
        is_own = suffix_time_us(run.id.split(".", 2)[2]) is None
        window = self._own_id_ms if is_own else self._dedupe_ms
        return (record if ttl_ms else b""), max(ttl_ms, window)

    def _fields(self, run: Run, duration: int) -> dict[str, object]:
        header = run.header
        fields: dict[str, object] = {
            "function": header["function"],
            "started_at": run.started_us,
            "duration": duration,
            "worker": self._child,
        }
        if len(header) > 1:
            fields.update((name, header[name]) for name in DESCRIBED if name in header)
        if run.grant.tries:
            tries = Tries.parse(run.grant.tries)
            fields["attempt"] = tries.attempt
            fields["retry_count"] = tries.failures + tries.crashes
        return fields

    def _fail(self, run: Run, outcome: Outcome, decision: Fail) -> settle.Item:
        duration = self._now_us() - run.started_us
        header = run.header
        record = seal_record(
            {
                "function": header.get("function", ""),
                **{name: header[name] for name in DESCRIBED if name in header},
                **error_fields(outcome, decision, traceback_bytes=self._traceback_bytes),
                "started_at": run.started_us,
                "duration": duration,
                "worker": self._child,
                "attempt": Tries.parse(run.grant.tries).attempt,
                "retry_count": Tries.parse(run.grant.tries).failures,
            }
        )
        event_log.failed("failed", run, decision.tries)
        return settle.fail(
            run.id,
            run.token,
            record=record,
            ttl_ms=self._failed_ttl_ms,
            duration_us=duration,
            reason=decision.reason,
            tries=decision.tries.dump(),
        )


def _named(run: Run, outcome: Outcome) -> Outcome:
    """An outcome that says whose result cannot travel, where that is what went wrong."""
    if not isinstance(outcome, Raised) or type(outcome.error) is not EncodingError:
        return outcome
    error = outcome.error
    if not error.path.startswith("result"):
        return outcome
    text = str(error).replace("; pass ", "; return ").replace(" and pass ", " and return ")
    return Raised(EncodingError(f"{run.header['function']} returned {text}", field=error.field, path=error.path))
