"""What keys change in `top`, and what its pages show, without a terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from jobfleet.cli.output import Output, width
from jobfleet.cli.terminal import Extent, Frame
from jobfleet.cli.top_screen import Around, frame
from jobfleet.cli.top_state import KEYS, Act, Kind, Moving, Page, Row, Seen, State, Verb, press, selected
from jobfleet.model import JobResult, JobStatus
from jobfleet.model.result import JobDetails, LogLine
from tests.cli.test_screen import CROWD, NOW, letter, look, queue, worker
from tests.support.each import each

FLEET = Seen(look(
    [Moving(queue("mail", queued=3)), Moving(queue("sms", paused="ann"))], [worker("w1")], [letter(1), letter(2)],
))  # fmt: skip


def job(number: int, status: JobStatus = JobStatus.QUEUED, function: str = "mail.send", **more: Any) -> JobResult[Any]:
    return JobResult(id=f"mail.0.job-{number}", status=status, function=function, enqueued_at=NOW, **more)


JOBS = Seen(FLEET.look, jobs=[job(1, JobStatus.RUNNING), job(2), job(3, JobStatus.COMPLETED, "mail.count")])
FAILED = JobDetails(job=job(
    7, JobStatus.FAILED, error="no luck", error_class="ValueError", traceback="Traceback:\n  " + "x" * 200 + "\nend",
))  # fmt: skip
LOG = [LogLine(at=NOW + timedelta(seconds=n), level="INFO", text=f"line {n}\nmore", token=1) for n in range(40)]
JOB = Seen(FLEET.look, details=FAILED, logs=LOG)


class Screen:
    """A screen with a state and what was read."""

    def __init__(self, seen: Seen = FLEET, state: State | None = None, *, columns: int = 80, rows: int = 24) -> None:
        self.seen = seen
        self.state = state or State()
        self.columns, self.rows = columns, rows
        self.acts: list[Act] = []
        self.is_over = False

    def press(self, *keys: str) -> State:
        """Press keys, one after the other."""
        for key in keys:
            step = press(self.state, key, self.seen, self.extent)
            self.state = step.state
            self.acts += [step.act] if step.act is not None else []
            self.is_over = self.is_over or step.is_over
        return self.state

    def types(self, text: str) -> State:
        """Press the keys of a text."""
        return self.press(*text)

    @property
    def row(self) -> str:
        """What is selected."""
        row = selected(self.state, self.seen)
        return row.id if row is not None else ""

    @property
    def extent(self) -> Extent:
        return self._frame().extent

    @property
    def lines(self) -> list[str]:
        return self._frame().lines

    def _frame(self, trouble: str = "") -> Frame:
        around = Around("jobfleet  redis://x", NOW, trouble)
        return frame(Output(), self.state, self.seen, around, columns=self.columns, rows=self.rows)


def with_worker(**more: Any) -> Screen:
    return Screen(Seen(replace(FLEET.look, workers=(worker("w1", **more),))))


def on_jobs(seen: Seen = JOBS) -> Screen:
    return Screen(seen, State(page=Page.JOBS, target="mail", under=State(row=Row(Kind.QUEUE, "mail"))))


def on_job(seen: Seen = JOB) -> Screen:
    return Screen(seen, State(page=Page.JOB, target=FAILED.job.id, under=State(row=Row(Kind.DEAD, letter(2).id))))


def test_rows_are_selected_by_moving() -> None:
    screen = Screen()
    seen = [screen.row]
    for key in ("j", "down", "j", "j", "j", "k", "up", "G", "g", "tab", "tab", "tab"):
        screen.press(key)
        seen.append(screen.row)

    first, second = letter(1).id, letter(2).id
    assert seen == ["mail", "sms", "w1", first, second, second, first, "w1", second, "mail", "w1", first, "mail"]


def test_the_selected_row_is_marked() -> None:
    screen = Screen()
    assert [line for line in screen.lines if line.startswith(">")] == [screen.lines[4]]
    assert screen.lines[4].startswith("> mail ")
    screen.press("G")
    assert [line for line in screen.lines if line.startswith(">")] == [">  2 s  mail.send  ValueError: no luck"]
    screen.press("k", "k")
    (marked,) = [line for line in screen.lines if line.startswith(">")]
    assert marked.startswith("> w1      running")


def test_the_selected_row_stays_while_others_come_and_its_place_if_it_goes() -> None:
    screen = Screen()
    screen.press("j")

    screen.seen = Seen(look([Moving(queue(name)) for name in ("a", "mail", "sms")]))
    assert screen.row == "sms"
    screen.seen = Seen(look([Moving(queue(name)) for name in ("a", "mail")]))
    assert screen.row == "mail"
    screen.seen = Seen(look())
    assert screen.row == ""
    assert screen.press("j", "k", "enter", "tab", "p", "c", "r").page is Page.FLEET
    assert screen.acts == []


@each(
    "screen, keys, question, act",
    [
        (Screen(), "p", "Pause mail? y/N", Act(Verb.PAUSE, "mail")),
        (Screen(), "jp", "Resume sms? y/N", Act(Verb.RESUME, "sms")),
        (Screen(), "tabp", "Quiet w1? y/N", Act(Verb.QUIET, "w1", is_for_worker=True)),
        (Screen(), "tabs", "Stop w1? y/N", Act(Verb.STOP, "w1", is_for_worker=True)),
        (with_worker(state="quiet"), "tabp", "Resume w1? y/N", Act(Verb.RESUME, "w1", is_for_worker=True)),
        (with_worker(state="quiet"), "tabs", "Stop w1? y/N", Act(Verb.STOP, "w1", is_for_worker=True)),
        (Screen(), "Gr", f"Replay {letter(2).id}? y/N", Act(Verb.REPLAY, letter(2).id)),
        (on_jobs(), "c", f"Cancel {job(1).id}? y/N", Act(Verb.CANCEL, job(1).id)),
        (on_jobs(), "jc", f"Cancel {job(2).id}? y/N", Act(Verb.CANCEL, job(2).id)),
        (on_jobs(), "p", "Pause mail? y/N", Act(Verb.PAUSE, "mail")),
        (on_job(), "r", f"Replay {FAILED.job.id}? y/N", Act(Verb.REPLAY, FAILED.job.id)),
    ],
)
def test_what_changes_the_fleet_is_asked_first(screen: Screen, keys: str, question: str, act: Act) -> None:
    screen.press(*(["tab"] if keys.startswith("tab") else []), *keys.removeprefix("tab")[:-1])
    for answer, message in (("n", "Nothing was changed."), ("q", "Nothing was changed."), ("escape", "Nothing was")):
        screen.press(keys[-1])
        assert screen.lines[-1] == question
        screen.press(answer)
        assert (screen.acts, screen.is_over) == ([], False)
        assert screen.lines[-1].startswith(message)

    screen.press(keys[-1])
    screen.press("y")

    assert screen.acts == [act]
    assert screen.state.asks is None
    assert screen.lines[-1].endswith(" …")


@each(
    "screen, keys, message",
    [
        (Screen(), "Gp", "Select a queue to pause it, or a worker to make it quiet."),
        (Screen(), "s", "Select a worker to stop it."),
        (Screen(), "Gs", "Select a worker to stop it."),
        (Screen(), "jjc", "Open a queue, and select a job to cancel it."),
        (Screen(), "jjr", "Select a failed job to replay it."),
        (with_worker(is_gone=True), "jjs", "w1 is gone."),
        (with_worker(state="quiet", is_gone=True), "jjp", "w1 is gone."),
        (with_worker(state="stopping"), "jjs", "w1 is stopping."),
        (with_worker(state="stopping"), "jjp", "w1 is stopping."),
        (Screen(), "c", "Open a queue, and select a job to cancel it."),
        (Screen(), "Gc", "The job has ended: failed."),
        (Screen(), "r", "Select a failed job to replay it."),
        (on_jobs(), "Gc", "The job has ended: completed."),
        (on_jobs(), "r", "Select a failed job to replay it."),
        (on_job(), "p", "Select a queue to pause it, or a worker to make it quiet."),
        (on_job(), "s", "Select a worker to stop it."),
        (on_job(), "c", "The job has ended: failed."),
    ],
)
def test_a_key_that_fits_nothing_says_what_it_needs(screen: Screen, keys: str, message: str) -> None:
    screen.types(keys)

    assert (screen.acts, screen.state.asks, screen.lines[-1]) == ([], None, message)
    screen.press("j")
    assert screen.lines[-1] != message


def test_a_queue_opens_its_jobs_and_a_job_its_details_and_escape_goes_back() -> None:
    screen = Screen()
    assert screen.press("enter") == State(page=Page.JOBS, target="mail", under=State(row=Row(Kind.QUEUE, "mail")))
    screen.seen = JOBS
    screen.press("j", "enter")
    assert (screen.state.page, screen.state.target) == (Page.JOB, job(2).id)
    screen.press("enter", "escape")
    assert (screen.state.page, screen.state.target, screen.row) == (Page.JOBS, "mail", job(2).id)
    screen.press("escape")
    screen.seen = FLEET
    assert (screen.state.page, screen.row) == (Page.FLEET, "mail")
    screen.press("escape", "G", "enter")
    assert (screen.state.page, screen.state.target) == (Page.JOB, letter(2).id)


def test_the_page_of_a_job_that_waits_says_why_first() -> None:
    reason = "Waiting for signal approved until noon"
    seen = Seen(FLEET.look, details=JobDetails(job=job(8, JobStatus.SCHEDULED)), reasons=[reason])
    screen = Screen(seen, State(page=Page.JOB, target="mail.0.job-8"))

    assert screen.lines[3] == reason


def test_a_worker_is_not_opened_and_the_keys_for_it_are_shown() -> None:
    screen = Screen(columns=60)
    screen.press("tab")
    assert screen.lines[-1] == "j/k move   p quiet or resume   s stop   / filter"

    assert screen.press("enter").page is Page.FLEET
    assert screen.lines[-1] == "p makes a worker quiet, and s stops it."


def test_a_worker_is_found_by_the_filter() -> None:
    screen = Screen(Seen(look([Moving(queue())], [worker("w1"), worker("box-2")])))
    screen.press("/", *"box", "enter")

    assert screen.row == "box-2"


@each("rows", [24, 14, 8])
@each("columns", [60, 70, 80, 120])
def test_a_crowd_fits_with_a_worker_selected(columns: int, rows: int) -> None:
    screen = Screen(Seen(CROWD), columns=columns, rows=rows)
    for key in ("tab", *"j" * 20):
        screen.press(key)
        (marked,) = [line for line in screen.lines if line.startswith(">")]

        assert max(map(width, screen.lines)) <= columns
        assert len(screen.lines) == rows
    assert screen.row == "host-20.example.org:20:ffffffffffffffffffff"
    assert marked.startswith("> host-20")


def test_the_keys_fit_60_columns() -> None:
    lines = Screen(state=State(is_help=True), columns=60).lines

    assert not [line for line in lines[1:] if "…" in line]


def test_the_filter_is_typed_and_corrected_and_cleared() -> None:
    screen = Screen()
    screen.press("/", *"smx")
    assert screen.lines[-1] == "Filter: smx_"
    screen.press("backspace", "q", "backspace", "up", "enter")
    assert (screen.state.filter, screen.is_over, screen.row) == ("sm", False, "sms")
    assert not any("mail " in line for line in screen.lines)
    assert screen.lines[-1].startswith("/ sm    esc all   j/k move")
    assert screen.press("escape").filter == ""
    assert screen.row == "mail"
    assert screen.press("/", "x", "escape").filter == ""
    assert screen.press("/", *"LUCK", "enter").filter == "LUCK"
    assert screen.row == letter(1).id


def test_the_filter_of_jobs_is_one_of_its_own() -> None:
    screen = on_jobs()
    screen.press("/", *"count", "enter")

    assert screen.row == job(3).id
    assert screen.press("escape").page is Page.JOBS
    screen.press("/", *"nothing", "enter")
    assert screen.lines[3] == "No such jobs."
    assert on_job().press("/").is_typing is False


def test_a_filter_that_fits_nothing_does_not_claim_that_there_is_nothing() -> None:
    screen = Screen()
    screen.press("/", *"nothing", "enter")

    assert [line for line in screen.lines[2:-1] if line] == ["No such queues.", "No such workers.", "No such failures."]


@pytest.mark.parametrize("columns", [60, 80])
def test_a_long_question_is_shown_to_its_end(columns: int) -> None:
    screen = Screen(state=State(asks=Act(Verb.REPLAY, "q" * 32 + ".12." + "7" * 32)), columns=columns)

    assert "".join(screen.lines).count("7" * 32 + "? y/N") == 1
    assert len(screen.lines) == 24


def test_help_lists_every_key_and_any_key_closes_it() -> None:
    screen = Screen()
    screen.press("?")
    assert [line.split("  ")[1].strip() for line in screen.lines[2 : 2 + len(KEYS)]] == [key for key, _ in KEYS]
    screen.press("p")
    assert (screen.state, screen.acts) == (State(), [])
    screen.press("?", "q")
    assert screen.is_over


@pytest.mark.parametrize("key", ["q", "Q"])
def test_quitting(key: str) -> None:
    for screen in (Screen(), on_jobs(), on_job()):
        screen.press(key)
        assert screen.is_over


def test_unknown_keys_change_nothing() -> None:
    screen = Screen()
    assert screen.press("x", "é", "backspace", "Z") == State()


def test_the_jobs_of_a_queue() -> None:
    lines = on_jobs().lines

    assert lines[0].startswith("mail ")
    assert lines[1] == "3 waiting   0 later   0 running   0 dead   open"
    assert [line.split() for line in lines[3:7]] == [
        ["ID", "STATUS", "FUNCTION", "DONE", "RUNS", "AGE", "NOTE"],
        [">", "job-1", "running", "mail.send", "-", "-", "0", "s"],
        ["job-2", "queued", "mail.send", "-", "-", "0", "s"],
        ["job-3", "completed", "mail.count", "100", "%", "-", "0", "s"],
    ]
    paused = Seen(look([Moving(queue("mail", paused="ann", paused_reason="a repair"))]))
    assert on_jobs(paused).lines[1].endswith("0 dead   paused by ann (a repair)")
    assert on_jobs(Seen(look())).lines[1:4] == ["There is no such queue any more.", "", "No jobs."]


def test_a_job_in_full_is_scrolled_to_its_ends() -> None:
    screen = on_job()
    assert screen.lines[3] == f"id        {FAILED.job.id}"
    assert re.fullmatch(r"line 1 of \d+", screen.lines[1])
    body = _all_lines(screen)

    assert "error     ValueError: no luck" in body
    assert sum(line.count("x") for line in body) == 200
    assert "log: 40 lines" in body
    assert [line[-7:] for line in body if line[-7:].startswith("line ")] == [f"line {n:>2}"[-7:] for n in range(10, 40)]
    assert body[-1].strip() == "more"
    assert screen.press("j", "j").scroll == screen.extent.last
    assert screen.press("k").scroll == screen.extent.last - 1
    assert screen.press("g", "k").scroll == 0
    assert screen.press("page-down").scroll == screen.extent.room


def _all_lines(screen: Screen) -> Sequence[str]:
    """All lines of a job, from its first to its last screen."""
    body = screen.lines[3:-1]
    while screen.state.scroll < screen.extent.last:
        screen.press("j")
        body.append(screen.lines[-2])
    return body


def test_a_job_that_is_gone() -> None:
    screen = on_job(Seen(FLEET.look))

    assert screen.lines[3] == "Nothing is known about this job any more."
    screen.press("c", "r", "j")
    assert screen.acts == []


@each("columns, rows", [(60, 24), (60, 10), (79, 16), (80, 24), (140, 40), (20, 4), (1, 1)])
@each("state", [
    State(), State(page=Page.JOBS, target="t" * 90), State(page=Page.JOB, target="日" * 90), State(is_help=True),
    State(filter="e" * 90, is_typing=True), State(asks=Act(Verb.CANCEL, "x" * 90)), State(message="日" * 90),
])  # fmt: skip
def test_every_page_fits_the_terminal(state: State, columns: int, rows: int) -> None:
    crowd = [job(n, JobStatus.FAILED, "f日" * 40, error="e\x1b[31m" * 50, attempt=n) for n in range(50)]
    seen = Seen(CROWD, crowd, FAILED, LOG)
    for page in (state, State(**{**{name: getattr(state, name) for name in state.__slots__}, "row": Row(
        Kind.DEAD, CROWD.failures[-1].id)})):  # fmt: skip
        screen = Screen(seen, page, columns=columns, rows=rows)
        for lines in (screen.lines, screen._frame("No Redis\x1b[2J " + "y" * 100).lines):
            assert len(lines) == rows
            assert all(line.isprintable() for line in lines)
            assert max(map(width, lines)) <= columns


@pytest.mark.parametrize("rows", [24, 12, 8])
def test_the_selected_row_is_always_on_the_screen(rows: int) -> None:
    screen = Screen(Seen(CROWD), columns=60, rows=rows)
    for _ in range(120):
        screen.press("j")
        assert len([line for line in screen.lines if line.startswith("> ")]) == 1


def test_a_narrow_terminal_goes_without_some_columns() -> None:
    lines = Screen(columns=60).lines

    assert lines[3].split() == ["QUEUE", "WAITING", "RUNNING", "DONE/S", "OLDEST", "STATE"]
    assert lines[7].split() == ["WORKER", "STATE", "SLOTS", "HEARD", "QUEUES"]
    assert lines[10].split() == ["DEAD", "FUNCTION", "ERROR"]
