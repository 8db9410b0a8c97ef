"""`jobfleet functions`: what functions the fleet has, which workers know them, and what they did in the last hour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from jobfleet.cli import fail
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Command
from jobfleet.cli.output import Cell, Column, Output, say
from jobfleet.cli.verbs import parameters_of
from jobfleet.cli.view import function_data, option_text
from jobfleet.clock import span
from jobfleet.errors import InvalidJob
from jobfleet.operations.functions import FunctionFilters
from jobfleet.operations.verb import fields_of

if TYPE_CHECKING:
    from datetime import timedelta

    from jobfleet.model.history import Percentiles
    from jobfleet.operations.functions import FunctionInfo


FILTERS = fields_of(FunctionFilters)
NONE_YET = "No worker has published a function. Start one: 'jobfleet worker MODULE'."
NO_WORKER = "no live worker knows it"
NOT_SERVED = "no worker that knows it serves its queue"


@click.command(cls=Command)
@parameters_of(FILTERS)
@click.pass_obj
def functions(invocation: Invocation, /, function: str | None, queue: str | None, worker: str | None) -> int:
    """List the functions that workers have published, with the workers that know each, and its last hour.

    RUNS, FAILED and RUN P95 are those of the last hour, from the samples that a reaper takes. With --function, all
    options of the function and its workers are shown.
    """
    try:
        with invocation.fleet() as fleet:
            found = fleet.functions(function=function, queue=queue, worker=worker)
    except InvalidJob as error:
        say(str(error))
        return fail.NOT_FOUND
    output = invocation.output
    text = _details(output, found[0]) if function is not None and found else _table(output, found)
    output.show(data=[function_data(one) for one in found], ids=[one.name for one in found], text=text)
    if not found and output.form == "table":
        say(NONE_YET if queue is None and worker is None else "No function matches.")
    return fail.DONE


def _table(output: Output, found: Sequence[FunctionInfo]) -> str:
    columns: list[Column | str] = [
        Column("FUNCTION", is_elastic=True), "QUEUE", Column("WORKERS", True), Column("RUNS", True),
        Column("FAILED", True), Column("RETRIED", True, is_spare=True), Column("WAIT P95", True, is_spare=True),
        Column("RUN P95", True), Column("SCHEDULE", is_spare=True), "NOTE",
    ]  # fmt: skip
    return output.table(columns, [_row(one) for one in found]) if found else ""


def _row(one: FunctionInfo) -> list[Cell | str]:
    hour = one.last_hour
    known = (hour.started, hour.failed, hour.retried) if hour is not None else (None, None, None)
    started, failed, retried = ("-" if number is None else f"{number:,}" for number in known)
    return [
        one.name,
        one.queue,
        Cell(f"{len(one.workers)}", None if one.workers else "red"),
        started,
        Cell(failed, "red" if hour is not None and hour.failed else None),
        retried,
        _time(hour.wait if hour is not None else None),
        _time(hour.run if hour is not None else None),
        one.schedule,
        Cell(*((trouble, "red") if (trouble := trouble_of(one)) else (one.doc, None))),
    ]


def trouble_of(one: FunctionInfo) -> str:
    """Why no worker runs the jobs of a function; empty if one does."""
    return "" if one.is_served else NOT_SERVED if one.workers else NO_WORKER


def _time(found: Percentiles | None) -> str:
    return "-" if found is None else _short(found.p95)


def _short(time: timedelta) -> str:
    seconds = time.total_seconds()
    return f"{seconds * 1000:.2g} ms" if 0 < seconds < 0.01 else span(seconds)


def _details(output: Output, one: FunctionInfo) -> str:
    hour = one.last_hour
    ran = "" if hour is None else f"{hour.started:,} started, {hour.completed:,} completed, {hour.failed:,} failed"
    trouble = trouble_of(one)
    return output.details(
        [
            ("function", f"{one.name}{one.parameters}"),
            ("", one.doc),
            ("queue", one.queue),
            ("runs in", one.run_in),
            ("workers", Cell(trouble, "red") if not one.workers else ", ".join(one.workers)),
            ("trouble", Cell(trouble, "red") if one.workers else ""),
            *((name.replace("_", " "), option_text(value)) for name, value in one.options.items()),
            ("schedule", one.schedule),
            ("limit", one.limit),
            ("last hour", ran),
            ("run time p95", _time(hour.run) if hour is not None and hour.run else ""),
            ("wait p95", _time(hour.wait) if hour is not None and hour.wait else ""),
        ]
    )
