"""Lines of the log: what people see, and what JSON says."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import jobfleet
from jobfleet.config import JobConfig
from jobfleet.logs import OWN, JsonFormatter, PlainFormatter, TerminalFormatter, set_up_logs
from jobfleet.model import ErrorType
from jobfleet.model.signals import ForeignError


class Somebody:
    def described(self) -> Mapping[str, object]:
        return {"job_id": "mail.0.7", "attempt": 2}


class Nameless:
    def __str__(self) -> str:
        raise RuntimeError("not even this")


def record(name: str, message: Any, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord(name, logging.WARNING, __file__, 1, message, args, None)
    made.created = 1_795_600_000.25
    vars(made).update(extra)
    return made


def told(made: logging.LogRecord, **options: Any) -> dict[str, Any]:
    line = JsonFormatter(**options).format(made)
    assert "\n" not in line
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_line_of_ours_gives_its_event_and_values() -> None:
    made = record("jobfleet.worker", "job.%s job_id=%s token=%d took=%.1f%% for %s", "lost", "a.b.0.7", 9, 2.5, "x y")

    assert told(made, worker="w-1") == {
        "time": "2026-11-25T09:46:40.250+00:00",
        "level": "WARNING",
        "logger": "jobfleet.worker",
        "event": "job.lost",
        "message": "job.lost job_id=a.b.0.7 token=9 took=2.5% for x y",
        "worker": "w-1",
        "job_id": "a.b.0.7",
        "fence": 9,
        "took": 2.5,
        "queue": "a.b",
    }


def test_a_users_line_says_which_job_it_is_of_and_takes_what_was_added() -> None:
    made = record("shop", "paid=%s", "5 EUR", basket=7, rate=float("nan"), odd=Nameless(), rows=[1, {"a": object}])

    assert told(made, current=Somebody) == {
        "time": "2026-11-25T09:46:40.250+00:00",
        "level": "WARNING",
        "logger": "shop",
        "message": "paid=5 EUR",
        "job_id": "mail.0.7",
        "attempt": 2,
        "basket": 7,
        "rate": "nan",
        "odd": "<Nameless>",
        "rows": [1, {"a": "<class 'object'>"}],
    }


def test_a_run_that_a_line_names_goes_before_the_one_it_is_logged_in() -> None:
    class Other(Somebody):
        def described(self) -> Mapping[str, object]:
            return {"job_id": "mail.0.8"}

    assert told(record("jobfleet.worker", "job.started", run=Other()), current=Somebody)["job_id"] == "mail.0.8"


def test_a_traceback_is_one_value() -> None:
    try:
        raise ValueError("no\nluck")
    except ValueError:
        made = record("shop", {"not": "a text"})
        made.exc_info = sys.exc_info()

    entry = told(made)

    assert entry["message"] == "{'not': 'a text'}"
    assert entry["traceback"].endswith("ValueError: no\nluck")
    assert (entry["error"], entry["error_class"]) == ("no\nluck", "ValueError")


def test_a_traceback_of_another_process_is_shown_as_it_was_there() -> None:
    error = ForeignError("Busy: now", error_class="Busy", error_type=ErrorType.TRANSIENT, traceback="there\nBusy: now")
    made = record("jobfleet.worker", "job.failed")
    made.exc_info = (type(error), error, None)

    assert told(made)["traceback"] == "there\nBusy: now"
    assert told(made)["error_class"] == "Busy"
    assert PlainFormatter().format(made).endswith("\n    there\n    Busy: now")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("fine – so far", "fine – so far"),
        ("a\n12:00:00 INFO    job.forged", "a\n    12:00:00 INFO    job.forged"),
        ("\x1b[31mred\r\u202e", "\\x1b[31mred\\r\\u202e"),
    ],
)
def test_nothing_in_a_message_passes_for_a_line_or_commands_a_terminal(text: str, shown: str) -> None:
    made = record("jobfleet.worker", text)

    assert PlainFormatter().format(made).partition(" ")[2] == f"WARNING {shown}"
    assert TerminalFormatter(shows_day=False).format(made)[9:] == f"WARNING {shown}"


def test_a_traceback_cannot_pass_for_a_line_or_command_a_terminal_either() -> None:
    made = record("shop", "no")
    made.exc_info = (ValueError, ValueError("a\n12:00:00 INFO    job.forged\x1b[31m"), None)

    for formatter in (PlainFormatter(), TerminalFormatter(shows_day=False)):
        first, *more = formatter.format(made).split("\n")
        assert all(line.startswith("    ") and line.isprintable() for line in more), first


@pytest.mark.usefixtures("in_berlin")
def test_text_has_the_local_time_with_its_offset() -> None:
    assert PlainFormatter().format(record("jobfleet.worker", "on")) == "2026-11-25T10:46:40.250+01:00 WARNING on"


@pytest.mark.usefixtures("in_berlin")
def test_a_terminal_shows_the_date_when_the_local_day_changes_and_only_then() -> None:
    formatter = TerminalFormatter()
    shown = []
    for later in (0, 60, 47_600, 47_660):
        made = record("jobfleet.worker", "on")
        made.created += later
        made.levelno = logging.INFO
        shown += formatter.format(made).split("\n")

    assert shown == [
        "Wednesday 25 November 2026, UTC+01:00", "10:46:40 on", "10:47:40 on",
        "Thursday 26 November 2026, UTC+01:00", "00:00:00 on", "00:01:00 on",
    ]  # fmt: skip


def test_a_terminal_shows_which_job_a_users_line_is_of_by_the_end_of_its_id() -> None:
    class Run:
        def described(self) -> Mapping[str, object]:
            return {"job_id": "mail.0.01a21dfe25dd700080006f1b3388064a", "function": "shop.pay", "attempt": 2}

    terminal = TerminalFormatter(current=Run, shows_day=False)
    line = terminal.format(record("shop", "%d rows", 7))
    colored = TerminalFormatter(current=Run, has_color=True, shows_day=False).format(record("shop", "%d rows", 7))
    plain = PlainFormatter(current=Run).format(record("shop", "%d rows", 7))

    assert line[9:] == "WARNING 3388064a shop.pay #2  shop: 7 rows"
    assert re.sub(r"\x1b\[\d+m", "", colored) == line
    assert "\x1b" in colored
    job = "job_id=mail.0.01a21dfe25dd700080006f1b3388064a function=shop.pay attempt=2"
    assert plain.partition(" ")[2] == f"WARNING {job} shop: 7 rows"


class Broken(logging.Handler):
    """A handler of the user that fails."""

    def emit(self, record: logging.LogRecord) -> None:
        """Fail."""
        raise LookupError(f"planted: {record.getMessage()}")


@pytest.fixture
def broken() -> Iterator[logging.Handler]:
    """A handler of all lines, whose errors are not `logging`'s to catch."""
    handler = Broken()
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)


@pytest.mark.parametrize("name", OWN)
def test_a_handler_that_fails_does_not_end_what_logs(
    name: str, broken: logging.Handler, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        set_up_logs(JobConfig())

    logging.getLogger(name).error("something happened")

    assert capsys.readouterr().err.count("LookupError: planted: something happened") == 1


def test_a_job_learns_that_the_handler_of_its_own_line_failed(broken: logging.Handler) -> None:
    set_up_logs(JobConfig())

    with pytest.raises(LookupError):
        logging.getLogger("jobfleet.job.mail").error("something happened")


def test_jobfleet_logs_to_no_other_logger_of_its_own() -> None:
    source = "".join(path.read_text() for path in Path(jobfleet.__file__).parent.rglob("*.py"))

    named = set(re.findall(r'getLogger\("(jobfleet\.[a-z.]+)"', source))

    assert named - {"jobfleet.job"} == set(OWN)
