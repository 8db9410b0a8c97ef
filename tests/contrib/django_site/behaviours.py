"""What a project gets from the integration, tried in a process of its own: Django has one configuration per process.

It needs a running worker. Prints a JSON object: the name of each behaviour, and its traceback, or an empty text.
"""

import asyncio
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
os.environ["DJANGO_SETTINGS_MODULE"] = "site_settings"

import django

django.setup()

from django.contrib.auth.models import Permission, User  # noqa: E402 - as above
from django.core.management import CommandError, call_command  # noqa: E402
from django.db import transaction  # noqa: E402
from django.test import Client  # noqa: E402
from django.utils import timezone  # noqa: E402
from shop import errors, jobs, tasks  # noqa: E402
from shop.models import Order  # noqa: E402

from jobfleet import Fleet, Job, Priority  # noqa: E402
from jobfleet.contrib.django import JobfleetBackend, enqueue_on_commit  # noqa: E402
from jobfleet.fleet.default import default_fleet  # noqa: E402
from jobfleet.testing.jobs import Jobs  # noqa: E402

try:
    from django.tasks import TaskResultStatus, task, task_backends
    from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist, TaskResultMismatch
    from django.tasks.signals import task_enqueued, task_finished
except ModuleNotFoundError:
    from django_tasks import TaskResultStatus, task, task_backends
    from django_tasks.exceptions import InvalidTaskError as InvalidTask
    from django_tasks.exceptions import TaskResultDoesNotExist, TaskResultMismatch
    from django_tasks.signals import task_enqueued, task_finished

FOUND: dict[str, Callable[[], None]] = {}
READY, SUCCESSFUL, FAILED = (getattr(TaskResultStatus, name) for name in ("READY", "SUCCESSFUL", "FAILED"))


def behaviour(function: Callable[[], None]) -> Callable[[], None]:
    FOUND[function.__name__] = function
    return function


@behaviour
def a_request_waits_2_s_for_redis() -> None:
    config = default_fleet().config
    assert (config.patience, config.connect_timeout) == (2.0, 2.0), config


def raised(kind: type[BaseException], call: Callable[[], object], text: str = "") -> None:
    found: BaseException | None = None
    try:
        call()
    except kind as error:
        found = error
    assert found is not None, f"{kind.__name__} was not raised"
    assert text in str(found), found


def finished(result: Any) -> Any:
    """The result, refreshed until it is finished."""
    until = time.monotonic() + 30
    while not result.is_finished:
        assert time.monotonic() < until, f"{result.id} is still {result.status}"
        time.sleep(0.02)
        result.refresh()
    return result


def local_only() -> None:
    """Not a function of a module."""


@behaviour
def an_enqueued_task_is_ready() -> None:
    before = timezone.now() - timedelta(milliseconds=1)
    result = tasks.add.using(run_after=timezone.now() + timedelta(hours=1)).enqueue(1, y=2)

    assert (result.status, result.attempts, result.args, result.kwargs) == (READY, 0, [1], {"y": 2})
    assert (result.backend, result.errors, result.started_at, result.finished_at) == ("default", [], None, None)
    assert before <= result.enqueued_at <= timezone.now()
    raised(ValueError, lambda: result.return_value, "not finished")


@behaviour
def arguments_that_the_function_does_not_take_are_refused() -> None:
    before = len(default_fleet().newest())

    raised(InvalidTask, lambda: tasks.add.enqueue(1, too="x"), "shop.tasks.add takes (x, y): ")
    raised(InvalidTask, partial(tasks.about_itself.enqueue), "shop.tasks.about_itself takes (*, label): missing")
    raised(InvalidTask, lambda: tasks.about_itself.enqueue(None, label="x"), "too many positional arguments")
    raised(InvalidTask, lambda: asyncio.run(tasks.add.aenqueue(1)), "missing a required argument: 'y'")
    assert len(default_fleet().newest()) == before


@behaviour
def a_task_that_has_run_is_successful_in_any_process() -> None:
    result = finished(tasks.add.enqueue(1, 2))

    assert (result.status, result.return_value, result.attempts) == (SUCCESSFUL, 3, 1)
    assert len(result.worker_ids) == 1
    assert result.enqueued_at <= result.started_at == result.last_attempted_at <= result.finished_at
    again = tasks.add.get_result(result.id)
    assert (again.task, again.return_value) == (tasks.add, 3)
    assert default_fleet().poll(result.id).function == "shop.tasks.add"


@behaviour
def a_task_with_context_knows_its_result() -> None:
    result = finished(tasks.about_itself.using(priority=-3, queue_name="bulk").enqueue(label="x"))

    assert result.return_value == {
        "id": result.id, "label": "x", "attempt": 1, "status": "RUNNING", "args": [], "kwargs": {"label": "x"},
        "priority": -3, "queue": "bulk",
    }  # fmt: skip
    read = tasks.about_itself.get_result(result.id).task
    assert (read.priority, read.queue_name, read.takes_context) == (-3, "bulk", True)


@behaviour
def an_async_task_is_enqueued_and_read_by_coroutines() -> None:
    async def scene() -> Any:
        result = await tasks.count_orders.aenqueue()
        while not result.is_finished:
            await asyncio.sleep(0.02)
            await result.arefresh()
        return result, await tasks.count_orders.aget_result(result.id)

    result, again = asyncio.run(scene())

    assert (result.status, result.return_value, again.return_value) == (SUCCESSFUL, 2, 2)


@behaviour
def a_task_that_raises_has_its_exception() -> None:
    result = finished(tasks.close_shop.enqueue())

    (error,) = result.errors
    assert result.status == FAILED
    assert error.exception_class is errors.ShopClosed
    assert "at six" in error.traceback
    raised(ValueError, lambda: result.return_value, "failed")


@behaviour
def a_retried_task_counts_its_attempts() -> None:
    result = finished(tasks.fails_once.enqueue())

    assert (result.status, result.return_value, result.attempts) == (SUCCESSFUL, 2, 2)


@behaviour
def a_result_that_is_unknown_or_of_another_task_is_refused() -> None:
    fleet = default_fleet()
    own = fleet.enqueue(Job("orders", jobs.orders, delay=3600))
    add = tasks.add.using(run_after=timezone.now() + timedelta(hours=1)).enqueue(1, 2)

    for unknown in ("default.0.none", "no id", own):
        raised(TaskResultDoesNotExist, partial(tasks.add.get_result, unknown))
    raised(TaskResultMismatch, partial(tasks.about_itself.get_result, add.id))


@behaviour
def a_deferred_task_waits_for_its_time() -> None:
    due = timezone.now() + timedelta(hours=1)
    result = tasks.add.using(run_after=due).enqueue(1, 2)

    job = default_fleet().poll(result.id)
    assert (job.status, job.scheduled_at) == ("scheduled", due)
    read = tasks.add.get_result(result.id)
    assert (read.status, read.task.run_after, read.task.priority, read.args) == (READY, due, 7, [1, 2])


@behaviour
def a_task_that_cannot_be_run_is_refused() -> None:
    def inner() -> None:
        """Not a function of a module."""

    for make in (
        partial(tasks.add.using, queue_name="nowhere"),
        partial(tasks.add.using, priority=101),
        partial(tasks.add.using, priority=1.5),
        partial(tasks.add.using, run_after=timezone.now().replace(tzinfo=None)),
        partial(task, inner),
        partial(task(takes_context=False), inner),
    ):
        raised(InvalidTask, make)


@behaviour
def a_priority_becomes_one_of_four() -> None:
    found = {}
    for number in (-100, -1, 0, 1, 49, 50, 100):
        due = timezone.now() + timedelta(hours=1)
        result = tasks.add.using(priority=number, run_after=due).enqueue(1, 2)
        found[number] = default_fleet().details(result.id).priority
        assert tasks.add.get_result(result.id).task.priority == number

    low, normal, high, critical = Priority
    assert found == {-100: low, -1: low, 0: normal, 1: high, 49: high, 50: critical, 100: critical}


@behaviour
def only_json_is_enqueued_and_returned() -> None:
    before = len(list(default_fleet().newest()))
    raised(TypeError, partial(tasks.add.enqueue, object(), 2))
    assert len(list(default_fleet().newest())) == before

    result = finished(tasks.returns_no_json.enqueue())
    assert (result.status, result.errors[0].exception_class) == (FAILED, TypeError)


@behaviour
def a_transaction_enqueues_when_it_commits() -> None:
    results: list[Any] = []
    enqueue = lambda: results.append(tasks.count_orders.enqueue())  # noqa: E731 - as Django documents it
    queued = default_fleet()
    before = {one.id for one in queued.newest()}
    with transaction.atomic():
        transaction.on_commit(enqueue)
        enqueue_on_commit(jobs.orders.job())
        assert {one.id for one in queued.newest()} == before
        Order.objects.create(number=3)
    committed = {one.id for one in queued.newest()} - before

    def rolled_back() -> None:
        with transaction.atomic():
            transaction.on_commit(enqueue)
            enqueue_on_commit(jobs.orders.job())
            raise KeyError("back")

    raised(KeyError, rolled_back)
    (result,) = results
    (plain,) = committed - {result.id}
    assert finished(result).return_value == 3  # it sees the row
    assert queued.wait(plain, timeout=30).result == 3
    assert {one.id for one in queued.newest()} - before == committed
    Order.objects.filter(number=3).delete()


@behaviour
def signals_are_sent_here_and_in_the_worker() -> None:
    seen: list[Any] = []

    def receiver(sender: Any, task_result: Any, **_: Any) -> None:
        seen.append((sender, task_result.id, task_result.status))

    task_enqueued.connect(receiver)
    try:
        good, bad = tasks.add.enqueue(1, 2), tasks.close_shop.enqueue()
    finally:
        task_enqueued.disconnect(receiver)
    finished(good), finished(bad)

    assert seen == [(JobfleetBackend, one.id, READY) for one in (good, bad)]
    for result, last in ((good, "SUCCESSFUL"), (bad, "FAILED")):  # Django itself logs at each signal
        lines = [line.text.partition("\n") for line in default_fleet().logs(result.id)]
        assert [first.rpartition("=")[2] for first, _, _ in lines] == ["RUNNING", last], lines
        assert ("ShopClosed: at six" in lines[-1][2]) == (last == "FAILED"), lines


@behaviour
def connections_are_closed_around_jobs() -> None:
    first, second = (finished(tasks.order_thread.enqueue()).return_value for _ in range(2))

    assert first[0] == second[0], "one slot has one thread"
    assert (first[1], second[1]) == (True, True)


@behaviour
def the_backend_supports_everything() -> None:
    backend = task_backends["default"]

    assert backend.supports_defer
    assert backend.supports_async_task
    assert backend.supports_get_result
    assert backend.supports_priority


@behaviour
def wrong_options_are_found_by_checks() -> None:
    call_command("check", stdout=StringIO())
    wrong = JobfleetBackend("other", {"BACKEND": "x", "QUEUES": ["a b"], "OPTIONS": {"max_retrys": 1}})

    found = {one.id: str(one.msg) for one in wrong.check()}

    assert found.keys() == {"jobfleet.E001", "jobfleet.E002"}
    assert "max_retrys" in found["jobfleet.E001"]
    assert "TASKS['other']['QUEUES']" in found["jobfleet.E002"]
    raised(InvalidTask, partial(wrong.enqueue, late_task(), [], {}), "max_retrys")


def late_task() -> Any:
    """A task that no backend has registered yet."""
    made = object.__new__(type(tasks.add))
    for name in ("priority", "backend", "queue_name", "run_after", "takes_context"):
        object.__setattr__(made, name, getattr(tasks.add, name))
    object.__setattr__(made, "queue_name", "a b")
    object.__setattr__(made, "func", finished)
    return made


@behaviour
def the_command_has_the_settings_of_the_project() -> None:
    out = StringIO()
    call_command("jobfleet", "workers", "ls", "-o", "json", stdout=out)

    (worker,) = json.loads(out.getvalue())
    assert sorted(worker["queues"]) == ["bulk", "default", "mail", "plain"]
    raised(CommandError, partial(call_command, "jobfleet", "status", "default.0.none"), "default.0.none")


@behaviour
def the_admin_leads_those_who_may_to_the_dashboard() -> None:
    boss = User.objects.create_superuser("boss")
    clerk = User.objects.create_user("clerk", is_staff=True)
    path = "/admin/jobfleet/dashboard/"

    answers = []
    for user in (boss, clerk, None):
        client = Client(SERVER_NAME="127.0.0.1")
        if user is not None:
            client.force_login(user)
        answer = client.get(path)
        answers.append((answer.status_code, answer.headers.get("Location", "")))
        if user is boss:
            assert path in client.get("/admin/").content.decode()
    clerk.user_permissions.add(Permission.objects.get(codename="view_dashboard"))
    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(clerk)

    assert answers[:2] == [(302, "https://jobs.example/"), (403, "")]
    assert answers[2][1].startswith("/admin/login/")
    assert client.get(path).headers["Location"] == "https://jobs.example/"


@behaviour
def a_plain_job_uses_the_database_too() -> None:
    assert jobs.orders.enqueue().result(timeout=30) == 2


@behaviour
def a_task_has_the_options_of_the_backend_that_it_is_sent_to() -> None:
    """Its decorator names a backend without retries. The worker has imported nothing but the decorator."""
    result = finished(tasks.close_shop.using(backend="patient").enqueue())
    own = finished(tasks.close_shop.enqueue())

    assert (result.status, result.attempts, result.backend) == (FAILED, 3, "patient")
    assert (own.status, own.attempts, own.backend) == (FAILED, 1, "once")
    again = task_backends["patient"].get_result(result.id)
    assert (again.task.func, again.task.backend) == (tasks.close_shop.func, "patient")
    same = tasks.add.using(backend="default").enqueue(1, 2)
    assert default_fleet().poll(same.id).function == "shop.tasks.add"


@behaviour
def a_task_that_fails_in_this_program_is_finished_as_well() -> None:
    """Django's signal comes wherever a task is run: in a worker of this program, in a test that drains, and inline."""
    seen: list[Any] = []

    def note(sender: Any, task_result: Any, **_: Any) -> None:
        seen.append((task_result.id, task_result.status, task_result.task.backend))

    task_finished.connect(note)
    kit = Jobs(Fleet(os.environ["SHOP_REDIS"], namespace="here"))
    with kit.fleet, kit.in_place():
        ran = tasks.close_shop.enqueue()
        kit.fleet.run_worker(burst=True)
        drained = tasks.close_shop.using(backend="patient").enqueue()
        kit.drain()
        with kit.inline(raises=False):
            inline = tasks.close_shop.enqueue()
    task_finished.disconnect(note)

    assert seen == [(ran.id, FAILED, "once"), (drained.id, FAILED, "patient"), (inline.id, FAILED, "once")]


def outcome(function: Callable[[], None]) -> str:
    """How a behaviour ended: an empty text, or its traceback."""
    try:
        function()
    except Exception:
        return traceback.format_exc()
    return ""


if __name__ == "__main__":
    sys.stdout.write(json.dumps({name: outcome(function) for name, function in FOUND.items()}))
