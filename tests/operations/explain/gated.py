"""Limits and breakers for which a job waits, each with its reason, and other texts of reasons."""

from __future__ import annotations

from datetime import UTC, datetime

from jobfleet.model.limits import BreakerInfo, NamedLimit
from jobfleet.model.result import ReasonCode
from jobfleet.operations.explain.snapshot import Undo
from jobfleet.operations.flows.stopped import Stopped

OPENED = datetime(2026, 11, 25, 13, 59, 52, tzinfo=UTC)
QUEUE_RATE = "Queue 'mail' has used up its rate: the next job may start in 100 ms."
UNDO = Undo("mail.0.u", "retrying")
UNDO_TEXT = "Its steps are undone by mail.0.u (retrying): 'jobfleet explain mail.0.u' says more."
STOPPED = Stopped("5c1d2e3f40", "Album", 2)
STOPPED_TEXT = (
    "Because of it, 2 jobs of the flow 'Album' were cancelled; 'jobfleet flow retry 5c1d2e3f40' replays this job, and "
    "enqueues them again."
)
HOLDERS = ("mail.0.b", "mail.0.c", "mail.0.d", "mail.0.e", "ai.0.f")
GATED: tuple[tuple[ReasonCode, NamedLimit | BreakerInfo, str], ...] = (
    (
        ReasonCode.GATE_UNREADABLE,
        NamedLimit("github", unreadable="gate:limit:github is not a hash"),
        (
            "Limit 'github' cannot be read: gate:limit:github is not a hash. Workers move it aside as they meet it; if "
            "they may not, delete the key. Then define the limit again: 'jobfleet limits define github --rate N/TIME'."
        ),
    ),
    (
        ReasonCode.LIMIT_CLOSED,
        NamedLimit("github", closed_for=42, by="box:11:aa.1", reason="RateLimited in mail.0.b"),
        "Limit 'github' was closed by box:11:aa.1 (RateLimited in mail.0.b); opens in 42 s.",
    ),
    (
        ReasonCode.LIMIT_FULL,
        NamedLimit("github", concurrency=5, running=5, holders=HOLDERS),
        (
            "Limit 'github' is full: 5 of 5 run, held by mail.0.b, mail.0.c, mail.0.d, mail.0.e, ai.0.f. "
            "It frees up when one of them ends."
        ),
    ),
    (
        ReasonCode.LIMIT_RATE,
        NamedLimit("github", rate="100/1m", left=0, next_in=6),
        "Limit 'github' has used up its rate of 100/1m: it frees up in 6 s.",
    ),
    (
        ReasonCode.BREAKER_OPEN,
        BreakerInfo(
            "function:mail.send",
            "open",
            by="box:11:aa.1",
            since=OPENED,
            trial_in=22,
            reason="12 of 20 runs failed, the last one with ConnectionError",
        ),
        (
            "Breaker 'function:mail.send' was opened by box:11:aa.1 8 s ago (12 of 20 runs failed, the last one with "
            "ConnectionError); a few runs try again in 22 s."
        ),
    ),
)
