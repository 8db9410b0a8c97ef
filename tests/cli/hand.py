"""A hand that plays the worker, and the types of this folder's fixtures."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from click.testing import Result

from jobfleet import Fleet, Job
from jobfleet.codec import encode, seal_record
from jobfleet.store.call import Call
from jobfleet.store.calls.lease import claim
from jobfleet.store.calls.presence import beat
from jobfleet.store.calls.run import Report, progress
from jobfleet.store.calls.settle import complete, fail, settle
from jobfleet.store.records import Grant

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
Cli = Callable[..., Result]
Shell = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]
AsRole = Callable[[str], Fleet]


def local_day(moment: datetime) -> str:
    """The line with the date and the zone, as streams print it."""
    here = moment.astimezone()
    offset = here.isoformat()[-6:]
    return f"{here:%a %Y-%m-%d} {offset}"


class Hand:
    """Plays the worker of one fleet, call by call.

    Args:
        fleet: Enqueues its jobs.
        worker: The same fleet as the user of workers; by default as that of `fleet`.
    """

    def __init__(self, fleet: Fleet, worker: Fleet | None = None) -> None:
        self.fleet = fleet
        self._worker = worker or fleet
        self._nonce = 0

    def run(self, call: Call[T]) -> T:
        """Run a call of a worker."""
        return self._worker.store.run(call)

    def knows(self, *functions: str) -> None:
        """A worker `w1` beats, and publishes functions."""
        account = encode({"host": "box", "pid": 7, "queues": ["default"], "slots": 10, "running": 2, "children": 1,
                          "started": 1_700_000_000_000_000, "state": "running", "version": "0.1.0"})  # fmt: skip
        published = {name: encode({}) for name in functions}
        keys = self.fleet.context.keys
        self.run(beat(keys, "w1", account=account, gone_us=20_000_000, functions=published))

    def claims(self, job_id: str) -> Grant:
        """Claim the one job that is due."""
        self._nonce += 1
        lane = self.fleet.context.keys.lane_of(job_id)
        call = claim(lane, child="w1.0", nonce=self._nonce, lease_us=60_000_000, limit=1)
        (grant,) = self.run(call).grants
        assert grant.id == job_id
        return grant

    def reports(self, grant: Grant, value: float, message: str) -> None:
        """Report progress."""
        record = encode([value, message, None])
        lane = self.fleet.context.keys.lane_of(grant.id)
        self.run(progress(lane, [Report(grant.id, grant.token, 1, record)], ttl_ms=60_000))

    def completes(self, grant: Grant, value: object, **fields: object) -> None:
        """End a run well; `fields` are further ones of its record, such as the user."""
        record = seal_record({**_account(), **fields, "value": value})
        item = complete(grant.id, grant.token, record=record, ttl_ms=60_000, duration_us=1_240_000)
        self.run(settle(self.fleet.context.keys.lane_of(grant.id), [item]))

    def fails(self, grant: Grant, error: str = "no luck") -> None:
        """End a run for good."""
        fields = {
            "error": error,
            "error_class": "ValueError",
            "error_type": "permanent",
            "traceback": "Traceback\n  x\n",
        }
        item = fail(
            grant.id, grant.token, record=seal_record({**_account(), **fields}), ttl_ms=60_000, duration_us=5_000,
            reason="error", tries="1:1:0:0:0",
        )  # fmt: skip
        self.run(settle(self.fleet.context.keys.lane_of(grant.id), [item]))

    def buries(self, suffix: str, *, queue: str = "default", error: str = "no luck") -> str:
        """Enqueue a job and let it fail for good; return its id."""
        job_id = self.fleet.enqueue(Job("demo.fail", "demo.fail", id=suffix, queue=queue))
        self.fails(self.claims(job_id), error)
        return job_id


def _account() -> dict[str, object]:
    return {"function": "demo.add", "name": "demo.add", "attempt": 1, "retry_count": 0, "worker": "w1.0",
            "duration": 1_240_000}  # fmt: skip
