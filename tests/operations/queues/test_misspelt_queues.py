"""Every call that names a queue that does not exist names the one that was probably meant."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from jobfleet import ConfigError, Fleet, Job
from tests.support.each import each

CALLS: dict[str, Callable[[Fleet], Any]] = {
    "approvals": lambda fleet: fleet.approvals(queue="mial"),
    "cancel_many": lambda fleet: fleet.cancel_many(queue="mial"),
    "clean": lambda fleet: fleet.clean(5, "mial"),
    "count_matching": lambda fleet: fleet.count_matching("cancel", queue="mial"),
    "count_open": lambda fleet: fleet.count_open(queue="mial"),
    "count_dead": lambda fleet: fleet.count_dead("mial"),
    "dead": lambda fleet: fleet.dead("mial"),
    "dead_groups": lambda fleet: [fleet.dead_groups("mial")],
    "history": lambda fleet: fleet.history(queue="mial"),
    "jobs": lambda fleet: fleet.jobs(queue="mial"),
    "jobs by tag": lambda fleet: fleet.jobs(queue="mial", tags=["eu"]),
    "limits": lambda fleet: fleet.limits("mial"),
    "limits.clear": lambda fleet: fleet.limits.clear("mial"),
    "move_many": lambda fleet: fleet.move_many("other", queue="mial"),
    "newest": lambda fleet: fleet.newest(queue="mial"),
    "scale": lambda fleet: fleet.scale("mial"),
    "pending": lambda fleet: fleet.pending("mial"),
    "purge_queue": lambda fleet: fleet.purge_queue("mial"),
    "replay_many": lambda fleet: fleet.replay_many("mial"),
    "remove_queue": lambda fleet: fleet.remove_queue("mial"),
    "reschedule_many": lambda fleet: fleet.reschedule_many(queue="mial", delay=5),
    "resume": lambda fleet: fleet.resume("mial"),
    "spread": lambda fleet: fleet.spread("mial"),
}
CREATING = {"pause", "move", "set_durability"}
OF_THE_PAST = {"archived"}
"""The archive has jobs of queues that were removed since."""


@each("name", CALLS)
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

    assert taking - CREATING - OF_THE_PAST <= set(CALLS)


NEW = r"^Queue 'mial' is new; did you mean 'mail'\? 'jobfleet queues rm mial{}' removes it\.$"
OPENING: dict[str, Callable[[Fleet], Any]] = {
    "enqueue": lambda fleet: fleet.enqueue(Job("n", "app.add", (1, 2), queue="mial")),
    "enqueue_many": lambda fleet: list(fleet.enqueue_many([Job("n", "app.add", (1, 2), queue="mial")] * 3)),
    "options": lambda fleet: fleet.context.registry.functions["app.add"].options(queue="mial").enqueue(1, 2),
    "move": lambda fleet: fleet.move(fleet.enqueue(Job("n", "app.add", (1, 2), queue="mail")), "mial"),
}


@pytest.mark.parametrize("name", OPENING)
def test_a_job_that_creates_a_queue_with_a_similar_name_warns_once(fleet: Fleet, name: str) -> None:
    fleet.enqueue(Job("n", "app.add", (1, 2), queue="mail"))
    for function in fleet.context.registry.functions.values():
        function._fleet = fleet

    with pytest.warns(UserWarning, match=NEW.format(" --purge")) as told:
        OPENING[name](fleet)
    assert (len(told), told[0].filename) == (1, __file__)
    OPENING["enqueue"](fleet)  # the queue exists


def test_a_recurring_job_warns_of_its_new_queue(fleet: Fleet) -> None:
    fleet.enqueue(Job("n", "app.add", (1, 2), queue="mail"))

    with pytest.warns(UserWarning, match=NEW.format("")):
        fleet.cron.add("sum", "0 * * * *", Job("n", "app.add", (1, 2), queue="mial"))


def test_a_new_queue_of_a_series_warns_of_nothing(fleet: Fleet) -> None:
    for queue in ("shard-1", "shard-2", "tenant-acme", "tenant-apex", "bulk"):
        fleet.enqueue(Job("n", "app.add", (1, 2), queue=queue))
