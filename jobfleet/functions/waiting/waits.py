"""Waits of a job: it sleeps, or waits for a signal, without a run. The stored steps are the record of its waits."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from jobfleet.clock import to_us
from jobfleet.codec import decode
from jobfleet.durations import seconds_or_text
from jobfleet.errors import InvalidJob, SignalTimeout
from jobfleet.functions.steps import NOW, SIGNAL, TOKEN, check_key
from jobfleet.model.ids import suffix_time_us
from jobfleet.model.signal_token import new_token, token_hash
from jobfleet.model.signals import Suspended

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobfleet.functions.running.run_port import RunPort
    from jobfleet.functions.steps import Steps

WAIT, UNSEALED = "w:", "?w:"
AHEAD_US = 300_000_000
"""By how much the clock of a producer may be ahead of that of Redis, in µs."""
LONGEST = 3650 * 86_400.0
"""Seconds that a wait lasts at most, and without a time-out: ten years."""
MOST = 1000
"""Maximum number of stored waits, signals, steps and checkpoints of a job."""


class Waits:
    """The waits of one run.

    Args:
        port: The worker.
        steps: The steps of the run.
        job_id: The id of the job.
    """

    def __init__(self, port: RunPort, steps: Steps, job_id: str) -> None:
        self._port = port
        self._steps = steps
        self._job_id = job_id
        self._numbers: Counter[str] = Counter()
        self._tokens: dict[str, str] = {}

    async def sleep(self, delay: Any, key: str | None) -> None:
        """Continue the job after a delay that counts from the first run that comes here."""
        self._numbers["sleep"] += 1
        key = f"#{self._numbers['sleep']}" if key is None else f" {check_key(key)}"
        await self._passed(f"s{key}", "", _length(delay, "sleep"))

    async def wait_for(self, name: str, timeout: Any) -> Any:
        """Return the value of a signal. Each wait for it in a run has its own time-out.

        Raises:
            SignalTimeout: The signal did not come in time.
        """
        check_signal(name)
        self._numbers[f"x {name}"] += 1
        key = f"x{self._numbers[f'x {name}']} {name}"
        record = await self._passed(key, name, LONGEST if timeout is None else _length(timeout, "timeout"))
        if record is None:
            raise SignalTimeout(
                f"{self._job_id} was not sent the signal {name!r} in time.", job_id=self._job_id, name=name
            )
        return decode(record, what=f"signal {name!r}")

    def token(self, name: str) -> str:
        """Return a secret that sends a signal, the same for each call of this run with this name.

        Only its hash is stored, when the next step or wait starts, unless the signal has come by then: then a token
        changes nothing.
        """
        check_signal(name)
        if name not in self._tokens:
            self._tokens[name] = new_token(self._job_id)
            self._steps.unsent.append((TOKEN + token_hash(self._tokens[name]), name))
        return self._tokens[name]

    async def _passed(self, key: str, name: str, delay: float) -> bytes | None:
        """End the run unless this wait is over; return the signal that has ended it.

        A signal counts for a wait if it came before the end of that wait. This does not change any more once the end
        has passed, so all later runs take the same branch.
        """
        for is_fresh in (False, True):
            known = await self._steps.known(fresh=is_fresh)
            till, signal = end_of(known, self._job_id, key, delay), known.get(SIGNAL + name) if name else None
            if signal is not None:
                at, _, record = signal.partition(b"\n")
                if till is None or int(at) < till:
                    return record
            if till is not None and till <= int(known[NOW]):
                return None
        if till is None and len(known) > MOST:
            raise InvalidJob(
                f"{self._job_id} keeps too much: it has {MOST:,} steps, checkpoints, waits, tokens and signals, "
                "which is the most; enqueue a job that continues, and return.",
                field="wait",
            )
        await self._steps.ready()
        self._port.suspend(Suspended(key, name, delay))
        return None  # only in a test without a worker, where a wait is over at once


def end_of(known: Mapping[str, bytes], job_id: str, key: str, delay: float) -> int | None:
    """Return the end of a wait, in µs, if an earlier run has begun it.

    Revision f933da4f did not seal ends. One that it has stored is accepted unless it is earlier than a wait of this
    length can end that began when the job was created.

    Args:
        known: What is kept of the job.
        job_id: The job.
        key: The key of the wait.
        delay: Seconds that the wait lasts.
    """
    if (till := known.get(WAIT + key)) is not None:
        return int(till)
    former, created = known.get(UNSEALED + key, b""), suffix_time_us(job_id.split(".", 2)[-1])
    if created is None or not former.isdigit():
        return None
    return int(former) if created + to_us(delay) - AHEAD_US <= int(former) else None


def check_signal(name: object) -> str:
    """Check the name of a signal; return it.

    Raises:
        InvalidJob: It is not a text of 1 to 200 printable characters.
    """
    return check_key(name, "The name of a signal", "name")


def _length(delay: Any, field: str) -> float:
    try:
        length = seconds_or_text(delay, field=field)
    except InvalidJob:
        length = math.inf
    if length > LONGEST:
        raise InvalidJob(
            f"{field} is {delay!r:.80}; give seconds, a timedelta or a text such as '3d', at most ten years.",
            field=field,
        )
    return length
