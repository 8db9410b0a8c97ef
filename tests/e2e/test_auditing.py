"""The audit of a fleet: the command line, and a client that is killed while it acts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from jobfleet import Fleet
from jobfleet.codec import encode
from jobfleet.store.calls.presence import beat
from tests.support.waiting import wait_until


@pytest.fixture
def environ(redis_url: str) -> dict[str, str]:
    return {**os.environ, "JOBFLEET_URL": redis_url}


def jobfleet(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "jobfleet", *arguments]


def beat_of_a_worker(fleet: Fleet) -> bool:
    """A worker that is alive, and confirms nothing."""
    account = encode({"host": "box", "pid": 7, "children": 2, "state": "running"})
    fleet.store.run(beat(fleet.context.keys, "w1", account=account, gone_us=20_000_000))
    return True


def test_a_client_that_is_killed_while_it_acts_leaves_its_action_with_an_unknown_outcome(
    fleet: Fleet, environ: dict[str, str]
) -> None:
    paused = jobfleet("queues", "pause", "mail", "--by", "ann", "--reason", "a repair")
    subprocess.run(paused, env=environ, check=True, capture_output=True)
    beat_of_a_worker(fleet)
    quieting = jobfleet("workers", "quiet", "w1", "--timeout", "1h", "--by", "bob")
    with subprocess.Popen(quieting, env=environ) as client:
        wait_until(
            lambda: beat_of_a_worker(fleet) and fleet.audit(action="worker").entries, why="the beginning is recorded"
        )
        client.kill()
    fleet.resume("mail", by="eve")

    shown = subprocess.run(jobfleet("audit", "-o", "json"), env=environ, check=True, capture_output=True, text=True)

    entries: list[dict[str, Any]] = json.loads(shown.stdout)["entries"]
    assert all(entry["at"] <= (entry["ended_at"] or entry["at"]) for entry in entries)
    timeless = [{k: v for k, v in entry.items() if k not in ("id", "at", "ended_at")} for entry in entries]
    assert timeless == [
        {
            "by": "eve", "source": "python", "action": "queue.resume", "target": "mail",
            "before": {"paused": True, "paused_by": "ann", "reason": "a repair"}, "after": {"paused": False},
            "outcome": "done", "count": None, "error": None, "unread": "",
        },
        {
            "by": "bob", "source": "cli", "action": "worker.quiet", "target": "w1",
            "before": {"w1": "running, 2 children"}, "after": {},
            "outcome": "unknown", "count": None, "error": None, "unread": "",
        },
        {
            "by": "ann", "source": "cli", "action": "queue.pause", "target": "mail",
            "before": {"paused": False}, "after": {"paused": True, "reason": "a repair"},
            "outcome": "done", "count": None, "error": None, "unread": "",
        },
    ]  # fmt: skip
    assert [entry["ended_at"] is None for entry in entries] == [False, True, False]
