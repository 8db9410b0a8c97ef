"""The pages of `jobfleet top` as lines of a terminal. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from jobfleet.cli.output import Cell, Column, Output, clip, clock, count, from_now, paused_by, plain, plain_lines, since
from jobfleet.cli.terminal.frame import Extent, Frame, scrolled
from jobfleet.cli.terminal.lines import cropped, folded, foot_lines, help_lines, hints, page_of
from jobfleet.cli.top.press import KEYS
from jobfleet.cli.top.screen import Cells, Section, screen, section_lines, top_line
from jobfleet.cli.top.state import Kind, Page, Row, Seen, State, filtered, listed, selected, worker_at
from jobfleet.cli.view import full_details, note_of, percent, short_id, status_cell
from jobfleet.model import JobResult, split_id
from jobfleet.model.result import LogLine

HINTS = {
    Page.FLEET: (("j/k", "move"), ("enter", "open"), ("/", "filter"), ("p", "pause"), ("r", "replay")),
    Page.JOBS: (("enter", "open"), ("c", "cancel"), ("r", "replay"), ("/", "filter"), ("esc", "back"), ("j/k", "move")),
    Page.JOB: (("j/k", "scroll"), ("c", "cancel"), ("r", "replay"), ("esc", "back")),
}
WORKER_HINTS = (("j/k", "move"), ("p", "quiet or resume"), ("s", "stop"), ("/", "filter"), ("tab", "next table"))
LEVELS = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red", "DEBUG": "dim"}
OWN_ID_LENGTH = 20
GONE = "Nothing is known about this job any more."


class Around(NamedTuple):
    """What a page shows besides its contents.

    Attributes:
        title: The title of the first page.
        now: Current time.
        trouble: The reason why the page is stale; empty if it is not.
    """

    title: str
    now: datetime
    trouble: str = ""


def frame(output: Output, state: State, seen: Seen, around: Around, *, columns: int, rows: int) -> Frame:
    """Draw a page.

    Args:
        output: Decides whether there are colours.
        state: The state.
        seen: What was read.
        around: Its title, the time, and whether it is stale.
        columns: Width of the terminal, in characters.
        rows: Height of the terminal, in lines.
    """
    foot = foot_lines(output, _foot(state, seen, columns), columns=columns, rows=rows)
    if state.is_help:
        lines = [top_line(output, "jobfleet top: keys", around.now, columns), "", *help_lines(KEYS, columns)]
        return Frame(page_of(lines, (), foot, columns=columns, rows=rows), Extent(rows))
    if state.page is Page.FLEET:
        look = filtered(seen.look, state.filter)
        lines = screen(
            output, look, around.now, columns=columns, rows=rows - len(foot), title=around.title,
            trouble=around.trouble, marked=selected(state, seen), is_filtered=bool(state.filter),
        )  # fmt: skip
        return Frame(page_of(lines, (), foot, columns=columns, rows=rows), Extent(max(1, rows // 3)))
    head = [top_line(output, state.target, around.now, columns)]
    head += [output.styled(cropped(plain(around.trouble), columns), "red") if around.trouble else "", ""]
    room = max(1, rows - len(head) - len(foot))
    if state.page is Page.JOBS:
        head[1] = head[1] or clip(plain(_summary(state, seen)), columns)
        body = section_lines(output, _jobs(state, seen, around.now), room - 1, columns, selected(state, seen))
        return Frame(page_of(head, body, foot, columns=columns, rows=rows), Extent(room))
    body = _job_lines(output, seen, columns) if seen.details or not around.trouble else []
    part = scrolled(body, state.scroll, room)
    head[1] = head[1] or output.styled(part.where, "dim")
    return Frame(page_of(head, part.lines, foot, columns=columns, rows=rows), part.extent)


def _foot(state: State, seen: Seen, columns: int) -> Cell:
    """The text at the bottom: a question, the filter while it is typed, the outcome of the last key, or the keys."""
    if state.asks is not None:
        return Cell(plain(f"{state.asks.question} y/N"), "yellow")
    if state.is_typing:
        return Cell(f"Filter: {plain(state.filter)}_")
    if state.message:
        return Cell(plain(state.message))
    shown = [("/", f"{state.filter} "), ("esc", "all")] if state.filter else []
    keys = WORKER_HINTS if worker_at(state, seen) is not None else HINTS[state.page]
    return Cell(plain(hints((*shown, *keys), columns)), "dim")


def _summary(state: State, seen: Seen) -> str:
    queue = next((one.queue for one in seen.look.queues if one.queue.name == state.target), None)
    if queue is None:
        return "There is no such queue any more."
    later, is_paused = queue.scheduled + queue.retrying, queue.paused is not None
    parts = [f"{queue.queued:,} waiting", f"{later:,} later", f"{queue.running:,} running", f"{queue.dead:,} dead"]
    return "   ".join([*parts, paused_by(queue.paused, queue.paused_reason) if is_paused else "open"])


def _jobs(state: State, seen: Seen, now: datetime) -> Section:
    numbers = [Column(title, True) for title in ("DONE", "RUNS", "AGE")]
    jobs = listed(state, seen)
    nothing = Cell("No jobs." if not state.filter else "No such jobs.")
    targets = [Row(Kind.JOB, job.id) for job in jobs]
    rows = [_job_row(job, now) for job in jobs]
    return Section(["ID", "STATUS", "FUNCTION", *numbers, "NOTE"], rows, 2, nothing, targets)


def _job_row(job: JobResult[Any], now: datetime) -> Cells:
    return [
        _shown(job.id),
        status_cell(job),
        job.function or "-",
        percent(job),
        str(job.attempt or "-"),
        since(job.enqueued_at, now),
        note_of(job, when=lambda moment: from_now(now, moment)),
    ]


def _shown(job_id: str) -> str:
    """An id on the page of its queue: the end of a generated one, and of another one what its queue does not tell."""
    short = short_id(job_id)
    return clip(split_id(job_id).suffix, OWN_ID_LENGTH) if short == job_id else short


def _job_lines(output: Output, seen: Seen, columns: int) -> list[str]:
    """Why a job waits, the job in full with its traceback, and the end of its log, folded to the width."""
    if seen.details is None:
        return [GONE]
    lines = [*map(plain, seen.reasons), *([""] if seen.reasons else [])]
    lines += full_details(output, seen.details).splitlines()
    lines += ["", output.styled(f"log: {count(len(seen.logs), 'line') if seen.logs else 'no lines'}", "dim")]
    for line in seen.logs:
        lines += _log_lines(output, line)
    return [part for line in lines for part in folded(line, columns)]


def _log_lines(output: Output, line: LogLine) -> list[str]:
    head, *rest = plain_lines(line.text).split("\n")
    level = output.styled(f"{plain(line.level):<8}", LEVELS.get(line.level))
    return [f"{clock(line.at).split(' ')[1]}  {level}  {head}", *(f"{'':<20}{each}" for each in rest)]
