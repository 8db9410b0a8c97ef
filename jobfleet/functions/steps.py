"""Steps of a job, which run once even if the job runs several times; and waits, which are stored as steps."""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
import secrets
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeVar

from jobfleet.clock import seconds_or_text, to_us, wall_us
from jobfleet.codec import decode, encode
from jobfleet.errors import InvalidJob, JobCancelled, SignalTimeout
from jobfleet.event_loop import in_thread
from jobfleet.functions.callables import is_coroutine_function, is_own, is_same, stable_name
from jobfleet.model.signals import Suspended, WorkerDraining
from jobfleet.model.spec import new_token, suffix_time_us, token_hash

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobfleet.functions.port import RunPort


LONGEST_KEY = 200
WARN_AT = 900
"""Number of stored records, of at most 1,000, from which on the log of the job gets a warning, once per run."""
STEP, CHECKPOINT, UNDO, TOKEN, SIGNAL = "s:", "c:", "u:", "t:", "x:"
_around: ContextVar[tuple[tuple[str, Future[None]], ...]] = ContextVar("jobfleet_steps_around", default=())
"""The key and the end of each step whose function calls the code at hand, the outermost first."""
BY_TOKEN = "\x1f"
"""What begins the name of a signal that only tokens send; the store has it, too."""
F = TypeVar("F", bound=Callable[..., object])
UNDOS: dict[str, Callable[..., Any]] = {}
"""The functions with `undo`, by the names under which steps store them."""
NOW = ""
"""The name under which the port of a run gives Redis's time in µs, beside what is stored."""


def check_key(key: object, what: str = "A step's key", field: str = "step") -> str:
    """Check the key of a step or checkpoint, or the name of a signal; return it.

    Raises:
        InvalidJob: It is not a text of 1 to 200 printable characters.
    """
    if not isinstance(key, str) or not 0 < len(key) <= LONGEST_KEY or not key.isprintable():
        raise InvalidJob(f"{what} is a text of 1 to {LONGEST_KEY} printable characters, not {key!r:.80}.", field=field)
    return key


class Steps:
    """The steps of one run.

    Args:
        port: The worker.
        job_id: The id of the job, for messages.

    Attributes:
        unsent: Keys of tokens and the names of their signals, to be stored before the next step or wait starts.
    """

    def __init__(self, port: RunPort, job_id: str) -> None:
        self._port = port
        self._job_id = job_id
        self._kept: dict[str, bytes] | None = None
        self._lock = threading.Lock()
        self._in_flight: dict[str, Future[None]] = {}
        self._has_undo = False
        self._has_warned = False
        self.unsent: list[tuple[str, str]] = []

    async def step(
        self,
        key: str,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        undo: Callable[..., Any] | None = None,
    ) -> Any:
        """Return the stored result; if there is none, call the function and store its result.

        Raises:
            InvalidJob: The key is wrong, or is that of a step which this call is part of.
            EncodingError: The result cannot be encoded.
            JobCancelled: The job must stop, or another run owns it now.
        """
        key = STEP + check_key(key)
        while (other := self._begin(key)) is not None:
            await asyncio.shield(asyncio.wrap_future(other))
        with self._ended(key):
            kept = await self.known()
            if key not in kept:
                if undo is not None:
                    await self._declare(key[2:], undo, args, kwargs)
                await self.ready()
                with self._traced(key):
                    if is_coroutine_function(function):
                        value = await function(*args, **kwargs)
                    else:
                        value = await in_thread(function, *args, **kwargs)
                        if inspect.isawaitable(value):
                            value = await value
                    await self.keep_value(key, value)
            elif self._port.span is not None:
                self._port.span.step_kept(key[2:])
            return decode(kept[key], what=_named(key))

    def step_sync(
        self,
        key: str,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        undo: Callable[..., Any] | None = None,
    ) -> Any:
        """Do the same from a thread; see `step`."""
        key = STEP + check_key(key)
        while (other := self._begin(key)) is not None:
            other.result()
        with self._ended(key):
            kept = self._port.block(self.known())
            if key not in kept:
                if undo is not None:
                    self._port.block(self._declare(key[2:], undo, args, kwargs))
                self._port.block(self.ready())
                with self._traced(key):
                    value = function(*args, **kwargs)
                    if inspect.isawaitable(value):
                        value = self._port.block(_awaited(value))
                    self._port.block(self.keep_value(key, value))
            elif self._port.span is not None:
                self._port.span.step_kept(key[2:])
            return decode(kept[key], what=_named(key))

    async def read(self, key: str, default: Any) -> Any:
        """Read the value of a checkpoint; return `default` when none is stored."""
        key = CHECKPOINT + check_key(key)
        record = (await self.known()).get(key)
        return default if record is None else decode(record, what=_named(key))

    async def write(self, key: str, value: Any) -> None:
        """Store the value of a checkpoint."""
        key = CHECKPOINT + check_key(key)
        await self.known()
        check_stop(self._port, self._job_id)
        await self.keep_value(key, value)
        self.check()

    async def pass_by(self) -> None:
        """Let other jobs of the event loop run, and end this run if it is to stop or its worker drains."""
        await asyncio.sleep(0)
        self.check()

    def check(self) -> None:
        """End the run if it is to stop, or if its worker drains.

        Raises:
            JobCancelled: The job must stop.
            WorkerDraining: The worker drains.
        """
        check_stop(self._port, self._job_id)
        if self._port.is_draining:
            raise WorkerDraining

    async def _declare(self, key: str, undo: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Store how a step is undone, before it starts: a step that dies half-way may have had its effect."""
        while (other := self._begin(UNDO)) is not None:
            await asyncio.shield(asyncio.wrap_future(other))
        with self._ended(UNDO):
            known = await self.known()
            if UNDO + key in known:
                return
            name = _undo_name(undo, args, kwargs)
            if not self._has_undo:  # the worker enqueues the job that undoes, with this suffix, when it stores this
                suffix = decode(known[UNDO], what="undo") if UNDO in known else secrets.token_hex(8)
                await self.keep_value(UNDO, suffix)
                self._has_undo = True
            numbers = [
                decode(record, what="undo")[0] for kept, record in known.items() if kept[2:] and kept[:2] == UNDO
            ]
            row = [max(numbers, default=0) + 1, secrets.token_hex(4), name, list(args), kwargs]
            await self.keep_value(UNDO + key, row)

    async def ready(self) -> None:
        """Return once the run may start a step: its lease is valid, and what it has to store first is stored.

        Raises:
            JobCancelled: The job must stop.
        """
        for row in list(self.unsent):
            known = await self.known()
            has_one = SIGNAL + row[1] in known and await self.has_token(row[1])  # without it, a wait for one never ends
            if SIGNAL + BY_TOKEN + row[1] not in known and not has_one:
                await self.keep_value(*row)
            if row in self.unsent:  # another step may have started at the same time
                self.unsent.remove(row)
        await self._port.lease_confirmed()
        check_stop(self._port, self._job_id)

    async def has_token(self, name: str) -> bool:
        """Whether a token of a signal is stored."""
        known = await self.known()
        return any(decode(known[one], what="token") == name for one in known if one.startswith(TOKEN))

    async def known(self, *, fresh: bool = False) -> dict[str, bytes]:
        """What is stored; with `fresh`, it is read again."""
        if self._kept is None or fresh:
            found = dict(await self._port.steps())
            if self._kept is None:  # another step of this run may have asked at the same time
                self._kept = found
            else:
                self._kept.update(found)
        return self._kept

    async def keep_value(self, key: str, value: Any) -> None:
        """Store a value under a key with its prefix."""
        record = encode(value, what=_named(key))
        await self._port.keep(key, record)
        known = await self.known()
        known[key] = record
        if len(known) > WARN_AT and not self._has_warned:  # besides the records, it has the time
            self._has_warned = True
            self._port.note(
                wall_us(),
                logging.WARNING,
                f"{self._job_id} keeps {len(known) - 1:,} steps, checkpoints, waits, tokens and signals; the run fails "
                "beyond 1,000. Enqueue a job that continues, and return.",
            )

    def _traced(self, key: str) -> AbstractContextManager[object]:
        """The span of a step, if there is a tracer."""
        span = self._port.span
        return nullcontext() if span is None else span.step(key[2:])

    def _begin(self, key: str) -> Future[None] | None:
        """Take a key; return the future to wait for when another call has taken it.

        Raises:
            InvalidJob: The call is within the step of that key, and would wait for itself.
        """
        around = _around.get()
        with self._lock:
            other = self._in_flight.get(key)
            if other is not None and any(one is other for _, one in around):
                raise InvalidJob(
                    f"step {key[2:]!r} is called within the step {around[-1][0][2:]!r}, which is part of the step "
                    f"{key[2:]!r}: it would wait for its own end. Give the inner step another key.",
                    field="step",
                )
            if other is None:
                self._in_flight[key] = Future()
            return other

    @contextmanager
    def _ended(self, key: str) -> Iterator[None]:
        token = _around.set((*_around.get(), (key, self._in_flight[key])))
        try:
            yield
        finally:
            _around.reset(token)
            with self._lock:
                self._in_flight.pop(key).set_result(None)


def check_stop(port: RunPort, job_id: str) -> None:
    """Raise `JobCancelled` if a job must stop."""
    why = port.must_stop
    if why is not None:
        raise JobCancelled(f"{job_id} is to stop: {why}.", job_id=job_id)


async def _awaited(value: Awaitable[Any]) -> Any:
    return await value


def undo(function: F) -> F:
    """Declare a function that undoes steps, for ``ctx.step(…, undo=function)``: ``@undo`` above its ``def``.

    An undo runs on any worker, and a worker runs only what its modules have declared. A function with ``@job`` is
    declared already.

    Args:
        function: A public function at the top level of a module. It takes the arguments of the step.

    Raises:
        InvalidJob: It is another kind of function, or another function has its name.
    """
    if not isinstance(function, FunctionType) or function.__qualname__.startswith("_") or "." in function.__qualname__:
        shown = getattr(function, "__qualname__", function)
        raise InvalidJob(f"@undo is on {shown!r:.100}; put it on a public module-level function.", field="undo")
    name = stable_name(function)
    if is_own(function):
        raise InvalidJob(f"@undo is on {name!r}, a function of jobfleet; give one of your own.", field="undo")
    if name in UNDOS and not is_same(UNDOS[name], function):
        raise InvalidJob(f"@undo: {name!r} is taken by {UNDOS[name]!r}; give another name.", field="undo")
    UNDOS[name] = function
    return function


def _undo_name(undo: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """The name by which another process finds an undo function, which must accept the arguments of the step."""
    is_registered = hasattr(undo, "aenqueue")
    try:
        name = str(undo.name) if is_registered else stable_name(undo)
    except InvalidJob:
        name = ""
    is_declared = bool(name) and (is_registered or is_same(UNDOS.get(name, repr), undo))
    if not is_declared or is_own(undo):
        shown = name or getattr(undo, "__qualname__", undo)
        raise InvalidJob(
            f"undo is {shown!r:.100}, which is not declared; put @undo (from jobfleet import undo) on a public "
            "module-level function, or give one with @job.",
            field="undo",
        )
    try:
        signature = inspect.signature(undo.function if is_registered else undo)
    except (TypeError, ValueError):  # a function of C may have none
        return name
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        text = f"undo {name!r} does not accept the arguments of the step: {error}; give it the same parameters."
        raise InvalidJob(text, field="undo") from None
    return name


KINDS = {STEP: "step", CHECKPOINT: "checkpoint", UNDO: "undo of step", TOKEN: "token"}


def _named(key: str) -> str:
    return f"{KINDS[key[:2]]} {key[2:]!r}"


# Waits of a job: it sleeps, or waits for a signal, without a run. The stored steps are the record of its waits.


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

    async def wait_for(self, name: str, timeout: Any, *, only_token: bool) -> Any:
        """Return the value of a signal. Each wait for it in a run has its own time-out.

        Raises:
            SignalTimeout: The signal did not come in time.
            InvalidJob: Only a token may send the signal, and the job has made none.
        """
        check_signal(name)
        stored = BY_TOKEN + name if only_token else name
        if only_token and name not in self._tokens and not await self._steps.has_token(name):
            raise InvalidJob(
                f"{self._job_id} waits for a token of {name!r}, and has made none; call ctx.token({name!r}) first.",
                field="only_token",
            )
        self._numbers[f"x {stored}"] += 1
        key = f"x{self._numbers[f'x {stored}']} {stored}"
        record = await self._passed(key, stored, LONGEST if timeout is None else _length(timeout, "timeout"))
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
