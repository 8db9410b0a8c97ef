"""Ask for the stacks of one child, and wait for the answer.

The question is a command on the control channel, repeated until it is answered. The supervisor of the child answers: it
also does if the event loop of the child does not turn. The answer is stored for a minute.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace

from jobfleet.clock import from_timedelta, monotonic
from jobfleet.codec import decode
from jobfleet.errors import ConfigError, EncodingError
from jobfleet.events import STACKS, Command
from jobfleet.model.audit import NOBODY
from jobfleet.model.option_types import Seconds
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.workers.commands import AGAIN, LONGEST, PAUSES
from jobfleet.operations.workers.info import WorkerInfo, workers
from jobfleet.store.calls.presence import command, stacks
from jobfleet.store.rows import number_of

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


class Question:
    """One question for the stacks of a child, repeated until it is answered or the timeout has passed.

    Args:
        child: The id of the child.
        timeout: Seconds to wait for the answer.
        by: Who asks; None for nobody in particular.

    Raises:
        ConfigError: An argument is wrong.
    """

    def __init__(self, child: str, *, timeout: Seconds = 10.0, by: str | None = None) -> None:
        if by is not None and not isinstance(by, str):
            raise ConfigError(f"by = {by!r:.100}: give a text, or leave it out.")
        worker, _, number = child.rpartition(".") if isinstance(child, str) else ("", "", "")
        if not (worker and number.isascii() and number.isdecimal() and len(number) <= DIGITS_MOST):
            raise ConfigError(
                f"child = {child!r:.100}: give the id of a child, such as web-3:4711:9f2c1a.2; "
                "'jobfleet workers show WORKER' lists them."
            )
        patience = from_timedelta(timeout)
        if not (isinstance(patience, int | float) and 0 <= patience <= LONGEST):
            raise ConfigError(f"timeout = {patience!r:.100}: give seconds, 0 or more.")
        self._asked = ChildStacks(child, worker)
        self._command = Command(STACKS, worker, secrets.token_hex(6), by or NOBODY, int(number))
        self._timeout: float = patience
        self._deadline: float = monotonic() + patience
        self._send_at = 0.0
        self._turns = 0

    @property
    def pause(self) -> float:
        """Seconds to wait until the next turn."""
        self._turns += 1
        return min(PAUSES[min(self._turns, len(PAUSES)) - 1], max(0.0, self._deadline - monotonic()))

    def turn(self, context: FleetContext) -> Operation[ChildStacks | None]:
        """Ask if it is due, and look for the answer; None if there is none yet."""
        if not self._turns:
            every = yield from workers(context)
            refused = self._refused(next((one for one in every if one.id == self._asked.worker), None))
            if refused is not None:
                return refused
        if monotonic() >= self._send_at:
            self._send_at = monotonic() + AGAIN
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
