"""Encode an addition to a flow, because a job in an isolated process sends it over a channel. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from jobfleet.codec import Limits, decode, encode
from jobfleet.functions.callables import stable_name
from jobfleet.functions.port import FlowAddition
from jobfleet.functions.registry import Registry
from jobfleet.model import Job
from jobfleet.model.flow import Flow

NOT_CARRIED = ("function", "depends_on", "cron_expression", "tz", "run_in")
CARRIED = tuple(option.name for option in fields(Job) if option.init and option.name not in NOT_CARRIED)
ENVELOPING = 8
"""Levels of nesting around an argument of a job."""


def seal_flow_addition(addition: FlowAddition, registry: Registry, *, limits: Limits) -> bytes:
    """Encode an addition.

    Raises:
        EncodingError: An argument cannot be encoded, or the addition is too large.
        InvalidJob: A function has no name that a worker could find.
    """
    jobs = []
    for node in addition.flow.nodes:
        options = {name: value for name in CARRIED if (value := getattr(node.job, name)) is not None}
        function = registry.get(_function_name(node.job, registry))
        if function is not None and function.typed is not None:
            options["args"], options["kwargs"] = function.typed.dump(tuple(node.job.args), node.job.kwargs)
        if "priority" in options:
            options["priority"] = int(options["priority"])
        links = [[link.parent, link.otherwise] for link in addition.flow.links.get(node.number, {}).values()]
        jobs.append([_function_name(node.job, registry), options, links])
    content = {
        "flow": addition.flow.name, "name": addition.name, "after": addition.after_this,
        "joins": list(addition.joins), "jobs": jobs,
    }  # fmt: skip
    return encode(content, limits=_around(limits), what="flow")


def open_flow_addition(record: bytes, *, limits: Limits) -> FlowAddition:
    """Decode what `seal_flow_addition` encoded.

    Raises:
        EncodingError: The record cannot be decoded.
    """
    content: Mapping[str, Any] = decode(record, limits=_around(limits), what="flow")
    flow = Flow(content["flow"])
    rows: Sequence[Any] = content["jobs"]
    for function, options, _ in rows:
        flow.add(Job(function=function, **options))
    for node, (_, _, links) in zip(flow.nodes, rows, strict=True):
        for parent, otherwise in links:
            flow.link(flow.nodes[parent], node, otherwise=otherwise)
    return FlowAddition(flow, content["name"], bool(content["after"]), tuple(content["joins"]))


def _around(limits: Limits) -> Limits:
    return replace(limits, max_depth=min(128, limits.max_depth + ENVELOPING))


def _function_name(job: Job, registry: Registry) -> str:
    if isinstance(job.function, str):
        return job.function
    known = getattr(job.function, "name", None)
    if isinstance(known, str):
        return known
    for function in registry.functions.values():
        if function.function is job.function:
            return function.name
    return stable_name(job.function, label=job.name)
