"""`Job`: what a producer asks for. Frozen, and refused at construction when an option is wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

from jobfleet.errors import InvalidJob
from jobfleet.model.group import check_group
from jobfleet.model.ids import SUFFIX_RULE, check_function_name, check_queue, new_suffix
from jobfleet.model.status import Priority
from jobfleet.model.unique import KEY_LENGTH_MAX, ON_CONFLICT, SCOPES, placeholders

Seconds = float | timedelta
TAGS_MAX = 20
TAG_LENGTH_MAX = 64
LABEL_LENGTH_MAX = 200
LONGEST = 100 * 366 * 86_400.0
LATEST = datetime(2190, 1, 1, tzinfo=UTC)
"""No job is due later: there stand jobs that wait for something else than a time."""
NAME_LIKE = ("user", "session", "correlation_id", "cron_expression", "tz")
DURATIONS = ("delay", "retry_delay", "timeout", "expires_in", "result_ttl", "debounce_max")
COUNTS = ("max_retries", "max_crashes")
COUNT_MAX = 1_000_000_000
LATER = ("durability",)

_set = object.__setattr__


def seconds(value: object, *, field: str) -> float:
    """Convert a public duration to seconds; refuse what is no finite, non-negative duration."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LONGEST:
        raise InvalidJob(
            f"{field} is {value!r}; give seconds (0 or more, at most 100 years) or a timedelta.", field=field
        )
    return float(value)


OTHERWISE = ("cancel", "run", "wait")


@dataclass(frozen=True, slots=True)
class After:
    """A job that another waits for, and what follows when it does not complete.

    Args:
        job: Its id, or a handle.
        otherwise: ``cancel`` the one that waits (default), ``run`` it all the same, or have it ``wait`` for a
            replay.

    Raises:
        InvalidJob: `otherwise` is none of these.
    """

    job: object
    otherwise: str = "cancel"

    def __post_init__(self) -> None:
        """Check the policy."""
        if self.otherwise not in OTHERWISE:
            raise InvalidJob(f"otherwise is {self.otherwise!r}; use {', '.join(OTHERWISE)}.", field="depends_on")


@dataclass(frozen=True, slots=True)
class Job:
    """A function to run, its arguments, and how to run it.

    Options that are None are unset: the decorator's apply, then the fleet's, then the built-in ones.
    The same object enqueued twice is one job.

    Args:
        name: A free label for people, at most 200 characters.
        function: A registered name, or a function with ``@job``.
        args: Positional arguments; plain data (see the codec's types).
        kwargs: Keyword arguments; plain data.
        priority: CRITICAL before HIGH before NORMAL before LOW, strictly. Default NORMAL.
        scheduled_at: Not before this time; naive means this machine's local time.
        delay: Not before this many seconds from now, by Redis's clock.
        cron_expression: Register a recurring job instead.
        tz: The time zone of `cron_expression`, by name.
        depends_on: Ids or handles of jobs to await, or `After` with what follows when one does not complete.
        max_retries: How many times a failed run is repeated. Default 3.
        retry_delay: Seconds before the first repetition. Default 5.
        retry_backoff: The factor by which that delay grows. Default 2.0.
        retry_jitter: Take 50 to 100 % of the delay at random. Default True.
        max_crashes: How many crashes suffered alone fail the job. Default 3.
        tags: At most 20, of 64 characters each.
        metadata: Plain data of the producer's, carried along; 16 KiB.
        user: Whom the job is attributed to.
        session: The session it belongs to.
        correlation_id: Carried into logs and context.
        queue: Default ``default``.
        timeout: Seconds a run may take; 0 means no limit.
        hard_timeout: Seconds after which a run is ended by force; 0 means never. Default `timeout` + 10 s, where
            there is one.
        expires_in: Seconds after which a job that has not started is let go.
        expires_at: The same as a time.
        run_in: Where it runs; stands on the decorator, here only to say the same.
        unique: A key that one job holds at a time: a text formatted from the arguments (``"invoice-{id}"``), or a
            function that is called with them and returns the key.
        unique_for: How long a job holds its key: while it is ``queued``, while it is ``open`` (default), or so
            many seconds from its enqueue, whatever becomes of it.
        on_conflict: What to do when another job holds the key: answer the ``existing`` one (default), ``raise``
            `DuplicateJob`, ``replace`` it or ``debounce`` it, if it has not started.
        debounce_max: Seconds after its first enqueue to which a job is put off at most by ``debounce``. Default
            ten times the delay.
        group: Whom it belongs to among those who share the queue, a tenant for example: groups take turns, and each
            may have limits.
        durability: ``fast`` (default), ``replicated`` or ``fsync``.
        result_ttl: Seconds the result is kept. Default 24 h, of a failed job 7 d.
        id: The caller's own suffix of the job's id: enqueueing it twice makes one job.

    Raises:
        InvalidJob: An option is wrong; `field` names it.
    """

    name: str
    function: str | Callable[..., Any]
    args: Sequence[object] = ()
    kwargs: Mapping[str, object] = field(default_factory=dict)
    priority: Priority | None = field(default=None, kw_only=True)
    scheduled_at: datetime | None = field(default=None, kw_only=True)
    delay: Seconds | None = field(default=None, kw_only=True)
    cron_expression: str | None = field(default=None, kw_only=True)
    tz: str | None = field(default=None, kw_only=True)
    depends_on: Sequence[object] | None = field(default=None, kw_only=True)
    max_retries: int | None = field(default=None, kw_only=True)
    retry_delay: Seconds | None = field(default=None, kw_only=True)
    retry_backoff: float | None = field(default=None, kw_only=True)
    retry_jitter: bool | None = field(default=None, kw_only=True)
    max_crashes: int | None = field(default=None, kw_only=True)
    tags: Sequence[str] | None = field(default=None, kw_only=True)
    metadata: Mapping[str, object] | None = field(default=None, kw_only=True)
    user: str | None = field(default=None, kw_only=True)
    session: str | None = field(default=None, kw_only=True)
    correlation_id: str | None = field(default=None, kw_only=True)
    queue: str | None = field(default=None, kw_only=True)
    timeout: Seconds | None = field(default=None, kw_only=True)
    hard_timeout: Seconds | None = field(default=None, kw_only=True)
    expires_in: Seconds | None = field(default=None, kw_only=True)
    expires_at: datetime | None = field(default=None, kw_only=True)
    run_in: str | None = field(default=None, kw_only=True)
    unique: str | Callable[..., str] | None = field(default=None, kw_only=True)
    unique_for: str | Seconds | None = field(default=None, kw_only=True)
    on_conflict: str | None = field(default=None, kw_only=True)
    debounce_max: Seconds | None = field(default=None, kw_only=True)
    group: str | None = field(default=None, kw_only=True)
    durability: str | None = field(default=None, kw_only=True)
    result_ttl: Seconds | None = field(default=None, kw_only=True)
    id: str | None = field(default=None, kw_only=True)
    suffix: str = field(default="", init=False, repr=False, compare=False)
    is_plain: bool = field(default=True, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check what was given; what was not costs nothing."""
        own = self.id
        if own is None:
            _set(self, "suffix", new_suffix())
        elif isinstance(own, str) and SUFFIX_RULE.fullmatch(own):
            _set(self, "suffix", own)
        else:
            raise InvalidJob(f"id is {own!r}; use 1 to 64 letters, digits, '_', '.', ':' or '-'.", field="id")
        name = self.name
        if type(name) is not str or not name or len(name) > LABEL_LENGTH_MAX or not name.isprintable():
            raise InvalidJob(f"name is {name!r}; give a printable label of 1 to 200 characters.", field="name")
        if isinstance(self.function, str):
            check_function_name(self.function)
        elif not callable(self.function):
            raise InvalidJob(f"function is {self.function!r}; give a registered name or a function.", field="function")
        if type(self.args) is not tuple:
            _check_args(self)
        if self.kwargs:
            _check_kwargs(self)
        given = _options_of(self)
        if given != _NOTHING:  # one comparison in C; most jobs carry no option
            _set(self, "is_plain", False)
            for option, value in zip(_OPTIONS, given, strict=True):
                if value is not None:
                    _CHECKS[option](self, option)

    def without_parents(self) -> Job:
        """The same job, waiting for nobody."""
        copy = replace(self, depends_on=None)
        _set(copy, "suffix", self.suffix)
        return copy


def check_job(given: object) -> None:
    """See that something is a job.

    Raises:
        InvalidJob: It is not.
    """
    if not isinstance(given, Job):
        raise InvalidJob(f"job is {given!r:.100}; give a Job, or what send.job(…) makes.", field="job")


def _check_args(job: Job) -> None:
    if isinstance(job.args, str | bytes) or not isinstance(job.args, Sequence):
        raise InvalidJob(f"args is {job.args!r}; give a list or tuple of arguments.", field="args")
    _set(job, "args", tuple(job.args))


def _check_kwargs(job: Job) -> None:
    if not isinstance(job.kwargs, Mapping) or not all(isinstance(key, str) for key in job.kwargs):
        raise InvalidJob(f"kwargs is {job.kwargs!r}; give a mapping of names to arguments.", field="kwargs")


def _duration(job: Job, option: str) -> None:
    _set(job, option, seconds(getattr(job, option), field=option))


def _hard_timeout(job: Job, option: str) -> None:
    _duration(job, option)
    soft, hard = job.timeout, job.hard_timeout
    if soft and hard and hard < soft:  # type: ignore[operator]  # both are floats by now
        raise InvalidJob(f"hard_timeout is {hard:g} s; give timeout ({soft:g} s) or more.", field=option)


def _expires_in(job: Job, option: str) -> None:
    _duration(job, option)
    after, delay = job.expires_in, job.delay
    if delay and after <= delay:  # type: ignore[operator]  # both are floats by now
        raise InvalidJob(
            f"expires_in is {after:g} s, and delay {delay:g} s: it would never start; give more.", field=option
        )


def _expires_at(job: Job, option: str) -> None:
    _moment(job, option)
    end, due = job.expires_at, job.scheduled_at
    if end is not None and due is not None and end <= due:
        raise InvalidJob(
            f"expires_at is {end}, and scheduled_at {due}: it would never start; give a later time.", field=option
        )


def _count(job: Job, option: str) -> None:
    value, least = getattr(job, option), int(option == "max_crashes")
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidJob(f"{option} is {value!r}; give a whole number, {least} or more.", field=option)
    if value > COUNT_MAX:
        raise InvalidJob(f"{option} is {value:,}; give {COUNT_MAX:,} or less.", field=option)


def _moment(job: Job, option: str) -> None:
    value = getattr(job, option)
    if not isinstance(value, datetime):
        raise InvalidJob(f"{option} is {value!r}; give a datetime.", field=option)
    try:
        moment = value.astimezone(UTC)
    except (OverflowError, ValueError):  # of years before the first, or after the last
        raise InvalidJob(f"{option} is {value!r}; give a time within the calendar.", field=option) from None
    if option == "scheduled_at" and moment >= LATEST:
        raise InvalidJob(f"{option} is {value!r}; give a time before {LATEST.year}.", field=option)
    _set(job, option, moment)


def _priority(job: Job, option: str) -> None:
    try:
        _set(job, option, Priority(-1 if isinstance(job.priority, bool) else getattr(job, option)))
    except ValueError:
        raise InvalidJob(f"priority is {job.priority!r}; use Priority.LOW … CRITICAL.", field=option) from None


def _backoff(job: Job, option: str) -> None:
    value = job.retry_backoff
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= 100:
        raise InvalidJob(f"retry_backoff is {value!r}; give a factor from 1 to 100.", field=option)


def _flag(job: Job, option: str) -> None:
    if not isinstance(getattr(job, option), bool):
        raise InvalidJob(f"{option} is {getattr(job, option)!r}; give True or False.", field=option)


def _text(job: Job, option: str) -> None:
    value = getattr(job, option)
    if not isinstance(value, str) or not 0 < len(value) <= LABEL_LENGTH_MAX or not value.isprintable():
        raise InvalidJob(f"{option} is {value!r}; give a printable text of 1 to 200 characters.", field=option)


def _tags(job: Job, option: str) -> None:
    tags = job.tags
    if isinstance(tags, str) or not isinstance(tags, Sequence) or len(tags) > TAGS_MAX:
        raise InvalidJob(f"tags is {tags!r}; give a list of at most {TAGS_MAX} texts.", field=option)
    for tag in tags:
        if not isinstance(tag, str) or not 0 < len(tag) <= TAG_LENGTH_MAX or not tag.isprintable():
            raise InvalidJob(f"tags holds {tag!r}; a tag has 1 to {TAG_LENGTH_MAX} characters.", field=option)
    _set(job, option, tuple(tags))


def _metadata(job: Job, option: str) -> None:
    if not isinstance(job.metadata, Mapping) or not all(isinstance(key, str) for key in job.metadata):
        raise InvalidJob(f"metadata is {job.metadata!r}; give a mapping with text keys.", field=option)


def _parents(job: Job, option: str) -> None:
    parents = job.depends_on
    if isinstance(parents, str | bytes) or not isinstance(parents, Sequence) or not parents:
        raise InvalidJob(f"depends_on is {parents!r}; give a list of ids or handles.", field=option)
    _set(job, option, tuple(parents))


def _queue(job: Job, _option: str) -> None:
    check_queue(job.queue)


def _run_in(job: Job, option: str) -> None:
    if job.run_in != getattr(job.function, "run_in", None):
        raise InvalidJob(f"run_in is {job.run_in!r}; it stands on the decorator: @job(run_in=…).", field=option)


def _unique(job: Job, option: str) -> None:
    unique = job.unique
    if callable(unique):
        return
    if not isinstance(unique, str) or not 0 < len(unique) <= KEY_LENGTH_MAX or not unique.isprintable():
        raise InvalidJob(
            f"unique is {unique!r}; give a printable text of 1 to {KEY_LENGTH_MAX} characters, or a function.",
            field=option,
        )
    placeholders(unique)


def _unique_for(job: Job, option: str) -> None:
    value = job.unique_for
    if isinstance(value, str):
        if value not in SCOPES:
            raise InvalidJob(f"unique_for is {value!r}; use 'queued', 'open' or seconds.", field=option)
        return
    if not seconds(value, field=option):
        raise InvalidJob(f"unique_for is {value!r}; a time must be longer than nothing.", field=option)
    _duration(job, option)


def _on_conflict(job: Job, option: str) -> None:
    if job.on_conflict not in ON_CONFLICT:
        choices = ", ".join(map(repr, ON_CONFLICT[:-1]))
        raise InvalidJob(f"on_conflict is {job.on_conflict!r}; use {choices} or {ON_CONFLICT[-1]!r}.", field=option)


def _group(job: Job, _option: str) -> None:
    check_group(job.group)


def _later(_job: Job, option: str) -> None:
    raise InvalidJob(f"{option} is not supported by this version of jobfleet; leave it out.", field=option)


_CHECKS: dict[str, Callable[[Job, str], None]] = {
    **dict.fromkeys(DURATIONS, _duration),
    "hard_timeout": _hard_timeout,  # after timeout, which it is compared with
    "expires_in": _expires_in,  # after delay, likewise
    **dict.fromkeys(COUNTS, _count),
    **dict.fromkeys(NAME_LIKE, _text),
    "priority": _priority,
    "scheduled_at": _moment,
    "expires_at": _expires_at,  # after scheduled_at, likewise
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
    **dict.fromkeys(LATER, _later),
}
_OPTIONS = tuple(_CHECKS)
_options_of = attrgetter(*_OPTIONS)
_NOTHING = (None,) * len(_OPTIONS)
