"""Store the limits that functions declare in code, and remove those that no function declares any more."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from jobfleet.errors import ConfigError
from jobfleet.model.limits import Declaration, DeclaredLimit, field_of
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.queues.setting import set_in_lanes
from jobfleet.store.calls import limits as calls
from jobfleet.store.calls.limits import AS_IT_IS, Declared
from jobfleet.store.keys import Lane


def declare(
    every: Sequence[Lane],
    limits: Mapping[str, DeclaredLimit],
    functions: Iterable[str],
    *,
    only: Collection[Lane] | None = None,
) -> Operation[dict[str, tuple[str, ...]]]:
    """Store the limits that the functions of a process declare for a queue; remove what they declared before.

    Args:
        every: The lanes of the queue.
        limits: The limits by the name of the function.
        functions: The names of all functions of the process.
        only: The lanes in which to store them now; by default all.

    Returns:
        Where other functions declared another limit, which is replaced: these functions by the name of one that
        declares the new limit.

    Raises:
        ConfigError: A limit of the whole queue is declared, and the queue has several lanes; or too many groups have
            limits.
    """
    wanted: dict[str, Declaration] = {}
    for name, declared in limits.items():
        if declared.group is None and len(every) > 1:
            raise ConfigError(
                f"{name} declares {declared} for {declared.place}, which has {len(every)} lanes, which count by "
                "themselves; give the function a group, to limit each group."
            )
        field = field_of(declared.group)
        before = wanted.get(field)
        also = before.functions if before is not None and before.limit == declared.limit else ()
        wanted[field] = Declaration(declared.limit, (*also, name))
    names = tuple(functions)
    replaced: dict[str, tuple[str, ...]] = {}
    for lane in every if only is None else [lane for lane in every if lane in only]:
        answer: Declared | None = value((yield (calls.declare(lane, wanted, names),)))
        if answer is None:
            raise ConfigError(
                f"{calls.MOST_GROUPS:,} groups of {lane.queue} have limits of their own, which is the most; declare a "
                "limit of each group in place of limits of single groups."
            )
        for field in answer.changed:
            yield from set_in_lanes([lane], field, AS_IT_IS)
        replaced |= {wanted[field].functions[0]: others for field, others in answer.replaced.items()}
    return replaced


def remove_declared(every: Sequence[Lane], group: str | None) -> Operation[bool]:
    """Remove a declared limit of a queue, or of a group; return whether there was one.

    A worker whose functions still declare it stores it again when it starts.
    """
    declared = value((yield (calls.limits(every[0]),))).declared.get(field_of(group))
    if declared is None:
        return False
    yield from declare(every, {}, declared.functions)
    return True
