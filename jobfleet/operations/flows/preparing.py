"""Prepare the jobs of a flow with their edges, and the callbacks of a job, before anything is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, overload

from jobfleet.clock import monotonic, wall_us
from jobfleet.codec import amended
from jobfleet.functions.callables import UNDO
from jobfleet.functions.port import trace_of, with_trace
from jobfleet.model import Job, derived_suffix
from jobfleet.model.flow import Flow, refuse_times
from jobfleet.model.option_checks import CALLBACKS, callback_of
from jobfleet.model.templates import EXISTING
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.flows.dependencies import (
    POLICIES,
    Dependant,
    parents_in_header,
    refuse_displacing,
    refuse_unique,
    submit_prepared,
)
from jobfleet.operations.flows.record import FlowJob, Row, label_of
from jobfleet.operations.jobs.enqueue import prepare
from jobfleet.operations.jobs.prepare import Uniqueness, asks_for_callbacks, has_callbacks, quick, resolve
from jobfleet.operations.operation import Operation
from jobfleet.store.calls import flow as calls
from jobfleet.store.calls.enqueue import KEEP
from jobfleet.store.calls.flow import Edge
from jobfleet.store.keys import Lane
from jobfleet.store.records import Entry

Suffix = Callable[[int], str]
_Edges = tuple[tuple[int, ...], tuple[str, ...], tuple[calls.Edge, ...]]
_Fields = tuple[str, int, str, str, bytes]
_tuple = tuple.__new__  # the constructor of a named tuple takes twice as long


def without_keep(meta: str) -> str:
    """Remove the index of its function from a job's clear record, so that its result stays for its TTL."""
    mark = f"i {KEEP}"
    return "\n".join(line for line in meta.split("\n") if not line.startswith(mark)) if mark in meta else meta


class _EdgesOf:
    """Makes the edges of the jobs of a flow. Jobs that wait for the same others, one after the other, share them.

    Args:
        flow: The flow.
        places: The place of each job in the order of the jobs, by its number.
        ids: The ids of the jobs so far, in this order.
        first: Ids of the jobs that the jobs without parents wait for.
    """

    def __init__(self, flow: Flow, places: Mapping[int, int], ids: Sequence[str], first: Sequence[str]) -> None:
        self._links = flow.links
        self._places = places
        self._ids = ids
        cancel = POLICIES["cancel"]
        self._without = (), (), tuple(calls.Edge(job_id, number, cancel) for number, job_id in enumerate(first))
        self._asked: list[object] = []
        self._last: _Edges = self._without

    def __call__(self, number: int) -> _Edges:
        """Return the parents of a job by their places, their policies, and the edges as they are sent."""
        links = self._links.get(number)
        if not links:
            return self._without
        asked: list[object] = [*links, *[link.otherwise for link in links.values()]]
        if asked != self._asked:
            parents = tuple([self._places[parent] for parent in links])
            otherwise = tuple([link.otherwise for link in links.values()])
            edges = tuple(
                [
                    calls.Edge(self._ids[place], number, POLICIES[policy])
                    for number, (place, policy) in enumerate(zip(parents, otherwise, strict=True))
                ]
            )
            self._asked, self._last = asked, (parents, otherwise, edges)
        return self._last


class Dependants(Sequence[Dependant]):
    """Prepared jobs, in order.

    All jobs of a flow are in memory at once, and the garbage collector would search each of them again and again. It
    does not search tuples of texts and numbers, so a `Dependant` is made only when it is asked for.

    Attributes:
        levels: The durability levels of the jobs, without ``fast``.
        keys: The unique keys of the jobs that have one, by their place.
    """

    def __init__(self) -> None:
        self.levels: set[str] = set()
        self.keys: dict[int, Uniqueness] = {}
        self._entries: list[_Fields] = []
        self._places: list[tuple[Lane, tuple[calls.Edge, ...], str]] = []

    def add(
        self, entry: tuple[str, int, str, str, bytes], lane: Lane, edges: tuple[calls.Edge, ...], level: str
    ) -> None:
        """Add a job: the fields of its entry, its lane, its edges and its level."""
        place, places = (lane, edges, level), self._places
        if level:
            self.levels.add(level)
        self._entries.append(entry)
        places.append(places[-1] if places and places[-1] == place else place)

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, index: int) -> Dependant: ...

    @overload
    def __getitem__(self, index: slice) -> list[Dependant]: ...

    def __getitem__(self, index: int | slice) -> Dependant | list[Dependant]:
        if isinstance(index, slice):
            return list(self)[index]
        lane, edges, level = self._places[index]
        return Dependant(lane, Entry(*self._entries[index]), edges, self.keys.get(index), level)

    def __iter__(self) -> Iterator[Dependant]:
        if self.keys:
            yield from (self[index] for index in range(len(self)))
            return
        for entry, (lane, edges, level) in zip(self._entries, self._places, strict=True):
            yield _tuple(Dependant, (lane, _tuple(Entry, entry), edges, None, level))


class Prepared(NamedTuple):
    """The prepared jobs of a flow.

    Attributes:
        rows: The jobs as the record of the flow lists them, each after the jobs that it waits for.
        labels: The labels of those that share their name with another one, by id.
        dependants: The same jobs as they are sent, then their callbacks, and the callback of the flow.
        on_failure: The id of the callback of the flow; None if it has none.
    """

    rows: list[Row]
    labels: dict[str, str]
    dependants: Dependants
    on_failure: str | None = None

    @property
    def jobs(self) -> list[FlowJob]:
        """The jobs in the form in which callers get them."""
        label_of = self.labels.get
        return [FlowJob(*row, None, None, label_of(row[0], "")) for row in self.rows]


def prepare_jobs(
    context: FleetContext,
    flow: Flow,
    header: Mapping[str, object],
    *,
    first: Sequence[str] = (),
    suffix: Suffix | None = None,
) -> Operation[Prepared]:
    """Prepare the jobs of a flow.

    Args:
        context: The context of the fleet.
        flow: The flow.
        header: Further fields of the headers of its jobs.
        first: Ids of the jobs that the jobs without parents wait for.
        suffix: Makes the suffix of a job id from the number of the job, unless the job has an id; None to keep the
            suffix of the job.

    Raises:
        InvalidJob: The flow is empty, is too large, has a cycle, or has a job with a unique key that displaces others;
            of an addition, a job with a unique key.
        EncodingError: An argument cannot travel.
    """
    order = flow.order()
    places = {node.number: place for place, node in enumerate(order)}
    ids: list[str] = []
    rows: list[Row] = []
    dependants = Dependants()
    more: list[Dependant] = []
    heads: dict[tuple[int | bytes, ...], dict[bytes, bytes]] = {}
    edges_of = _EdgesOf(flow, places, ids, first)
    for node in order:
        parents, otherwise, edges = edges_of(node.number)
        job = node.job if suffix is None or node.job.id else replace(node.job, id=suffix(node.number))
        job = context.apply_hooks(job)
        function = job.function
        if not job.is_plain or type(function) is not str:  # else it has no option at all
            _check_key(job, is_addition=suffix is not None)
            refuse_times(job)
        callbacks: Mapping[str, Dependant] = {}
        sent = quick(context, job, monotonic())
        if sent is None or len(sent.entry.envelope) > context.inline_max:
            sent = yield from prepare(context, job)
            if asks_for_callbacks(context, job):
                callbacks = yield from prepare_callbacks(context, job, sent.entry.id, header)
        if sent.unique is not None:
            _check_key(job, sent.unique, is_addition=suffix is not None)
            dependants.keys[len(ids)] = sent.unique
        job_id, band, when, meta, envelope = sent.entry
        about_parents = parents_in_header(context.keys, edges) if edges else {}
        fields = {**header, **about_parents} if edges else header
        if callbacks:
            fields = {**fields, **{option: one.entry.id for option, one in callbacks.items()}}
            more += callbacks.values()
            envelope = amended(envelope, fields)
        else:
            envelope = amended(envelope, fields, heads.setdefault(tuple(about_parents.values()), {}))
        # The status of a flow, and its retry, need the endings of all its jobs.
        entry = (job_id, band, when, without_keep(meta) if meta else "", envelope)
        dependants.add(entry, sent.lane, edges, sent.level)
        name = function if type(function) is str else str(getattr(function, "name", function))
        ids.append(job_id)
        rows.append((job_id, job.name, name, parents, otherwise, band))
    last = None
    if flow.on_failure is not None:
        last = yield from _prepare_first_failure(context, flow, ids, header)
        more.append(last)
    for one in more:
        job_id, band, when, meta, envelope = one.entry
        dependants.add((job_id, band, when, meta, envelope), one.lane, one.edges, one.level)
    labels = _labels(rows, [node.job for node in order])
    return Prepared(rows, labels, dependants, None if last is None else last.entry.id)


def _check_key(job: Job, made: Uniqueness | None = None, *, is_addition: bool) -> None:
    """Refuse a job of a flow whose unique key would displace others, and an added job with a unique key.

    Args:
        job: The job.
        made: Its unique key; None before it is made, which asks for its queue, and thereby may create that.
        is_addition: Whether a job adds it to its flow.

    Raises:
        InvalidJob: It is refused.
    """
    if is_addition:
        refuse_unique(job, "jobs that a job adds to its flow", is_unique=made is not None)
    given = getattr(job.function, "given", {})
    on_conflict = made.on_conflict if made is not None else job.on_conflict or given.get("on_conflict")
    refuse_displacing(on_conflict or EXISTING, "a job of a flow")


def _labels(rows: Sequence[Row], jobs: Sequence[Job]) -> dict[str, str]:
    """The labels of the jobs that share their name with another one, by id."""
    shared = Counter([row[1] for row in rows])
    found = {}
    for row, job in zip(rows, jobs, strict=True):
        if shared[row[1]] > 1 and (label := label_of(job)):
            found[row[0]] = label
    return found


# Prepare the callbacks of a job: jobs that wait for it, and run if it completes, or if it fails or expires.
#
# A callback is an ordinary job with one parent, so it is started by the same relay as any dependant, once, also if
# the process that ended the parent dies.


CALLBACK_POLICIES = {"on_success": "~s", "on_failure": "~f"}
FIRST_FAILURE = "~a"


def first_failure_suffix(flow_id: str) -> str:
    """The suffix of the id of a flow's callback."""
    return f"{flow_id}.on_failure"


UNDO_RETRIES = 20
"""Retries of a job that undoes steps: more than a day and a half with the default delays."""
_set = object.__setattr__


def prepare_callbacks(
    context: FleetContext, job: Job, job_id: str, header: Mapping[str, object]
) -> Operation[dict[str, Dependant]]:
    """Prepare the callbacks of a job and of its function, by the names of their options.

    Args:
        context: The context of the fleet.
        job: The job.
        job_id: Its id.
        header: Further fields of the headers of the callbacks.

    Raises:
        InvalidJob: A callback has a unique key, waits for other jobs, or recurs.
        EncodingError: An argument cannot travel.
    """
    function = resolve(job, context.registry)
    options = function.options if function is not None else {}
    made: dict[str, Dependant] = {}
    if not has_callbacks(job, options):
        return made
    for option in CALLBACKS:
        given = getattr(job, option)
        given = options.get(option) if given is None else given
        if given is None:
            continue
        edges = (Edge(job_id, 0, CALLBACK_POLICIES[option]),)
        suffix = derived_suffix(job_id, option)
        fields = {**header, "callback": option, "callback_of": job_id}
        made[option] = yield from _prepare_callback(context, given, suffix, edges, fields)
    return made


def _prepare_first_failure(
    context: FleetContext, flow: Flow, ids: Sequence[str], header: Mapping[str, object]
) -> Operation[Dependant]:
    """Prepare the callback of a flow: it watches all jobs, and the first one that fails is enough."""
    edges = tuple([Edge(job_id, place, FIRST_FAILURE) for place, job_id in enumerate(ids)])
    named = {**header, "callback": "on_failure"}
    callback = callback_of(flow.on_failure, "on_failure")
    return (yield from _prepare_callback(context, callback, first_failure_suffix(flow.id), edges, named))


def _prepare_callback(
    context: FleetContext, given: Job, suffix: str, edges: tuple[Edge, ...], header: Mapping[str, object]
) -> Operation[Dependant]:
    callback = _bare(context.apply_hooks(given), suffix)
    refuse_unique(callback, "callbacks")
    refuse_times(callback)
    sent = yield from prepare(context, callback)
    fields = {**header, **parents_in_header(context.keys, edges), "enqueued_at": wall_us()}
    entry = sent.entry._replace(envelope=amended(sent.entry.envelope, fields))
    return Dependant(sent.lane, entry, edges, level=sent.level)


def undo_later(context: FleetContext, job_id: str, suffix: str) -> Operation[None]:
    """Enqueue the job that undoes the steps of a running job, unless that job completes.

    Args:
        context: The context of the fleet.
        job_id: The running job.
        suffix: The suffix of the new job; the same in all runs, so that a repetition adds nothing.
    """
    queue = context.keys.lane_of(job_id).queue
    job = Job("undo", UNDO, (job_id,), queue=queue, max_retries=UNDO_RETRIES)
    _set(job, "suffix", suffix)
    sent = yield from prepare(context, job, is_undo=True)
    edges = (Edge(job_id, 0, "~u"),)
    of_parent = {**parents_in_header(context.keys, edges), "callback": "undo", "callback_of": job_id}
    fields = {**of_parent, "enqueued_at": wall_us()}
    entry = sent.entry._replace(envelope=amended(sent.entry.envelope, fields))
    yield from submit_prepared(context, Dependant(sent.lane, entry, edges, level=sent.level))


def _bare(job: Job, suffix: str) -> Job:
    """The job without callbacks, under a derived id: to enqueue its parent again makes no second callback."""
    copy = replace(job, on_success=None, on_failure=None)
    _set(copy, "suffix", suffix)
    return with_trace(copy, trace_of(job))
