"""The workers of a fleet: list them, send them commands, and ask for the stacks of one child."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from math import inf
from typing import Any, NamedTuple

from jobfleet.clock import from_timedelta, moment, monotonic
from jobfleet.codec import decode
from jobfleet.errors import ConfigError, EncodingError
from jobfleet.events import STACKS, VERBS, Command
from jobfleet.model.audit import NOBODY
from jobfleet.model.option_types import Seconds
from jobfleet.operations.audit import Outcome
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import Blocking, Operation, value
from jobfleet.operations.verb import verb
from jobfleet.store.calls.presence import command, stacks
from jobfleet.store.records import FleetSeen
from jobfleet.store.rows import number_of

CHILD_FIELDS = 7
"""The fields of a child in a heartbeat. Later versions add some: the next one is how long it hangs, in seconds."""


@dataclass(frozen=True, slots=True)
class ChildInfo:
    """A child of a worker, as the last heartbeat of the worker describes it.

    Attributes:
        id: Its id, which its jobs have as `worker`.
        pid: Its process id.
        state: ``loading``, ``running``, ``draining``, ``hung`` or ``frozen``.
        running: How many jobs it runs.
        slots: How many jobs it runs at once.
        busy: The share of its slots that are in use; None if it has no slots.
        memory: Its resident memory in bytes; None if it is not known. macOS shows only the peak.
        cpu: The processor time that it takes, in seconds per second; None if it is not known yet.
        hung_for: Seconds for which its event loop had not turned at the last heartbeat, if it hangs; 0 if it does not,
            or the worker has an older version.
    """

    id: str
    pid: int
    state: str
    running: int
    slots: int
    busy: float | None
    memory: int | None
    cpu: float | None
    hung_for: float = 0.0


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker, as its last heartbeat describes it.

    Attributes:
        id: The id of the worker.
        host: The name of its machine.
        pid: The process id of its supervisor.
        queues: The queues that it serves.
        slots: How many jobs all its children together run at once.
        running: How many jobs it runs.
        children: How many children claim jobs, or would claim them if the worker was not quiet.
        leaving: How many children only finish their jobs, because their successors have started.
        hung: How many children hang, because their event loop does not turn.
        started: When it started.
        beat: The time of its last heartbeat.
        is_gone: Whether its last heartbeat is older than the setting `gone_after`.
        state: ``running``, ``quiet`` or ``stopping``.
        state_by: Who asked for that state by a remote command; empty when nobody did.
        obeyed: The nonce of the last command that it has executed.
        version: Its version of jobfleet.
        scale_max: The most processes that a remote ``scale`` may ask for; 0 when the worker does not report it.
        undecorated: The modules whose public functions it runs although they are not registered.
        cpus: How many processors it may use, by affinity and cgroup; 0 for a worker of an older version.
        ahead: Seconds by which the clock of its machine was ahead of Redis's when the last heartbeat arrived, less the
            time of its way; negative if it was behind. 0 for a worker of an older version.
        kinds: The kinds of its children; children of one kind know the same functions and serve the same queues.
            Empty for a worker of an older version.
        payloads: The identity of the payload store that it reads; ``empty`` if nothing was written to it,
            ``unmounted`` if it is empty and the fleet has written to its store, ``away: …`` if it cannot be read,
            ``pending`` before the first look, and empty for no store.
        busy: The share of its slots that are in use; None if it has no slots.
        memory: The resident memory of its supervisor and children in bytes; None for a worker of an older version.
            macOS shows only the peak. Processes of isolated jobs do not count.
        cpu: The processor time that they take, in seconds per second; None if it is not known yet.
        processes: Its children; empty for a worker of an older version.
        chaos: The share of its jobs that lose their process on purpose (``--chaos``); 0 for a worker that injects no
            faults.
    """

    id: str
    host: str = ""
    pid: int = 0
    queues: Sequence[str] = ()
    slots: int = 0
    running: int = 0
    children: int = 0
    leaving: int = 0
    hung: int = 0
    started: datetime | None = None
    beat: datetime | None = None
    is_gone: bool = False
    state: str = ""
    state_by: str = ""
    obeyed: str = ""
    version: str = ""
    scale_max: int = 0
    undecorated: Sequence[str] = ()
    cpus: int = 0
    ahead: float = 0.0
    kinds: Sequence[str] = ()
    payloads: str = ""
    busy: float | None = None
    memory: int | None = None
    cpu: float | None = None
    processes: Sequence[ChildInfo] = ()
    chaos: float = 0.0


def workers(context: FleetContext) -> Operation[list[WorkerInfo]]:
    """List the workers whose heartbeat is remembered."""
    return workers_of(context, value((yield (context.fleet_call(),))))


def workers_of(context: FleetContext, fleet: FleetSeen) -> list[WorkerInfo]:
    """Convert the workers of a read of the fleet."""
    gone_us = round(context.config.gone_after * 1_000_000)
    return [_worker_info(row.id, row.beat, row.account, fleet.now, gone_us) for row in fleet.workers]


def runs_undecorated(workers: Iterable[WorkerInfo], function: str) -> bool:
    """Whether a live worker runs the public functions of the module of a function, although they are not registered."""
    module = function.rpartition(".")[0]
    return any(module in worker.undecorated for worker in workers if not worker.is_gone)


def _worker_info(worker: str, beat: int, account: bytes, now: int, gone_us: int) -> WorkerInfo:
    try:
        record = decode(account) if account else {}
    except EncodingError:
        record = {}
    fields = record if isinstance(record, dict) else {}
    queues = fields.get("queues", ())
    running, slots = number_of(fields.get("running", 0)), number_of(fields.get("slots", 0))
    return WorkerInfo(
        id=worker,
        host=str(fields.get("host", "")),
        pid=number_of(fields.get("pid", 0)),
        queues=tuple(str(name) for name in queues) if isinstance(queues, list | tuple) else (),
        slots=slots,
        running=running,
        children=number_of(fields.get("children", 0)),
        leaving=number_of(fields.get("leaving", 0)),
        hung=number_of(fields.get("hung", 0)),
        started=moment(number_of(fields.get("started", 0))),
        beat=moment(beat),
        is_gone=now - beat > gone_us,
        state=str(fields.get("state", "")),
        state_by=str(fields.get("state_by", "")),
        obeyed=str(fields.get("obeyed", "")),
        version=str(fields.get("version", "")),
        scale_max=number_of(fields.get("scale_max", 0)),
        undecorated=_texts(fields.get("undecorated")),
        cpus=number_of(fields.get("cpus", 0)),
        ahead=(clock - beat) / 1e6 if (clock := number_of(fields.get("clock", 0))) else 0.0,
        kinds=_texts(fields.get("kinds")),
        payloads=str(fields.get("payloads", "")),
        busy=_share(running, slots),
        memory=_memory(fields.get("memory")),
        cpu=_seconds(fields.get("cpu")),
        processes=tuple(_children(fields.get("processes"))),
        chaos=_seconds(fields.get("chaos")) or 0.0,
    )


def _children(rows: object) -> Iterator[ChildInfo]:
    """Read the rows of the children; one that cannot be read is left out."""
    for row in rows if isinstance(rows, list | tuple) else ():
        if isinstance(row, list | tuple) and len(row) >= CHILD_FIELDS:
            child, pid, state, running, slots, memory, cpu = row[:CHILD_FIELDS]
            jobs, places = number_of(running), number_of(slots)
            share = _share(jobs, places)
            still = _seconds(row[CHILD_FIELDS]) if len(row) > CHILD_FIELDS else None
            load = share, _memory(memory), _seconds(cpu)
            yield ChildInfo(str(child), number_of(pid), str(state), jobs, places, *load, hung_for=still or 0.0)


def _share(running: int, slots: int) -> float | None:
    return round(running / slots, 3) if slots > 0 else None


def _memory(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _seconds(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and 0 <= value < inf else None


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


# Send commands to workers, and wait for their confirmation.
#
# A command is published on the control channel, which may lose it. It is repeated until the heartbeat of the worker
# shows its nonce, and the worker recognizes a repetition by the nonce.


LONGEST = 1e9
AGAIN = 1.0
"""Seconds until a command is repeated."""

PAUSES = (0.02, 0.05, 0.1, 0.2)
STATES = {"quiet": "quiet", "resume": "running", "stop": "stopping"}


@dataclass(frozen=True, slots=True)
class Confirmation:
    """One worker's answer to a command.

    Attributes:
        worker: The id of the worker.
        state: Its state: ``running``, ``quiet``, ``stopping`` or ``gone``; ``unknown`` when no such worker is known.
        children: How many of its children claim jobs.
        is_confirmed: Whether its heartbeat shows that it has executed the command.
        refusal: Why it refused the command; empty when it did not, or when that is not known.
    """

    worker: str
    state: str
    children: int
    is_confirmed: bool
    refusal: str = ""


class _Answer(NamedTuple):
    """The answer of one worker so far.

    Attributes:
        confirmation: The answer.
        is_final: Whether it will not change any more.
    """

    confirmation: Confirmation
    is_final: bool


class _Repeated:
    """What is sent to workers again and again, until there is an answer or the timeout has passed."""

    def __init__(self, timeout: Seconds, by: str | None) -> None:
        if by is not None and not isinstance(by, str):
            raise ConfigError(f"by = {by!r:.100}: give a text, or leave it out.")
        self._by: str = by or NOBODY
        self._timeout: float = _checked("timeout", timeout)
        self._deadline: float = monotonic() + self._timeout
        self._send_at = 0.0
        self._turns = 0

    @property
    def pause(self) -> float:
        """Seconds to wait until the next turn."""
        self._turns += 1
        return min(PAUSES[min(self._turns, len(PAUSES)) - 1], max(0.0, self._deadline - monotonic()))

    def _is_due(self) -> bool:
        """Whether to send it now; then it is due again after `AGAIN` seconds."""
        if monotonic() < self._send_at:
            return False
        self._send_at = monotonic() + AGAIN
        return True


def _checked(name: str, given: Seconds) -> float:
    seconds = from_timedelta(given)
    if not (isinstance(seconds, int | float) and 0 <= seconds <= LONGEST):
        raise ConfigError(f"{name} = {seconds!r:.100}: give seconds, 0 or more.")
    return seconds


class Order(_Repeated):
    """One command to some workers, repeated until all have answered or the timeout has passed.

    Args:
        ids: The ids of the workers.
        verb: The command: quiet, resume, stop, dump or scale.
        processes: The number of children, 1 to 1,024, for ``scale``.
        grace: Seconds until running jobs are stopped, for ``stop``; None for the setting of the worker.
        timeout: Seconds to wait for confirmations.
        by: Who asks; None for nobody in particular.

    Attributes:
        grace: Seconds until running jobs are stopped; None if it is not given.

    Raises:
        ConfigError: The command does not exist, or an argument is missing or wrong.
    """

    def __init__(
        self,
        ids: Sequence[str],
        verb: str,
        *,
        processes: int | None = None,
        grace: Seconds | None = None,
        timeout: Seconds = 10.0,
        by: str | None = None,
    ) -> None:
        super().__init__(timeout, by)
        if verb not in VERBS:
            raise ConfigError(f"No command {verb!r} for workers; use {', '.join(VERBS)}.")
        if (processes is not None) != (verb == "scale") or (processes is not None and not 1 <= processes <= 1024):
            raise ConfigError(f"processes = {processes!r}: 'scale' needs 1 to 1024, other commands none.")
        if grace is not None and verb != "stop":
            raise ConfigError(f"grace = {grace!r}: only 'stop' takes one.")
        if isinstance(ids, str):
            raise ConfigError(f"ids = {ids!r:.100}: give a list of the ids of workers.")
        self.grace: float | None = None if grace is None else _checked("grace", grace)
        self._verb = verb
        self._processes = processes
        given = self.grace if processes is None else processes
        self._commands = {one: Command(verb, one, secrets.token_hex(6), self._by, given) for one in ids}
        self._known: set[str] = set()
        self._answers: dict[str, Confirmation] = {}

    @property
    def is_over(self) -> bool:
        """Whether all have answered, or the timeout has passed."""
        return len(self._answers) == len(self._commands) or monotonic() >= self._deadline

    def turn(self, context: FleetContext) -> Operation[list[Confirmation]]:
        """Send the command if it is due, and read the workers.

        Returns:
            One confirmation per worker, in the order of the ids.
        """
        open_ = [one for one in self._commands if one not in self._answers]
        if self._is_due():
            answers = yield [command(context.keys, self._commands[one]) for one in open_]
            self._known.update(one for one, answer in zip(open_, answers, strict=True) if value([answer]))
        seen = {info.id: info for info in (yield from workers(context))}
        states = {one: self._state(one, seen.get(one)) for one in open_}
        self._answers.update({one: state.confirmation for one, state in states.items() if state.is_final})
        return [self._answers[one] if one in self._answers else states[one].confirmation for one in self._commands]

    def _state(self, worker: str, info: WorkerInfo | None) -> _Answer:
        if info is None:
            known = worker in self._known
            state = "gone" if known else "unknown"
            return _Answer(Confirmation(worker, state, 0, is_confirmed=known and self._verb == "stop"), is_final=True)
        state = "gone" if info.is_gone else info.state
        obeyed = info.obeyed == self._commands[worker].nonce
        wanted = STATES.get(self._verb, state)
        is_refused = obeyed and state == "stopping" and self._verb not in {"stop", "dump"}  # it cannot go back
        done = obeyed and state == wanted and self._processes in {None, info.children}
        refusal = ""
        if obeyed and 0 < info.scale_max < (self._processes or 0):
            refusal = f"takes at most {info.scale_max} processes from afar, unless its scale_max says otherwise."
        confirmation = Confirmation(worker, state, info.children, is_confirmed=done, refusal=refusal)
        return _Answer(confirmation, done or is_refused or bool(refusal))


def _states(context: FleetContext, values: Mapping[str, Any]) -> Operation[dict[str, Any]]:
    seen = {one.id: one for one in (yield from workers(context))}
    return {one: f"{seen[one].state}, {seen[one].children} children" for one in values["ids"] if one in seen}


def _ordered(_before: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    given = {"processes": values["processes"], "grace": from_timedelta(values["grace"])}
    return {name: number for name, number in given.items() if number is not None}


def _confirmed(answers: Sequence[Confirmation]) -> Outcome:
    """How many workers have confirmed a command; others may do it later."""
    number = sum(one.is_confirmed for one in answers)
    after = {one.worker: one.refusal or one.state for one in answers}
    return Outcome("done" if number else "unknown", number, after=after)


@verb(
    "workers.command", method="command_workers", recorded="worker.{command}",
    titled=lambda values: ", ".join(values["ids"]), before=_states, change=_ordered, end=_confirmed,
    holes={
        "command": "`jobfleet workers quiet` and the other acts, which find workers by host",
        "page": "`/workers`, a button per act",
        "API": "`POST /workers/{id}/quiet` and the other acts: one worker, with its answer",
    },
)  # fmt: skip
def command_workers(
    context: FleetContext,
    ids: Sequence[str],
    command: str,
    *,
    processes: int | None = None,
    grace: Seconds | None = None,
    timeout: Seconds = 10.0,
    by: str | None = None,
) -> Operation[list[Confirmation]]:
    """Send a command to workers, wait until their heartbeats confirm it, and return the state of each.

    Args:
        ids: The workers.
        command: ``quiet``, ``resume``, ``stop``, ``scale`` or ``dump``.
        processes: The number of children per worker, for ``scale``.
        grace: Seconds that running jobs may take to end, for ``stop``; default the setting of each worker.
        timeout: Seconds to wait. A worker may confirm later.
        by: The person or program that gives the command, for the record.

    Raises:
        ConfigError: There is no such command, or an argument is missing or wrong.
    """
    order = Order(ids, command, processes=processes, grace=grace, timeout=timeout, by=by)
    while True:
        confirmations = yield from order.turn(context)
        if order.is_over:
            return confirmations
        yield Blocking.pause(order.pause)


# Ask for the stacks of one child, and wait for the answer.
#
# The question is a command on the control channel, repeated until it is answered. The supervisor of the child
# answers: it also does if the event loop of the child does not turn. The answer is stored for a minute.


DIGITS_MOST = 9


@dataclass(frozen=True, slots=True)
class ChildStacks:
    """The stacks of a child: of its threads, and of its asyncio tasks, each with the job that it works for.

    Attributes:
        child: The id of the child.
        worker: The id of its worker.
        pid: Its process id; 0 if there is no answer.
        text: The stacks, at most 64 KiB; empty if there is no answer.
        refusal: Why there is no answer; empty if there is one.
        is_known: Whether there is such a worker.
    """

    child: str
    worker: str
    pid: int = 0
    text: str = ""
    refusal: str = ""
    is_known: bool = True


class Question(_Repeated):
    """One question for the stacks of a child, repeated until it is answered or the timeout has passed.

    Args:
        child: The id of the child.
        timeout: Seconds to wait for the answer.
        by: Who asks; None for nobody in particular.

    Raises:
        ConfigError: An argument is wrong.
    """

    def __init__(self, child: str, *, timeout: Seconds = 10.0, by: str | None = None) -> None:
        super().__init__(timeout, by)
        worker, _, number = child.rpartition(".") if isinstance(child, str) else ("", "", "")
        if not (worker and number.isascii() and number.isdecimal() and len(number) <= DIGITS_MOST):
            raise ConfigError(
                f"child = {child!r:.100}: give the id of a child, such as web-3:4711:9f2c1a.2; "
                "'jobfleet workers show WORKER' lists them."
            )
        self._asked = ChildStacks(child, worker)
        self._command = Command(STACKS, worker, secrets.token_hex(6), self._by, int(number))

    def turn(self, context: FleetContext) -> Operation[ChildStacks | None]:
        """Ask if it is due, and look for the answer; None if there is none yet."""
        if not self._turns:
            every = yield from workers(context)
            refused = self._refused(next((one for one in every if one.id == self._asked.worker), None))
            if refused is not None:
                return refused
        if self._is_due():
            value((yield (command(context.keys, self._command),)))
        answer: bytes = value((yield (stacks(context.keys, self._command.nonce),)))
        if answer:
            return self._read(answer)
        if monotonic() >= self._deadline:
            return replace(self._asked, refusal=f"Its worker has not answered within {self._timeout:g} s.")
        return None

    def _refused(self, info: WorkerInfo | None) -> ChildStacks | None:
        """Why a worker will not answer; None if it may."""
        if info is None:
            return replace(self._asked, refusal=f"There is no worker {self._asked.worker!r}.", is_known=False)
        if info.is_gone:
            return replace(self._asked, refusal="Its worker is gone.")
        if not info.processes and info.children:
            why = "Its worker is of an older version: 'jobfleet workers dump' writes the stacks to its log."
            return replace(self._asked, refusal=why)
        if any(one.pid == info.pid for one in info.processes):
            return replace(self._asked, refusal="Its worker runs inside a program, and takes no commands.")
        return None

    def _read(self, answer: bytes) -> ChildStacks:
        try:
            fields = decode(answer)
        except EncodingError:
            fields = None
        if not isinstance(fields, dict):
            return replace(self._asked, refusal="The answer of its worker cannot be read.")
        text, refusal = str(fields.get("text", "")), str(fields.get("refusal", ""))
        return replace(self._asked, pid=number_of(fields.get("pid", 0)), text=text, refusal=refusal)


def _answered(shown: ChildStacks) -> Outcome:
    return Outcome("done" if shown.text else "unknown", after={"refusal": shown.refusal} if shown.refusal else {})


@verb(
    "workers.stacks", method="child_stacks", recorded="worker.stacks", titled=lambda values: str(values["child"]),
    change=lambda *_: {}, end=_answered,
    holes={
        "page": "`/workers/{id}`, which shows the stacks",
        "API": "`POST /workers/{id}/stacks`, with the number of the child",
    },
)  # fmt: skip
def child_stacks(
    context: FleetContext, child: str, *, timeout: Seconds = 10.0, by: str | None = None
) -> Operation[ChildStacks]:
    """Ask for the stacks of a child: of its threads and asyncio tasks, each with the job that it works for.

    A child whose event loop is blocked answers, too. A job in a process of its own shows only that the child waits
    for it.

    Args:
        child: The id of the child; `WorkerInfo.processes` has it, and a running job has it as `worker`.
        timeout: Seconds to wait for the answer.
        by: The person or program that asks, for the record.

    Returns:
        The stacks, or with `refusal` why there are none.

    Raises:
        ConfigError: An argument is wrong.
    """
    question = Question(child, timeout=timeout, by=by)
    while (found := (yield from question.turn(context))) is None:
        yield Blocking.pause(question.pause)
    return found
