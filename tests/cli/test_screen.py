"""How `top` draws: whatever there is, it fits. And how fast things move."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from jobfleet.cli.output import Output, width
from jobfleet.cli.top_screen import pace, screen, shares, short, tables
from jobfleet.cli.top_state import Look, Moving, _Count, rate
from jobfleet.model import JobResult, JobStatus
from jobfleet.operations.queues import FunctionPause, QueueInfo
from jobfleet.operations.workers import WorkerInfo
from tests.support.each import each

SOME = timedelta(seconds=75)
NOW = datetime(2026, 11, 25, 14, 0, tzinfo=UTC)


def queue(name: str = "mail", **more: Any) -> QueueInfo:
    """A queue in which nothing is."""
    unset: dict[str, Any] = {
        **dict.fromkeys(("queued", "scheduled", "blocked", "retrying", "running", "dead"), 0),
        "lanes": 1, "by_priority": {}, "latency": timedelta(), "paused": None, "totals": {}, "run_time": timedelta(),
    }  # fmt: skip
    return QueueInfo(name=name, **{**unset, **more})


def worker(name: str = "w", **more: Any) -> WorkerInfo:
    """A worker that was heard of a second ago."""
    unset: dict[str, Any] = {"slots": 10, "children": 2, "state": "running", "queues": ("mail",)}
    return WorkerInfo(name, **{"beat": NOW - timedelta(seconds=1), "started": NOW - timedelta(days=2), **unset, **more})


def letter(number: int = 0, error: str = "no luck") -> JobResult[Any]:
    """A dead letter of so many seconds ago."""
    return JobResult(
        id=f"mail.0.{number:032}", status=JobStatus.FAILED, function="mail.send", error=error, error_class="ValueError",
        completed_at=NOW - timedelta(seconds=number),
    )  # fmt: skip


def look(
    queues: Sequence[Moving] = (), workers: Sequence[WorkerInfo] = (), failures: Sequence[JobResult[Any]] = ()
) -> Look:
    """A look of now."""
    return Look(NOW, tuple(queues), tuple(workers), tuple(failures))


def drawn(seen: Look, columns: int = 80, rows: int = 24, trouble: str = "") -> list[str]:
    """The lines on a terminal, without colours."""
    lines = screen(Output(), seen, NOW, columns=columns, rows=rows, title="jobfleet  redis://x", trouble=trouble)
    return [line.rstrip() for line in lines[1:]]  # the first has the time of this machine's zone


CROWD = look(
    [Moving(queue(f"queue-{n:02}-{'long' * (n % 20)}-日本", queued=10**n, running=n, blocked=n % 2, dead=n,
                  latency=timedelta(seconds=10**(n % 8)), paused="somebody\x1b[31m" if n % 3 else None), 10.0**n, 0.5)
     for n in range(10)] * 10,
    [worker(f"host-{n}.example.org:{n}:{'f' * n}", is_gone=n > 5, hung=n % 2, running=n) for n in range(30)],
    [letter(n, error="x" * 500) for n in range(20)],
)  # fmt: skip


def test_a_small_fleet_is_shown_in_full() -> None:
    seen = look(
        [
            Moving(queue(queued=12, scheduled=3, retrying=1, running=2, dead=1, latency=SOME), 4.25, 0),
            Moving(queue("sms", paused="ann", paused_reason="Redis moves"), 0.0, None),
        ],
        [worker("w1", running=2), worker("w2", state="quiet", queues=("mail", "sms"))],
        [letter(3)],
    )

    assert drawn(seen) == [
        "12 waiting   4 later   2 running   1 dead   4.2 done/s   2/20 slots",
        "",
        "QUEUE  WAITING  LATER  RUNNING  DONE/S  FAIL/S  OLDEST  STATE",
        "mail        12      4        2     4.2       0   1 min  open",
        "sms          0      0        0       0       -       -  paused",
        "",
        "WORKER  STATE    SLOTS  CHILDREN   UP  HEARD  QUEUES",
        "w1      running   2/10         2  2 d    1 s  mail",
        "w2      quiet     0/10         2  2 d    1 s  mail,sms",
        "",
        "DEAD  FUNCTION   ERROR",
        " 3 s  mail.send  ValueError: no luck",
    ]


def test_a_worker_that_injects_faults_is_shown() -> None:
    lines = drawn(look([], [worker("w1", chaos=0.01)]))

    assert any(line.startswith("w1      chaos") for line in lines), lines


def test_an_empty_fleet_is_told() -> None:
    assert drawn(look()) == [
        "0 waiting   0 later   0 running   0 dead   - done/s   0/0 slots",
        "",
        "No queues yet; the first job or worker creates one.",
        "",
        "No workers. Start one: 'jobfleet worker MODULE'.",
        "",
        "No dead letters.",
    ]


@each("columns, rows", [(80, 24), (100, 30), (200, 60), (80, 12), (60, 24), (80, 5)])
def test_a_crowd_fits(columns: int, rows: int) -> None:
    lines = screen(Output(), CROWD, NOW, columns=columns, rows=rows, title="t" * 300)

    assert len(lines) <= rows
    assert all(line.isprintable() for line in lines)
    if columns >= 80:
        assert max(map(width, lines)) <= columns


def test_lists_that_are_too_long_say_how_many_more_there_are() -> None:
    lines = drawn(CROWD)

    more = [line for line in lines if line.startswith("and ")]
    assert len(lines) == 23
    assert more == ["and 95 more", "and 26 more", "and 16 more"]
    rows = [line for line in lines if line.startswith(("queue-", "host-")) or "mail.send" in line]
    assert len(rows) == 100 + 30 + 20 - (95 + 26 + 16)


def test_what_is_paused_blocked_gone_and_hung_is_told() -> None:
    seen = look(
        [
            Moving(queue("a", blocked=5, paused="-")),
            Moving(queue("b", paused_functions=(FunctionPause("mail.send", "ann", NOW),))),
        ],
        [worker("w1", hung=2), worker("w2", is_gone=True, beat=NOW - timedelta(minutes=3))],
    )

    lines = drawn(seen)

    assert lines[2].split()[:5] == ["QUEUE", "WAITING", "LATER", "BLOCKED", "RUNNING"]
    assert lines[3].split() == ["a", "0", "0", "5", "0", "-", "-", "-", "paused"]
    assert lines[4].split() == ["b", "0", "0", "0", "0", "-", "-", "-", "1", "paused"]
    assert lines[7].split()[:3] == ["w1", "2", "hung"]
    assert lines[8].split()[:6] == ["w2", "gone", "0/10", "2", "2", "d"]
    assert "3 min" in lines[8]


def test_an_outage_stands_in_the_place_of_the_sums_above_what_was_seen_last() -> None:
    lines = drawn(look([Moving(queue(queued=7))]), trouble="Since 14:00:00: No Redis at x\x1b[2J" + "y" * 100)

    assert lines[0].startswith(r"Since 14:00:00: No Redis at x\x1b[2Jyyy")
    assert width(lines[0]) == 80
    assert lines[3].split()[:2] == ["mail", "7"]


def test_failures_have_ids_where_there_is_room_for_them() -> None:
    seen = look(failures=[letter(1)])

    assert letter(1).id not in "\n".join(drawn(seen, columns=80))
    assert letter(1).id in "\n".join(drawn(seen, columns=140))
    assert letter(1).id in tables(Output(), seen, NOW)


@each(
    "room, wanted, given",
    [
        (16, [100, 30, 20], [5, 5, 6]),
        (16, [1, 30, 2], [1, 13, 2]),
        (16, [1, 1, 1], [1, 1, 1]),
        (2, [5, 5, 5], [0, 1, 1]),
        (-3, [5, 5, 5], [0, 0, 0]),
    ],
)
def test_lines_are_shared_by_what_is_wanted(room: int, wanted: list[int], given: list[int]) -> None:
    found = shares(room, wanted)

    assert (sorted(found), sum(found)) == (sorted(given), sum(given))
    assert all(got <= most for got, most in zip(found, wanted, strict=True))


@each("number, text",
     [(0, "0"), (1_234, "1,234"), (99_999, "99,999"), (123_456, "123k"), (999_499, "999k"), (999_500, "1.0M"),
     (12_345_678, "12.3M"), (1_500_000_000, "1.5G")])  # fmt: skip
def test_counts_are_short(number: int, text: str) -> None:
    assert short(number) == text


@each("per_second, text", [(None, "-"), (0.0, "0"), (0.04, "0.0"), (4.25, "4.2"), (99.96, "100"), (45_678.9, "45,679")])
def test_rates_are_short(per_second: float | None, text: str) -> None:
    assert pace(per_second) == text


def test_a_rate_is_what_came_between_two_looks() -> None:
    before = _Count(100.0, {"a": {"completed": 10}, "b": {"completed": 900}})
    now = _Count(102.0, {"a": {"completed": 15}, "b": {"completed": 3}, "c": {"completed": 5}})

    assert rate(before, now, "a", "completed") == 2.5
    assert rate(before, now, "a", "failed") == 0.0
    assert rate(before, now, "b", "completed") == 0.0  # Redis has lost its data
    assert rate(before, now, "c", "completed") is None
    assert rate(now, now, "a", "completed") is None
