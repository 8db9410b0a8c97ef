"""What a client waits for: which jobs, when each is polled next, and who hears the messages of a channel. No I/O.

Pub/sub only hints that a job may have ended. Each job is polled as soon as its subscription begins, after a message of
its channel, and otherwise after a pause that grows. Polls that are due at about the same time are done together.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from jobfleet.client.base import MARK_EVERY
from jobfleet.config import JobConfig
from jobfleet.model import JobResult
from jobfleet.store.channels import Message
from jobfleet.store.keys import Keyspace, Lane

Outcome = JobResult[Any] | Exception
"""How a job ended, or why its result cannot be read."""
AT_ONCE = 250
"""Jobs that are polled in one pipeline. Messages are read in between, so a larger number would delay them."""
SLACK = 0.025
"""Seconds by which a poll may come early, to share a pipeline."""
GRID = 4
"""Parts of the pause to which its end is rounded down. So the polls of many jobs soon fall together."""
NOT_ENDED = frozenset(
    {"enqueued", "claimed", "progressed", "unblocked", "rescheduled", "signalled", "edited", "stopping"}
)
"""Events after which a job has certainly not ended."""
ASLEEP = 1.0
"""Longest time in seconds for which the background task waits for messages."""


class Watcher(Protocol):
    """A caller that waits for jobs."""

    def ended(self, job_id: str, outcome: Outcome) -> None:
        """Receive the end of a job."""


class Sink(Protocol):
    """A caller that hears the messages of channels."""

    def hear(self, text: str | None) -> None:
        """Receive a message; None when the subscription begins."""


class Waited:
    """A job that callers wait for."""

    __slots__ = ("channel", "due", "job_id", "lane", "pause", "watchers")

    def __init__(self, job_id: str, lane: Lane, pause: float, due: float) -> None:
        self.job_id: str = job_id
        self.lane: Lane = lane
        self.channel: str = lane.job_events(job_id)
        self.pause: float = pause
        self.due: float = due
        self.watchers: dict[Watcher, None] = {}
        """In the order in which they came, so that equal events make equal runs."""


class WaitList:
    """The waits and subscriptions of a client. The owner holds a lock around each call.

    Args:
        keys: The keys of the fleet.
        config: Has the first and the longest pause between polls.
    """

    def __init__(self, keys: Keyspace, config: JobConfig) -> None:
        self._keys = keys
        self._first, self._longest = config.wait_poll_min, max(config.wait_poll_min, config.wait_poll_max)
        self._jobs: dict[str, Waited] = {}
        self._by_channel: dict[str, Waited] = {}
        self._sinks: dict[str, dict[Sink, None]] = {}
        self._heap: list[tuple[float, int, Waited]] = []
        self._order = itertools.count()
        self._marks: dict[Lane, float] = {}

    @property
    def is_empty(self) -> bool:
        """Whether nobody waits for anything."""
        return not self._jobs and not self._sinks

    def watch(self, watcher: Watcher, ids: Iterable[str], now: float) -> list[str]:
        """Wait for jobs; return the channels to subscribe to.

        Raises:
            JobNotFound: A text is not a job id; nothing is changed.
        """
        lanes = [(job_id, self._keys.lane_of(job_id)) for job_id in ids]
        channels = []
        for job_id, lane in lanes:
            job = self._jobs.get(job_id)
            if job is None:
                job = self._jobs[job_id] = Waited(job_id, lane, self._first, now + self._first)
                self._by_channel[job.channel] = job
                self._push(job)
            job.watchers[watcher] = None
            channels.append(job.channel)
        return channels

    def forget(self, watcher: Watcher, ids: Iterable[str]) -> list[str]:
        """End the waits of a caller; return the channels that nobody needs any more."""
        unused = []
        for job_id in ids:
            job = self._jobs.get(job_id)
            if job is not None:
                job.watchers.pop(watcher, None)
                if not job.watchers:
                    unused += self._remove(job)
        return unused

    def listen(self, sink: Sink, channels: Iterable[str]) -> None:
        """Hear the messages of channels."""
        for channel in channels:
            self._sinks.setdefault(channel, {})[sink] = None

    def ignore(self, sink: Sink, channels: Iterable[str]) -> list[str]:
        """Do not hear channels any more; return those that nobody needs any more."""
        unused = []
        for channel in channels:
            sinks = self._sinks.get(channel, {})
            sinks.pop(sink, None)
            if not sinks:
                self._sinks.pop(channel, None)
                if channel not in self._by_channel:
                    unused.append(channel)
        return unused

    def hear(self, messages: Iterable[Message]) -> None:
        """Receive messages."""
        for channel, text in messages:
            for sink in self._sinks.get(channel, ()):
                sink.hear(text)
            job = self._by_channel.get(channel)
            if job is not None and job.due and (text is None or _may_have_ended(text)):
                job.due = 0.0
                self._push(job)

    def pause(self, now: float) -> float:
        """Return how many seconds to wait for messages."""
        heap = self._heap
        while heap and heap[0][0] != heap[0][2].due:
            heapq.heappop(heap)
        return min(ASLEEP, max(0.0, heap[0][0] - now)) if heap else ASLEEP

    def take_due(self, now: float) -> list[Waited]:
        """Return the jobs to poll now; `polled` must follow for each."""
        taken: list[Waited] = []
        heap = self._heap
        if not heap or heap[0][0] > now:
            return taken
        while heap and heap[0][0] <= now + SLACK and len(taken) < AT_ONCE:
            due, _, job = heapq.heappop(heap)
            if due == job.due:
                job.due = math.inf
                taken.append(job)
        return taken

    def marks_due(self, jobs: Sequence[Waited], now: float) -> list[Lane]:
        """Return the lanes of jobs that are to be marked as listened to; none of them again for some time."""
        due = [lane for lane in dict.fromkeys(job.lane for job in jobs) if self._marks.get(lane, 0.0) <= now]
        self._marks = {lane: at for lane, at in self._marks.items() if at > now} | dict.fromkeys(due, now + MARK_EVERY)
        return due

    def unmark(self, lanes: Iterable[Lane]) -> None:
        """Mark lanes again with the next poll: it is not certain that they were."""
        for lane in lanes:
            self._marks.pop(lane, None)

    def polled(self, jobs: Sequence[Waited], outcomes: Mapping[str, Outcome], now: float) -> list[str]:
        """Pass on how jobs ended, and plan the next poll of the others; return the channels that nobody needs then."""
        unused: list[str] = []
        for job in jobs:
            outcome = outcomes.get(job.job_id)
            if outcome is not None:
                unused += self._remove(job)
                for watcher in job.watchers:
                    watcher.ended(job.job_id, outcome)
            elif job.due == math.inf:  # no message came meanwhile
                grid = job.pause / GRID
                job.due = math.floor((now + job.pause) / grid) * grid
                job.pause = min(self._longest, job.pause * 2)
                self._push(job)
        return unused

    def channels(self) -> list[str]:
        """Return all channels that somebody needs."""
        return [*self._by_channel, *(name for name in self._sinks if name not in self._by_channel)]

    def fail(self, error: Exception) -> None:
        """Pass an error to all who wait for jobs."""
        jobs = list(self._jobs.values())
        self.polled(jobs, {job.job_id: error for job in jobs}, 0.0)

    def _push(self, job: Waited) -> None:
        heapq.heappush(self._heap, (job.due, next(self._order), job))

    def _remove(self, job: Waited) -> list[str]:
        if self._jobs.get(job.job_id) is not job:
            return []
        del self._jobs[job.job_id], self._by_channel[job.channel]
        job.due = -1.0
        return [] if job.channel in self._sinks else [job.channel]


def _may_have_ended(text: str) -> bool:
    """Whether an event may be the end of its job; for events of a later version, too."""
    words = text.split(" ", 2)
    return len(words) < 2 or words[1] not in NOT_ENDED
