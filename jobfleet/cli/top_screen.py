"""The pages of `jobfleet top`: lines that fit the terminal, with long lists cut. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from jobfleet.cli.output import (
    LAST,
    Cell,
    Column,
    Output,
    age,
    clip,
    clock,
    count,
    from_now,
    paused_by,
    plain,
    plain_lines,
    since,
    width,
)
from jobfleet.cli.terminal import (
    MARGIN,
    MARK,
    Extent,
    Frame,
    cropped,
    folded,
    foot_lines,
    help_lines,
    hints,
    page_of,
    scrolled,
    window,
)
from jobfleet.cli.top_state import (
    KEYS,
    Kind,
    Look,
    Moving,
    Page,
    Row,
    Seen,
    State,
    filtered,
    listed,
    selected,
    worker_at,
)
from jobfleet.cli.view import full_details, note_of, percent, short_id, shown_id, status_cell
from jobfleet.model import JobResult, split_id
from jobfleet.model.result import LogLine

if TYPE_CHECKING:
    from jobfleet.operations.workers import WorkerInfo


Cells = list[Cell | str]
NARROWEST = 10
HINT = "? help  q quits"
IDS_FROM = 120
"""Least width of the terminal, in characters, to show the ids of failures."""
ALL_FROM = 80
"""Least width of the terminal, in characters, to show all other columns."""

TABLES_FROM = 16
"""Least height of the terminal, in lines, to show other tables besides that of the selected row."""
SPARE = frozenset({"LATER", "BLOCKED", "FAIL/S", "CHILDREN", "UP", "DONE", "RUNS"})
"""The columns that a narrower terminal goes without."""
_UNITS = ((1e3, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T"))
WORKER_COLORS = {"running": "green", "quiet": "yellow", "stopping": "yellow", "gone": "red"}
NO_SUCH = ("No such queues.", "No such workers.", "No such failures.")
NO_WORKERS = "No workers. Start one: 'jobfleet worker MODULE'."


class Section(NamedTuple):
    """A table of the screen.

    Attributes:
        columns: Titles of the columns.
        rows: Rows of cells.
        elastic: Index of the column that is cut when the terminal is narrow.
        nothing: Text in place of an empty table.
        targets: What can be selected, one for each row; empty if no row can be.
    """

    columns: Sequence[Column | str]
    rows: Sequence[Cells]
    elastic: int
    nothing: Cell
    targets: Sequence[Row] = ()


def sections(output: Output, look: Look, now: datetime, *, columns: int = IDS_FROM) -> list[Section]:
    """The tables of queues, workers and failures, with the columns that fit a width."""
    failures = _failures(output, look.failures, now, with_ids=columns >= IDS_FROM)
    parts = [_queues(look.queues), _workers(look.workers, now), failures]
    return parts if columns >= ALL_FROM else [_without(part, SPARE) for part in parts]


def tables(output: Output, look: Look, now: datetime) -> str:
    """A sample as plain tables with all rows."""
    parts = [
        output.table(part.columns, part.rows) if part.rows else output.styled(*part.nothing)
        for part in sections(output, look, now)
    ]
    return "\n\n".join(parts)


def screen(
    output: Output,
    look: Look,
    now: datetime,
    *,
    columns: int,
    rows: int,
    title: str,
    trouble: str = "",
    marked: Row | None = None,
    is_filtered: bool = False,
) -> list[str]:
    """A sample as the lines of a terminal.

    Args:
        output: Decides whether there are colours.
        look: The sample.
        now: Current time.
        columns: Width of the terminal, in characters.
        rows: Height of the terminal, in lines.
        title: Title of the first line.
        trouble: The reason why the sample is stale; empty if it is not.
        marked: The selected row; None for none, and then there is no margin.
        is_filtered: Whether the sample is only a part.
    """
    parts = sections(output, look, now, columns=columns)
    if is_filtered:
        parts = [part._replace(nothing=Cell(text)) for part, text in zip(parts, NO_SUCH, strict=True)]
    if rows < TABLES_FROM:
        parts = [part for part in parts if marked in part.targets] or parts
    sums = clip(("   " if columns >= ALL_FROM else "  ").join(_sums(look)), columns)
    lines = [top_line(output, title, now, columns)]
    lines.append(output.styled(clip(plain(trouble), columns), "red") if trouble else sums)
    room = rows - len(lines) - sum(2 if part.rows else 1 for part in parts)  # an empty line, and the titles
    for part, share in zip(parts, shares(room, [max(1, len(part.rows)) for part in parts]), strict=True):
        lines += ["", *section_lines(output, part, share, columns, marked)]
    return lines[:rows]


def shares(room: int, wanted: Sequence[int]) -> list[int]:
    """Divide lines among lists. No list gets more than it wants, and lists that want least are served first."""
    given, left = [0] * len(wanted), max(0, room)
    for place, index in enumerate(sorted(range(len(wanted)), key=wanted.__getitem__)):
        given[index] = min(wanted[index], left // (len(wanted) - place))
        left -= given[index]
    return given


def short(number: float) -> str:
    """A count in at most 6 characters."""
    if number < 99_999.5:
        return f"{number:,.0f}"
    size, unit = next(((size, unit) for size, unit in _UNITS if number < 999.5 * size), _UNITS[-1])
    return f"{number / size:.0f}{unit}" if number >= 99.95 * size else f"{number / size:.1f}{unit}"


def pace(rate: float | None) -> str:
    """A rate in at most 6 characters; a dash for None."""
    if rate is None:
        return "-"
    return f"{rate:.1f}" if 0 < rate < 99.95 else short(rate)


def top_line(output: Output, title: str, now: datetime, columns: int) -> str:
    """The first line of a page: its title, the keys that everybody needs, and the time."""
    end = f"{HINT}  {clock(now).partition(' ')[2]}"
    name = clip(plain(title), max(NARROWEST, columns - len(end) - 2))
    return output.styled(f"{name}{' ' * max(2, columns - width(name) - len(end))}{end}", "dim")


def _sums(look: Look) -> list[str]:
    """The whole fleet in one line."""
    every = [one.queue for one in look.queues]
    alive = [worker for worker in look.workers if not worker.is_gone]
    counts = (
        (sum(queue.queued for queue in every), "waiting"),
        (sum(queue.scheduled + queue.retrying for queue in every), "later"),
        (sum(queue.running for queue in every), "running"),
        (sum(queue.dead for queue in every), "dead"),
    )
    rates = [one.completed for one in look.queues if one.completed is not None]
    parts = [f"{short(number)} {word}" for number, word in counts]
    parts.append(f"{pace(sum(rates) if rates else None)} done/s")
    parts.append(f"{sum(worker.running for worker in alive)}/{sum(worker.slots for worker in alive)} slots")
    return parts


def section_lines(output: Output, part: Section, share: int, columns: int, marked: Row | None) -> list[str]:
    """A table with at most `share` lines below its titles; the marked row is among them."""
    if not part.rows:
        return [output.styled(clip(part.nothing.text, columns), part.nothing.color)]
    margin = 0 if marked is None else MARGIN
    place = part.targets.index(marked) if marked in part.targets else 0
    is_cut = len(part.rows) > share
    shown = window(len(part.rows), place, max(0, share - 1) if is_cut else share)
    rows = [part.rows[number] for number in shown]
    lines = output.table(part.columns, _fitted(part, rows, columns - margin), columns=columns - margin).splitlines()
    if is_cut and share:
        lines.append(output.styled(f"and {len(part.rows) - len(rows):,} more", "dim"))
    at = 1 + place - shown.start if marked in part.targets else None
    mark = output.styled(MARK, "cyan")
    return [f"{mark if number == at else ' ' * margin}{line}" for number, line in enumerate(lines)]


def _without(part: Section, titles: Collection[str]) -> Section:
    """A table without some of its columns."""
    kept = [place for place, column in enumerate(part.columns) if _title(column) not in titles]
    return part._replace(
        columns=[part.columns[place] for place in kept],
        rows=[[row[place] for place in kept] for row in part.rows],
        elastic=kept.index(part.elastic),
    )


def _title(column: Column | str) -> str:
    return column.title if isinstance(column, Column) else column


def _fitted(part: Section, rows: Sequence[Cells], columns: int) -> list[Cells]:
    """Cut the elastic column as far as the last column needs."""
    titles = [*map(_title, part.columns)]
    wide = [max(width(_text(cell)) for cell in cells) for cells in zip(titles, *rows, strict=True)]
    taken = sum(wide[:-1]) - wide[part.elastic] + min(wide[-1], LAST) + 2 * (len(wide) - 1)
    room = max(NARROWEST, columns - taken)
    return [[_cut(cell, room) if place == part.elastic else cell for place, cell in enumerate(row)] for row in rows]


def _text(cell: Cell | str) -> str:
    return plain(cell.text if isinstance(cell, Cell) else cell)


def _cut(cell: Cell | str, room: int) -> Cell:
    return Cell(clip(_text(cell), room), cell.color if isinstance(cell, Cell) else None)


def _queues(every: Sequence[Moving]) -> Section:
    has_blocked = any(one.queue.blocked for one in every)
    blocked = ["BLOCKED"] if has_blocked else []
    titles = ["WAITING", "LATER", *blocked, "RUNNING", "DONE/S", "FAIL/S", "OLDEST"]
    columns: list[Column | str] = ["QUEUE", *(Column(title, True) for title in titles), "STATE"]
    rows = [_queue_row(one, has_blocked=has_blocked) for one in every]
    targets = [Row(Kind.QUEUE, one.queue.name) for one in every]
    return Section(columns, rows, 0, Cell("No queues yet; the first job or worker creates one."), targets)


def _queue_row(one: Moving, *, has_blocked: bool) -> Cells:
    queue = one.queue
    latency = queue.latency.total_seconds()
    return [
        queue.name,
        short(queue.queued),
        short(queue.scheduled + queue.retrying),
        *([short(queue.blocked)] if has_blocked else []),
        Cell(short(queue.running), "cyan" if queue.running else None),
        pace(one.completed),
        Cell(pace(one.failed), "red" if one.failed else None),
        age(latency) if latency else "-",
        _state(one),
    ]


def _state(one: Moving) -> Cell:
    queue = one.queue
    if queue.paused is not None:
        return Cell("paused", "yellow")
    if queue.paused_functions:
        return Cell(f"{len(queue.paused_functions)} paused", "yellow")
    return Cell("open", "green")


def _workers(every: Sequence[WorkerInfo], now: datetime) -> Section:
    numbers = [Column(title, True) for title in ("SLOTS", "CHILDREN", "UP", "HEARD")]
    columns: list[Column | str] = ["WORKER", "STATE", *numbers, "QUEUES"]
    rows: list[Cells] = [
        [
            worker.id,
            _worker_state(worker),
            Cell(f"{worker.running}/{worker.slots}", "cyan" if worker.running and not worker.is_gone else None),
            str(worker.children),
            since(worker.started, now),
            Cell(since(worker.beat, now), "red" if worker.is_gone else None),
            ",".join(worker.queues) or "-",
        ]
        for worker in every
    ]
    targets = [Row(Kind.WORKER, worker.id) for worker in every]
    return Section(columns, rows, 0, Cell(NO_WORKERS, "yellow"), targets)


def _worker_state(worker: WorkerInfo) -> Cell:
    if worker.is_gone:
        return Cell("gone", "red")
    if worker.hung:
        return Cell(f"{worker.hung} hung", "red")
    if worker.chaos:
        return Cell("chaos", "red")
    return Cell(worker.state or "-", WORKER_COLORS.get(worker.state))


def _failures(output: Output, every: Sequence[JobResult[Any]], now: datetime, *, with_ids: bool) -> Section:
    ids = ["ID"] if with_ids else []
    rows: list[Cells] = [
        [
            since(letter.completed_at, now),
            *([shown_id(output, letter.id)] if with_ids else []),
            letter.function or "-",
            Cell(letter.error_text or "-", "red"),
        ]
        for letter in every
    ]
    columns: list[Column | str] = [Column("DEAD", True), *ids, Column("FUNCTION", is_elastic=True), "ERROR"]
    targets = [Row(Kind.DEAD, letter.id) for letter in every]
    return Section(columns, rows, len(ids) + 1, Cell("No dead letters."), targets)


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
        str(job.runs or "-"),
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
