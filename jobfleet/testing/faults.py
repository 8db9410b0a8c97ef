"""Faults in a test, and the effects of its jobs outside of Redis."""

from __future__ import annotations

import inspect
import logging
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any, NamedTuple

from jobfleet.errors import InvalidJob, StoreUnavailable
from jobfleet.store.call import Command
from jobfleet.store.link.watched import script_of
from jobfleet.testing.shifted import ShiftedClock
from jobfleet.worker.run.log_capture import CURRENT
from jobfleet.worker.run.run import Run

VERBS: dict[str, frozenset[str]] = {
    "enqueue": frozenset(("enqueue", "enqueue_plain", "replace", "debounce")),
    "settle": frozenset(("settle",)),
    "claim": frozenset(("claim",)),
    "keep": frozenset(("keep",)),
}
"""The calls that a fault can name, and their scripts."""
POINTS: tuple[str, ...] = (
    "after-claim", "before-settle", "after-settle", "before-enqueue", "after-enqueue",
    "step:NAME", "before-step:NAME", "after-step:NAME", "checkpoint:NAME", "after-checkpoint:NAME", "effect:NAME",
)  # fmt: skip
"""The forms of kill points."""
_FORMS = frozenset(point.partition(":")[::2] for point in POINTS)
_OF_JOB = frozenset(("keep", "steps", "acquire_lock", "extend_flow")) | VERBS["enqueue"]
"""The scripts that the code of a job calls. It must not catch its own death, as it may an outage."""
_GRANTED = (b"claimed", b"guarded")
KEPT = {"s": "step", "c": "checkpoint"}
"""The kinds of what a job stores that are kill points, by the prefixes of their keys."""


class WorkerKilled(BaseException):
    """The worker of this job was killed by a test; nothing may catch this."""


@dataclass(slots=True)
class Loss:
    """Replies that are to be lost.

    Attributes:
        times: How many are still to be lost.
        gives_up: Whether the caller gets `StoreUnavailable` at once, as after the end of its patience.
    """

    times: int
    gives_up: bool


class Faults:
    """The faults of a test. It is the watcher of all its connections.

    `Faults` watches the exchanges with the server. A worker dies before or after an exchange, which is where the state
    in Redis changes, or at a probe of the test. From its death to its end nothing of the worker reaches Redis.

    Args:
        clock: The clock of the test.

    Attributes:
        passed: The kill points that workers have passed, in order.
        lost: The calls whose replies were lost, in order.
        stop: Ends the worker that was killed.
        killed_at: The point at which the last worker was killed; empty if it was not.
        report_to: A file descriptor; set in a child process, which a kill point ends with SIGKILL after a report.
    """

    def __init__(self, clock: ShiftedClock) -> None:
        self.clock: ShiftedClock = clock
        self.passed: list[str] = []
        self.lost: list[str] = []
        self.stop: threading.Event = threading.Event()
        self.killed_at: str = ""
        self.report_to: int | None = None
        self._is_working = False
        self._armed: dict[str, int] = {}
        self._losses: dict[str, Loss] = {}
        self._sent: set[int] = set()
        self._lock = threading.Lock()

    @property
    def is_armed(self) -> bool:
        """Whether a kill point is set and was not reached yet."""
        return bool(self._armed)

    def check_reached(self) -> None:
        """Check that each fault of the test has happened; a mistyped name would test nothing.

        Raises:
            AssertionError: One has not; it names those that could have.
        """
        left = [f"kill_at({point!r})" for point in self._armed]
        left += [f"lose_reply({verb!r})" for verb, loss in self._losses.items() if loss.times > 0]
        if left:
            passed = ", ".join(dict.fromkeys(self.passed)) or "none"
            raise AssertionError(f"{' and '.join(left)} did not happen. The kill points that workers passed: {passed}.")

    def kill_at(self, point: str, occurrence: int = 1) -> None:
        """Kill the worker that reaches a point.

        Args:
            point: One of `POINTS`.
            occurrence: At which time that it is reached, counted from now.

        Raises:
            InvalidJob: No such point exists.
        """
        form, colon, name = str(point).partition(":")
        if (form, "NAME" if colon else "") not in _FORMS or (colon and not name):
            raise InvalidJob(f"There is no kill point {point!r}; the points are {', '.join(POINTS)}.", field="point")
        _check_count(occurrence, "occurrence", "1 for the first time")
        self._armed[point] = occurrence

    def lose_reply(self, verb: str, times: int = 1, *, gives_up: bool = False) -> None:
        """Lose the next replies to a call; see `Jobs.lose_reply`."""
        if verb not in VERBS:
            raise InvalidJob(
                f"There is no call {verb!r} to lose replies of; the calls are {', '.join(VERBS)}.", field="verb"
            )
        _check_count(times, "times", "1 for the next reply")
        self._losses[verb] = Loss(times, gives_up)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Run a worker within the block: its kill points count. Its death ends with the block."""
        self.killed_at = ""
        self.stop.clear()
        self._sent.clear()
        self._is_working = True
        logs, quiet = [logging.getLogger(f"jobfleet.{name}") for name in ("worker", "reaper")], _Quiet(self)
        for log in logs:
            log.addFilter(quiet)
        try:
            yield
        finally:
            for log in logs:
                log.removeFilter(quiet)
            self._is_working = False
            self.stop.clear()

    @property
    def is_dead(self) -> bool:
        """Whether the worker that runs now was killed."""
        return self.stop.is_set()

    def killed(self, point: str) -> None:
        """A worker in another process was killed at a point."""
        self.killed_at = point
        self._armed.pop(point, None)

    def reach(self, point: str) -> None:
        """A worker has reached a point.

        Raises:
            WorkerKilled: It is to die here.
        """
        if not self._is_working:
            return
        if self.is_dead:
            raise WorkerKilled(self.killed_at)
        with self._lock:
            self.passed.append(point)
            left = self._armed.get(point, 0) - 1
            if left:
                if left > 0:
                    self._armed[point] = left
                return
            del self._armed[point]
            self.killed_at = point
        if self.report_to is not None:
            os.write(self.report_to, point.encode())
            os.kill(os.getpid(), signal.SIGKILL)
        self.stop.set()
        raise WorkerKilled(point)

    def sending(self, commands: Sequence[Command]) -> Sequence[Command]:
        """Let the worker die before an exchange; return the commands with the clock of the test."""
        if self._is_working:
            if self.is_dead and _are_claims(commands):
                return ()  # answered below: a worker that is declared dead ends at once
            self._reached(commands, _before)
        return [self.clock.sent(command) for command in commands] if self.clock.ahead_us else commands

    def received(self, commands: Sequence[Command], replies: list[Any]) -> list[Any]:
        """Let the worker die after an exchange; lose replies."""
        if self._is_working:
            if self.is_dead and _are_claims(commands):
                return [[b"buried"] for _ in commands]
            self._reached(commands, lambda verb, command: _after(verb, command, replies[commands.index(command)]))
        if self._losses:
            replies = self._with_losses(commands, replies)
        return self.clock.replies(commands, replies)

    def _reached(self, commands: Sequence[Command], points: Callable[[str, Command], str]) -> None:
        try:
            if self.is_dead:
                raise WorkerKilled(self.killed_at)
            for verb, command in _verbs(commands):
                point = points(verb, command)
                if point and self._is_first(point, command):
                    self.reach(point)
        except WorkerKilled:
            scripts = {script.name for command in commands if (script := script_of(command)) is not None}
            if scripts & _OF_JOB and "settle" not in scripts:  # a settle may have the last call about steps before it
                raise
            raise StoreUnavailable(f"this worker was killed at {self.killed_at}") from None  # its engine ends quietly

    def _is_first(self, point: str, command: Command) -> bool:
        """Whether a call passes a point for the first time: it may be sent again, by its source or after a loss."""
        script = script_of(command)
        end = -1 if script is not None and script.has_deadline else None  # each time it has another deadline
        mark = hash((point, command[2:end]))
        with self._lock:
            is_first = mark not in self._sent
            self._sent.add(mark)
        return is_first

    def _with_losses(self, commands: Sequence[Command], replies: list[Any]) -> list[Any]:
        for number, command in enumerate(commands):
            script = script_of(command)
            verb = next((verb for verb, names in VERBS.items() if script is not None and script.name in names), "")
            with self._lock:
                loss = self._losses.get(verb)
                if loss is None:
                    continue
                loss.times -= 1
                if loss.times <= 0:
                    del self._losses[verb]
                self.lost.append(verb)
            if loss.gives_up:
                raise StoreUnavailable(f"No Redis: the reply to {verb} was lost by a test, and the patience is over.")
            error = ConnectionError(f"the reply to {verb} was lost by a test")
            return [*replies[:number], *[error] * (len(replies) - number)]  # the connection is gone
        return replies


class _Quiet(logging.Filter):
    """Drops what a killed worker logs: a dead process logs nothing."""

    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self._faults = faults

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 - all records are alike
        return not self._faults.is_dead


def _verbs(commands: Sequence[Command]) -> Iterator[tuple[str, Command]]:
    for command in commands:
        script = script_of(command)
        if script is not None and command[0] != "SCRIPT":
            for verb, names in VERBS.items():
                if script.name in names:
                    yield verb, command


def _are_claims(commands: Sequence[Command]) -> bool:
    return all((script := script_of(command)) is not None and script.name == "claim" for command in commands)


def _before(verb: str, command: Command) -> str:
    if verb == "keep":
        return _kept(command, "")
    return f"before-{verb}" if verb in ("settle", "enqueue") else ""


def _check_count(value: object, name: str, remedy: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidJob(f"{name} is {value!r}; give a whole number, {remedy}.", field=name)


def _after(verb: str, command: Command, reply: Any) -> str:
    if isinstance(reply, BaseException):
        return ""
    if verb == "keep":
        return _kept(command, "after-")
    if verb == "claim" and reply[0] not in _GRANTED:
        return ""
    return f"after-{verb}"


def _kept(command: Command, prefix: str) -> str:
    """The point of a step or checkpoint that is stored; empty for a token, an undo, or a call that only sets a time."""
    first = 3 + int(command[2])
    key = str(command[first + 5])
    kind, _, name = key.partition(":")
    return f"{prefix}{KEPT[kind]}:{name}" if kind in KEPT else ""


def occurrences(passed: Sequence[str]) -> list[tuple[str, int]]:
    """Number the points that were passed: each with the count of times that it had been passed by then."""
    counts: Counter[str] = Counter()
    found = []
    for point in passed:
        counts[point] += 1
        found.append((point, counts[point]))
    return found


OUTSIDE: tuple[str, int] = ("", 0)
"""The run of an effect that no job has had."""


class Effect(NamedTuple):
    """One effect.

    Attributes:
        name: Its name.
        key: Its idempotency key; None if it has none, so that each occurrence counts.
        job: The id of the job that has caused it; empty outside of jobs.
        attempt: The number of the run of that job, from 1, as the test has seen them; a run that was killed counts.
    """

    name: str
    key: object
    job: str
    attempt: int


class Effects:
    """What the jobs of a test do outside of Redis, and in which of their runs, in order.

    Args:
        faults: The faults of the test; each effect is a kill point.

    Attributes:
        seen: The effects.
    """

    def __init__(self, faults: Faults) -> None:
        self.seen: list[Effect] = []
        self._faults = faults
        self._runs: dict[str, list[int]] = {}
        self._lock = threading.Lock()

    def add(self, name: str, key: object = None) -> None:
        """Record an effect of the job that runs here; a worker may be killed right after it."""
        job, attempt = OUTSIDE
        run = CURRENT.get()
        with self._lock:
            if isinstance(run, Run):
                tokens = self._runs.setdefault(run.id, [])
                if run.token not in tokens:
                    tokens.append(run.token)
                job, attempt = run.id, tokens.index(run.token) + 1
            self.seen.append(Effect(name, key, job, attempt))
        self._faults.reach(f"effect:{name}")

    def started(self, job_id: str, token: int) -> None:
        """Number a run."""
        with self._lock:
            tokens = self._runs.setdefault(job_id, [])
            if token not in tokens:
                tokens.append(token)

    def counts(self) -> dict[str, int]:
        """How often each effect happened; those with the same idempotency key count once."""
        keyed: set[tuple[str, object]] = set()
        counts: dict[str, int] = {}
        for effect in self.seen:
            mark = (effect.name, _hashable(effect.key))
            if effect.key is None or mark not in keyed:
                keyed.add(mark)
                counts[effect.name] = counts.get(effect.name, 0) + 1
        return counts

    def attempts(self, name: str) -> list[int]:
        """The runs in which an effect happened, in order, without repetition."""
        return sorted({effect.attempt for effect in self.seen if effect.name == name})

    @contextmanager
    def watched(self, owner: Any, name: str, key: str | None) -> Iterator[None]:
        """Record each call of a function within the block; see `Jobs.watch`."""
        is_own = name in vars(owner)
        original = vars(owner).get(name)  # a static method must be put back as such
        call: Callable[..., Any] = getattr(owner, name)
        parameters = () if key is None else inspect.signature(call).parameters
        if key is not None and key not in parameters:
            raise InvalidJob(
                f"key is {key!r:.100}, which is not a parameter of {name}; it has {', '.join(parameters) or 'none'}.",
                field="key",
            )
        setattr(owner, name, self._recording(call, name, key))
        try:
            yield
        finally:
            if is_own:
                setattr(owner, name, original)
            else:
                delattr(owner, name)

    def _recording(self, call: Callable[..., Any], name: str, key: str | None) -> Callable[..., Any]:
        def record(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            found = None if key is None else inspect.signature(call).bind(*args, **kwargs).arguments.get(key)
            self.add(name, found)

        if inspect.iscoroutinefunction(call):

            @wraps(call)
            async def awaited(*args: Any, **kwargs: Any) -> Any:
                value = await call(*args, **kwargs)
                record(args, kwargs)
                return value

            return awaited

        @wraps(call)
        def called(*args: Any, **kwargs: Any) -> Any:
            value = call(*args, **kwargs)
            record(args, kwargs)
            return value

        return called


def _hashable(key: object) -> object:
    try:
        hash(key)
    except TypeError:
        return repr(key)
    return key
