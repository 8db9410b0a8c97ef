"""`Job`: what it takes, what it makes of it, and how it refuses the rest."""

from __future__ import annotations

import copy
import pickle
import time
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, fields, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from jobfleet import InvalidJob, Job, JobResult, JobStatus, Priority
from jobfleet.model import seconds
from jobfleet.model.fields import TEXT_NAMES
from tests.support.each import each

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TOO_LONG = "x" * 201
OPTIONS = {
    "priority", "scheduled_at", "delay", "cron_expression", "tz", "depends_on", "max_retries", "retry_delay",
    "retry_for",
    "retry_backoff", "retry_jitter", "max_crashes", "tags", "metadata", *TEXT_NAMES, "queue",
    "timeout", "hard_timeout", "expires_in", "expires_at", "run_in", "unique", "unique_for", "on_conflict",
    "on_success", "on_failure", "debounce_max", "group", "order", "durability", "result_ttl", "id",
}  # fmt: skip

GOOD: list[tuple[str, Any, Any]] = [
    ("priority", Priority.CRITICAL, Priority.CRITICAL),
    ("priority", 2, Priority.HIGH),
    ("durability", "fast", "fast"),
    ("durability", "replicated", "replicated"),
    ("durability", "fsync", "fsync"),
    ("scheduled_at", NOON, NOON),
    ("scheduled_at", datetime(2026, 3, 1, 14, tzinfo=timezone(timedelta(hours=2))), NOON),
    ("delay", 0, 0.0),
    ("delay", 5, 5.0),
    ("delay", timedelta(minutes=1), 60.0),
    ("max_retries", 0, 0),
    ("max_retries", 1_000, 1_000),
    ("retry_delay", 0.25, 0.25),
    ("retry_delay", timedelta(milliseconds=5), 0.005),
    ("retry_delay", "5", 5.0),
    ("retry_delay", ["1m", 5], (60.0, 5.0)),
    ("retry_for", "1d", 86400.0),
    ("retry_backoff", 1, 1),
    ("retry_backoff", 100.0, 100.0),
    ("retry_jitter", False, False),
    ("max_crashes", 1, 1),
    ("tags", ["eu", "x" * 64], ("eu", "x" * 64)),
    ("tags", (), ()),
    ("tags", [str(n) for n in range(20)], tuple(str(n) for n in range(20))),
    ("metadata", {"a": [1]}, {"a": [1]}),
    ("user", "ann", "ann"),
    ("session", "x" * 200, "x" * 200),
    ("correlation_id", "Zoë 1/2", "Zoë 1/2"),
    ("queue", "mail-2_B", "mail-2_B"),
    ("queue", "x" * 32, "x" * 32),
    ("timeout", 0, 0.0),
    ("timeout", timedelta(hours=1), 3600.0),
    ("hard_timeout", 0, 0.0),
    ("hard_timeout", timedelta(hours=1), 3600.0),
    ("expires_in", 0.5, 0.5),
    ("expires_at", NOON, NOON),
    ("result_ttl", timedelta(days=7), 604_800.0),
    ("unique", "nightly", "nightly"),
    (
        "unique",
        "{id} {0} {order.id:>8} {row[id]!r} {{literal}} {}",
        "{id} {0} {order.id:>8} {row[id]!r} {{literal}} {}",
    ),
    ("unique", "x" * 200, "x" * 200),
    ("unique", str.upper, str.upper),
    ("unique_for", "queued", "queued"),
    ("unique_for", "open", "open"),
    ("unique_for", 60, 60.0),
    ("unique_for", timedelta(minutes=1), 60.0),
    *(("on_conflict", word, word) for word in ("existing", "raise", "replace", "debounce")),
    ("debounce_max", timedelta(minutes=1), 60.0),
    ("id", "invoice:7_a.b-c", "invoice:7_a.b-c"),
    ("id", "x" * 64, "x" * 64),
]
NO_SECONDS: list[Any] = [-1, -0.001, float("inf"), float("nan"), "5", True, timedelta(seconds=-1), [5]]
NO_COUNT: list[Any] = [-1, 1.0, "3", True, 1_000_000_001]
NO_TEXT: list[Any] = ["", 7, TOO_LONG, "a\nb", b"ann"]
WRONG_PRIORITIES: list[Any] = [4, -1, "urgent", [], True]
WRONG_METADATA: list[Any] = [[], "a", {1: 2}, {b"a": 1}]
DURATIONS = ("delay", "timeout", "expires_in", "result_ttl")
BAD: list[tuple[str, Any]] = [
    *((option, value) for option in DURATIONS for value in NO_SECONDS),
    *((option, value) for option in ("retry_delay", "retry_for") for value in NO_SECONDS if value not in ("5", [5])),
    ("retry_delay", [[5]]), ("retry_for", [5]),
    *((option, value) for option in ("max_retries", "max_crashes") for value in NO_COUNT),
    ("max_crashes", 0),
    *((option, value) for option in TEXT_NAMES for value in NO_TEXT),
    *((option, value) for option in ("scheduled_at", "expires_at") for value in ("2026-03-01", 1e9, NOON.date())),
    *(("priority", value) for value in WRONG_PRIORITIES),
    *(("retry_backoff", value) for value in (0.99, 100.1, float("nan"), True, "2")),
    *(("unique", value) for value in ("", 7, TOO_LONG, "a\nb", b"k", ["k"])),
    *(("unique", value) for value in ("{", "a}", "{n", "{n!x:", "{1n}", "{n:{m}}", "{n[a[b]]}")),
    *(("unique", value) for value in ("{n._secret}", "{n.__class__}", "{0.a._b}")),
    *(("unique_for", value) for value in ("", "running", 0, -1, True, timedelta(0), float("inf"), ["open"])),
    *(("on_conflict", value) for value in ("", "skip", True, 1, ["raise"])),
    *(("debounce_max", value) for value in NO_SECONDS),
    ("retry_jitter", 1),
    ("retry_jitter", "yes"),
    *(("tags", value) for value in ("eu", 5, {"eu"}, ["x"] * 21, [""], ["x" * 65], [7], ["a\tb"], b"eu")),
    *(("metadata", value) for value in WRONG_METADATA),
    *(("group", value) for value in ("", "*", "a\0b", "a\nb", "x" * 201, 7, b"acme")),
    *(("queue", value) for value in ("", "a.b", "a b", "x" * 33, "Zoë", 7, "mail\n")),
    *(("durability", value) for value in ("", "none", "FSYNC", True, 1, ["fsync"])),
    *(("id", value) for value in ("", "a b", "x" * 65, 7, "a/b", "ä", "a\n")),
]  # fmt: skip


@pytest.fixture
def kolkata(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Kolkata")
        time.tzset()
        yield
    time.tzset()


def test_the_options_are_those_of_the_surface() -> None:
    options = {field.name for field in fields(Job) if field.init and field.kw_only}

    assert options == OPTIONS


@each("option, given, kept", GOOD)
def test_an_option_that_is_right_is_kept(option: str, given: Any, kept: Any) -> None:
    job = Job("Label", "app.add", **{option: given})

    assert getattr(job, option) == kept
    assert type(getattr(job, option)) is type(kept)


@each("option, value", BAD)
def test_an_option_that_is_wrong_is_refused_by_name(option: str, value: Any) -> None:
    with pytest.raises(InvalidJob) as caught:
        Job("Label", "app.add", **{option: value})

    assert caught.value.field == option
    assert str(caught.value).startswith(f"{option} ")
    assert str(caught.value).endswith(".")


def test_what_is_not_given_is_unset() -> None:
    job = Job("Label", "app.add")

    assert {option: getattr(job, option) for option in OPTIONS} == dict.fromkeys(OPTIONS)
    assert (job.args, job.kwargs) == ((), {})


@each(
    "field, arguments",
    [
        ("name", {"name": ""}),
        ("name", {"name": TOO_LONG}),
        ("name", {"name": "a\nb"}),
        ("name", {"name": 7}),
        ("name", {"name": None}),
        ("function", {"function": ""}),
        ("function", {"function": "send mail"}),
        ("function", {"function": "x" * 129}),
        ("function", {"function": 7}),
        ("function", {"function": None}),
        ("args", {"args": "abc"}),
        ("args", {"args": b"abc"}),
        ("args", {"args": 7}),
        ("args", {"args": {1, 2}}),
        ("kwargs", {"kwargs": [("a", 1)]}),
        ("kwargs", {"kwargs": {1: "a"}}),
    ],
)
def test_a_name_a_function_and_arguments_of_the_wrong_kind_are_refused(field: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidJob) as caught:
        Job(**{"name": "Label", "function": "app.add", **arguments})

    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field} is ")


def test_a_label_is_free_and_a_function_may_be_one() -> None:
    job = Job("Grüße, Zoë! 📨", seconds, [1, 2], {"x": 3})

    assert (job.name, job.function, job.args, job.kwargs) == ("Grüße, Zoë! 📨", seconds, (1, 2), {"x": 3})


def test_a_job_cannot_be_changed() -> None:
    job = Job("Label", "app.add")

    with pytest.raises(FrozenInstanceError):
        job.queue = "mail"  # type: ignore[misc]


@pytest.mark.usefixtures("kolkata")
@pytest.mark.parametrize("option", ["scheduled_at", "expires_at"])
def test_a_naive_time_is_local_and_kept_as_utc(option: str) -> None:
    options: dict[str, Any] = {option: datetime(2026, 3, 1, 17, 30)}  # noqa: DTZ001

    job = Job("Label", "app.add", **options)

    kept = getattr(job, option)
    assert kept == NOON
    assert kept.tzinfo is UTC


def test_every_job_has_an_id_of_its_own() -> None:
    one, other = Job("Label", "app.add"), Job("Label", "app.add")

    assert one.suffix != other.suffix
    assert one == other


def test_a_copy_with_changes_is_another_job_unless_the_caller_named_it() -> None:
    mine, named = Job("Label", "app.add"), Job("Label", "app.add", id="seven")

    assert replace(mine, queue="mail").suffix != mine.suffix
    assert replace(named, queue="mail").suffix == named.suffix == "seven"


@pytest.mark.parametrize(("given", "read"), [(1, 1.0), (0.5, 0.5), (timedelta(days=1), 86_400.0)])
def test_seconds_takes_numbers_and_timedeltas(given: object, read: float) -> None:
    assert seconds(given, field="delay") == read


def test_a_number_of_seconds_beyond_floats_is_refused() -> None:
    with pytest.raises(InvalidJob, match="delay"):
        Job("Label", "app.add", delay=10**400)


@pytest.mark.parametrize("option", ["scheduled_at", "expires_at"])
def test_a_time_beyond_the_calendar_is_refused(option: str) -> None:
    options: dict[str, Any] = {option: datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5)))}

    with pytest.raises(InvalidJob, match=option):
        Job("Label", "app.add", **options)


@each("soft, hard", [(5, 5), (5, 6), (0, 1), (5, 0), (None, 1), (timedelta(seconds=5), 5.5)])
def test_a_hard_limit_is_no_shorter_than_the_soft_one(soft: Any, hard: Any) -> None:
    assert Job("a", "f.g", timeout=soft, hard_timeout=hard).hard_timeout == float(hard)


def test_a_hard_limit_below_the_soft_one_is_refused() -> None:
    with pytest.raises(InvalidJob, match=r"hard_timeout is 4 s; give timeout \(5 s\) or more") as caught:
        Job("a", "f.g", timeout=5, hard_timeout=4)

    assert caught.value.field == "hard_timeout"


def test_a_due_time_where_other_jobs_stand_is_refused() -> None:
    with pytest.raises(InvalidJob, match="give a time before 2190") as refused:
        Job("x", "f", scheduled_at=datetime(2190, 1, 1, tzinfo=UTC))

    assert refused.value.field == "scheduled_at"
    assert Job("x", "f", scheduled_at=datetime(2189, 12, 31, tzinfo=UTC), expires_at=datetime(2500, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("options", "words"),
    [({"max_retry": 3}, r"'max_retry'; did you mean 'max_retries'\?"), ({"colour": None}, r"'colour'\.")],
)
def test_an_option_that_does_not_exist_is_refused_with_the_one_that_does(options: dict[str, Any], words: str) -> None:
    with pytest.raises(TypeError, match=f"Job has no option {words}"):
        Job("x", "f", **options)


@pytest.mark.parametrize("options", [{}, {"tags": ["a"], "timeout": 5, "id": "own"}, {"priority": None, "id": None}])
def test_a_job_is_a_value(options: dict[str, Any]) -> None:
    job = Job("x", "f", [1], {"a": 2}, **options)

    assert job == Job("x", "f", [1], {"a": 2}, **options)
    assert job != Job("x", "f", [1], {"a": 3}, **options)
    assert replace(job, args=(2,)) == Job("x", "f", [2], {"a": 2}, **options)
    for copied in (copy.copy(job), copy.deepcopy(job), pickle.loads(pickle.dumps(job))):
        assert (copied, copied.suffix, copied.is_plain) == (job, job.suffix, job.is_plain)
    with pytest.raises(FrozenInstanceError):
        job.queue = "mail"  # type: ignore[misc]


def test_a_job_that_was_given_nothing_shares_nothing() -> None:
    one, other = Job("x", "f"), Job("x", "f", kwargs=None)  # type: ignore[arg-type]

    assert one.kwargs == other.kwargs == {}
    assert one.kwargs is not other.kwargs
    assert one.suffix != other.suffix


def test_a_job_that_would_expire_before_it_is_due_is_refused() -> None:
    with pytest.raises(InvalidJob) as caught:
        Job("n", "app.add", delay=10, expires_in=5)
    assert (caught.value.field, str(caught.value)) == (
        "expires_in", "expires_in is 5 s, and delay 10 s: it would never start; give more.",
    )  # fmt: skip

    with pytest.raises(InvalidJob, match=r"^expires_at is .*, and scheduled_at .*: it would never start; "):
        Job("n", "app.add", scheduled_at=NOON, expires_at=NOON)
    Job("n", "app.add", delay=10, expires_in=10.5)


@pytest.mark.usefixtures("kolkata")
def test_the_first_moment_of_the_calendar_is_refused_by_name() -> None:
    with pytest.raises(InvalidJob, match=r"^scheduled_at is .*; give a time within the calendar\.$"):
        Job("n", "app.add", scheduled_at=datetime(1, 1, 1))  # noqa: DTZ001


def test_the_repr_of_a_result_leaves_out_what_may_have_passwords() -> None:
    job = JobResult(id="default.0.a", status=JobStatus.COMPLETED, result={"password": "hunter2"})

    assert "hunter2" not in f"{job} {job!r}"
    assert "id='default.0.a'" in repr(job)
