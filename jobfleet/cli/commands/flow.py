"""`jobfleet flow`."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import click

from jobfleet.cli import fail
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Group, by_option, yes_option
from jobfleet.cli.output import Cell, Column, Output, agreed, clock, count, from_now, say
from jobfleet.cli.verbs import command_of
from jobfleet.cli.view import shown_id
from jobfleet.clock import iso
from jobfleet.errors import JobNotFound
from jobfleet.operations.flows import flow as flows

if TYPE_CHECKING:
    from jobfleet.operations.flows.record import FlowInfo, FlowJob

COLORS = {
    "completed": "green", "running": "cyan", "failed": "red", "cancelled": "yellow", "expired": "yellow",
    "retrying": "yellow", "failing": "red",
}  # fmt: skip
_MERMAID = {"completed": "#cfc", "running": "#cff", "failed": "#fcc", "cancelled": "#ffc", "expired": "#ffc"}
id_argument = click.argument("flow_id", metavar="ID")


@click.group(cls=Group)
def flow() -> None:
    """List, draw, cancel and retry flows."""


@flow.command("ls")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, metavar="N", help="Rows at most.")
@click.pass_obj
def ls(invocation: Invocation, limit: int) -> None:
    """List the latest flows."""
    with invocation.fleet() as fleet:
        every = []
        for flow_id, made in fleet.flows(limit=limit):
            with suppress(JobNotFound):  # its record cannot be read, or has expired meanwhile
                every.append((fleet.flows.get(flow_id), made))
    if not every and invocation.form == "table":
        say("No flows yet.")
        return
    output = invocation.output
    when = partial(from_now, datetime.now(UTC)) if output.is_narrow else clock
    rows: list[list[Cell | str]] = [
        [
            info.id,
            info.name,
            Cell(info.status, COLORS.get(info.status)),
            str(len(info.jobs)),
            when(made) or "-",
        ]
        for info, made in every
    ]
    data = [
        {
            "id": info.id,
            "name": info.name,
            "status": info.status,
            "jobs": len(info.jobs),
            "made": iso(made),
        }
        for info, made in every
    ]
    text = output.table(["FLOW", Column("NAME", is_elastic=True), "STATUS", Column("JOBS", True), "MADE"], rows)
    output.show(data=data, ids=[info.id for info, _ in every], text=text)


@flow.command()
@id_argument
@click.option("--mermaid", is_flag=True, help="Print it as a Mermaid diagram.")
@click.pass_obj
def show(invocation: Invocation, flow_id: str, mermaid: bool) -> None:
    """Show a flow: each job, its status, and the jobs that it waits for."""
    with invocation.fleet() as fleet:
        info = fleet.flows.get(flow_id)
    output = invocation.output
    if mermaid:
        output.line(to_mermaid(info))
        return
    rows: list[list[Cell | str]] = [_row(output, number, job, info) for number, job in enumerate(info.jobs)]
    job, after = Column("JOB", is_elastic=True), Column("AFTER", is_elastic=True)
    head = f"{info.name}  {info.status}\n"
    if info.on_failure is not None:
        head += f"at the first failure, {shown_id(output, info.on_failure)} runs\n"
    text = head + output.table(["", job, "STATUS", after, "ID"], rows)
    output.show(data=flow_data(info), ids=[job.id for job in info.jobs], text=text)


def _row(output: Output, number: int, job: FlowJob, info: FlowInfo) -> list[Cell | str]:
    after = [
        f"{titled(info.jobs[parent])} ({parent})" + ("" if how == "cancel" else f", else {how}")
        for parent, how in zip(job.parents[:4], job.otherwise, strict=False)
    ]
    if len(job.parents) > len(after):
        after.append(f"and {len(job.parents) - len(after):,} more")
    if job.is_shared:
        after.append("shared: it holds the unique key")
    if job.added_by is not None and not after:
        after.append(f"added by {_named(job.added_by, info)}")
    status = Cell(job.status, COLORS.get(job.status))
    return [str(number), titled(job), status, "; ".join(after) or "-", shown_id(output, job.id)]


def titled(job: FlowJob) -> str:
    """The name of a job; with its arguments, if other jobs of the flow have the same name."""
    return f"{job.name}({job.label})" if job.label else job.name


def _named(job_id: str, info: FlowInfo) -> str:
    """A job of a flow by name and number."""
    place = _place(job_id, info)
    return job_id if place is None else f"{titled(info.jobs[place])} ({place})"


def _place(job_id: str | None, info: FlowInfo) -> int | None:
    return next((place for place, job in enumerate(info.jobs) if job.id == job_id), None)


def flow_data(info: FlowInfo) -> dict[str, object]:
    """A flow as data."""
    return {
        "id": info.id,
        "name": info.name,
        "status": info.status,
        "on_failure": info.on_failure,
        "jobs": [
            {
                "id": job.id,
                "name": job.name,
                "label": job.label,
                "function": job.function,
                "status": job.status,
                "after": [info.jobs[parent].id for parent in job.parents],
                "otherwise": list(job.otherwise),
                "added_by": job.added_by,
                "is_shared": job.is_shared,
            }
            for job in info.jobs
        ],
    }


def to_mermaid(info: FlowInfo) -> str:
    """A flow as a Mermaid diagram."""
    lines = ["flowchart LR"]
    for number, job in enumerate(info.jobs):
        label = titled(job).replace('"', "'")
        lines.append(f'  n{number}["{label}<br/>{job.status}"]')
        if job.status in _MERMAID:
            lines.append(f"  style n{number} fill:{_MERMAID[job.status]}")
        lines += [f"  n{parent} --> n{number}" for parent in job.parents]
        adder = _place(job.added_by, info) if not job.parents else None
        if adder is not None:
            lines.append(f"  n{adder} -.-> n{number}")
    return "\n".join(lines)


@flow.command()
@id_argument
@by_option
@yes_option
@click.pass_obj
def cancel(invocation: Invocation, flow_id: str, by: str | None, yes: bool) -> int:
    """Cancel the open jobs of a flow."""
    with invocation.fleet() as fleet:
        info = fleet.flows.get(flow_id)
        left = sum(job.result is not None and not job.result.status.is_final for job in info.jobs)
        if left and not agreed(f"Cancel {count(left, 'job')} of {info.name}?", yes=yes):
            return fail.FAILED
        cancelled = fleet.flows.cancel(flow_id, by=by) if left else 0
    text = f"Cancelled {count(cancelled, 'job')} of {info.name}."
    invocation.output.show(data={"id": flow_id, "cancelled": cancelled}, ids=[flow_id], text=text)
    return fail.DONE


flow.add_command(command_of(flows.retry))
