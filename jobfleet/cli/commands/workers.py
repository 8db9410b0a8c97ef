"""`jobfleet workers`: list workers, and send them commands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from jobfleet.cli import fail
from jobfleet.cli.commands.jobs import full_id
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import TIME, Decorated, Group, by_option, yes_option
from jobfleet.cli.output import Cell, Column, agreed, count, plain_lines, say, since
from jobfleet.cli.top_screen import NO_WORKERS, WORKER_COLORS
from jobfleet.cli.view import confirmation_data, job_data, stacks_data, worker_data
from jobfleet.clock import span
from jobfleet.config import processors
from jobfleet.errors import ConfigError, InvalidJob, JobNotFound
from jobfleet.model import JobResult, JobStatus
from jobfleet.operations.audit import whoami
from jobfleet.operations.doctor.findings import size

if TYPE_CHECKING:
    from jobfleet.fleet.sync import Fleet
    from jobfleet.operations.workers import ChildInfo, Confirmation, WorkerInfo


CROWD = 4
"""Processes per CPU above which `scale` asks for confirmation: each loads the modules and needs memory for them."""

JOBS_READ = 1000
"""Running jobs of the fleet among which `show` looks for those of a worker."""


@click.group(cls=Group)
def workers() -> None:
    """List, quiet, scale and stop workers."""


@workers.command("ls")
@click.pass_obj
def ls(invocation: Invocation) -> None:
    """List the workers with a recent heartbeat."""
    with invocation.fleet() as fleet:
        every = fleet.workers()
    if not every and invocation.form == "table":
        say(NO_WORKERS)
        return
    output = invocation.output
    numbers = [Column(title, True) for title in ("CHILDREN", "RUNNING", "SLOTS", "UP", "HEARD")]
    host, pid = Column("HOST", is_spare=True), Column("PID", True, is_spare=True)  # the id of a worker has both
    used = [Column(title, True, is_spare=True) for title in ("MEMORY", "CPU")]
    version = Column("VERSION", is_spare=True)
    columns: list[Column | str] = ["WORKER", "STATE", host, pid, *numbers, *used, version, "QUEUES"]
    now = datetime.now(UTC)
    text = output.table(columns, [_row(worker, now) for worker in every])
    output.show(data=[worker_data(row) for row in every], ids=[row.id for row in every], text=text)


def _row(worker: WorkerInfo, now: datetime) -> list[Cell | str]:
    state = "gone" if worker.is_gone else worker.state or "-"
    by = f" by {worker.state_by}" if worker.state_by.strip("-") and state in {"quiet", "stopping"} else ""
    hung = f", {worker.hung} hung" if worker.hung else ""
    chaos = f", chaos {worker.chaos * 100:.3g}%" if worker.chaos else ""
    return [
        worker.id,
        Cell(f"{state}{by}{hung}{chaos}", "red" if hung or chaos else WORKER_COLORS.get(state)),
        worker.host or "-",
        str(worker.pid or "-"),
        str(worker.children),
        Cell(str(worker.running), "cyan" if worker.running else None),
        str(worker.slots),
        since(worker.started, now),
        since(worker.beat, now),
        *_load(worker),
        worker.version or "-",
        ",".join(worker.queues) or "-",
    ]


def _load(one: WorkerInfo | ChildInfo) -> tuple[str, str]:
    """The memory and the processor time that a worker or a child reports; an older worker reports none."""
    return "-" if one.memory is None else size(one.memory), "-" if one.cpu is None else f"{one.cpu:.0%}"


@workers.command()
@click.argument("name", metavar="WORKER")
@click.pass_obj
def show(invocation: Invocation, name: str) -> int:
    """Show a worker with its children, and what each runs.

    Give the beginning of its id, or its host if no other worker runs there. CPU is the processor time since the last
    heartbeat as a percentage of one processor. Processes of isolated jobs do not count.
    """
    with invocation.fleet() as fleet:
        found = [one for one in fleet.workers() if one.id == name or _fits(one, name)]
        if len(found) != 1:
            which = "There is no worker" if not found else f"{count(len(found), 'worker')} fit"
            say(f"{which} {name!r}; see 'jobfleet workers ls'.")
            return fail.NOT_FOUND
        running = [job for job in fleet.jobs(status=JobStatus.RUNNING, limit=JOBS_READ).jobs if _runs(found[0], job)]
    output, worker, now = invocation.output, found[0], datetime.now(UTC)
    numbers = [Column(title, True) for title in ("RUNNING", "SLOTS", "BUSY", "MEMORY", "CPU", "PID")]
    table = output.table(["CHILD", "STATE", *numbers], [_child_row(one) for one in worker.processes])
    facts = output.details(_facts(worker, now))
    jobs = output.table(
        [Column("FOR", True), Column("CHILD"), "FUNCTION", "JOB"],
        [[since(job.started_at, now), _number(job.worker), job.function or "-", job.id] for job in running],
    )
    shown = [facts, table if worker.processes else "", jobs if running else ""]
    data = {**worker_data(worker), "jobs": [job_data(job) for job in running]}
    output.show(data=data, ids=[one.id for one in worker.processes], text="\n\n".join(filter(None, shown)))
    return fail.DONE


def _runs(worker: WorkerInfo, job: JobResult[Any]) -> bool:
    return (job.worker or "").rpartition(".")[0] == worker.id


def _number(child: str | None) -> str:
    return (child or "-").rpartition(".")[2]


def _child_row(one: ChildInfo) -> list[Cell | str]:
    busy = "-" if one.busy is None else f"{one.busy:.0%}"
    color = "red" if one.state in {"hung", "frozen"} else "green" if one.state == "running" else "yellow"
    return [one.id, Cell(one.state, color), str(one.running), str(one.slots), busy, *_load(one), str(one.pid)]


def _facts(worker: WorkerInfo, now: datetime) -> list[tuple[str, Cell | str]]:
    row = _row(worker, now)
    memory, cpu = _load(worker)
    busy = "-" if worker.busy is None else f"{worker.busy:.0%}"
    return [
        ("worker", worker.id), ("state", row[1]), ("queues", row[-1]), ("version", worker.version or "-"),
        ("running", f"{worker.running} of {worker.slots} slots ({busy}){_each(worker)}"),
        ("memory", memory), ("CPU", cpu),
        ("up", since(worker.started, now)), ("heard", f"{since(worker.beat, now)} ago"),
    ]  # fmt: skip


def _each(worker: WorkerInfo) -> str:
    """The slots as ``--slots`` gave them: a number per process."""
    each = {one.slots for one in worker.processes}
    many = len(worker.processes)
    return f", {each.pop()} in each of {many} processes" if many > 1 and len(each) == 1 else ""


def _targets(function: Decorated) -> Decorated:
    """Add the arguments that select workers, and the options --all, --timeout and --by, to a command."""
    timeout = click.option(
        "--timeout",
        type=TIME,
        default=10.0,
        metavar="TIME",
        help="Longest time to wait for confirmations. [default 10s]",
    )
    every = click.option("--all", "every", is_flag=True, help="All live workers.")
    named = click.argument("names", nargs=-1, metavar="[WORKER|HOST]...")
    return named(every(timeout(by_option(function))))


@workers.command()
@_targets
@click.pass_obj
def quiet(invocation: Invocation, /, **where: Any) -> int:
    """Make workers stop claiming jobs; running jobs continue."""
    return _Command(invocation, "quiet", **where).go()


@workers.command()
@_targets
@click.pass_obj
def resume(invocation: Invocation, /, **where: Any) -> int:
    """Make quiet workers claim jobs again."""
    return _Command(invocation, "resume", **where).go()


@workers.command()
@_targets
@click.option(
    "-p", "--processes", type=click.IntRange(1, 1024), required=True, metavar="N", help="Children per worker."
)
@yes_option
@click.pass_obj
def scale(invocation: Invocation, /, processes: int, yes: bool, **where: Any) -> int:
    """Change the number of child processes of workers, until the workers end.

    Surplus processes finish their running jobs first. The command asks for confirmation before it removes processes,
    or starts more than four per CPU of a worker's machine.
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

    return _Command(invocation, "scale", **where, ask=question, yes=yes, processes=processes).go()


@workers.command()
@_targets
@click.option(
    "--grace", type=TIME, metavar="TIME", help="Time for running jobs to finish. [default the worker's setting]"
)
@yes_option
@click.pass_obj
def stop(invocation: Invocation, /, grace: float | None, yes: bool, **where: Any) -> int:
    """Make workers drain and exit.

    A service manager (systemd, Kubernetes) may start them again.
    """
    return _Command(invocation, "stop", **where, ask=lambda found: f"Stop {_named(found)}?", yes=yes, grace=grace).go()


@workers.command()
@_targets
@click.pass_obj
def dump(invocation: Invocation, /, **where: Any) -> int:
    """Make workers log their leases and the stacks of their threads."""
    return _Command(invocation, "dump", **where).go()


@workers.command()
@click.argument("name", metavar="CHILD|WORKER|JOB")
@click.option("--timeout", type=TIME, default=10.0, metavar="TIME", help="Longest time to wait. [default 10s]")
@by_option
@click.pass_obj
def stacks(invocation: Invocation, /, name: str, timeout: float, by: str | None) -> int:
    """Show what the threads and tasks of a child do now, with the job of each.

    Give the id of a child, as 'jobfleet workers show' lists them, a worker or host that has only one child, or a
    running job. A child whose event loop is blocked answers, too.
    """
    with invocation.fleet() as fleet:
        child = _child_named(fleet, name) or _child_of_job(fleet, name)
        if child is None:
            return fail.NOT_FOUND
        found = fleet.child_stacks(child, timeout=timeout, by=by or whoami())
    invocation.output.show(data=stacks_data(found), ids=[found.child], text=plain_lines(found.text))
    if found.text:
        return fail.DONE
    say(f"{child}: {found.refusal}")
    return fail.FAILED if found.is_known else fail.NOT_FOUND


def _child_named(fleet: Fleet, name: str) -> str:
    """The id of a child, or of the only child of a worker; empty if there is none.

    Raises:
        ConfigError: The name fits several children.
    """
    listed = fleet.workers()
    if any(child.id == name for worker in listed for child in worker.processes):
        return name
    every = [child.id for worker in listed for child in worker.processes if _fits(worker, name)]
    if len(every) > 1:
        raise ConfigError(f"{name!r} has several children; give one of: {', '.join(every)}.")
    return every[0] if every else ""


def _child_of_job(fleet: Fleet, name: str) -> str | None:
    """The id of the child that runs a job; None, after a message, if none does."""
    try:
        job = fleet.poll(full_id(fleet, name))
    except (InvalidJob, JobNotFound):
        worker, _, number = name.rpartition(".")
        if worker and number.isdecimal():
            return name  # of a worker that is not listed: the answer says so
        say(f"There is no child, worker or job {name!r}; see 'jobfleet workers ls'.")
        return None
    if job.status is JobStatus.RUNNING and job.worker:
        return job.worker
    say(f"{job.id} is {job.status}, so no child runs it; see 'jobfleet explain {job.id}'.")
    return None


def _cpus(worker: WorkerInfo) -> int:
    """The number of CPUs that a worker may use; if it did not report it, that of this machine."""
    return worker.cpus or processors()


def _named(found: Sequence[WorkerInfo]) -> str:
    return found[0].id if len(found) == 1 else count(len(found), "worker")


class _Command:
    """A command to workers: selects the workers, asks for confirmation if needed, prints the confirmations."""

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
        self._by = by or whoami()
        self._ask = ask
        self._yes = yes
        self._numbers = numbers

    def go(self) -> int:
        """Send the command; return the exit code."""
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
            answers = fleet.command_workers(ids, self._verb, timeout=self._timeout, by=self._by, **self._numbers)
        return self._report(answers)

    def _found(self, fleet: Fleet) -> list[WorkerInfo]:
        """The selected workers; none, after a message, if a name matches no worker."""
        alive = [one for one in fleet.workers() if not one.is_gone]
        if self._every:
            if not alive:
                say("There are no live workers.")
            return alive
        chosen: dict[str, WorkerInfo] = {}
        for name in self._names:
            fits = [one for one in alive if one.id == name] or [one for one in alive if _fits(one, name)]
            if not fits:
                say(f"There is no live worker {name!r}; see 'jobfleet workers ls'.")
                return []
            chosen.update((one.id, one) for one in fits)
        return list(chosen.values())

    def _report(self, answers: Sequence[Confirmation]) -> int:
        output = self._invocation.output
        done = [one for one in answers if one.is_confirmed]
        text = "\n".join(confirmed(self._verb, one) for one in done)
        output.show(data=[confirmation_data(one) for one in answers], ids=[one.worker for one in done], text=text)
        if self._every and self._verb == "quiet" and done:
            say("These workers claim no jobs until 'jobfleet workers resume --all'.")
        code = fail.DONE
        for one in answers:
            if one.is_confirmed:
                continue
            say(not_confirmed(one, timeout=self._timeout))
            if one.state == "stopping" or one.refusal:
                code = max(code, fail.FAILED)
            elif one.state in {"gone", "unknown"}:
                code = max(code, fail.NOT_FOUND)
            else:
                code = fail.TIMED_OUT
        return code


def _fits(worker: WorkerInfo, name: str) -> bool:
    return name in (worker.host, worker.id) or (":" in name and worker.id.startswith(name))


def confirmed(verb: str, one: Confirmation) -> str:
    """What a worker that has executed a command does now."""
    if verb == "scale":
        return f"{one.worker} has {one.children} {'child' if one.children == 1 else 'children'}."
    if verb == "dump":
        return f"{one.worker} writes to its log."
    return f"{one.worker} is {one.state}."


def not_confirmed(one: Confirmation, *, timeout: float) -> str:
    """Why a worker has not executed a command.

    Args:
        one: Its answer.
        timeout: How long the command waited, in seconds.
    """
    if one.state == "stopping":
        return f"{one.worker} is stopping, which cannot be undone."
    if one.refusal:
        return f"{one.worker} {one.refusal}"
    if one.state in {"gone", "unknown"}:
        return f"{one.worker} has gone."
    return f"{one.worker} has not confirmed within {span(timeout)}; it may still do so."
