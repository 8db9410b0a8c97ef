"""`Job`: what a producer asks for. Frozen, and refused at construction when an option is wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from jobfleet.errors import InvalidJob
from jobfleet.model.ids import SUFFIX_RULE, check_function_name, new_suffix
from jobfleet.model.options import CHECKS, LABEL_LENGTH_MAX, Seconds, check_args, check_kwargs
from jobfleet.model.status import Priority

OTHERWISE = ("cancel", "run", "wait")

_set = object.__setattr__


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


@dataclass(frozen=True)  # no slots: what is unset is read off the class
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

    if not TYPE_CHECKING:  # what `dataclass` writes sets every option of every job, and most jobs have none

        def __init__(self, name: Any, function: Any, args: Any = (), kwargs: Any = None, **options: Any) -> None:
            """Keep what was given, and check it; what was not given stays the class's None."""
            _set(self, "name", name)
            _set(self, "function", function)
            _set(self, "args", args)
            _set(self, "kwargs", {} if kwargs is None else kwargs)
            own = options.pop("id", None) if options else None
            _set(self, "suffix", new_suffix() if own is None else _own_suffix(own))
            if own is not None:
                _set(self, "id", own)
            self._check_call()
            if options:
                self._take(options)

    def _check_call(self) -> None:
        name = self.name
        if type(name) is not str or not name or len(name) > LABEL_LENGTH_MAX or not name.isprintable():
            raise InvalidJob(f"name is {name!r}; give a printable label of 1 to 200 characters.", field="name")
        if isinstance(self.function, str):
            check_function_name(self.function)
        elif not callable(self.function):
            raise InvalidJob(f"function is {self.function!r}; give a registered name or a function.", field="function")
        if type(self.args) is not tuple:
            check_args(self)
        if self.kwargs:
            check_kwargs(self)

    def _take(self, options: Mapping[str, object]) -> None:
        """Keep options that say something, then check each, in an order in which each may rely on those before."""
        for option, value in options.items():
            if option not in CHECKS:
                close = get_close_matches(option, (*CHECKS, "id"), n=1)
                raise TypeError(f"Job has no option {option!r}{f'; did you mean {close[0]!r}?' if close else '.'}")
            if value is not None:
                _set(self, option, value)
                _set(self, "is_plain", False)
        if not self.is_plain:
            for option, check in CHECKS.items():
                if getattr(self, option) is not None:
                    check(self, option)

    def without_parents(self) -> Job:
        """The same job, waiting for nobody."""
        copy = replace(self, depends_on=None)
        _set(copy, "suffix", self.suffix)
        return copy


def _own_suffix(own: object) -> str:
    if isinstance(own, str) and SUFFIX_RULE.fullmatch(own):
        return own
    raise InvalidJob(f"id is {own!r}; use 1 to 64 letters, digits, '_', '.', ':' or '-'.", field="id")


def check_job(given: object) -> None:
    """See that something is a job.

    Raises:
        InvalidJob: It is not.
    """
    if not isinstance(given, Job):
        raise InvalidJob(f"job is {given!r:.100}; give a Job, or what send.job(…) makes.", field="job")
