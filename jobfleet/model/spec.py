"""`Job`: the description of a job by its producer, and the ids of jobs, with the tokens that send them a signal."""

from __future__ import annotations

import hashlib
import os
import random
import re
import secrets
import threading
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, get_args

from jobfleet.errors import InvalidJob, JobNotFound
from jobfleet.model.names import LANE_RULE, QUEUE_RULE, SUFFIX_RULE, check_function_name
from jobfleet.model.option_checks import CHECKS, LABEL_LENGTH_MAX, check_args, check_kwargs, check_rivals, meant
from jobfleet.model.option_types import (
    OPTIONS,
    Callback,
    Durability,
    HasId,
    Items,
    OnConflict,
    Order,
    Otherwise,
    Parents,
    RetryDelay,
    RunIn,
    Seconds,
    UniqueFor,
)
from jobfleet.model.status import Priority, PriorityName

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # type checkers know it without a package; it gives the parameter a default

    R_co = TypeVar("R_co", covariant=True, default=Any)
else:
    from typing import TypeVar

    R_co = TypeVar("R_co", covariant=True)

OTHERWISE: tuple[Otherwise, ...] = get_args(Otherwise)

_set = object.__setattr__
_new = object.__new__


@dataclass(frozen=True, slots=True)
class After:
    """A job that must end first, and what happens to the dependant if that job does not complete.

    Args:
        job: The id or the handle of the job.
        otherwise: ``cancel`` the dependant (default), ``run`` it anyway, or let it ``wait`` until the job is
            replayed.

    Raises:
        InvalidJob: `otherwise` is not one of these three words.
    """

    job: str | HasId
    otherwise: Otherwise = "cancel"

    def __post_init__(self) -> None:
        """Check the policy."""
        if self.otherwise not in OTHERWISE:
            raise InvalidJob(f"otherwise is {self.otherwise!r}; use {', '.join(OTHERWISE)}.", field="depends_on")


@dataclass(frozen=True)  # no slots: an option that is not set is read from the class
class Job(Generic[R_co]):
    """A function to run, its arguments, and the options of its run.

    ``Job[int]`` is the type of a job whose function returns an int; ``send.job(…)`` returns one.

    An option of None is not set: the decorator's value applies, then the fleet's, then the built-in default.
    To enqueue the same object twice creates one job.

    Args:
        name: A label for people, at most 200 characters.
        function: A registered name, or a function with ``@job``.
        args: Positional arguments; plain data (see the types of the codec), or what the function's annotations name.
        kwargs: Keyword arguments; likewise.
        priority: CRITICAL runs before HIGH, HIGH before NORMAL, NORMAL before LOW, strictly. Default NORMAL. A name is
            taken, too, such as ``"high"``.
        scheduled_at: The earliest start. A naive datetime is in this machine's local time.
        delay: Seconds from now to the earliest start, by Redis's clock. Give this or `scheduled_at`.
        cron_expression: Register a recurring job with this schedule instead of enqueueing one job.
        tz: The time zone of `cron_expression`, by name. Default ``UTC``.
        depends_on: Ids or handles of the parent jobs, or `After` objects to choose what happens if a parent does not
            complete.
        max_retries: Number of retries after failed runs. Default 3.
        retry_delay: Seconds before the first retry, or a list with the seconds before each retry, of which the last
            repeats. A text such as ``30s`` is read too. Default 5.
        retry_for: Seconds, or a text such as ``1d``, from the first due time after which no retry is due. Without
            `max_retries`, only this bounds the number of retries.
        retry_backoff: Factor from one delay to the next. Default 2.0.
        retry_jitter: Multiply each delay by a random factor from 0.5 to 1.0. Default True.
        max_crashes: Number of crashes while alone in a process after which the job fails. Default 3.
        tags: At most 20, of 64 characters each.
        metadata: Plain data that is stored with the job, at most 16 KiB.
        user: The user that the job is attributed to.
        session: The session that the job belongs to.
        owner_team: The team that is responsible for the job.
        correlation_id: An id that logs and the job's context carry.
        queue: Default ``default``.
        timeout: Time limit of a run in seconds; 0 for no limit.
        hard_timeout: Seconds after which a run is ended by force; 0 for never. Default: `timeout` + 10 s if `timeout`
            is set.
        expires_in: Seconds after which a job that has not started expires. Give this or `expires_at`.
        expires_at: The time at which a job that has not started expires.
        run_in: Where the function runs. Only the decorator can set it; here it may only repeat the decorator's value.
        unique: A key that only one job can hold at a time: a template that is formatted with the arguments
            (``"invoice-{id}"``), or a function that takes the arguments and returns the key.
        unique_for: How long a job holds its key: while it is ``queued``, while it is ``open`` (default), or a number
            of seconds from its enqueue, in whatever state the job is.
        on_conflict: What to do if another job holds the key: return the ``existing`` job (default), ``raise``
            `DuplicateJob`, or ``replace`` or ``debounce`` the other job, if it has not started.
        on_success: A job that is enqueued when this job completes: ``notify.job("done")``, or a function without
            arguments. Its ``ctx.parents`` has the result of this job.
        on_failure: The same for a job that fails for good or expires.
        debounce_max: Seconds after its first enqueue up to which ``debounce`` can delay a job. Default: ten times the
            delay.
        group: The group within the queue, such as a tenant. Groups take turns, and each group can have limits.
        order: ``strict`` to run the jobs of the group one at a time, in the order of their enqueue. It also says what
            follows if a job fails for good: the next one, with ``strict``; nothing until somebody decides, with
            ``strict-park``; or all that wait fail too, with ``strict-fail-rest``.
        durability: ``fast`` (default), ``replicated`` or ``fsync``.
        result_ttl: Seconds for which the result is stored. Default 24 h, or 7 d if the job failed.
        id: The suffix of the job's id, chosen by the caller. To enqueue the same id twice creates one job. The whole id
            of a job repeats its enqueue: ``error.job_id`` of `DurabilityUncertain`, for example.

    Raises:
        InvalidJob: An option is not valid, or contradicts another one; `field` names it.
        TypeError: There is no such option.
    """

    name: str
    function: str | Callable[..., Any]
    args: Items[object] = ()
    kwargs: Mapping[str, object] = field(default_factory=dict)
    priority: Priority | PriorityName | None = field(default=None, kw_only=True)
    scheduled_at: datetime | None = field(default=None, kw_only=True)
    delay: Seconds | None = field(default=None, kw_only=True)
    cron_expression: str | None = field(default=None, kw_only=True)
    tz: str | None = field(default=None, kw_only=True)
    depends_on: Parents | None = field(default=None, kw_only=True)
    max_retries: int | None = field(default=None, kw_only=True)
    retry_delay: RetryDelay | None = field(default=None, kw_only=True)
    retry_for: Seconds | str | None = field(default=None, kw_only=True)
    retry_backoff: float | None = field(default=None, kw_only=True)
    retry_jitter: bool | None = field(default=None, kw_only=True)
    max_crashes: int | None = field(default=None, kw_only=True)
    tags: Items[str] | None = field(default=None, kw_only=True)
    metadata: Mapping[str, object] | None = field(default=None, kw_only=True)
    user: str | None = field(default=None, kw_only=True)
    session: str | None = field(default=None, kw_only=True)
    owner_team: str | None = field(default=None, kw_only=True)
    correlation_id: str | None = field(default=None, kw_only=True)
    queue: str | None = field(default=None, kw_only=True)
    timeout: Seconds | None = field(default=None, kw_only=True)
    hard_timeout: Seconds | None = field(default=None, kw_only=True)
    expires_in: Seconds | None = field(default=None, kw_only=True)
    expires_at: datetime | None = field(default=None, kw_only=True)
    run_in: RunIn | None = field(default=None, kw_only=True)
    unique: str | Callable[..., str] | None = field(default=None, kw_only=True)
    unique_for: UniqueFor | None = field(default=None, kw_only=True)
    on_conflict: OnConflict | None = field(default=None, kw_only=True)
    on_success: Callback | None = field(default=None, kw_only=True)
    on_failure: Callback | None = field(default=None, kw_only=True)
    debounce_max: Seconds | None = field(default=None, kw_only=True)
    group: str | None = field(default=None, kw_only=True)
    order: Order | None = field(default=None, kw_only=True)
    durability: Durability | None = field(default=None, kw_only=True)
    result_ttl: Seconds | None = field(default=None, kw_only=True)
    id: str | None = field(default=None, kw_only=True)
    suffix: str = field(default="", init=False, repr=False, compare=False)
    is_plain: bool = field(default=True, init=False, repr=False, compare=False)
    request: str = field(default="", init=False, repr=False, compare=False)
    trace: ClassVar[Mapping[str, str]] = MappingProxyType({})

    if not TYPE_CHECKING:  # the generated __init__ would set every option of every job, but most jobs set none

        def __init__(self, name: Any, function: Any, args: Any = (), kwargs: Any = None, **options: Any) -> None:
            """Store the given values and check them; an option that is not given stays the class's None."""
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
        """Store the options that are not None, then check them in the order of `CHECKS`."""
        for option, value in options.items():
            if option not in CHECKS:
                raise TypeError(f"Job has no option {option!r}{meant(option, OPTIONS)}")
            if value is not None:
                _set(self, option, value)
                _set(self, "is_plain", False)
        if not self.is_plain:
            given = self.__dict__
            for option, check in CHECKS.items():
                if given.get(option) is not None:
                    check(self, option)
            check_rivals(self)

    @classmethod
    def checked(
        cls, function: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any],
        options: Mapping[str, Any],
    ) -> Job[Any]:  # fmt: skip
        """Make a job of a function whose name and options were checked when they were given.

        Args:
            function: The function.
            name: Its name, which is also the label.
            args: The positional arguments.
            kwargs: The keyword arguments.
            options: The options, as `own_options` returns them.
        """
        job: Job[Any] = _new(cls)
        fields = job.__dict__  # the class is frozen, and one update is cheaper than a call for each field
        fields["name"] = name
        fields["function"] = function
        fields["args"] = args
        fields["kwargs"] = kwargs
        if options:
            fields.update(options)
            fields["suffix"] = _own_suffix(options["id"]) if "id" in options else new_suffix()
            fields["is_plain"] = len(options) == 1 and "id" in options
        else:
            fields["suffix"] = new_suffix()
            fields["is_plain"] = True
        return job

    def own_options(self) -> dict[str, Any]:
        """Return the options that are set, in the form that they were converted to: seconds, tuples, UTC."""
        return {name: value for name, value in self.__dict__.items() if name in OPTIONS and value is not None}

    def without_parents(self) -> Job:
        """Return the same job without `depends_on`."""
        free = copy(self)
        _set(free, "depends_on", None)
        return free


def with_request(job: Job, request: str) -> Job:
    """Return the job, which remembers the hash of the request that enqueues it."""
    _set(job, "request", request)
    return job


def with_call(job: Job, args: Items[object], kwargs: Mapping[str, object]) -> Job:
    """Return the same job with its arguments in another form."""
    changed = copy(job)
    _set(changed, "args", tuple(args))
    _set(changed, "kwargs", kwargs)
    return changed


def _own_suffix(own: object) -> str:
    """The last part of the job's id, from the option `id`: that part itself, or the whole id of the same job."""
    if isinstance(own, str):
        if whole := ID_RULE.fullmatch(own):
            return whole[3]
        if SUFFIX_RULE.fullmatch(own):
            return own
    raise InvalidJob(f"id is {own!r}; use 1 to 64 letters, digits, '_', '.', ':' or '-'.", field="id")


def check_job(given: object) -> None:
    """Check that a value is a `Job`.

    Raises:
        InvalidJob: The value is not a `Job`.
    """
    if not isinstance(given, Job):
        raise InvalidJob(f"job is {given!r:.100}; give a Job, or the result of send.job(…).", field="job")


# Creation and parsing of job ids.
#
# An id is ``<queue>.<lane>.<suffix>``, so an id alone locates its job. The suffix is either the caller's own `id`,
# or a UUIDv7 (RFC 9562) in 32 hex digits that increases strictly within a process.


ID_RULE = re.compile(rf"({QUEUE_RULE.pattern})\.({LANE_RULE.pattern})\.({SUFFIX_RULE.pattern})")
PART_LEAST = 4
"""Least length of a part of an id that commands complete."""
PARENT_MARK_BYTES = 5
ID_BYTES = 112  # the longest id that the lease board holds; 32 + 64 and a lane number stay below it

_FORMS = f"ids look like mail.0.0192f0c1…; commands also take its last {PART_LEAST} or more characters."
_COUNTER_BITS = 26
_UUID7_RULE = re.compile(r"[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}")


class Place(NamedTuple):
    """The location of a job: the parts of its id."""

    queue: str
    lane: int
    suffix: str


class _Suffixes:
    """Makes UUIDv7 suffixes that increase strictly, even if the machine's clock steps back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0
        self.reseed()

    def reseed(self) -> None:
        """Read a new random seed, so that a forked child does not repeat its parent's suffixes."""
        self._lock = threading.Lock()
        self._random = random.Random(os.urandom(32)).getrandbits

    def __call__(self) -> str:
        tick = (time.time_ns() // 1_000_000) << _COUNTER_BITS
        with self._lock:
            if tick <= self._last:
                tick = self._last + 1
            self._last = tick
            tail = self._random(48)
        return f"{tick >> 26:012x}7{(tick >> 14 & 0xFFF) << 16 | 0x8000 | tick & 0x3FFF:07x}{tail:012x}"


new_suffix: _Suffixes = _Suffixes()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=new_suffix.reseed)


def suffix_time_us(suffix: str) -> int | None:
    """The producer's time of creation in µs, from a generated suffix; None for a suffix that the caller chose."""
    return int(suffix[:12], 16) * 1000 if _UUID7_RULE.fullmatch(suffix) else None


def derived_suffix(job_id: str, why: str) -> str:
    """Derive the suffix of a job from another job's id and a reason. The same input always gives the same suffix."""
    digest = hashlib.blake2b(f"{job_id} {why}".encode(), digest_size=5).hexdigest()
    return f"{split_id(job_id).suffix[:53]}.{digest}"


def parent_mark(job_id: str) -> bytes:
    """A short hash of an id: the header of a job names the parents that must have completed by these."""
    return hashlib.blake2b(job_id.encode(), digest_size=PARENT_MARK_BYTES).digest()


def added_suffix(job_id: str, name: str, number: int) -> str:
    """Derive the suffix of a job that another job adds to its flow, from that job's id, a name and a number."""
    digest = hashlib.blake2b(f"{job_id} {name}".encode(), digest_size=8).hexdigest()
    return f"{split_id(job_id).suffix[:40]}.{digest}.{number:x}"


def split_id(job_id: str) -> Place:
    """Split a job id into its parts.

    Raises:
        JobNotFound: The text does not have the form of a job id, so no job can have it.
        InvalidJob: `job_id` is not a text.
    """
    try:
        match = ID_RULE.fullmatch(job_id)
    except TypeError:
        raise InvalidJob(f"job_id is {job_id!r:.100}; give a text, such as handle.id.", field="job_id") from None
    if match is None:
        raise JobNotFound(job_id, f"{job_id!r} is not a job id; {_FORMS}")
    queue, lane, suffix = match.groups()
    return Place(queue, int(lane), suffix)


SECRET_BYTES = 24
"""Nobody guesses 192 random bits, however many tokens are tried."""
LONGEST = 600
"""Characters of a token."""


def new_token(job_id: str) -> str:
    """Make a token for a signal of a job."""
    return urlsafe_b64encode(secrets.token_bytes(SECRET_BYTES) + job_id.encode()).decode().rstrip("=")


def token_hash(token: str) -> str:
    """The hash under which a token is stored."""
    return hashlib.sha256(token.encode()).hexdigest()


def job_of_token(token: object) -> str | None:
    """The job that a token is for; None if the text is not a token."""
    if not isinstance(token, str) or not token.isascii() or len(token) > LONGEST:
        return None
    try:
        raw = urlsafe_b64decode(token + "=" * (-len(token) % 4))
        job_id = raw[SECRET_BYTES:].decode()
    except ValueError:
        return None
    return job_id or None
