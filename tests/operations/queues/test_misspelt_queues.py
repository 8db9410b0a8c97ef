"""Every call that names a queue that does not exist names the one that was probably meant."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from jobfleet import ConfigError, Fleet, Job

CALLS: dict[str, Callable[[Fleet], Any]] = {
    "cancel_many": lambda fleet: fleet.cancel_many(queue="mial"),
    "clean": lambda fleet: fleet.clean(5, "mial"),
    "count_open": lambda fleet: fleet.count_open(queue="mial"),
    "dead": lambda fleet: fleet.dead("mial"),
    "jobs": lambda fleet: fleet.jobs(queue="mial"),
    "jobs by tag": lambda fleet: fleet.jobs(queue="mial", tags=["eu"]),
    "limits": lambda fleet: fleet.limits("mial"),
    "limits.clear": lambda fleet: fleet.limits.clear("mial"),
    "move_many": lambda fleet: fleet.move_many("other", queue="mial"),
    "newest": lambda fleet: fleet.newest(queue="mial"),
    "pending": lambda fleet: fleet.pending("mial"),
    "purge_queue": lambda fleet: fleet.purge_queue("mial"),
    "remove_queue": lambda fleet: fleet.remove_queue("mial"),
    "reschedule_many": lambda fleet: fleet.reschedule_many(queue="mial", delay=5),
    "resume": lambda fleet: fleet.resume("mial"),
}
CREATING = {"pause", "move"}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_names_the_queue_that_was_meant(fleet: Fleet, name: str) -> None:
    fleet.enqueue(Job("n", "app.add", (1, 2), queue="mail"))

    with pytest.raises(ConfigError, match=r"^No queue 'mial'; did you mean 'mail'\? There are: mail\.$"):
        CALLS[name](fleet)

    assert [queue.name for queue in fleet.queues()] == ["mail"]


def test_no_method_that_takes_a_queue_is_missing_here() -> None:
    taking = {
        name for name, method in inspect.getmembers(Fleet, inspect.isfunction)
        if "queue" in inspect.signature(method).parameters
    }  # fmt: skip

    assert taking - CREATING <= set(CALLS)
