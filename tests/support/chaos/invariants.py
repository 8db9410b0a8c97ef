"""The 42 invariants: how each is judged from a history, or where it is tested instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from tests.support.chaos import features, judging
from tests.support.chaos.case import Case
from tests.support.chaos.trail import Breach

Source = Literal["trail", "history", "state", "elsewhere"]


class Invariant(NamedTuple):
    """One promise.

    Attributes:
        number: Its number in the catalogue.
        name: What it is called.
        source: `trail` (every script of the server, in its order), `history`, `state` (at the end), or `elsewhere`: a
            history cannot show it.
        how: How it is judged; for `elsewhere`, why not here, and by what.
        check: Yields what is wrong; None where following the trail reports it.
    """

    number: int
    name: str
    source: Source
    how: str
    check: Callable[[Case], Iterator[str]] | None = None


INVARIANTS: tuple[Invariant, ...] = (
    Invariant(
        1, "conservation", "trail",
        "after every script, each job that it touched is in exactly one of: a ready set, the lease set, ended; "
        "at the end, every acknowledged job is known",
        judging.nothing_is_lost,
    ),
    Invariant(
        2, "no phantom", "history",
        "each job that was enqueued on the server, or run, was asked for by a producer or by cron; "
        "no call made two jobs",
        judging.nothing_is_invented,
    ),
    Invariant(3, "owner = lease", "trail", "after every script, a touched job has a lease and an owner, or neither"),
    Invariant(
        4, "fence grows per job", "trail",
        "grants of a job in the server's order; its runs in the order of time, across failover and restore",
        judging.fences_grow,
    ),
    Invariant(
        5, "fence unique per queue", "trail",
        "no token is granted to two jobs of a lane; no token is run for two jobs, also on a lost branch",
        judging.fences_differ,
    ),
    Invariant(6, "single owner", "trail", "a job is granted only from a ready set, and only if no run owns it"),
    Invariant(
        7, "late operations refused", "trail",
        "a result is written only under the token that owns the job at that script; the final result has the token of "
        "the last grant",
        judging.last_grant_wins,
    ),
    Invariant(8, "one terminal transition", "trail", "no second ending is written for a job", judging.one_ending),
    Invariant(
        9, "idempotent acknowledgement", "state",
        "the counter of completed jobs equals the number of completed jobs",
        judging.counters_agree,
    ),
    Invariant(10, "idempotent claim", "trail", "no claim with the same nonce of a child is executed twice"),
    Invariant(
        11, "idempotent enqueue", "history",
        "an enqueue that is repeated with the same id is answered with that id, and the server enqueues it once",
        judging.enqueued_once,
    ),
    Invariant(12, "a heartbeat cannot revive", "trail", "a renewal never leaves a lease without an owner: see 3"),
    Invariant(
        13, "reaper safety", "trail",
        "a run is ended by another than its child only if its lease had ended, or its child was buried",
    ),
    Invariant(
        14, "attempt accounting", "state",
        "the counted retries of a job are at most its starts less one, at least its accepted failures, "
        "at most its maximum",
        judging.attempts_are_counted,
    ),
    Invariant(
        15, "exhaustion", "trail",
        "a job that always fails ends as failed, with one dead letter",
        judging.dead_once,
    ),
    Invariant(
        16, "not early", "trail",
        "a grant is not before the score of the job; a run does not start before its call and its delay",
        judging.not_early,
    ),
    Invariant(17, "priority", "trail", "no job of a more urgent band is due when a job is granted"),
    Invariant(
        18, "pause", "trail",
        "no grant while the lane is paused; none between an answered pause and the next resume",
        judging.paused_means_paused,
    ),
    Invariant(
        19, "cancel", "history",
        "a job that was cancelled while it waited never starts; any cancelled job ends as cancelled or completed",
        judging.cancelled_stays,
    ),
    Invariant(
        20, "dependency", "trail",
        "a dependant is granted after all its parents have completed; it does not stay blocked",
        judging.parents_first,
    ),
    Invariant(21, "cron", "history", "per entry and planned time there is one job", judging.fires_once),
    Invariant(22, "caps", "trail", "after every claim, the running jobs of a group are at most its limit"),
    Invariant(
        23, "wake-up liveness", "history",
        "a job that is enqueued after the faults have ended starts within the poll bound",
        judging.probe_started,
    ),
    Invariant(24, "progress liveness", "state", "every acknowledged job has ended", judging.all_ended),
    Invariant(
        25, "self-fencing", "history",
        "no run of a job starts after a later run of it has started, but under two primaries",
        judging.no_late_start,
    ),
    Invariant(
        26, "durability", "history",
        "what was acknowledged outside the time in which the fault may lose writes is known at the end",
        judging.durable,
    ),
    Invariant(
        27, "result visibility", "history",
        "the value of a result is the token of the run that the server accepted, for waiters and at the end",
        judging.results_are_right,
    ),
    Invariant(
        28, "bounded debris", "state",
        "at the end no lease, owner, budget, clear record, lock or waiting entry is left",
        judging.nothing_left,
    ),
    Invariant(
        29, "statistics = history", "state",
        "the counters of the lane equal the events of the trail",
        judging.counters_agree_with_trail,
    ),
    Invariant(
        30, "isolation", "history",
        "under hostile jobs, all others complete, and each child lives: the fault `hostile-job`",
        judging.others_complete,
    ),
    Invariant(
        31, "read-only means it", "elsewhere",
        "a history has no byte-equal states; tests/lua/test_contracts.py and the read-only calls (EVALSHA_RO) show it",
    ),
    Invariant(
        32, "version skew", "elsewhere",
        "one run has one version; tests/e2e/test_two_revisions.py runs two side by side",
    ),
    Invariant(
        33, "an open job goes on", "history",
        "no run fails, and no job is charged, because Redis refuses new jobs for its memory or its replicas",
        judging.goes_on,
    ),
    Invariant(
        34, "kept steps", "history", "a step whose value a run was given never runs again", features.kept_steps_stay
    ),
    Invariant(35, "undo", "history", "each step of a job that failed for good is undone", features.sagas_are_undone),
    Invariant(36, "growing flows", "state", "a job that a run has added completes", features.added_jobs_end),
    Invariant(
        37, "signals", "history", "an acknowledged signal ends the wait of its job, with its value",
        features.signals_arrive,
    ),
    Invariant(
        38, "streams", "state", "a reader ends with all chunks of the last run, in their order",
        features.streams_are_whole,
    ),
    Invariant(
        39, "sequences", "history", "a job of a sequence starts after those before it have ended",
        features.sequences_keep_their_order,
    ),
    Invariant(
        40, "named limits", "history", "at most so many runs overlap as the limit permits", features.limits_hold
    ),
    Invariant(41, "payloads", "history", "an argument in the payload store arrives whole", features.payloads_are_read),
    Invariant(
        42, "retention", "state", "after the retentions no key of a job is left (with --retention)",
        features.nothing_is_kept,
    ),
)  # fmt: skip


def judge(case: Case) -> list[Breach]:
    """All violations of a run."""
    found = list(case.trail.breaches) if case.trail else []
    for invariant in INVARIANTS:
        if invariant.check is not None:
            found += [Breach(invariant.number, what) for what in invariant.check(case)]
    return found
