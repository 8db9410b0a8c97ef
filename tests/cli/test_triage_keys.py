"""What keys change in a triage, and what it shows, without a terminal."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from jobfleet.cli.commands.dead_triage import KEYS, Act, Outcome, Seen, State, Verb, ended, frame, press, summary
from jobfleet.cli.output import Output, width
from jobfleet.cli.terminal import Extent, Frame
from jobfleet.model import JobResult, JobStatus
from jobfleet.operations.dead_groups import DeadGroup, GroupState
from jobfleet.operations.jobs.listing import Letter
from tests.cli.test_screen import NOW
from tests.support.each import each

FIRST, SECOND = "1" * 16, "2" * 16
RUN = "1 1764078000000000 error ValueError: no luck"


def group(fingerprint: str = FIRST, **more: Any) -> DeadGroup:
    unset: dict[str, Any] = {
        "state": GroupState.NEW, "function": "mail.send", "error_class": "ValueError", "error": "no luck at <n>",
        "count": 3, "first": NOW - timedelta(hours=2), "last": NOW - timedelta(minutes=1), "versions": ("1",),
        "example": "mail.0.x", "by": None, "changed_at": None,
    }  # fmt: skip
    return DeadGroup(fingerprint, **{**unset, **more})


def letter(**more: Any) -> Letter:
    job: JobResult[Any] = JobResult(
        id="mail.0.x", status=JobStatus.FAILED, function="mail.send", traceback="Traceback:\n  File x\nValueError"
    )
    return Letter(**{"job": job, "reason": "error", "history": (), "args": ("ann",), "kwargs": {}, **more})


class Screen:
    """A triage of two groups, which reads the group that is shown."""

    def __init__(self, *, columns: int = 80, rows: int = 24) -> None:
        self.state = State([FIRST, SECOND])
        self.groups = {FIRST: Seen(group(), letter(), 3), SECOND: Seen(group(SECOND, count=1), letter(), 1)}
        self.columns, self.rows = columns, rows
        self.acts: list[Act] = []
        self.is_over = False

    @property
    def seen(self) -> Seen:
        return self.groups.get(self.state.fingerprint or "", Seen())

    def press(self, *keys: str) -> State:
        """Press keys; acts succeed."""
        for key in keys:
            step = press(self.state, key, self.seen, self._frame().extent)
            self.state = step.state
            self.is_over = self.is_over or step.is_over
            if step.act is not None:
                self.acts.append(step.act)
                replayed = step.act.letters if step.act.verb is Verb.REPLAY else 0
                self.state = ended(self.state, step.act, Outcome("It is done.", replayed=replayed))
        return self.state

    @property
    def lines(self) -> list[str]:
        return self._frame().lines

    def _frame(self) -> Frame:
        return frame(Output(), self.state, self.seen, NOW, columns=self.columns, rows=self.rows)


def test_a_group_is_shown_with_a_letter_and_its_traceback() -> None:
    lines = Screen().lines

    assert lines[0].startswith("dead letters  group 1 of 2")
    assert lines[0].endswith("? help  q quits")
    facts = dict(line.split("  ", 1) for line in lines[3:12])
    assert {name: fact.strip() for name, fact in facts.items() if name not in ("first", "last")} == {
        "group": FIRST, "state": "new", "letters": "3", "function": "mail.send",
        "error": "ValueError: no luck at <n>", "example": "mail.0.x", "arguments": "ann",
    }  # fmt: skip
    assert facts["first"].endswith("(2 h ago)")
    assert facts["last"].endswith("(1 min ago)")
    assert lines[13:16] == ["Traceback:", "  File x", "ValueError"]
    assert lines[-1] == "r replay   c rescue   v resolve   i ignore   s skip   b back   j/k scroll"


@each(
    "key, verb, question",
    [
        ("r", Verb.REPLAY, "Replay 3 dead letters? y/N"),
        ("c", Verb.RESCUE, "Rescue 3 dead letters: 1, then 10, then the rest, and stop at a failure? y/N"),
        ("v", Verb.RESOLVE, "Is the cause of 3 dead letters removed? y/N"),
        ("i", Verb.IGNORE, "Ignore this group of 3 dead letters: no more notifications? y/N"),
    ],
)
def test_a_decision_is_asked_with_its_count_and_the_next_group_follows(key: str, verb: Verb, question: str) -> None:
    screen = Screen()
    for answer in ("n", "escape", "q", key):
        screen.press(key)
        assert screen.lines[-1] == question
        screen.press(answer)
        assert (screen.acts, screen.is_over, screen.lines[-1]) == ([], False, "Nothing was changed.")

    screen.press(key, "y")

    assert screen.acts == [Act(verb, FIRST, 3)]
    assert (screen.state.fingerprint, screen.lines[-1]) == (SECOND, "It is done.")


def test_a_decision_that_fails_stays_at_the_group() -> None:
    screen = Screen()
    step = press(press(screen.state, "r", screen.seen, Extent(9)).state, "y", screen.seen, Extent(9))
    assert step.state.message == "Replay 3 dead letters …"
    assert step.act is not None

    after = ended(step.state, step.act, Outcome("No Redis.", is_done=False))

    assert (after.fingerprint, after.message, after.marks, summary(after)) == (
        FIRST, "No Redis.", {}, "Nothing was changed.",
    )  # fmt: skip


def test_the_walk_and_what_was_decided() -> None:
    screen = Screen()
    assert summary(screen.press("s")) == "1 group skipped."
    assert summary(screen.press("b", "r", "y")) == "3 dead letters replayed."
    assert summary(screen.press("p", "n")) == "3 dead letters replayed."
    screen.press("b")
    assert screen.lines[5] == "decision   replayed"
    assert summary(screen.press("n", "v", "y")) == "3 dead letters replayed, 1 group resolved."

    assert screen.state.fingerprint is None
    assert screen.lines[3:7] == [
        "All 2 groups are seen.", "3 dead letters replayed, 1 group resolved.", "", "q quits, b goes back."
    ]  # fmt: skip
    screen.press("r")
    assert screen.lines[-1] == "There is no group here."
    assert screen.press("s").fingerprint is None
    assert screen.press("b").fingerprint == SECOND
    assert summary(screen.press("c", "y", "b", "i", "y")) == "3 dead letters replayed, 1 group ignored."
    assert summary(screen.press("b", "c", "y")) == "3 dead letters replayed, 1 rescue begun."
    screen.press("q")
    assert screen.is_over


def test_letters_that_are_gone_are_not_replayed() -> None:
    screen = Screen()
    screen.groups[FIRST] = Seen(group(count=0), None, 0)
    for key in "rc":
        screen.press(key)
        assert screen.lines[-1] == "The group has no dead letters any more."
    screen.press("v", "y")
    assert screen.acts == [Act(Verb.RESOLVE, FIRST, 0)]


def test_a_replay_counts_the_letters_of_the_queue_and_a_rescue_all() -> None:
    screen = Screen()
    screen.groups[FIRST] = Seen(group(count=9), letter(), 2)

    assert [line.split(None, 1)[1] for line in screen.lines if line.startswith("letters")] == ["2 of 9"]
    screen.press("r", "y", "b", "c", "y")
    assert screen.acts == [Act(Verb.REPLAY, FIRST, 2), Act(Verb.RESCUE, FIRST, 9)]


def test_a_group_that_was_not_read_is_not_decided_about() -> None:
    screen = Screen()
    screen.groups[SECOND] = screen.groups[FIRST]  # Redis did not answer
    screen.press("s", "r")

    assert (screen.state.asks, screen.lines[-1]) == (None, "There is no group here.")
    assert screen.lines[3] == "Nothing is known about this group any more."


def test_a_long_traceback_is_scrolled() -> None:
    screen = Screen(rows=12)
    job = replace(letter().job, traceback="\n".join(f"frame {n}" for n in range(40)))
    screen.groups[FIRST] = Seen(group(), letter(job=job, history=(RUN,)), 3)

    assert screen.lines[1] == "line 1 of 53"
    screen.press(*40 * ["page-down"])
    assert screen.lines[1] == "line 46 of 53"
    assert screen.lines[-4] == "history:" or screen.lines[-3] == "history:"
    assert screen.press("k").scroll == 44
    assert screen.press("page-up", "up").scroll == 44 - 9
    assert screen.press("s").scroll == 0


def test_help_lists_every_key() -> None:
    screen = Screen()
    screen.press("?")
    assert [line.split("  ")[1].strip() for line in screen.lines[3 : 3 + len(KEYS)]] == [key for key, _ in KEYS]
    screen.press("r")
    assert (screen.state.is_help, screen.acts, screen.state.asks) == (False, [], None)
    screen.press("?", "q")
    assert screen.is_over


@each("columns, rows", [(60, 24), (60, 8), (200, 60), (20, 4), (1, 1)])
def test_it_fits_the_terminal(columns: int, rows: int) -> None:
    hostile = "日\x1b[31m\u202e" * 60
    job = replace(letter().job, traceback=hostile, id=hostile)
    seen = Seen(group(error=hostile, function=hostile, by=hostile), letter(job=job, args=(hostile,)), 3)
    asks = Act(Verb.RESCUE, FIRST, 10**9)
    for state in (State([FIRST]), State([FIRST], place=1), State([FIRST], message=hostile), State([FIRST], asks=asks),
                  State([FIRST], is_help=True)):  # fmt: skip
        for trouble in ("", hostile):
            drawn = frame(Output(), state, seen, NOW, columns=columns, rows=rows, trouble=trouble)
            assert len(drawn.lines) == rows
            assert all(line.isprintable() for line in drawn.lines)
            assert max(map(width, drawn.lines)) <= columns
