"""`jobfleet workers`: look at workers, and tell them what to do."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from jobfleet.cli import fail
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import TIME, Decorated, Group, by_option, yes_option
from jobfleet.cli.output import Cell, Column, age, agreed, count, say
from jobfleet.cli.schema import confirmation_data, worker_data
from jobfleet.clock import span
from jobfleet.config import processors

if TYPE_CHECKING:
    from jobfleet.fleet.sync import Fleet
    from jobfleet.operations.workers.commands import Confirmation
    from jobfleet.operations.workers.info import WorkerInfo

CROWD = 4
"""Processes per processor above which `scale` asks first: each loads the modules, and takes memory for them."""
_COLORS = {"running": "green", "quiet": "yellow", "stopping": "yellow", "gone": "red"}


@click.group(cls=Group)
def workers() -> None:
    """Look at workers, quiet, scale and stop them."""


@workers.command("ls")
@click.pass_obj
def ls(invocation: Invocation) -> None:
    """List the workers that were heard of lately."""
    with invocation.fleet() as fleet:
        every = fleet.workers()
    if not every and invocation.form == "table":
        say("No workers. Start one: 'jobfleet worker MODULE'.")
        return
    output = invocation.output
    numbers = [Column(title, True) for title in ("PID", "CHILDREN", "RUNNING", "SLOTS", "UP", "HEARD")]
    columns: list[Column | str] = ["WORKER", "STATE", "HOST", *numbers, "VERSION", "QUEUES"]
    now = datetime.now(UTC)
    text = output.table(columns, [_row(worker, now) for worker in every])
    output.show(data=[worker_data(row) for row in every], ids=[row.id for row in every], text=text)


def _row(worker: WorkerInfo, now: datetime) -> list[Cell | str]:
    state = "gone" if worker.is_gone else worker.state or "-"
    by = f" by {worker.state_by}" if worker.state_by.strip("-") and state in {"quiet", "stopping"} else ""
    hung = f", {worker.hung} hung" if worker.hung else ""
    return [
        worker.id,
        Cell(f"{state}{by}{hung}", "red" if hung else _COLORS.get(state)),
        worker.host or "-",
        str(worker.pid or "-"),
        str(worker.children),
        Cell(str(worker.running), "cyan" if worker.running else None),
        str(worker.slots),
        _since(worker.started, now),
        _since(worker.beat, now),
        worker.version or "-",
        ",".join(worker.queues) or "-",
    ]


def _since(moment: datetime | None, now: datetime) -> str:
    return age((now - moment).total_seconds()) if moment else "-"


def _targets(function: Decorated) -> Decorated:
    """Give a command the arguments that name workers, and how it goes about them."""
    timeout = click.option(
        "--timeout", type=TIME, default=10.0, metavar="TIME", help="How long to wait for confirmations. [default 10s]"
    )
    every = click.option("--all", "every", is_flag=True, help="All workers that are alive.")
    named = click.argument("names", nargs=-1, metavar="[WORKER|HOST]...")
    return named(every(timeout(by_option(function))))


@workers.command()
@_targets
@click.pass_obj
def quiet(invocation: Invocation, /, **where: Any) -> int:
    """Let workers claim no more jobs; running ones go on."""
    return _Told(invocation, "quiet", **where).go()


@workers.command()
@_targets
@click.pass_obj
def resume(invocation: Invocation, /, **where: Any) -> int:
    """Let quiet workers claim jobs again."""
    return _Told(invocation, "resume", **where).go()


@workers.command()
@_targets
@click.option(
    "-p", "--processes", type=click.IntRange(1, 1024), required=True, metavar="N", help="How many children each."
)
@yes_option
@click.pass_obj
def scale(invocation: Invocation, /, processes: int, yes: bool, **where: Any) -> int:
    """Change how many child processes workers have, until they end.

    Those that are too many finish what they run. It asks first before it removes processes, or starts more than four
    per processor of a worker's machine.
    """

    def question(found: Sequence[WorkerInfo]) -> str:
        shrinking = [one for one in found if one.children > processes]
        crowded = [one for one in found if one.children < processes > CROWD * _cpus(one)]
        if shrinking:
            return f"Scale {_named(shrinking)} down to {processes} each?"
        if crowded:
            cpus = min(_cpus(one) for one in crowded)
            return f"Scale {_named(crowded)} up to {processes} each, more than {CROWD} per CPU ({cpus})?"
        return ""

    return _Told(invocation, "scale", **where, ask=question, yes=yes, processes=processes).go()


@workers.command()
@_targets
@click.option("--grace", type=TIME, metavar="TIME", help="How long running jobs may finish. [default the worker's own]")
@yes_option
@click.pass_obj
def stop(invocation: Invocation, /, grace: float | None, yes: bool, **where: Any) -> int:
    """Let workers drain and leave.

    What starts them (systemd, Kubernetes) may start them again.
    """
    return _Told(invocation, "stop", **where, ask=lambda found: f"Stop {_named(found)}?", yes=yes, grace=grace).go()


@workers.command()
@_targets
@click.pass_obj
def dump(invocation: Invocation, /, **where: Any) -> int:
    """Let workers write to their logs what they hold, and the stacks of their threads."""
    return _Told(invocation, "dump", **where).go()


def _cpus(worker: WorkerInfo) -> int:
    """The processors that a worker may use; those of this machine where it does not say."""
    return worker.cpus or processors()


def _named(found: Sequence[WorkerInfo]) -> str:
    return found[0].id if len(found) == 1 else count(len(found), "worker")


class _Told:
    """One command to some workers: whom it means, a question where it takes something away, and the answers."""

    def __init__(
        self,
        invocation: Invocation,
        verb: str,
        *,
        names: tuple[str, ...],
        every: bool,
        timeout: float,
        by: str | None,
        ask: Callable[[Sequence[WorkerInfo]], str] = lambda _: "",
        yes: bool = True,
        **numbers: Any,
    ) -> None:
        self._invocation = invocation
        self._verb = verb
        self._names = names
        self._every = every
        self._timeout = timeout
        self._by = by or _whoami()
        self._ask = ask
        self._yes = yes
        self._numbers = numbers

    def go(self) -> int:
        """Do it; the exit code."""
        if bool(self._names) == self._every:
            raise click.UsageError("Name workers or hosts, or give --all.")
        with self._invocation.fleet() as fleet:
            found = self._found(fleet)
            if not found:
                return fail.NOT_FOUND
            question = self._ask(found)
            if question and not agreed(question, yes=self._yes):
                return fail.FAILED
            ids = [one.id for one in found]
            stands = fleet.command_workers(ids, self._verb, timeout=self._timeout, by=self._by, **self._numbers)
        return self._told(stands)

    def _found(self, fleet: Fleet) -> list[WorkerInfo]:
        """The workers that are meant; none, and a line that says so, when a name fits nobody."""
        alive = [one for one in fleet.workers() if not one.is_gone]
        if self._every:
            if not alive:
                say("No workers are alive.")
            return alive
        chosen: dict[str, WorkerInfo] = {}
        for name in self._names:
            fits = [one for one in alive if one.id == name] or [one for one in alive if _fits(one, name)]
            if not fits:
                say(f"No worker {name!r} is alive; see 'jobfleet workers ls'.")
                return []
            chosen.update((one.id, one) for one in fits)
        return list(chosen.values())

    def _told(self, stands: Sequence[Confirmation]) -> int:
        output = self._invocation.output
        done = [one for one in stands if one.is_confirmed]
        text = "\n".join(_line(self._verb, one) for one in done)
        output.show(data=[confirmation_data(one) for one in stands], ids=[one.worker for one in done], text=text)
        code = fail.DONE
        for one in stands:
            if one.is_confirmed:
                continue
            if one.state == "stopping":
                say(f"{one.worker} is stopping; it does not turn back.")
                code = max(code, fail.FAILED)
            elif one.refusal:
                say(f"{one.worker} {one.refusal}")
                code = max(code, fail.FAILED)
            elif one.state in {"gone", "unknown"}:
                say(f"{one.worker} has gone.")
                code = max(code, fail.NOT_FOUND)
            else:
                say(f"{one.worker} has not confirmed within {span(self._timeout)}; it may still obey.")
                code = fail.TIMED_OUT
        return code


def _fits(worker: WorkerInfo, name: str) -> bool:
    return name in (worker.host, worker.id) or (":" in name and worker.id.startswith(name))


def _line(verb: str, one: Confirmation) -> str:
    if verb == "scale":
        return f"{one.worker} has {one.children} {'child' if one.children == 1 else 'children'}."
    if verb == "dump":
        return f"{one.worker} writes to its log."
    return f"{one.worker} is {one.state}."


def _whoami() -> str:
    """The default of --by."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container may know no name for its number
        user = "somebody"
    return f"{user}@{socket.gethostname()}"
