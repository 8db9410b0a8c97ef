"""A model of a fleet whose processes die: the rules are the real ones, time and machines are not.

Children with slots take jobs in order. A process that dies is followed by another one after a while, and what it held
goes back to its place. Who is suspected, and who shares a process with whom, is decided by `jobfleet.retry` and
`jobfleet.retry.tries`.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from jobfleet.outcome import Crashed, Outcome, Witnessed
from jobfleet.retry.decision import Fail, Policy, Retry, decide
from jobfleet.retry.tries import FRESH, Suspicion, Tries, has_room, seat, suspects

RESTART = 0.5
"""Seconds from the death of a child until its successor has its jobs."""
OPENING = 0.3
"""Seconds until a new ward has loaded its modules."""
POLICY = Policy(retry_delay=0.0)
MOST_DEATHS = 20_000
"""No story is longer; one that is has no end."""


@dataclass(eq=False)
class Task:
    """One job.

    Attributes:
        number: Its place in the queue.
        duration: Seconds it takes.
        kills_at: Seconds after which it ends its process; None if it is innocent.
        chance: How likely it does so.
        mate: The job that has to run in the same process when it does.
        tries: What it has spent, and witnessed.
        runs: How often it was started.
        ended_at: When it was over.
        has_failed: Whether it failed.
    """

    number: int
    duration: float
    kills_at: float | None = None
    chance: float = 1.0
    mate: Task | None = None
    tries: Tries = FRESH
    runs: int = 0
    ended_at: float | None = None
    has_failed: bool = False


@dataclass(eq=False)
class Process:
    """A child, or a ward of one."""

    child: Child
    tasks: dict[Task, Suspicion] = field(default_factory=dict)


@dataclass(eq=False)
class Child:
    """One child with its wards, and the suspects that wait in it."""

    inside: Process = field(init=False)
    wards: list[Process] = field(default_factory=list)
    waiting: list[Task] = field(default_factory=list)
    is_up: bool = True
    is_stale: bool = False

    def __post_init__(self) -> None:
        self.inside = Process(self)

    @property
    def taken(self) -> int:
        """How many slots are not free."""
        return len(self.inside.tasks) + sum(len(ward.tasks) for ward in self.wards) + len(self.waiting)


class Story:
    """One run of the model.

    Args:
        tasks: The jobs, in order.
        children: How many children there are.
        slots: Of each.
        wards: How many wards a child may have; 0 for suspects that share the child's process.
        kills: When which child is killed from outside.
        seed: Of all chances.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        *,
        children: int,
        slots: int,
        wards: int = 12,
        kills: Sequence[tuple[float, int]] = (),
        seed: int = 0,
    ) -> None:
        self.tasks = tasks
        self.deaths = 0
        self._slots = slots
        self._most_wards = wards
        self._children = [Child() for _ in range(children)]
        self._queue = [(task.number, task) for task in tasks]
        heapq.heapify(self._queue)
        self._ticks = itertools.count()
        self._events: list[tuple[float, int, Any]] = []
        self._chance = random.Random(seed)
        self._now = 0.0
        self._left = len(tasks)
        for at, number in kills:
            self._at(at, lambda child=self._children[number]: self._die(child.inside) if child.is_up else None)

    @property
    def innocent(self) -> list[Task]:
        """The jobs that never end a process."""
        return [task for task in self.tasks if task.kills_at is None]

    @property
    def done_at(self) -> float:
        """When the last innocent job was over."""
        return max(task.ended_at or 0.0 for task in self.innocent)

    @property
    def reruns(self) -> list[int]:
        """How often each innocent job was run again."""
        return [task.runs - 1 for task in self.innocent]

    def run(self) -> Story:
        """Run it to its end."""
        self._claim()
        while self._left and self.deaths < MOST_DEATHS:
            self._now, _, act = heapq.heappop(self._events)
            act()
            self._claim()
        return self

    def _at(self, when: float, act: Any) -> None:
        heapq.heappush(self._events, (when, next(self._ticks), act))

    def _claim(self) -> None:
        """Have children take turns in claiming, as far as they have room."""
        hungry = [child for child in self._children if child.is_up]
        self._chance.shuffle(hungry)
        while self._queue and hungry:
            for child in list(hungry):
                room = min(self._slots - child.taken, len(self._queue), 10)
                if room <= 0 or self._is_shut(child):
                    hungry.remove(child)
                for _ in range(room if child in hungry else 0):
                    self._admit(child, heapq.heappop(self._queue)[1])
        for child in self._children:
            if child.is_stale:
                child.is_stale = False
                self._place(child)

    def _admit(self, child: Child, task: Task) -> None:
        if task.tries.suspicion.is_suspect:
            child.waiting.append(task)
            child.is_stale = True
        else:
            self._start(child.inside, task)

    def _place(self, child: Child) -> None:
        waiting, child.waiting = sorted(child.waiting, key=lambda task: -task.tries.deaths), []
        for task in waiting:
            process = self._seat(child, task)
            if process is not None:
                self._start(process, task, OPENING if process is not child.inside else 0.0)
            else:
                child.waiting.append(task)

    def _seat(self, child: Child, task: Task) -> Process | None:
        if self._most_wards:
            number = seat([ward.tasks.values() for ward in child.wards], task.tries.suspicion, self._most_wards)
            if number == len(child.wards):
                child.wards.append(Process(child))
            return None if number is None else child.wards[number]
        beside = [suspicion for suspicion in child.inside.tasks.values() if suspicion.is_suspect]
        if task.tries.suspicion.width == 1:
            return child.inside if not child.inside.tasks else None
        return child.inside if has_room(beside, task.tries.suspicion) and not self._has_lone(child) else None

    def _is_shut(self, child: Child) -> bool:
        return not self._most_wards and (self._has_lone(child) or any(map(_is_lone, child.waiting)))

    @staticmethod
    def _has_lone(child: Child) -> bool:
        return any(map(_is_lone, child.inside.tasks))

    def _start(self, process: Process, task: Task, after: float = 0.0) -> None:
        process.tasks[task] = task.tries.suspicion
        task.runs += 1
        run = task.runs

        def end() -> None:
            if task in process.tasks and task.runs == run:
                self._leave(process, task)
                self._over(task)

        def kill() -> None:
            if task in process.tasks and task.runs == run and (task.mate is None or task.mate in process.tasks):
                self._die(process)

        self._at(self._now + after + task.duration, end)
        if task.kills_at is not None and self._chance.random() < task.chance:
            self._at(self._now + after + task.kills_at, kill)

    def _leave(self, process: Process, task: Task) -> None:
        del process.tasks[task]
        process.child.is_stale = True
        if not process.tasks and process in process.child.wards:
            process.child.wards.remove(process)

    def _over(self, task: Task) -> None:
        task.ended_at = self._now
        self._left -= 1

    def _die(self, process: Process) -> None:
        """A process dies: with a child, its wards do."""
        self.deaths += 1
        child, there = process.child, list(process.tasks)
        back: list[Task] = []
        child.is_stale = True
        if process is child.inside:
            back = [*child.waiting, *(task for ward in child.wards for task in ward.tasks)]
            for ward in child.wards:
                ward.tasks.clear()
            child.wards, child.waiting, child.is_up = [], [], False
            self._at(self._now + RESTART, lambda: setattr(child, "is_up", True))
        else:
            child.wards.remove(process)
        process.tasks.clear()
        among = suspects(task.tries.deaths for task in there)
        for task in there:
            self._settle(task, Crashed("it died") if len(there) == 1 else Witnessed("", among[task.tries.deaths]))
        for task in back:
            heapq.heappush(self._queue, (task.number, task))

    def _settle(self, task: Task, outcome: Outcome) -> None:
        decision = decide(outcome, POLICY, task.tries, 0)
        if isinstance(decision, Fail):
            task.has_failed, task.tries = True, decision.tries
            self._over(task)
            return
        assert isinstance(decision, Retry) or task.tries.crashes == decision.tries.crashes  # type: ignore[union-attr]
        task.tries = decision.tries  # type: ignore[union-attr,assignment]
        heapq.heappush(self._queue, (task.number, task))


def _is_lone(task: Task) -> bool:
    suspicion = task.tries.suspicion
    return suspicion.is_suspect and suspicion.width == 1


KINDS = ("early", "late", "sometimes", "together")
"""Culprits that end their process at once, at the end, half of the time, and only beside another job."""


def crowd(count: int, culprits: int, kind: str, *, duration: float = 3.0, seed: int = 0) -> list[Task]:
    """Innocent jobs of about one duration, and culprits among them."""
    chance = random.Random(seed)
    tasks = [Task(number, duration * chance.uniform(0.8, 1.2)) for number in range(count)]
    chosen = chance.sample(tasks, 2 * culprits)
    for task, mate in zip(chosen[:culprits], chosen[culprits:], strict=True):
        task.kills_at = {"early": 0.05, "late": 0.9 * task.duration}.get(kind, chance.uniform(0, task.duration * 0.9))
        task.chance = 0.5 if kind == "sometimes" else 1.0
        task.mate = mate if kind == "together" else None
    return tasks
