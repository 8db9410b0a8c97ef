"""Prepare a `Job`: convert its names, options, arguments and unique key to the entry for Redis. Pure."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from jobfleet.clock import moment_us, to_us, wall_us
from jobfleet.codec import Limits, encode, encode_head, seal_call
from jobfleet.errors import InvalidJob
from jobfleet.functions.callables import BUILT_IN, stable_name
from jobfleet.functions.injection import injection_of, parameters_of
from jobfleet.functions.manifest import read_function, read_parameters
from jobfleet.functions.options import VERSION, schema_in
from jobfleet.functions.port import trace_of
from jobfleet.functions.registry import JobFunction, Registry
from jobfleet.functions.typed_call import TypedCall
from jobfleet.model import Job, JobStatus, Priority, Receipt, seconds, split_id
from jobfleet.model.fields import INDEXED, SHARED_TEXTS, TEXT_NAMES
from jobfleet.model.option_types import FAST, Items
from jobfleet.model.status import read_priority
from jobfleet.model.templates import EXISTING, OPEN, GroupTemplate, check_key, check_order, format_key, group_name
from jobfleet.model.templates import QUEUED as WHILE_QUEUED
from jobfleet.operations.fleet_context import REMEMBERED, FleetContext
from jobfleet.store.calls.enqueue import is_name, keep_index, marked, names
from jobfleet.store.keys import Lane, lane_number
from jobfleet.store.records import Entry

POLICIES: Mapping[str, str] = MappingProxyType({"strict": "s", "strict-park": "p", "strict-fail-rest": "f"})
"""The values of `order`, as the clear record has them (lua/lib/group/sequence.lua)."""
DURATION_OPTIONS = ("retry_delay", "retry_for", "timeout", "hard_timeout", "result_ttl")
PLAIN_OPTIONS = (
    "max_retries",
    "retry_backoff",
    "retry_jitter",
    "max_crashes",
    *TEXT_NAMES,
)
NO_LEVELS: Mapping[str, str] = MappingProxyType({})
METADATA_LIMITS = Limits(max_bytes=16 * 1024, setting="")
NORMAL_BAND = Priority.NORMAL.band
QUEUED = JobStatus.QUEUED
_tuple = tuple.__new__  # the constructor of a named tuple takes twice as long


class Submission(NamedTuple):
    """A prepared job.

    Attributes:
        lane: The lane that it is sent to.
        entry: The entry that is sent.
        status: Its status after the enqueue.
        unique: Its unique key; None when it has none.
        level: The durability that must be confirmed; empty for ``fast``.
    """

    lane: Lane
    entry: Entry
    status: JobStatus
    unique: Uniqueness | None = None
    level: str = ""


def receipt(sent: Submission, *, created: bool) -> Receipt:
    """The receipt of one prepared job that was written and, if it has a level, confirmed."""
    return Receipt(sent.entry.id, created, sent.status, sent.level or FAST)


class Resolved(NamedTuple):
    """The function of a job.

    Attributes:
        name: The name on the wire.
        options: The options of the function.
        parameters: The parameters that a unique key or a group may name.
        is_registered: False for a plain function, which only some workers run, and for one of jobfleet itself.
        typed: Converts its arguments; None if they travel as they are.
    """

    name: str
    options: Mapping[str, Any]
    parameters: tuple[inspect.Parameter, ...] = ()
    is_registered: bool = True
    typed: TypedCall | None = None


def resolve(job: Job, registry: Registry) -> Resolved | None:
    """Find a job's function; None when only its name is given and this process does not know it.

    Raises:
        InvalidJob: The function has no name that a worker could find.
    """
    function = job.function
    if isinstance(function, str):
        known = registry.get(function)
        if known is not None:
            return _tuple(
                Resolved, (function, known.given, known.parameters or (), known.is_for_producers, known.typed)
            )
        return _built_in(function) if function in BUILT_IN else None
    if isinstance(function, JobFunction):
        return _tuple(
            Resolved,
            (function.name, function.given, function.parameters or (), function.is_for_producers, function.typed),
        )
    for known in registry.functions.values():
        if known.function is function:
            return Resolved(known.name, known.given, known.parameters or (), typed=known.typed)
    asked = parameters_of(function, injection_of(function)) if job.unique is not None else ()
    name = stable_name(function, label=job.name)
    registry.enqueued[name] = function
    return Resolved(name, {}, asked or (), is_registered=False)


def _built_in(name: str) -> Resolved:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = tuple(inspect.Parameter(parameter, kind) for parameter in BUILT_IN[name])
    return Resolved(name, {}, parameters, is_registered=False)


def lane_index(job: Job, queue: str, home: int, lanes: int, key: str | None = None, group: str | None = None) -> int:
    """The number of the lane for a job. A group, a unique key and an id of the caller have their place in a home lane.

    Raises:
        InvalidJob: Two of these have different places, or the job has the whole id of a job that is elsewhere.
    """
    if job.id is not None and job.id != job.suffix:
        place = split_id(job.id)
        if place.queue != queue or place.lane >= lanes:
            raise InvalidJob(f"id is {job.id!r}, but this job goes to one of {lanes} lanes of {queue}.", field="id")
        return place.lane
    if lanes == 1:
        return 0
    keys = {name: value for name, value in (("group", group), ("unique", key), ("id", job.id)) if value is not None}
    if not keys:
        return lane_number(job.suffix, lanes)
    first, *others = keys
    if home > 1 and any(keys[other] != keys[first] for other in others):
        raise InvalidJob(
            f"{' and '.join(keys)} would each place the job in a lane of its own, of {home}; give one of them.",
            field=first,
        )
    return lane_number(keys[first], home)


def submission(
    job: Job,
    function: Resolved,
    lane_of: Callable[[str, Job, str | None, str | None], Lane],
    *,
    limits: Limits,
    windows: tuple[float, float],
    levels: Mapping[str, str] = NO_LEVELS,
) -> Submission:
    """Prepare a job.

    Args:
        job: The job.
        function: Its function.
        lane_of: Chooses the lane from the queue, the job, the unique key and the group.
        limits: The limits of the envelope.
        windows: The least seconds for which an id is remembered: a generated id, and an id that the caller gave.
        levels: The durability of queues that are not ``fast``.

    Raises:
        EncodingError: An argument, or metadata, cannot travel.
        InvalidJob: The unique key or the group cannot be made, or the function does not accept the arguments.
    """
    options = function.options
    if job.is_plain and not options:
        _check_fit(job)
        lane = lane_of("default", job, None, None)
        return plain(job, function, lane, limits, levels.get("default", "") if levels else "")
    unique = uniqueness(job, function.name, options, function.parameters)
    _check_fit(job)
    key = unique.key if unique is not None else None
    group = job.group if job.group is not None else options.get("group")
    if type(group) is GroupTemplate:
        group = group_name(group, job.args, named_arguments(job, function.parameters))
    lane = lane_of(job.queue or options.get("queue") or "default", job, key, group)
    version = schema_in(options) if VERSION in options else 1
    level = job.durability or options.get("durability") or levels.get(lane.queue, "")
    header = _header(job, function.name, key, group, level, version)
    for text in SHARED_TEXTS:
        if text in options and text not in header:
            header[text] = options[text]
    envelope = seal_call(encode_head(header), *_call_of(job, function), limits=limits)
    priority = job.priority if job.priority is not None else options.get("priority")
    band = NORMAL_BAND if priority is None else read_priority(priority).band
    when = _when(job, options)
    meta = _meta(job, options, *windows)
    if unique is not None:
        meta = "\n".join([meta, *unique.meta] if meta else unique.meta)
    if group is not None:
        meta = f"{meta}\ng {group}" if meta else f"g {group}"
    if order := job.order or options.get("order"):
        check_order(order, group, None if unique is None else unique.on_conflict)
        meta = f"{meta}\no {POLICIES[order]}"
    if not INDEXED.isdisjoint(header):
        meta = marked(meta, names(header))
    if "keep_last" in options:
        meta = marked(meta, [keep_index(function.name)])
    entry = Entry(lane.id_prefix + job.suffix, band, when, meta, envelope)
    status = JobStatus.SCHEDULED if is_later(when) else JobStatus.QUEUED
    return Submission(lane, entry, status, unique, "" if level == FAST else level)


def _call_of(job: Job, function: Resolved) -> tuple[Items[object], Mapping[str, object]]:
    """The arguments as they travel."""
    return (job.args, job.kwargs) if function.typed is None else function.typed.dump(tuple(job.args), job.kwargs)


def _check_fit(job: Job) -> None:
    if isinstance(job.function, JobFunction):
        fit, kwargs = job.function.fit, job.kwargs
        shape = (len(job.args), *kwargs) if kwargs else len(job.args)
        if shape not in fit.shapes:
            fit.check(shape, job.args, kwargs)


def plain(job: Job, function: Resolved, lane: Lane, limits: Limits, level: str = "") -> Submission:
    """Prepare a job that has no option, only a function and arguments.

    Raises:
        EncodingError: An argument cannot travel.
    """
    name = function.name
    is_bare = not (job.id or level or job.trace)
    head = _plain_head(name, job.name) if is_bare else encode_head(_header(job, name, None, None, level))
    args, kwargs = (job.args, job.kwargs) if function.typed is None else _call_of(job, function)
    envelope = seal_call(head, args, kwargs, limits=limits)
    entry = _tuple(Entry, (lane.id_prefix + job.suffix, NORMAL_BAND, "", "", envelope))
    return _tuple(Submission, (lane, entry, QUEUED, None, level))


def _header(
    job: Job, function: str, key: str | None, group: str | None, level: str, version: int = 1
) -> dict[str, object]:
    """The header. It has the durability, because the end of the job gets the same level."""
    header: dict[str, object] = {"function": function}
    if job.name != function:
        header["name"] = job.name
    if job.id is not None:
        header["enqueued_at"] = wall_us()
    if key is not None:
        header["unique"] = key
    if group is not None:
        header["group"] = group
    if version > 1:
        header["schema"] = version
    if level:
        header["durability"] = level
    if job.request:
        header["request"] = job.request
    if trace := trace_of(job):
        header["trace"] = dict(trace)
    _describe(job, header)
    return header


@lru_cache(maxsize=1024)
def _plain_head(function: str, name: str) -> bytes:
    """The encoded header of a job without options; all jobs of one function and name share it."""
    return encode_head({"function": function} if name == function else {"function": function, "name": name})


def _describe(job: Job, header: dict[str, object]) -> None:
    """Add the options that the job itself sets; the worker knows the options of the function."""
    given = job.__dict__  # an option that was not given is not in it
    for option in PLAIN_OPTIONS:
        value = given.get(option)
        if value is not None:
            header[option] = value
    for option in DURATION_OPTIONS:
        value = given.get(option)
        if value is not None:
            if isinstance(value, tuple):
                header["retry_delays"] = list(map(to_us, value))
                value = value[0]  # for workers of older revisions, which read one number
            header[option] = to_us(value)
    if job.tags:
        header["tags"] = list(job.tags)
    if job.metadata:
        header["metadata"] = dict(job.metadata)
        _check_metadata(header["metadata"])


def durations_in(header: Mapping[str, Any]) -> Iterator[tuple[str, int | list[int]]]:
    """The durations that a job itself sets, in µs, by the names of the options; a list of delays is one of them."""
    for option in DURATION_OPTIONS:
        if option == "retry_delay" and "retry_delays" in header:
            yield option, header["retry_delays"]
        elif isinstance(header.get(option), int):
            yield option, header[option]


def _check_metadata(metadata: object) -> None:
    encode(metadata, limits=METADATA_LIMITS, what="metadata")


def _when(job: Job, options: Mapping[str, Any]) -> str:
    if job.scheduled_at is not None:
        return str(moment_us(job.scheduled_at))
    delay = job.delay if job.delay is not None else options.get("delay")
    if delay:
        return f"+{to_us(seconds(delay, field='delay'))}"
    return ""


def is_later(when: str) -> bool:
    """Whether the due time of an entry is later than now, by this machine's clock."""
    return when.startswith("+") or (bool(when) and int(when) > wall_us())


def _meta(job: Job, options: Mapping[str, Any], dedupe_window: float, own_id_window: float) -> str:
    """The clear record: expiry and retention. An ending is remembered at least as long as its id may be sent again."""
    lines = []
    expires_in = job.expires_in if job.expires_in is not None else options.get("expires_in")
    if job.expires_at is not None:
        lines.append(f"x {moment_us(job.expires_at)}")
    elif expires_in is not None:
        lines.append(f"x +{to_us(seconds(expires_in, field='expires_in'))}")
    ttl = job.result_ttl if job.result_ttl is not None else options.get("result_ttl")
    if ttl is not None:
        kept, window = seconds(ttl, field="result_ttl"), own_id_window if job.id is not None else dedupe_window
        lines.append(f"r {round(max(kept, window) * 1000)}")
        if kept < window:
            lines.append(f"v {round(kept * 1000)}")
    return "\n".join(lines)


def resolve_in(context: FleetContext, job: Job) -> Resolved | None:
    """Find the function of a job in this process, else among the published functions."""
    known = resolve(job, context.registry)
    if known is not None:
        return known
    seen = context.published.fleet
    record = seen.functions.get(str(job.function)) if seen is not None else None
    return None if record is None else _published(str(job.function), record)


@lru_cache(maxsize=1024)
def _published(name: str, record: bytes) -> Resolved:
    """The function of a published record; many jobs of one function follow each other."""
    options = read_function(record)
    for text in SHARED_TEXTS:
        if text in options and not is_name(options[text]):
            del options[text]
    return Resolved(name, options, read_parameters(record))


def queue_of(job: Job, function: Resolved) -> str:
    """Return the queue that a job goes to."""
    queue: Any = job.queue or function.options.get("queue") or "default"
    return str(queue)


def has_callbacks(job: Job, options: Mapping[str, Any]) -> bool:
    """Whether a job, or its function, has a job to run when it ends."""
    if options and ("on_failure" in options or "on_success" in options):
        return True
    return not job.is_plain and (job.on_failure is not None or job.on_success is not None)


def asks_for_callbacks(context: FleetContext, job: Job) -> bool:
    """Whether a job, or its function if this process knows it, has callbacks."""
    function = resolve(job, context.registry)
    return has_callbacks(job, function.options if function is not None else {})


def quick(context: FleetContext, job: Job, now: float) -> Submission | None:
    """Prepare a job if its function and its queue are known at `now` (monotonic seconds); else return None."""
    function = resolve_in(context, job)
    if function is None or not (
        job.is_plain or (job.cron_expression is None and job.tz is None and job.depends_on is None)
    ):
        return None
    if (function.options or not job.is_plain) and has_callbacks(job, function.options):
        return None
    if not function.is_registered and function.name not in context.unregistered:
        return None
    known = context.queues.get(job.queue or function.options.get("queue") or "default")
    if known is None or now - known.read_at >= REMEMBERED:
        return None
    made = submission_in(context, job, function)
    return None if made.level and not context.can_confirm(made.level, made.lane) else made


def submission_in(context: FleetContext, job: Job, function: Resolved) -> Submission:
    """Prepare a job for the fleet of `context`; its queue must be known."""

    def lane_for(queue: str, job: Job, key: str | None = None, group: str | None = None) -> Lane:
        known = context.queues[queue]
        return context.keys.lane(queue, lane_index(job, queue, known.home, known.total, key, group))

    return submission(job, function, lane_for, limits=context.limits, windows=context.windows, levels=context.levels)


Parameters = Sequence[inspect.Parameter]


class Uniqueness(NamedTuple):
    """The unique key of a job.

    Attributes:
        key: The key.
        scope: Its scope in the clear record: ``q`` while queued, a number of µs, or empty while open.
        on_conflict: ``existing``, ``raise``, ``replace`` or ``debounce``.
        longest_us: The longest postponement after the first enqueue, µs; None for ten times the delay.
    """

    key: str
    scope: str
    on_conflict: str
    longest_us: int | None

    @property
    def meta(self) -> list[str]:
        """Its lines in the clear record."""
        return [f"u {self.key}", f"s {self.scope}"] if self.scope else [f"u {self.key}"]


def uniqueness(job: Job, name: str, options: Mapping[str, Any], parameters: Parameters) -> Uniqueness | None:
    """Make the unique key of a job; None when it has none.

    Args:
        job: The job.
        name: The name of its function.
        options: The options of the function.
        parameters: The parameters that a caller gives, as far as this process knows them.

    Raises:
        InvalidJob: The key cannot be made, or an option that needs a key is given without one.
    """
    unique = job.unique if job.unique is not None else options.get("unique")
    if unique is None:
        if job.unique_for is not None or job.on_conflict is not None or job.debounce_max is not None:
            raise _lacks_key(job)
        return None
    if unique is True:
        raise InvalidJob(
            f"unique of {name} is a function that only its own programs have; give the key yourself.", field="unique"
        )
    if callable(unique):
        key = check_key(unique(*job.args, **job.kwargs))
    else:
        key = format_key(unique, job.args, named_arguments(job, parameters))
    longest = _option(job, options, "debounce_max")
    return Uniqueness(
        key,
        _scope(_option(job, options, "unique_for")),
        _option(job, options, "on_conflict") or EXISTING,
        None if longest is None else to_us(seconds(longest, field="debounce_max")),
    )


def _lacks_key(job: Job) -> InvalidJob:
    options = ("unique_for", "on_conflict", "debounce_max")
    option = next(option for option in options if getattr(job, option) is not None)
    return InvalidJob(f"{option} is given, but no key; give unique too, or leave it out.", field=option)


def _option(job: Job, options: Mapping[str, Any], option: str) -> Any:
    value = getattr(job, option)
    return value if value is not None else options.get(option)


def _scope(unique_for: Any) -> str:
    if unique_for in (None, OPEN):
        return ""
    return "q" if unique_for == WHILE_QUEUED else str(to_us(seconds(unique_for, field="unique_for")))


def named_arguments(job: Job, parameters: Parameters) -> dict[str, object]:
    """The arguments by name: defaults, then positional arguments, then named arguments."""
    named: dict[str, object] = {}
    by_position = iter(job.args)
    for parameter in parameters:
        if parameter.default is not parameter.empty:
            named[parameter.name] = parameter.default
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            for argument in by_position:
                named[parameter.name] = argument
                break
    return {**named, **job.kwargs}
