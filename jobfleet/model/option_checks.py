"""Checks of a job's options: durations, counts, times, names, keys and callbacks. An error names the option."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, Protocol

from jobfleet.clock import delays, seconds, seconds_or_text
from jobfleet.errors import InvalidJob
from jobfleet.model.fields import TEXT_NAMES
from jobfleet.model.names import check_queue
from jobfleet.model.option_types import LEVELS, ORDERS, RIVALS, Items, Parents, Seconds
from jobfleet.model.status import Priority, PriorityName, read_priority
from jobfleet.model.templates import KEY_LENGTH_MAX, ON_CONFLICT, SCOPES, check_group, placeholders

CALLBACKS = ("on_success", "on_failure")
REFUSED = ("id", "depends_on", "cron_expression", "unique")
"""Options that a callback cannot have: its id is derived, and it waits for its parent alone."""


def callback_of(given: Any, option: str) -> Any:
    """Convert a callback to a job.

    Args:
        given: A `Job`, or a job function that can be called without arguments.
        option: The option, for messages.

    Raises:
        InvalidJob: It is neither, or the job has an option that a callback cannot have.
    """
    job = _called(given, option) if hasattr(given, "parameters") and hasattr(given, "given") else given
    if not hasattr(job, "own_options") or isinstance(job, type):  # `model/spec.py` imports this module
        raise InvalidJob(
            f"{option} is {given!r:.100}; give a job, such as notify.job(…), or a function with @job.", field=option
        )
    for name in REFUSED:
        if getattr(job, name) is not None:
            raise InvalidJob(
                f"{option} is a job with {name}, which a callback cannot have; leave it out.", field=option
            )
    return job


def _called(function: Any, option: str) -> Any:
    """The job of a job function."""
    if function.parameters is not None:
        try:
            inspect.Signature(function.parameters).bind()
        except TypeError as error:
            raise InvalidJob(
                f"{option} is {function!r}, which needs arguments ({error}); give {function.__name__}.job(…).",
                field=option,
            ) from None
    return function.job()


TAGS_MAX = 20
TAG_LENGTH_MAX = 64
LABEL_LENGTH_MAX = 200
LATEST = datetime(2190, 1, 1, tzinfo=UTC)
"""Exclusive upper bound of `scheduled_at`. Later scores are for jobs that wait for something other than a time."""
DURATIONS = ("delay", "timeout", "expires_in", "result_ttl", "debounce_max")
COUNTS = ("max_retries", "max_crashes")
COUNT_MAX = 1_000_000_000
MEANT = {
    "countdown": "delay", "eta": "scheduled_at", "executor": "run_in", "expires": "expires_in", "isolated": "run_in",
    "isolation": "run_in", "job_timeout": "timeout",
    "max_attempts": "max_retries", "max_tries": "max_retries", "on_duplicate": "on_conflict",
    "retries": "max_retries", "retry": "max_retries", "time_limit": "timeout", "ttl": "result_ttl",
}  # fmt: skip
"""Names that other libraries use, and what they are here."""

_set = object.__setattr__


class _Job(Protocol):
    """What the checks read of a job; `model/spec.py` imports this module."""

    @property
    def args(self) -> Items[object]: ...

    @property
    def kwargs(self) -> Mapping[str, object]: ...

    @property
    def cron_expression(self) -> str | None: ...

    @property
    def delay(self) -> Seconds | None: ...

    @property
    def depends_on(self) -> Parents | None: ...

    @property
    def durability(self) -> str | None: ...

    @property
    def expires_at(self) -> datetime | None: ...

    @property
    def function(self) -> str | Callable[..., Any]: ...

    @property
    def group(self) -> str | None: ...

    @property
    def metadata(self) -> Mapping[str, object] | None: ...

    @property
    def on_conflict(self) -> str | None: ...

    @property
    def order(self) -> str | None: ...

    @property
    def priority(self) -> Priority | PriorityName | None: ...

    @property
    def queue(self) -> str | None: ...

    @property
    def retry_backoff(self) -> float | None: ...

    @property
    def run_in(self) -> str | None: ...

    @property
    def scheduled_at(self) -> datetime | None: ...

    @property
    def tags(self) -> Items[str] | None: ...

    @property
    def timeout(self) -> Seconds | None: ...

    @property
    def unique(self) -> str | Callable[..., str] | None: ...

    @property
    def unique_for(self) -> str | Seconds | None: ...


def meant(option: str, known: Iterable[str]) -> str:
    """The end of the message about an option that does not exist: the one that was probably meant, or a full stop."""
    names = sorted(known)
    close = [MEANT[option]] if MEANT.get(option) in names else get_close_matches(option, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else "."


def check_args(job: _Job) -> None:
    """Convert `args` to a tuple; refuse a value that is not a sequence."""
    args: object = job.args
    if isinstance(args, str | bytes) or not isinstance(args, Sequence):
        raise InvalidJob(f"args is {args!r}; give a list or tuple of arguments.", field="args")
    _set(job, "args", tuple(args))


def check_kwargs(job: _Job) -> None:
    """Refuse `kwargs` that do not map names to arguments."""
    if not isinstance(job.kwargs, Mapping) or not all(isinstance(key, str) for key in job.kwargs):
        raise InvalidJob(f"kwargs is {job.kwargs!r}; give a mapping of names to arguments.", field="kwargs")


def _duration(job: _Job, option: str) -> float:
    value = seconds(getattr(job, option), field=option)
    _set(job, option, value)
    return value


def _retry_delay(job: _Job, option: str) -> None:
    value = getattr(job, option)
    if callable(value):
        raise InvalidJob(
            f"{option} is {value!r}; a function can only be set on the decorator: @job({option}=…).", field=option
        )
    _set(job, option, delays(value, field=option))


def _retry_for(job: _Job, option: str) -> None:
    value = seconds_or_text(getattr(job, option), field=option)
    if not value:
        raise InvalidJob(f"{option} is {value:g}; give more than 0 seconds, or max_retries=0.", field=option)
    _set(job, option, value)


def _hard_timeout(job: _Job, option: str) -> None:
    hard = _duration(job, option)
    soft = seconds(job.timeout or 0.0, field="timeout")
    if soft and hard and hard < soft:
        raise InvalidJob(f"hard_timeout is {hard:g} s; give timeout ({soft:g} s) or more.", field=option)


def check_rivals(job: object, rivals: Sequence[tuple[str, str]] = RIVALS) -> None:
    """Refuse a job that has both of two options that exclude each other."""
    for one, other in rivals:
        if getattr(job, one) is not None and getattr(job, other) is not None:
            raise InvalidJob(f"{one} and {other} are both given; give one.", field=other)


def _cron(job: _Job, option: str) -> None:
    from jobfleet.model.cron_expression import check_expression  # imports croniter, which only recurring jobs need

    _text(job, option)
    check_expression(job.cron_expression)


def _tz(job: _Job, option: str) -> None:
    from jobfleet.model.cron_expression import zone_of

    _text(job, option)
    zone_of(getattr(job, option))
    if job.cron_expression is None:
        raise InvalidJob("tz is the time zone of cron_expression, which is not given.", field=option)


def _expires_in(job: _Job, option: str) -> None:
    after = _duration(job, option)
    delay = seconds(job.delay or 0.0, field="delay")
    if delay and after <= delay:
        raise InvalidJob(
            f"expires_in is {after:g} s, and delay {delay:g} s: it would never start; give more.", field=option
        )


def _expires_at(job: _Job, option: str) -> None:
    _moment(job, option)
    end, due = job.expires_at, job.scheduled_at
    if end is not None and due is not None and end <= due:
        raise InvalidJob(
            f"expires_at is {end}, and scheduled_at {due}: it would never start; give a later time.", field=option
        )


def _count(job: _Job, option: str) -> None:
    value, least = getattr(job, option), int(option == "max_crashes")
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidJob(f"{option} is {value!r}; give a whole number, {least} or more.", field=option)
    if value > COUNT_MAX:
        raise InvalidJob(f"{option} is {value:,}; give {COUNT_MAX:,} or less.", field=option)


def _moment(job: _Job, option: str) -> None:
    value = getattr(job, option)
    if not isinstance(value, datetime):
        raise InvalidJob(f"{option} is {value!r}; give a datetime.", field=option)
    try:
        moment = value.astimezone(UTC)
    except (OverflowError, ValueError):  # the UTC year is below 1 or above 9999
        raise InvalidJob(f"{option} is {value!r}; give a time within the calendar.", field=option) from None
    if option == "scheduled_at" and moment >= LATEST:
        raise InvalidJob(f"{option} is {value!r}; give a time before {LATEST.year}.", field=option)
    _set(job, option, moment)


def _priority(job: _Job, option: str) -> None:
    _set(job, option, read_priority(job.priority, option))


def _backoff(job: _Job, option: str) -> None:
    value = job.retry_backoff
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= 100:
        raise InvalidJob(f"retry_backoff is {value!r}; give a factor from 1 to 100.", field=option)


def _flag(job: _Job, option: str) -> None:
    if not isinstance(getattr(job, option), bool):
        raise InvalidJob(f"{option} is {getattr(job, option)!r}; give True or False.", field=option)


def _text(job: _Job, option: str) -> None:
    value = getattr(job, option)
    if not isinstance(value, str) or not 0 < len(value) <= LABEL_LENGTH_MAX or not value.isprintable():
        raise InvalidJob(f"{option} is {value!r}; give a printable text of 1 to 200 characters.", field=option)


def _tags(job: _Job, option: str) -> None:
    tags: object = job.tags
    if isinstance(tags, str) or not isinstance(tags, Sequence) or len(tags) > TAGS_MAX:
        raise InvalidJob(f"tags is {tags!r}; give a list of at most {TAGS_MAX} texts.", field=option)
    for tag in tags:
        if not isinstance(tag, str) or not 0 < len(tag) <= TAG_LENGTH_MAX or not tag.isprintable():
            raise InvalidJob(f"tags holds {tag!r}; a tag has 1 to {TAG_LENGTH_MAX} characters.", field=option)
    _set(job, option, tuple(tags))


def _metadata(job: _Job, option: str) -> None:
    if not isinstance(job.metadata, Mapping) or not all(isinstance(key, str) for key in job.metadata):
        raise InvalidJob(f"metadata is {job.metadata!r}; give a mapping with text keys.", field=option)


def _parents(job: _Job, option: str) -> None:
    parents: object = job.depends_on
    if isinstance(parents, str | bytes) or not isinstance(parents, Sequence) or not parents:
        raise InvalidJob(f"depends_on is {parents!r}; give a list of ids or handles.", field=option)
    for one in parents:
        if not (isinstance(one, str) or isinstance(getattr(one, "id", None), str) or hasattr(one, "otherwise")):
            raise InvalidJob(f"depends_on holds {one!r}; give ids, handles or After(…).", field=option)
    _set(job, option, tuple(parents))


def _queue(job: _Job, _option: str) -> None:
    check_queue(job.queue)


def _run_in(job: _Job, option: str) -> None:
    if job.run_in != getattr(job.function, "run_in", None):
        raise InvalidJob(
            f"run_in is {job.run_in!r}; it can only be set on the decorator: @job(run_in=…).", field=option
        )


def _unique(job: _Job, option: str) -> None:
    unique = job.unique
    if callable(unique):
        return
    if not isinstance(unique, str) or not 0 < len(unique) <= KEY_LENGTH_MAX or not unique.isprintable():
        raise InvalidJob(
            f"unique is {unique!r}; give a printable text of 1 to {KEY_LENGTH_MAX} characters, or a function.",
            field=option,
        )
    placeholders(unique)


def _unique_for(job: _Job, option: str) -> None:
    value = job.unique_for
    if isinstance(value, str):
        if value not in SCOPES:
            raise InvalidJob(f"unique_for is {value!r}; use 'queued', 'open' or seconds.", field=option)
        return
    if not seconds(value, field=option):
        raise InvalidJob(f"unique_for is {value!r}; give more than 0 seconds.", field=option)
    _duration(job, option)


def _on_conflict(job: _Job, option: str) -> None:
    if job.on_conflict not in ON_CONFLICT:
        choices = ", ".join(map(repr, ON_CONFLICT[:-1]))
        raise InvalidJob(f"on_conflict is {job.on_conflict!r}; use {choices} or {ON_CONFLICT[-1]!r}.", field=option)


def _callback(job: _Job, option: str) -> None:
    _set(job, option, callback_of(getattr(job, option), option))
    if job.cron_expression is not None:
        raise InvalidJob(f"{option} is not for a recurring job; use a hook or a rule of notifications.", field=option)


def _group(job: _Job, _option: str) -> None:
    check_group(job.group)


def _order(job: _Job, option: str) -> None:
    if job.order not in ORDERS:
        choices = ", ".join(map(repr, ORDERS[:-1]))
        raise InvalidJob(f"{option} is {job.order!r}; use {choices} or {ORDERS[-1]!r}.", field=option)


def _durability(job: _Job, option: str) -> None:
    check_level(job.durability, field=option)


def check_level(level: object, *, field: str) -> None:
    """Refuse what is not a durability level; `field` is its name for the message.

    Raises:
        InvalidJob: It is not one.
    """
    if level not in LEVELS:
        choices = ", ".join(map(repr, LEVELS[:-1]))
        raise InvalidJob(f"{field} is {level!r}; use {choices} or {LEVELS[-1]!r}.", field=field)


CHECKS: dict[str, Callable[[_Job, str], object]] = {
    **dict.fromkeys(DURATIONS, _duration),
    "retry_delay": _retry_delay,
    "retry_for": _retry_for,
    "hard_timeout": _hard_timeout,  # after timeout, because the check compares the two
    "expires_in": _expires_in,  # after delay, for the same reason
    **dict.fromkeys(COUNTS, _count),
    **dict.fromkeys(TEXT_NAMES, _text),
    "cron_expression": _cron,
    "tz": _tz,
    "priority": _priority,
    "scheduled_at": _moment,
    "expires_at": _expires_at,  # after scheduled_at, for the same reason
    "retry_backoff": _backoff,
    "retry_jitter": _flag,
    "tags": _tags,
    "metadata": _metadata,
    "queue": _queue,
    "depends_on": _parents,
    "run_in": _run_in,
    "unique": _unique,
    "unique_for": _unique_for,
    "on_conflict": _on_conflict,
    "group": _group,
    "order": _order,
    **dict.fromkeys(CALLBACKS, _callback),
    "durability": _durability,
}
"""Option → the function that checks it and converts it. The order matters: a check may rely on the ones before it."""


def exception_classes(option: str, given: object) -> tuple[type[BaseException], ...]:
    """Check the exception classes of an option; a single class becomes a tuple.

    Raises:
        InvalidJob: One of them is not an exception class.
    """
    classes = tuple(given) if isinstance(given, list | tuple | set | frozenset) else (given,)
    for one in classes:
        if not (isinstance(one, type) and issubclass(one, BaseException)):
            raise InvalidJob(f"{option} holds {one!r:.100}; give exception classes: {option}=(Busy,).", field=option)
    return classes
