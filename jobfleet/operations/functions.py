"""The functions of a fleet: who has each of them, what it takes, its options, and what it did in the last hour."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, TypedDict

from jobfleet.clock import LONGEST
from jobfleet.errors import ConfigError, InvalidJob
from jobfleet.functions.manifest import read_cron, read_function, read_limit, read_run_in, read_signature
from jobfleet.model import Priority
from jobfleet.model.history import FunctionTimes
from jobfleet.model.names import similar_function
from jobfleet.model.templates import EVERY_GROUP, GroupTemplate
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.history import FUNCTIONS_READ, last_hour_of
from jobfleet.operations.lanes import no_queue, seen
from jobfleet.operations.operation import Operation, batches, value
from jobfleet.operations.verb import Name, QueueName
from jobfleet.operations.workers import WorkerInfo, workers_of
from jobfleet.store.records import FleetSeen, KindSeen, KindsSeen

FIGURES_MOST = 4 * FUNCTIONS_READ
"""Functions with figures, so that a page costs a bounded number of bytes; those behind have none."""
DEFAULT_QUEUE = "default"
DURATIONS = frozenset(
    {
        "delay", "expires_in", "result_ttl", "timeout", "hard_timeout", "retry_delay", "retry_for", "unique_for",
        "debounce_max",
    }
)  # fmt: skip
"""The options that are published as seconds; ``unique_for`` may also be a word."""

PRIORITIES = {int(one): one.name.lower() for one in Priority}


class FunctionFilters(TypedDict, total=False):
    """The filters of functions on each surface; a filter that is not given matches every function.

    Attributes:
        function: Only this function.
        queue: Only functions whose jobs go to this queue by default.
        worker: Only functions that this worker knows.
    """

    function: Name | None
    queue: QueueName | None
    worker: Name | None


@dataclass(frozen=True, slots=True)
class FunctionInfo:
    """A function that workers have published.

    Attributes:
        name: The registered name.
        queue: The queue of its jobs, unless the job names another one.
        parameters: What it takes, as text; empty if that is not known.
        doc: The first line of its docstring.
        run_in: Where it runs: ``async``, ``thread`` or ``process``; empty if that is not known.
        options: Its other options that are given in code, by name; durations are timedeltas.
        schedule: Its schedule in code, as text; empty if it has none.
        limit: The limit that it declares in code, as text; empty if it declares none.
        workers: The live workers that know it. A worker of an older version does not report what it knows.
        is_served: Whether one of them serves its queue.
        last_hour: Its runs in the last hour; None if no reaper took samples then, or it is beyond the first 200.
    """

    name: str
    queue: str = DEFAULT_QUEUE
    parameters: str = ""
    doc: str = ""
    run_in: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    schedule: str = ""
    limit: str = ""
    workers: Sequence[str] = ()
    is_served: bool = False
    last_hour: FunctionTimes | None = None


def functions(
    context: FleetContext,
    *,
    function: str | None = None,
    queue: str | None = None,
    worker: str | None = None,
    now_us: int | None = None,
) -> Operation[list[FunctionInfo]]:
    """List functions by name.

    Args:
        context: The context of the fleet.
        function: Only this function.
        queue: Only functions whose jobs go to this queue by default.
        worker: Only functions that this worker knows.
        now_us: The present time in µs in place of Redis's.

    Raises:
        UnknownQueue: There is no such queue.
        ConfigError: There is no such worker.
        InvalidJob: No worker has published the function.
    """
    fleet = yield from seen(context)
    kinds: KindsSeen = value((yield (context.kinds_call(),)))
    workers = [one for one in workers_of(context, fleet) if not one.is_gone]
    _check(fleet, workers, queue=queue, worker=worker)
    names = {*fleet.functions, *(name for kind in kinds.kinds for name in kind.functions if name)}
    if function is not None:
        names = {_known(function, names)}
    found = [_info(name, fleet, kinds.kinds, workers) for name in sorted(names)]
    found = [one for one in found if queue in (None, one.queue) and (worker is None or worker in one.workers)]
    hour: dict[str, FunctionTimes] = {}
    for part in batches([one.name for one in found[:FIGURES_MOST]], FUNCTIONS_READ):
        hour |= yield from last_hour_of(context, part, now_us=now_us)
    return [replace(one, last_hour=hour.get(one.name)) for one in found]


def _check(fleet: FleetSeen, workers: Collection[WorkerInfo], *, queue: str | None, worker: str | None) -> None:
    if queue is not None and queue not in fleet.queues:
        raise no_queue(queue, fleet.queues)
    if worker is not None and not any(one.id == worker for one in workers):
        raise ConfigError(f"There is no live worker {worker!r:.200}; 'jobfleet workers ls' lists them.")


def _known(function: str, names: Collection[str]) -> str:
    if function in names:
        return function
    close = similar_function(function, names)
    meant = f"; did you mean {close!r}?" if close else "."
    raise InvalidJob(f"No worker has published {function!r:.200}{meant}", field="function")


def _info(name: str, fleet: FleetSeen, kinds: Iterable[KindSeen], workers: Iterable[WorkerInfo]) -> FunctionInfo:
    record = fleet.functions.get(name, b"")
    options = dict(read_function(record))
    if "retry_delays" in options:
        options["retry_delay"] = options.pop("retry_delays")  # which else has the first of them, for older revisions
    knowing = [kind for kind in kinds if name in kind.functions]
    published = next((kind.functions[name] for kind in knowing), "")
    queue = str(options.pop("queue", "") or published or DEFAULT_QUEUE)
    ids = {kind.kind for kind in knowing}
    having = [one for one in workers if not ids.isdisjoint(one.kinds)]
    parameters, doc = read_signature(record)
    return FunctionInfo(
        name,
        queue,
        parameters,
        doc,
        read_run_in(record),
        {option: _option(option, given) for option, given in options.items()},
        _schedule(record),
        _limit(record),
        tuple(sorted(one.id for one in having)),
        any(queue in one.queues for one in having),
    )


def _option(name: str, given: Any) -> Any:
    if isinstance(given, GroupTemplate):
        return str(given)
    if name == "priority":
        return PRIORITIES.get(given, given) if isinstance(given, int) else given
    if name not in DURATIONS:
        return given
    if isinstance(given, list):
        return [_option(name, one) for one in given]
    is_time = isinstance(given, int | float) and not isinstance(given, bool) and 0 <= given <= LONGEST
    return timedelta(seconds=given) if is_time else given


def _schedule(record: bytes) -> str:
    cron = read_cron(record) or {}
    zone = cron.get("tz")
    return f"{cron.get('expression', '')}{f' ({zone})' if zone else ''}"


def _limit(record: bytes) -> str:
    limit = read_limit(record)
    return "" if limit is None else f"{limit}{' per group' if limit.group == EVERY_GROUP else ''}"
