"""A producer of a chaos run: a process that enqueues, repeats, cancels, waits and pauses, and writes the history of it.

The client of the product is used as it is; this wraps its calls.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

from jobfleet import Fleet, Flow, Job, JobfleetError, Priority, StoreUnavailable, WaitTimeout
from jobfleet.errors import JobNotFound
from tests.support.chaos.history import Recorder
from tests.support.users import url_as

PATIENCE = 2.0
TRIES = 40
"""How often a call of unknown outcome is repeated with the same id."""
CAP, SIDE = 2, "other"
"""The most jobs of a group that run at once; a second queue, which in a cluster of three is on another node."""
GROUPS = ("g", "h", "i", "j")
"""Several, so that their limits let more jobs through than producers enqueue, also while processes are killed."""
PLAIN = {"chaos.work": 0.08, "chaos.rest": 0.08, "chaos.report": 4}
NARROW = 3
"""How many jobs of the named limit run at once."""
BULK = 40_000
"""Bytes of an argument that the payload store keeps."""
SIGNAL_TRIES = 200
LONG_SHARE, LONG_SECONDS = 0.07, 2.5
"""Some jobs run long, so that a frozen run of one may come back while another run of it continues."""


class Producer:
    """One producer.

    Args:
        fleet_of: The client of a role.
        recorder: Where its history goes.
        dice: Of every choice.
        has_features: Whether half of the load uses the newer features.
    """

    def __init__(
        self, fleet_of: Callable[[str], Fleet], recorder: Recorder, dice: random.Random, *, has_features: bool = False
    ) -> None:
        self.fleet, self.operator = fleet_of("producer"), fleet_of("operator")
        self.canceller, self.approver = fleet_of("canceller"), fleet_of("approver")
        self.recorder = recorder
        self.dice = dice
        self.known: list[str] = []
        acts: dict[Callable[[int], int], int] = {
            self.plain: 59, self.many: 6, self.later: 5, self.grouped: 3, self.flaky: 3, self.doomed: 2, self.twice: 4,
            self.unique: 3, self.child: 3, self.cancelled: 3, self.side: 10, self.paused: 2, self.result: 4,
        }  # fmt: skip
        if has_features:
            acts |= {
                self.steps: 15, self.saga: 15, self.flow: 12, self.wait: 15, self.emit: 10, self.ordered: 15,
                self.narrow: 12, self.bulky: 8,
            }  # fmt: skip
        self._acts = [act for act, share in acts.items() for _ in range(share)]
        self._waiting: list[tuple[str, int]] = []

    def run(self, first: int, jobs: int, seconds: float) -> None:
        """Spread calls evenly over some seconds. Then send the signals for which jobs wait."""
        self._spread(first, jobs, seconds)
        for _ in range(SIGNAL_TRIES):
            if not self._waiting:
                break
            self._waiting = [row for row in self._waiting if not self._signalled(*row)]
            time.sleep(0.1)  # the pace of the repetitions

    def _spread(self, first: int, jobs: int, seconds: float) -> None:
        begun, number = time.monotonic(), first
        while number < first + jobs:
            number += self.dice.choice(self._acts)(number)
            ahead = begun + (number - first) / jobs * seconds - time.monotonic()
            time.sleep(max(0.0, ahead))  # the pace of the load

    def call(self, op: str, job_id: str, do: Callable[[], Any], **value: Any) -> Any:
        """Call the client once; answer what it returned, "" if it refused, None if the outcome is unknown."""
        self.recorder.note("invoke", op, job_id, **value)
        try:
            answer = do()
        except StoreUnavailable as error:
            self.recorder.note("unknown", op, job_id, error=type(error).__name__)
            return None
        except JobfleetError as error:
            self.recorder.note("fail", op, job_id, error=f"{type(error).__name__}: {error}"[:200])
            return ""
        self.recorder.note("ok", op, job_id, answer=answer)
        return answer

    def enqueue(self, number: int, job: Job, *, op: str = "enqueue", **value: Any) -> str | None:
        """Enqueue a job; repeat the call half of the times when its outcome is unknown."""
        job_id = f"{job.queue or 'default'}.0.{job.suffix}"
        facts = {"call": number, "function": job.function, "group": job.group, "delay": job.delay, **value}
        for _ in range(TRIES if self.dice.random() < 0.5 else 1):
            answer = self.call(op, job_id, lambda: str(self.fleet.enqueue(job)), **facts)
            if answer:
                self.known.append(answer)
            if answer is not None:
                return answer or None
        return None

    def made(self, number: int, **options: Any) -> Job:
        """One of the jobs that complete."""
        function = self.dice.choice(sorted(PLAIN))
        argument = PLAIN[function]
        if self.dice.random() < LONG_SHARE:
            function, argument = "chaos.work", LONG_SECONDS
        return Job(f"job-{number}", function, (number, argument), **options)

    def plain(self, number: int) -> int:
        """A job of any priority."""
        urgency = {0.03: Priority.CRITICAL, 0.06: Priority.HIGH, 0.1: Priority.LOW}
        drawn = self.dice.random()
        priority = next((priority for share, priority in urgency.items() if drawn < share), None)
        self.enqueue(number, self.made(number, priority=priority))
        return 1

    def many(self, number: int) -> int:
        """Several jobs in one call."""
        jobs = [self.made(number + at) for at in range(self.dice.randrange(2, 9))]
        ids = [f"default.0.{job.suffix}" for job in jobs]

        def do() -> list[str]:
            return ["" if receipt.error else str(receipt.id) for receipt in self.fleet.enqueue_many(jobs)]

        answer = self.call("enqueue_many", "", do, ids=ids, calls=list(range(number, number + len(jobs))))
        self.known += [known for known in answer or () if known]
        return len(jobs)

    def later(self, number: int) -> int:
        """A scheduled job."""
        self.enqueue(number, self.made(number, delay=round(self.dice.uniform(0.3, 3), 2)))
        return 1

    def grouped(self, number: int) -> int:
        """More jobs of a group than may run at once."""
        group = self.dice.choice(GROUPS)
        for at in range(CAP + 2):
            self.enqueue(number + at, Job("grouped", "chaos.work", (number + at, 0.3), group=group))
        return CAP + 2

    def flaky(self, number: int) -> int:
        """A job that fails at first."""
        self.enqueue(number, Job(f"job-{number}", "chaos.flaky", (number, 2), max_retries=5), failures=2)
        return 1

    def doomed(self, number: int) -> int:
        """A job that fails for good."""
        self.enqueue(number, Job(f"job-{number}", "chaos.flaky", (number, 99), max_retries=1), failures=99)
        return 1

    def twice(self, number: int) -> int:
        """The same job twice: one job."""
        job = self.made(number)
        self.enqueue(number, job)
        self.enqueue(number, job)
        return 1

    def unique(self, number: int) -> int:
        """A job with a key that an earlier one may still hold."""
        self.enqueue(number, self.made(number, unique=f"key-{self.dice.randrange(3)}"), op="enqueue_unique")
        return 1

    def child(self, number: int) -> int:
        """A job that waits for others."""
        parents = [known for known in self.known[-3:] if known.startswith("default.")]
        job = self.made(number, depends_on=parents) if parents else self.made(number)
        self.enqueue(number, job, parents=parents)
        return 1

    def side(self, number: int) -> int:
        """A job of the queue that is paused at times."""
        self.enqueue(number, self.made(number, queue=SIDE))
        return 1

    def paused(self, number: int) -> int:
        """Pause a queue for a moment, in which a job of it becomes due and another one is enqueued."""
        self.enqueue(number, self.made(number, queue=SIDE, delay=0.4))
        self.call("pause", "", lambda: self.operator.pause(SIDE), queue=SIDE)
        self.side(number + 1)
        time.sleep(0.9)  # the pause itself
        self.call("resume", "", lambda: self.operator.resume(SIDE), queue=SIDE)
        return 2

    def cancelled(self, number: int) -> int:
        """A job that is cancelled while it waits, or while it runs."""
        options = {"delay": 20.0} if self.dice.random() < 0.5 else {}
        job = Job(f"job-{number}", "chaos.work", (number, 2.0), **options)  # type: ignore[arg-type]  # checked by Job
        job_id = self.enqueue(number, job, cancelled=True)
        if job_id:
            self.call("cancel", job_id, lambda: self.canceller.cancel(job_id), was="waiting" if options else "any")
        return 1

    def steps(self, number: int) -> int:
        """A job with steps, which fails once in the middle."""
        self.enqueue(number, Job(f"job-{number}", "chaos.steps", (number, 5), max_retries=5), failures=1)
        return 1

    def saga(self, number: int) -> int:
        """A job whose steps are undone."""
        self.enqueue(number, Job(f"job-{number}", "chaos.saga", (number, 3)), failures=99)
        return 1

    def flow(self, number: int) -> int:
        """A job that adds jobs to its own flow."""
        flow, job = Flow(f"flow-{number}"), Job(f"job-{number}", "chaos.grow", (number, 2))
        flow.add(job)
        job_id, facts = f"default.0.{job.suffix}", {"call": number, "function": job.function}
        for _ in range(TRIES):
            if self.call("enqueue", job_id, lambda: self.fleet.flows.enqueue(flow).jobs[0].id, **facts) is not None:
                break
        return 1

    def wait(self, number: int) -> int:
        """A job that sleeps, and then waits for a signal. It is sent before the wait, or after it."""
        job_id = self.enqueue(number, Job(f"job-{number}", "chaos.wait", (number, round(self.dice.uniform(0.2, 1), 2))))
        if job_id and (self.dice.random() < 0.5 or not self._signalled(job_id, number)):
            self._waiting.append((job_id, number))
        return 1

    def _signalled(self, job_id: str, number: int) -> bool:
        return self.call("signal", job_id, lambda: self.approver.signal(job_id, "go", number)) is not None

    def emit(self, number: int) -> int:
        """A job with an output stream."""
        self.enqueue(number, Job(f"job-{number}", "chaos.emit", (number, 30)), chunks=30)
        return 1

    def ordered(self, number: int) -> int:
        """Jobs of a strict sequence of this producer."""
        group = f"seq-{number // 1_000_000}"
        for at in range(2):
            job = Job(f"job-{number + at}", "chaos.ordered", (number + at, 0.05), group=group, order="strict")
            self.enqueue(number + at, job, order=group)
        return 2

    def narrow(self, number: int) -> int:
        """More jobs of a named limit than may run at once."""
        for at in range(NARROW + 1):
            self.enqueue(number + at, Job(f"job-{number + at}", "chaos.narrow", (number + at, 0.1)))
        return NARROW + 1

    def bulky(self, number: int) -> int:
        """A job whose argument is in the payload store."""
        self.enqueue(number, Job(f"job-{number}", "chaos.bulky", (number, "x" * BULK)))
        return 1

    def result(self, number: int) -> int:
        """Wait for a job."""
        if self.known:
            self.call("wait", job_id := self.known[-1], lambda: self._waited(job_id))
        return 0

    def _waited(self, job_id: str) -> dict[str, Any] | None:
        try:
            found = self.fleet.wait(job_id, timeout=PATIENCE)
        except (WaitTimeout, JobNotFound):
            return None
        return {"status": found.status.value, "result": found.result, "fence": found.fence}


def main() -> None:
    """Run one producer."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--first", type=int, required=True, help="the number of its first call")
    parser.add_argument("--jobs", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--durability", default="fast", help="of all jobs")
    parser.add_argument("--confirm", type=float, default=2.5, help="seconds to wait for a confirmation")
    parser.add_argument("--features", action="store_true", help="half of the load uses the newer features")
    parser.add_argument("--users", action="store_true", help="connect as the Redis users of roles")
    parser.add_argument("--payloads", default=None, help="the payload store")
    given = parser.parse_args()
    recorder = Recorder(given.folder, given.name)
    options: dict[str, Any] = {"durability": given.durability, "durability_timeout": given.confirm}
    if given.payloads:
        options |= {"payload_store": given.payloads, "payload_threshold": BULK // 2}
    with ExitStack() as stack:

        @cache
        def fleet_of(role: str) -> Fleet:
            url = url_as(given.url, role) if given.users else given.url
            return stack.enter_context(Fleet(url, patience=PATIENCE, **options))

        producer = Producer(fleet_of, recorder, random.Random(given.seed), has_features=given.features)
        producer.run(given.first, given.jobs, given.seconds)
    recorder.note("info", "over")


if __name__ == "__main__":
    main()
