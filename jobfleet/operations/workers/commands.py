"""Send commands to workers, and wait for their confirmation.

A command is published on the control channel, which may lose it. It is repeated until the heartbeat of the worker shows
its nonce, and the worker recognizes a repetition by the nonce.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from jobfleet.clock import from_timedelta, monotonic
from jobfleet.errors import ConfigError
from jobfleet.events import VERBS, Command
from jobfleet.model.audit import NOBODY
from jobfleet.model.option_types import Seconds
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.workers.info import WorkerInfo, workers
from jobfleet.store.calls.presence import command

LONGEST = 1e9
AGAIN = 1.0
"""Seconds until a command is repeated."""

PAUSES = (0.02, 0.05, 0.1, 0.2)
STATES = {"quiet": "quiet", "resume": "running", "stop": "stopping"}


@dataclass(frozen=True, slots=True)
class Confirmation:
    """The reaction of one worker to a command.

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


class Order:
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
        if by is not None and not isinstance(by, str):
            raise ConfigError(f"by = {by!r:.100}: give a text, or leave it out.")
        if verb not in VERBS:
            raise ConfigError(f"No command {verb!r} for workers; use {', '.join(VERBS)}.")
        if (processes is not None) != (verb == "scale") or (processes is not None and not 1 <= processes <= 1024):
            raise ConfigError(f"processes = {processes!r}: 'scale' needs 1 to 1024, other commands none.")
        if grace is not None and verb != "stop":
            raise ConfigError(f"grace = {grace!r}: only 'stop' takes one.")
        if isinstance(ids, str):
            raise ConfigError(f"ids = {ids!r:.100}: give a list of the ids of workers.")
        kept, patience = from_timedelta(grace), from_timedelta(timeout)
        for name, number in (("grace", kept), ("timeout", patience)):
            if number is not None and not (isinstance(number, int | float) and 0 <= number <= LONGEST):
                raise ConfigError(f"{name} = {number!r:.100}: give seconds, 0 or more.")
        self.grace: float | None = kept
        self._verb = verb
        self._processes = processes
        given = kept if processes is None else processes
        self._commands = {one: Command(verb, one, secrets.token_hex(6), by or NOBODY, given) for one in ids}
        self._known: set[str] = set()
        self._answers: dict[str, Confirmation] = {}
        self._deadline: float = monotonic() + patience
        self._send_at = 0.0
        self._turns = 0

    @property
    def is_over(self) -> bool:
        """Whether all have answered, or the timeout has passed."""
        return len(self._answers) == len(self._commands) or monotonic() >= self._deadline

    @property
    def pause(self) -> float:
        """Seconds to wait until the next turn."""
        self._turns += 1
        return min(PAUSES[min(self._turns, len(PAUSES)) - 1], max(0.0, self._deadline - monotonic()))

    def turn(self, context: FleetContext) -> Operation[list[Confirmation]]:
        """Send the command if it is due, and read the workers.

        Returns:
            One confirmation per worker, in the order of the ids.
        """
        open_ = [one for one in self._commands if one not in self._answers]
        if monotonic() >= self._send_at:
            self._send_at = monotonic() + AGAIN
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
