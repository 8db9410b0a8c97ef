"""What an observer outside of Redis has seen of jobs behind limits: their starts, their ends and the kills."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple


class Seen(NamedTuple):
    """One line: a job that started or ended, or the kill of a process."""

    event: str
    job: str
    pid: int
    cost: int
    at_us: int


def read(path: Path) -> list[Seen]:
    """All lines in the order of time."""
    rows = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    seen = (Seen(event, job, int(pid), int(cost), int(at)) for event, job, pid, cost, at in rows)
    return sorted(seen, key=lambda row: row.at_us)


def mark_kill(path: Path, pid: int) -> None:
    """Note that a process is killed now."""
    with path.open("a") as file:
        file.write(f"kill - {pid} 0 {time.time_ns() // 1000}\n")


def costs_within(rows: Iterable[Seen], period_us: int) -> int:
    """The highest sum of the costs of the starts within any period, its end not included."""
    starts = [row for row in rows if row.event == "start"]
    most = total = first = 0
    for row in starts:
        total += row.cost
        while starts[first].at_us <= row.at_us - period_us:
            total -= starts[first].cost
            first += 1
        most = max(most, total)
    return most


def running(rows: Sequence[Seen]) -> Iterator[tuple[int, int]]:
    """After each line, its time and how many jobs run; those of a process run until it is killed."""
    inside: dict[str, int] = {}
    killed: set[int] = set()
    for row in rows:
        if row.event == "kill":
            killed.add(row.pid)
            inside = {job: pid for job, pid in inside.items() if pid != row.pid}
        elif row.event == "start" and row.pid not in killed:
            inside[row.job] = row.pid
        elif row.event == "end" and inside.get(row.job) == row.pid:
            del inside[row.job]
        yield row.at_us, len(inside)


def most_at_once(rows: Sequence[Seen]) -> int:
    """How many ran at once at most."""
    return max((count for _, count in running(rows)), default=0)


def use_of_places(rows: Sequence[Seen], places: int, begin_us: int, end_us: int) -> float:
    """The part of the time of all places, between two moments, in which a job was in them; 0.0 to 1.0."""
    used, at, count = 0, begin_us, 0
    for moment, now in running(rows):
        if begin_us < moment <= end_us:
            used += count * (moment - at)
            at = moment
        count = now
    return used / (places * (at - begin_us))


def refilled_after(rows: Sequence[Seen], kill: Seen, places: int) -> float | None:
    """Seconds from a kill until all places are used again; None if they never are, or if it took none of them."""
    before = [count for at, count in running(rows) if at < kill.at_us]
    after = [(at, count) for at, count in running(rows) if at >= kill.at_us]
    if not before or before[-1] <= min((count for at, count in after if at < kill.at_us + 50_000), default=0):
        return None
    return next(((at - kill.at_us) / 1e6 for at, count in after if count == places and at > kill.at_us), None)
