"""`jobfleet stats` and `jobfleet scale`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from operator import attrgetter
from typing import TYPE_CHECKING

import click

from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Command
from jobfleet.cli.output import Cell, Column, Output, clock, count, say
from jobfleet.cli.view import history_data, scale_data
from jobfleet.clock import iso, span

if TYPE_CHECKING:
    from jobfleet.model.history import History, HistoryPoint, Percentiles


COUNTS = ("enqueued", "started", "completed", "failed", "retried", "cancelled", "expired")
GAUGES = ("waiting", "scheduled", "blocked", "running", "dead")
BAD = {"failed": "red", "dead": "red", "retried": "yellow"}
BESIDE = 46
"""Columns beside the bars."""
ROOM = (10, 120)
"""The least and the largest number of bars."""
Value = Callable[["HistoryPoint"], float | None]


@click.command(cls=Command)
@click.option("--since", metavar="TIME", default="1h", show_default=True, help="How far back, such as 30m, 24h or 7d.")
@click.option("--step", metavar="TIME", help="Time per step. By default there are at most 60 steps.")
@click.option("--queue", "-q", metavar="NAME", help="Only this queue.")
@click.option("--function", "-f", metavar="NAME", help="Only this function, in all its queues.")
@click.pass_obj
def stats(invocation: Invocation, since: str, step: str | None, queue: str | None, function: str | None) -> None:
    """Show the past of the fleet, of a queue or of a function: rates, waiting jobs, wait and run times.

    A reaper samples the fleet every 10 seconds. A dot is a step without a sample.
    """
    with invocation.fleet() as fleet:
        found = fleet.history(queue, function, since=since, step=step)
    output = invocation.output
    output.show(data=history_data(found), ids=[str(iso(point.at)) for point in found.points], text=_text(output, found))
    if output.form == "table" and all(point.completed is None for point in found.points):
        say("No samples in this time. A reaper takes them: 'jobfleet reaper', or a worker with --with-reaper.")


def _text(output: Output, found: History) -> str:
    of = found.queue or found.function or "fleet"
    length = span((found.until - found.since).total_seconds())
    step = span(found.step.total_seconds())
    parts = [f"{of}: the last {length} until {clock(found.until)}, {step} per step"]
    parts += [table for table in (_counts(output, found), _gauges(output, found), _times(output, found)) if table]
    if found.deploys:
        parts.append("\n".join(f"{clock(deploy.at)}  new version {deploy.version}" for deploy in found.deploys))
    return "\n\n".join(parts)


def _counts(output: Output, found: History) -> str:
    seconds = sum(point.completed is not None for point in found.points) * found.step.total_seconds()
    rows: list[list[Cell | str]] = []
    for name in COUNTS:
        total = found.total(name)
        if total is not None:
            rate = f"{total / seconds:,.3g}/s" if total else "-"
            bars = _bars(output, found, attrgetter(name))
            rows.append([name, bars, Cell(f"{total:,}", BAD.get(name) if total else None), rate])
    titles: list[Column | str] = ["JOBS", "PAST", Column("TOTAL", True), Column("MEAN", True)]
    return output.table(titles, rows) if rows else ""


def _gauges(output: Output, found: History) -> str:
    rows: list[list[Cell | str]] = []
    for name in GAUGES:
        values = [value for point in found.points if (value := getattr(point, name)) is not None]
        if values:
            bars = _bars(output, found, attrgetter(name))
            color = BAD.get(name) if values[-1] else None
            rows.append([name, bars, Cell(f"{values[-1]:,}", color), f"{max(values):,}"])
    oldest = [point.oldest_wait for point in found.points if point.oldest_wait is not None]
    if oldest:
        bars = _bars(output, found, lambda point: _seconds(point.oldest_wait))
        rows.append(["oldest wait", bars, _span(oldest[-1]), _span(max(oldest))])
    titles: list[Column | str] = ["STATE", "PAST", Column("LAST", True), Column("MOST", True)]
    return output.table(titles, rows) if rows else ""


def _times(output: Output, found: History) -> str:
    rows: list[list[Cell | str]] = []
    pairs: Sequence[tuple[str, Percentiles | None, Value]] = (
        ("wait", found.wait, lambda point: _seconds(point.wait.p95) if point.wait else None),
        ("run", found.run, lambda point: _seconds(point.run.p95) if point.run else None),
    )
    for name, whole, value in pairs:
        if whole is not None:
            bars = _bars(output, found, value)
            rows.append([name, bars, *(_span(time) for time in (whole.p50, whole.p95, whole.p99))])
    titles: list[Column | str] = ["TIME", "PAST (P95)", *(Column(title, True) for title in ("P50", "P95", "P99"))]
    return output.table(titles, rows) if rows else ""


def _bars(output: Output, found: History, value: Value) -> str:
    least, most = ROOM
    room = (
        max(least, min(most, shutil.get_terminal_size().columns - BESIDE)) if output.is_terminal else len(found.points)
    )
    return sparkline([value(point) for point in found.points], room, **drawable())


def _seconds(time: timedelta | None) -> float | None:
    return None if time is None else time.total_seconds()


def _span(time: timedelta) -> str:
    """A duration; below 10 ms with fractions of a millisecond."""
    ms = time.total_seconds() * 1000
    return f"{ms:.2g} ms" if 0 < ms < 10 else span(time.total_seconds())


BARS = "▁▂▃▄▅▆▇█"
PLAIN_BARS = "_.:-=+*#"
"""For a terminal whose encoding lacks `BARS`."""
GAP, PLAIN_GAP = "·", " "
"""For a step without a sample."""


def sparkline(values: Sequence[float | None], room: int, *, bars: str = BARS, gap: str = GAP) -> str:
    """Draw numbers from 0 to their maximum. The lowest bar is 0, and only 0.

    Args:
        values: The numbers; None for a gap.
        room: The largest number of bars. Several numbers share a bar if there are more; it has the highest of them.
        bars: The bars, from the lowest to the highest.
        gap: What stands for a gap.
    """
    shown = fitted(values, room)
    most = max((value for value in shown if value is not None), default=0) or 1
    return "".join(gap if value is None else bars[_height(value / most, len(bars))] for value in shown)


def fitted(values: Sequence[float | None], room: int) -> list[float | None]:
    """Return at most `room` numbers, each the maximum of as many neighbours as the others."""
    share = -(-len(values) // max(1, room))
    groups = [values[at : at + share] for at in range(0, len(values), max(1, share))]
    return [max((value for value in group if value is not None), default=None) for group in groups]


def _height(part: float, bars: int) -> int:
    return 0 if part <= 0 else max(1, min(bars - 1, round(part * (bars - 1))))


def drawable() -> dict[str, str]:
    """Return the bars and the gap that the encoding of stdout has, as arguments of `sparkline`."""
    try:
        (BARS + GAP).encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return {"bars": PLAIN_BARS, "gap": PLAIN_GAP}
    return {"bars": BARS, "gap": GAP}


@click.command(cls=Command)
@click.argument("queue", metavar="QUEUE")
@click.option("--least", type=int, default=0, show_default=True, metavar="N", help="Smallest number of workers.")
@click.option("--most", type=int, default=100, show_default=True, metavar="N", help="Largest number of workers.")
@click.option("--wait", default="15s", show_default=True, metavar="TIME", help="Time within which due jobs start.")
@click.option("--hold", default="5m", show_default=True, metavar="TIME", help="Time for which workers are kept.")
@click.pass_obj
def scale(invocation: Invocation, queue: str, least: int, most: int, wait: str, hold: str) -> None:
    """Show how many workers a queue needs, why, and which ones to remove.

    It changes nothing. A reaper answers the same to an autoscaler: GET /scale/QUEUE on its metrics port.
    """
    with invocation.fleet() as fleet:
        found = fleet.scale(queue, least=least, most=most, wait=wait, hold=hold)
    lines = [f"{queue}: {count(found.workers, 'worker')}; now {found.current:,}.", found.reason]
    lines += [f"Remove {worker}: jobfleet workers stop {worker}" for worker in found.remove]
    invocation.output.show(data=scale_data(found), ids=list(found.remove), text="\n".join(lines))
    if found.workers > found.current and invocation.form == "table":
        more = count(found.workers - found.current, "worker")
        if found.waiting:
            say(f"Start {more} more.")
        else:
            say(f"No job waits. Start {more} more if jobs that arrive are not to wait for a start.")
