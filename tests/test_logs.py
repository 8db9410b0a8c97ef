"""Lines of the log: what people see, and what JSON says."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from jobfleet.logs import FORMAT, JsonFormatter, PlainFormatter


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
    assert entry["exception"].endswith("ValueError: no\nluck")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("fine – so far", "fine – so far"),
        ("a\n12:00:00 INFO    job.forged", "a\n    12:00:00 INFO    job.forged"),
        ("\x1b[31mred\r\u202e", "\\x1b[31mred\\r\\u202e"),
    ],
)
def test_nothing_in_a_message_passes_for_a_line_or_commands_a_terminal(text: str, shown: str) -> None:
    line = PlainFormatter(FORMAT, datefmt="%H:%M:%S").format(record("jobfleet.worker", text))

    assert line[9:] == f"WARNING {shown}"
