"""The tables of options and settings that type checkers read are those that the code reads."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from jobfleet import Cron, Job, JobResult
from jobfleet.config import SETTINGS
from jobfleet.config.argument_types import FleetSettings
from jobfleet.config.setting import (
    COUNT,
    DURATION,
    FILE,
    FLAG,
    KEYRING,
    LANES,
    NETWORKS,
    NOTIFY,
    PATH,
    QUEUES,
    RATIO,
    REPLICAS,
    SIZE,
    WORDS,
    Duration,
    Kind,
)
from jobfleet.fleet.worker_options import WorkerOptions
from jobfleet.functions.batch import BATCH
from jobfleet.functions.limiting import DECLARED, GATES, Breaker, Limit
from jobfleet.functions.options import LIMITS, PLACES, UPCAST, VERSION, FunctionOptions, RegisteredOptions
from jobfleet.functions.registry import Registry
from jobfleet.model import spec
from jobfleet.model.fields import (
    FIELDS,
    FILTER_NAMES,
    LETTER_NAMES,
    TEXT_NAMES,
    TEXTS,
    FilterTexts,
    JobTexts,
    LetterTexts,
    SharedTexts,
)
from jobfleet.model.option_checks import CHECKS, MEANT
from jobfleet.model.option_types import (
    OPTIONS,
    SHARED,
    Durability,
    JobOptions,
    OnConflict,
    Otherwise,
    RunIn,
    SharedOptions,
)
from jobfleet.model.templates import ON_CONFLICT
from jobfleet.operations.flows.dependencies import POLICIES
from jobfleet.worker.in_process import run_worker
from tests.support.each import each


def test_a_job_has_a_field_of_the_same_type_for_each_option() -> None:
    hints = get_type_hints(Job, vars(spec))
    options = {field.name: hints[field.name] for field in fields(Job) if field.init and field.kw_only}

    assert options == get_type_hints(JobOptions)


def test_each_field_of_the_table_is_shown_and_described_where_people_look_for_it() -> None:
    lacking = [
        f"{holder.__name__}.{one.name}"
        for holder, rows in ((Job, TEXTS), (JobResult, FIELDS))
        for one in rows
        if one.name not in {field.name for field in fields(holder)} or f"    {one.name}: " not in str(holder.__doc__)
    ]

    assert lacking == []
    assert {*TEXT_NAMES} == SharedTexts.__annotations__.keys() | JobTexts.__annotations__.keys()
    assert {*FILTER_NAMES} == FilterTexts.__annotations__.keys()
    assert {*LETTER_NAMES} == LetterTexts.__annotations__.keys()
    letters = ["g", "f", "t", *(one.letter for one in TEXTS if one.letter)]
    for taken in ([one.name for one in FIELDS], [one.column for one in FIELDS], letters):
        assert len({*taken}) == len(taken)


def test_each_option_has_a_check() -> None:
    assert {*CHECKS, "id"} == OPTIONS
    assert set(MEANT.values()) <= OPTIONS


KEPT = ("keep_last", "keep_args")


def test_the_decorator_takes_the_shared_options_and_those_of_a_function() -> None:
    taken = {*LIMITS, *DECLARED, *GATES, "retry_on", "discard_on", "cron", "retry_delay", *KEPT, VERSION, UPCAST}

    assert set(FunctionOptions.__annotations__) == {*SharedOptions.__annotations__, *taken, "name"}
    assert set(RegisteredOptions.__annotations__) == {*SharedOptions.__annotations__, *taken, *BATCH}
    names = {"Cron": Cron, "Limit": Limit, "Breaker": Breaker}
    assert get_type_hints(FunctionOptions, localns=names)["cron"] == str | Cron | None


def test_the_registry_takes_each_option_that_the_types_name() -> None:
    named = set(inspect.signature(Registry.register).parameters) - {"self", "function", "fleet", "options"}

    assert named | SHARED | {*LIMITS, *DECLARED, *GATES, "cron", *KEPT, VERSION, UPCAST} == set(
        FunctionOptions.__annotations__
    )


def test_the_words_of_an_option_are_those_that_the_checks_accept() -> None:
    assert get_args(OnConflict) == ON_CONFLICT
    assert get_args(RunIn) == PLACES
    assert set(get_args(Otherwise)) == set(POLICIES)
    assert "fast" in get_args(Durability)


TYPES: dict[Kind, Any] = {
    DURATION: Duration,
    COUNT: int,
    FLAG: bool,
    RATIO: float,
    SIZE: int | str,
}


def test_a_fleet_takes_each_setting_by_its_type() -> None:
    hints = get_type_hints(FleetSettings)

    assert set(hints) == {row.name for row in SETTINGS} - {"url", "namespace"} | {"config"}
    for row in SETTINGS:
        if row.kind in TYPES and row.name in hints:
            assert hints[row.name] == TYPES[row.kind] | None, row.name
        elif row.kind.words and row.name in hints:
            (choice,) = (one for one in get_args(hints[row.name]) if get_origin(one) is Literal)
            assert get_args(choice) == row.kind.words, row.name
        elif row.kind is REPLICAS:
            assert hints[row.name] == int | Literal["all"] | None
        elif row.name in hints:
            assert str in get_args(hints[row.name]), row.name
            assert (
                row.kind in (FILE, KEYRING, LANES, NETWORKS, NOTIFY, PATH, QUEUES, WORDS)
                or hints[row.name] == str | None
            ), row.name


@each("option", sorted(WorkerOptions.__annotations__))
def test_a_worker_in_the_program_takes_each_of_its_options(option: str) -> None:
    assert get_type_hints(run_worker)[option] == get_type_hints(WorkerOptions)[option]
    assert set(inspect.signature(run_worker).parameters) == {"fleet", *WorkerOptions.__annotations__}
