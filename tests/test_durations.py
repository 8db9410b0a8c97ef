"""Every duration of every interface: seconds and timedeltas are the same, wherever they are given."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args, get_type_hints

import click
import pytest

from jobfleet import (
    AsyncFleet,
    Cron,
    Fleet,
    Flow,
    InvalidJob,
    Job,
    JobConfig,
    JobContext,
    JobHandle,
    RetryAfter,
    Snooze,
    WaitTimeout,
)
from jobfleet.archive import JobRepository, init_job_tables
from jobfleet.cli.main import main as cli
from jobfleet.cli.options import TIME
from jobfleet.client._sync.cron import CronEntries
from jobfleet.client._sync.flows import Flows
from jobfleet.client._sync.limits import Limits
from jobfleet.compat import JobManager
from jobfleet.config import SETTINGS, load
from jobfleet.config.setting import DURATION
from jobfleet.fleet import default
from jobfleet.functions import registry as decorator
from jobfleet.functions.limiting import Breaker, Limit
from jobfleet.functions.options import FunctionOptions, RegisteredOptions
from jobfleet.functions.registry import JobDecorator, JobFunction, Registry
from jobfleet.functions.running import Alone
from jobfleet.model.option_types import OPTIONS, SHARED, JobOptions, Seconds
from jobfleet.notify.registry import NotificationRule
from jobfleet.operations.workers import Order
from tests.support.each import each

HALF_HOUR = timedelta(minutes=30)
SECONDS = 1800.0
TEXT = "30m"
OF_JOBS = sorted(name for name, hint in get_type_hints(JobOptions).items() if timedelta in get_args(hint))
WITH_TEXT = ("retry_delay", "retry_for")
"""Options that read texts too."""
OF_FUNCTIONS = [name for name in OF_JOBS if name in SHARED]
SETTING_NAMES = [row.name for row in SETTINGS if row.kind is DURATION and (row.most or SECONDS) >= SECONDS]
WHOLE = {"lease": {}, "renew_every": {"lease": 3600}, "retry_delay": {}, "wait_poll_min": {"wait_poll_max": 3600},
         "beat": {"gone_after": 7200}, "durability_timeout": {"socket_timeout": 7200}}  # fmt: skip
"""Settings that another setting bounds."""


def function() -> None: ...


def gathered(values: list[int]) -> None: ...


def options_of(name: str) -> dict[str, Any]:
    """The other options that an option needs."""
    return {"unique": "key"} if name in ("unique_for", "debounce_max") else {}


def by_decorator(registry: Registry, name: str, value: Any) -> Any:
    made = JobDecorator(registry)(name="app.f", **{name: value}, **options_of(name))(function)
    return made.given[name]


def by_fleet(registry: Registry, name: str, value: Any) -> Any:
    with Fleet("redis://localhost:1", registry=registry) as fleet:
        return fleet.job(name="app.f", **{name: value}, **options_of(name))(function).given[name]


def by_awaited_fleet(registry: Registry, name: str, value: Any) -> Any:
    fleet = AsyncFleet("redis://localhost:1", registry=registry)
    return fleet.job(name="app.f", **{name: value}, **options_of(name))(function).given[name]


def by_name(registry: Registry, name: str, value: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("jobfleet.functions.registry.REGISTRY", registry)
    return decorator.register_job_function("app.f", function, **{name: value}, **options_of(name)).given[name]


@each("value", [HALF_HOUR, SECONDS, 1800])
@each("name", OF_JOBS)
def test_an_option_of_a_job(name: str, value: Any) -> None:
    made = JobDecorator(Registry())(name="app.f")(function)
    given: dict[str, Any] = {name: value, **options_of(name)}

    for job in (Job("n", "app.f", **given), made.options(**given).job(), Job("n", made, **given)):
        assert (getattr(job, name), type(getattr(job, name))) == (SECONDS, float)
    assert made.options(**given).given[name] == SECONDS


@each("value", [TEXT, "1800", "0.5h", f" {TEXT} "])
@each("name", WITH_TEXT)
def test_an_option_that_reads_texts(name: str, value: str) -> None:
    given: dict[str, Any] = {name: value}
    made = JobDecorator(Registry())(name="app.f", **given)(function)

    assert getattr(Job("n", "app.f", **given), name) == getattr(made.job(), name) == SECONDS
    assert {one for one in OF_JOBS if str in get_args(get_type_hints(JobOptions)[one])} == {*WITH_TEXT}


@each("value", [HALF_HOUR, SECONDS, 1800])
@each("name", OF_FUNCTIONS)
@each("way", [by_decorator, by_fleet, by_awaited_fleet, by_name])
def test_an_option_of_a_function(
    way: Callable[..., Any], name: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = (monkeypatch,) if way is by_name else ()

    kept = way(Registry(), name, value, *more)

    assert (kept, type(kept)) == (SECONDS, float)


@each("value", [HALF_HOUR, SECONDS])
def test_the_durations_of_a_function_that_are_not_options_of_jobs(value: Any) -> None:
    names = {"Cron": Cron, "Limit": Limit, "Breaker": Breaker}
    own = {name for name, hint in get_type_hints(FunctionOptions, localns=names).items()
           if timedelta in get_args(hint)} - OPTIONS  # fmt: skip
    own |= {name for name in RegisteredOptions.__annotations__ if name == "batch_wait"}
    job = JobDecorator(Registry())

    isolated = job(name="app.f", run_in="process", cpu_limit=value)(function)
    batched = job(name="app.g", batch=5, batch_wait=value)(gathered)

    assert own == {"cpu_limit", "batch_wait"}
    assert isolated.isolation is not None
    assert isolated.isolation.cpu_limit == SECONDS
    assert batched.batch is not None
    assert batched.batch.wait == SECONDS


@each("name", SETTING_NAMES)
def test_a_setting(name: str, tmp_path: Path) -> None:
    more: dict[str, Any] = WHOLE.get(name, {})
    if name == "patience":
        more = {"dedupe_window": 7200, "own_id_window": 7200}
    (tmp_path / "jobfleet.toml").write_text(
        f'{name} = "{TEXT}"\n' + "".join(f"{other} = {value}\n" for other, value in more.items()), encoding="utf-8"
    )
    variables = {"JOBFLEET_" + other.upper(): str(value) for other, value in more.items()}

    given: list[dict[str, Any]] = [{name: value, **more} for value in (HALF_HOUR, SECONDS, 1800, TEXT)]
    found = [getattr(JobConfig(**one), name) for one in given]
    for kind in (Fleet, AsyncFleet):
        fleets: list[Any] = [kind("redis://localhost:1", **one) for one in given]
        found += [getattr(fleet.config, name) for fleet in fleets]
    found += [
        getattr(load({}, environ={**variables, "JOBFLEET_" + name.upper(): text}, directory=tmp_path).config, name)
        for text in (TEXT, "1800", "1800s", "0.5h")
    ]
    found += [getattr(load({}, environ={}, directory=tmp_path).config, name)]

    assert {(value, type(value)) for value in found} == {(SECONDS, float)}


def test_the_context_and_the_errors_of_a_job() -> None:
    context = JobContext.for_test()
    context.extend(HALF_HOUR)
    context.extend(SECONDS)
    assert context.lock("crm", timeout=HALF_HOUR).timeout == SECONDS

    assert isinstance(context.port, Alone)
    assert context.port.extended == 2 * SECONDS
    assert RetryAfter(HALF_HOUR).delay == RetryAfter(1800).delay == Snooze(HALF_HOUR).delay == SECONDS


def test_a_cron_entry_a_rule_and_a_command() -> None:
    cron, same = (Cron("* * * * *", misfire_window=one, jitter=one) for one in (HALF_HOUR, SECONDS))

    assert (cron.misfire_window, cron.jitter) == (SECONDS, SECONDS) == (same.misfire_window, same.jitter)
    assert NotificationRule(channel="a", window=HALF_HOUR).window == SECONDS
    assert Order(["a"], "stop", grace=HALF_HOUR, timeout=HALF_HOUR)._commands["a"].value == SECONDS


NOW = timedelta(milliseconds=1)


def test_each_wait_and_each_change_of_a_client(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry()
    made = registry.register(function, name="app.f")
    with Fleet(redis_url, registry=registry) as fleet:
        made._fleet = fleet
        monkeypatch.setattr(default, "default_fleet", lambda: fleet)
        handle = made.enqueue()
        flow = Flow("one")
        flow.add(made.job())
        fleet.flows.enqueue(flow)
        waits: list[Callable[[], Any]] = [
            lambda: fleet.wait(handle.id, timeout=NOW),
            lambda: handle.wait(NOW),
            lambda: handle.result(timeout=NOW),
            lambda: default.wait(handle.id, NOW),
            lambda: JobManager(fleet=fleet).wait(handle.id, NOW),
            lambda: fleet.gather([handle], timeout=NOW),
            lambda: list(fleet.as_completed([handle], timeout=NOW)),
            lambda: fleet.flows.wait(flow, timeout=NOW),
        ]
        for wait in waits:
            with pytest.raises(WaitTimeout):
                wait()
        assert handle.reschedule(delay=HALF_HOUR)
        assert fleet.reschedule(handle.id, delay=HALF_HOUR)
        assert fleet.reschedule_many(queue="default", delay=HALF_HOUR) == 2
        assert fleet.limits.set("default", aging=HALF_HOUR)
        assert fleet.limits()[0].aging == SECONDS
        assert fleet.limits.close("github", HALF_HOUR)
        assert round(fleet.limits.all_named()[0].closed_for, -2) == SECONDS
        assert fleet.breakers.open("function:f", HALF_HOUR)
        assert round(fleet.breakers()[0].trial_in, -2) == SECONDS
        assert fleet.count_matching("reschedule", queue="default", delay=HALF_HOUR).number == 2
        assert fleet.clean(HALF_HOUR) == 0
        assert fleet.command_workers([], "stop", grace=HALF_HOUR, timeout=NOW) == []
        assert not fleet.child_stacks("gone:1:aa.1", timeout=NOW).is_known
        with pytest.raises(WaitTimeout):
            list(fleet.map(registry.register(with_a_number, name="app.number"), [1], timeout=NOW))
        JobManager(fleet=fleet).shutdown(HALF_HOUR)


async def test_each_wait_of_a_client_that_awaits(redis_url: str) -> None:
    async with AsyncFleet(redis_url, registry=Registry()) as fleet:
        handle = await fleet.handle_of(Job("n", idle, id="one"))
        with pytest.raises(WaitTimeout):
            await fleet.wait(handle.id, NOW)
        with pytest.raises(WaitTimeout):
            await handle.wait(NOW)
        with pytest.raises(WaitTimeout):
            await handle.result(NOW)
        assert await handle.reschedule(delay=HALF_HOUR)


def idle() -> None: ...


def with_a_number(number: int) -> None: ...


def test_the_time_to_flush_the_buffer_of_a_client() -> None:
    for value in (HALF_HOUR, SECONDS):
        Fleet("memory://closed").close(value)
    with pytest.raises(InvalidJob, match="timeout"):
        Fleet("memory://closed").close("soon")  # type: ignore[arg-type]  # the wrong type is what is tested


def test_the_age_of_a_job_in_the_archive(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'archive.db'}"
    init_job_tables(url)
    with JobRepository(url) as repository:
        for value in (HALF_HOUR, SECONDS):
            assert repository.count_ended(value) == repository.prune(value) == 0


def test_no_other_method_takes_a_duration_that_this_table_does_not_have() -> None:
    """A new parameter that holds a duration must be in the tests above."""
    parts = (Limits, Flows, CronEntries, JobHandle)
    places = (Fleet, Job, JobContext, JobFunction, JobManager, JobRepository, *parts, default)
    named = {
        f"{place.__name__.rpartition('.')[2]}.{name}({parameter.name})"
        for place in places
        for name, member in inspect.getmembers(place, inspect.isfunction)
        if not name.startswith("_")
        for parameter in inspect.signature(member).parameters.values()
        if re.search(r"\bSeconds\b|timedelta", str(parameter.annotation))
    }

    assert named == {
        "Fleet.as_completed(timeout)", "Fleet.child_stacks(timeout)", "Fleet.clean(older_than)",
        "Fleet.close(timeout)", "Fleet.command_workers(grace)", "Fleet.command_workers(timeout)",
        "Fleet.count_matching(delay)", "Fleet.gather(timeout)",
        "Fleet.history(since)", "Fleet.history(step)",
        "Fleet.map(timeout)", "Fleet.reschedule(delay)", "Fleet.reschedule_many(delay)",
        "Fleet.scale(hold)", "Fleet.scale(wait)", "Fleet.wait(timeout)",
        "Flows.wait(timeout)", "JobContext.extend(seconds)", "JobContext.lock(timeout)",
        "JobContext.sleep(delay)", "JobContext.sleep_sync(delay)", "JobContext.wait_for(timeout)",
        "JobContext.wait_for_sync(timeout)",
        "JobHandle.reschedule(delay)", "JobHandle.result(timeout)", "JobHandle.wait(timeout)",
        "JobManager.shutdown(timeout)", "JobManager.wait(timeout)", "JobRepository.count_ended(older_than)",
        "JobRepository.prune(older_than)", "Limits.close(seconds)", "Limits.set(aging)", "default.wait(timeout)",
    }  # fmt: skip


@each("text", ["30m", "1800", "1800s", "0.5h"])
def test_each_flag_that_holds_a_duration_is_read_by_the_one_rule(text: str) -> None:
    flags = list(_flags(cli))
    durations = [flag for flag in flags if flag.type is TIME or getattr(flag, "metavar", None) == "TIME"]

    assert len(durations) > 20
    assert TIME.convert(text, None, None) == SECONDS
    assert [flag.name for flag in flags if flag.type is click.FLOAT and flag not in durations and _is_time(flag)] == []


def _flags(command: click.Command) -> Iterator[click.Parameter]:
    yield from command.params
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _flags(inner)


def _is_time(flag: click.Parameter) -> bool:
    return "second" in (getattr(flag, "help", None) or "").lower()


@each("wrong", ["soon", True, -1, float("nan"), timedelta(seconds=-1), [5]])
@each("name", OF_FUNCTIONS)
def test_another_value_is_refused_where_it_is_given(name: str, wrong: Any) -> None:
    if name == "retry_delay" and wrong == [5]:
        wrong = [[5]]  # it may be a list
    made = JobDecorator(Registry())(name="app.f")(function)
    given: dict[str, Any] = {name: wrong, **options_of(name)}

    for give in (
        lambda: Job("n", "app.f", **given),
        lambda: made.options(**given),
        lambda: JobDecorator(Registry())(name="app.f", **given)(function),
    ):
        with pytest.raises(InvalidJob) as caught:
            give()
        assert caught.value.field == name


def test_the_type_of_durations_is_one() -> None:
    assert get_args(Seconds) == (float, timedelta)
    assert os.environ.get("JOBFLEET_LEASE") is None
