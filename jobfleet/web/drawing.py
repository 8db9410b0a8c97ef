"""Drawings that need no script: the charts of a history and the graph of a flow. Pure.

The page's script draws the same lines with uPlot, from the numbers in an attribute of the figure. The words of a
chart are for a reader who does not see it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from markupsafe import Markup

from jobfleet.clock import span

WIDTH, HEIGHT = 300, 60
SPARK_WIDTH, SPARK_HEIGHT = 120, 24
POINTS_LEAST = 12
"""The least points of a chart: two minutes of a young fleet are not stretched over more than they are."""
Point = Mapping[str, Any]
Value = Callable[[Point, float], float | None]


class Line(NamedTuple):
    """A line of a chart.

    Attributes:
        label: Its name.
        look: Its color and its dashes, by the name of a class.
        value: The value of a point, of a step of so many seconds.
    """

    label: str
    look: str
    value: Value


class Chart(NamedTuple):
    """A chart.

    Attributes:
        name: Its name in the page.
        title: Its title.
        unit: ``rate``, ``count`` or ``time``.
        lines: Its lines.
    """

    name: str
    title: str
    unit: str
    lines: tuple[Line, ...]


class Drawn(NamedTuple):
    """A line of a chart with its numbers.

    Attributes:
        label: Its name.
        look: Its color and its dashes.
        last: The last number, as text.
        most: The largest number, as text.
    """

    label: str
    look: str
    last: str
    most: str


class Figure(NamedTuple):
    """A chart with its numbers.

    Attributes:
        name: Its name in the page.
        title: Its title.
        lines: Its lines.
        words: The chart in words.
        numbers: The numbers for the page's script, as JSON.
        svg: The drawing.
    """

    name: str
    title: str
    lines: Sequence[Drawn]
    words: str
    numbers: str
    svg: Markup


def _rate(name: str) -> Value:
    return lambda point, step: None if point[name] is None else point[name] / step


def _of(name: str) -> Value:
    return lambda point, _: point[name]


def _share(name: str, share: str) -> Value:
    return lambda point, _: None if point[name] is None else point[name][share]


def backlog(point: Point, step: float) -> float | None:
    """In how many seconds the waiting jobs are done at the rate of the step; None if that is not known."""
    if point["waiting"] is None:
        return None
    ended = (point["completed"] or 0) + (point["failed"] or 0)
    if not point["waiting"]:
        return 0.0
    return point["waiting"] * step / ended if ended else None


def _shares(name: str, title: str) -> Chart:
    looks = (("p50", "good"), ("p95", "warn"), ("p99", "bad"))
    return Chart(name, title, "time", tuple(Line(share, look, _share(name, share)) for share, look in looks))


THROUGHPUT = Chart(
    "throughput", "Jobs per second", "rate",
    (
        Line("enqueued", "calm", _rate("enqueued")),
        Line("completed", "good", _rate("completed")),
        Line("failed", "bad", _rate("failed")),
    ),
)  # fmt: skip
DEPTH = Chart(
    "depth", "Waiting and running", "count",
    (Line("waiting", "warn", _of("waiting")), Line("running", "good", _of("running"))),
)  # fmt: skip
OLDEST = Chart("oldest", "Oldest wait", "time", (Line("oldest wait", "bad", _of("oldest_wait")),))
BACKLOG = Chart("backlog", "Time to empty the backlog", "time", (Line("at the present rate", "warn", backlog),))
WAIT, RUN = _shares("wait", "Wait until started"), _shares("run", "Run time")
RUNS = THROUGHPUT._replace(lines=THROUGHPUT.lines[1:])


def figures(history: Mapping[str, Any]) -> list[Figure]:
    """The charts of a history in its JSON form."""
    charts = (RUNS, WAIT, RUN) if history["function"] is not None else (THROUGHPUT, DEPTH, OLDEST, BACKLOG, WAIT, RUN)
    points = history["points"][_first(history["points"]) :]
    times = [_seconds(point["at"]) for point in points]
    marks = [[_seconds(one["at"]), one["version"]] for one in history["deploys"]]
    marks = [mark for mark in marks if times and mark[0] >= times[0]]
    return [_figure(chart, points, history["step"], times, marks) for chart in charts]


def _first(points: Sequence[Point]) -> int:
    """Where charts begin: at the first sample, but with `POINTS_LEAST` points. All of them if there is no sample."""
    first = next((place for place, point in enumerate(points) if point["completed"] is not None), 0)
    return min(first, max(0, len(points) - POINTS_LEAST))


def sampled_from(history: Mapping[str, Any]) -> str | None:
    """The time of the first sample, if that is later than the beginning of the history; else None."""
    points = history["points"]
    first = next((place for place, point in enumerate(points) if point["completed"] is not None), 0)
    return points[first]["at"] if first else None


def _figure(chart: Chart, points: Sequence[Point], step: float, times: list[int], marks: list[Any]) -> Figure:
    rows = [[line.value(point, step) for point in points] for line in chart.lines]
    known = [[value for value in row if value is not None] for row in rows]
    whole = [[None if value is None else float(f"{value:.4g}") for value in row] for row in rows]
    lines = [
        Drawn(line.label, line.look, written(row[-1] if row else None, chart.unit), written(_most(row), chart.unit))
        for line, row in zip(chart.lines, known, strict=True)
    ]
    words = "; ".join(f"{one.label}: last {one.last}, at most {one.most}" for one in lines)
    numbers = {"unit": chart.unit, "looks": [one.look for one in lines], "marks": marks, "data": [times, *whole]}
    return Figure(
        chart.name,
        chart.title,
        lines,
        f"{chart.title}. {words}." if any(known) else f"{chart.title}. No samples in this time.",
        json.dumps(numbers, separators=(",", ":")),
        _svg(chart, whole, times, marks),
    )


def sparkline(trend: Mapping[str, Any]) -> Markup:
    """The last hour of a queue as a small drawing: what ended, and what waited, each up to its own maximum."""
    words, paths = [], []
    for name, label, look in (("ended", "ended per minute", "good"), ("waiting", "waiting", "warn")):
        known = [value for value in trend[name] if value is not None]
        if not known:
            return Markup("")
        words.append(f"{label}: last {known[-1]:,}, at most {max(known):,}")
        path = _path(trend[name], max(known) or 1, SPARK_WIDTH, SPARK_HEIGHT)
        paths.append(Markup('<path class="line {}" d="{}"/>').format(look, path))
    text = f"The last hour. {'; '.join(words)}."
    head = Markup('<svg class="spark" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">')
    title = Markup("<title>{}</title>").format(text)
    return Markup("").join([head.format(SPARK_WIDTH, SPARK_HEIGHT, text), title, *paths, Markup("</svg>")])


class Bar(NamedTuple):
    """A run on the timeline of a job.

    Attributes:
        begin: Its start, in seconds since 1970.
        end: Its end, likewise; that of the drawing if it has not ended.
        look: Its color, by the name of a class.
        words: The run in words.
    """

    begin: float
    end: float
    look: str
    words: str


TIMELINE_WIDTH, TIMELINE_HEIGHT = 1000, 20
BAR_LEAST = 4
"""The least width of a run, so that a short one can be seen in a life of days."""
_OPEN_END = {"completed": "good", "running": "calm", "cancelled": "warn", "expired": "warn"}
_LOOKS = {"completed": "good", "released": "warn", "cancelled": "warn"}


def timeline(job: Mapping[str, Any], now: datetime) -> Markup:
    """The life of a job as a bar: where it is empty, the job waited; each run is a part of it, each other event a line.

    Args:
        job: The job in full, in its JSON form.
        now: The end of the life of a job that has not ended.
    """
    last = _at(job["completed_at"]) or now.timestamp()
    bars = sorted(_bars(job, last))
    begin = min([_at(job["enqueued_at"]) or last, *(bar.begin for bar in bars)])
    scale = TIMELINE_WIDTH / max(last - begin, 0.001)
    parts: list[Markup] = []
    words: list[str] = []
    until = begin
    for bar in bars:
        if bar.begin > until:
            words.append(f"waited {span(bar.begin - until)}")
        words.append(bar.words)
        until = max(until, bar.end)
        width = max(BAR_LEAST, (bar.end - bar.begin) * scale)
        rect = Markup('<rect class="{}" x="{:.1f}" width="{:.1f}" height="{}"><title>{}</title></rect>')
        x = min((bar.begin - begin) * scale, TIMELINE_WIDTH - width)
        parts.append(rect.format(bar.look, x, width, TIMELINE_HEIGHT, bar.words))
    if last > until:
        words.append(f"{'waits for' if job['completed_at'] is None else 'waited'} {span(last - until)}")
    for one in job["life"]:
        if one["kind"] not in ("run", "other"):
            place = f"{min(max(0.0, (_at(one['at']) - begin) * scale), TIMELINE_WIDTH):.1f}"
            mark = Markup('<path class="mark" d="M{} 0V{}"><title>{}</title></path>')
            parts.append(
                mark.format(place, TIMELINE_HEIGHT, f"{one['kind']} by {one['by']}" if one["by"] else one["kind"])
            )
    head = Markup('<svg class="timeline" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">')
    text = f"{'; '.join(words)}."
    text = text[:1].upper() + text[1:]
    return Markup("").join([head.format(TIMELINE_WIDTH, TIMELINE_HEIGHT, text), *parts, Markup("</svg>")])


def _bars(job: Mapping[str, Any], last: float) -> Iterator[Bar]:
    seen = set()
    for one in job["life"]:
        if one["kind"] == "run" and one["started_at"]:
            seen.add(one["started_at"])
            words = f"run {one['run']} took {span(one['duration'])}: {one['text']}"
            yield Bar(_at(one["started_at"]), _at(one["at"]), _LOOKS.get(one["outcome"], "bad"), words)
    if job["started_at"] and job["started_at"] not in seen:
        begin = _at(job["started_at"])
        words = f"run {job['runs']}: {job['status']}, {span(last - begin)}"
        yield Bar(begin, last, _OPEN_END.get(job["status"], "bad"), words)


def _at(text: str | None) -> float:
    return datetime.fromisoformat(text).timestamp() if text else 0.0


def _path(row: Sequence[float | None], top: float, width: int, height: int) -> str:
    """The line of a row; a gap interrupts it. A value between two gaps is a dot, by the round ends of the line."""
    across = width / max(1, len(row) - 1)
    path, is_on = [], False
    for place, value in enumerate(row):
        if value is not None:
            y = height - 1 - (height - 2) * value / top
            is_alone = not is_on and (place + 1 == len(row) or row[place + 1] is None)
            path.append(f"{'L' if is_on else 'M'}{place * across:.1f} {y:.1f}{'h0' if is_alone else ''}")
        is_on = value is not None
    return "".join(path)


def _most(row: Sequence[float]) -> float | None:
    return max(row, default=None)


def written(value: float | None, unit: str) -> str:
    """A number of a chart as text."""
    if value is None:
        return "–"
    if unit == "time":
        return f"{value * 1000:.2g} ms" if 0 < value < 0.01 else span(value)
    if unit == "count":
        return f"{value:,.0f}"
    return f"{value:,.0f}/s" if value >= 100 else f"{value:.3g}/s"


def _svg(chart: Chart, rows: Sequence[Sequence[float | None]], times: Sequence[int], marks: Sequence[Any]) -> Markup:
    """The drawing; its colors come from the stylesheet."""
    top = max((value for row in rows for value in row if value is not None), default=0) or 1
    parts = [Markup('<svg viewBox="0 0 {} {}" preserveAspectRatio="none" aria-hidden="true">').format(WIDTH, HEIGHT)]
    length = max(1, times[-1] - times[0]) if times else 1
    for at, _ in marks:
        x = f"{WIDTH * (at - times[0]) / length:.1f}"
        parts.append(Markup('<path class="mark" d="M{} 0V{}"/>').format(x, HEIGHT))
    for line, row in zip(chart.lines, rows, strict=True):
        parts.append(Markup('<path class="line {}" d="{}"/>').format(line.look, _path(row, top, WIDTH, HEIGHT)))
    return Markup("").join([*parts, Markup("</svg>")])


def _seconds(at: str) -> int:
    return round(datetime.fromisoformat(at).timestamp())
