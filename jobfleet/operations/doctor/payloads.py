"""The check of the payload store: can this process and all workers read one and the same store? Pure."""

from __future__ import annotations

from collections.abc import Callable

from jobfleet.operations.doctor.findings import Finding, Level, named
from jobfleet.operations.doctor.snapshot import Checkup
from jobfleet.operations.explain.reasons import counted

PENDING = "pending"
AWAY = "away: "
EMPTY = "empty"
MOUNT = "Mount the store on these machines, or correct payload_store there."
REMEDY = "Give all processes the same payload_store, and mount it on every machine."


def payload_store(seen: Checkup) -> Finding:
    """Whether this process and all workers see one payload store."""
    workers = [(one.id, one.payloads) for one in seen.alive if one.payloads != PENDING]

    def those(is_meant: Callable[[str], bool]) -> str:
        return named([worker for worker, store in workers if is_meant(store)])

    if not seen.payloads and not any(store for _, store in workers):
        return Finding("payloads", Level.OK, "No payload store is set; Redis holds all arguments and results.")
    if seen.payloads.startswith(AWAY):
        return Finding("payloads", Level.FAULT, f"{seen.payloads.removeprefix(AWAY)}", REMEDY)
    if away := those(lambda store: store.startswith(AWAY)):
        why = next(store.removeprefix(AWAY) for _, store in workers if store.startswith(AWAY))
        return Finding("payloads", Level.FAULT, f"Workers cannot read the payload store: {away}. {why}", REMEDY)
    if not seen.payloads:
        text = f"Workers have a payload store, and this process has none: {those(bool)}."
        return Finding("payloads", Level.WARNING, text, REMEDY)
    if without := those(lambda store: not store):
        return Finding("payloads", Level.FAULT, f"Workers have no payload store: {without}.", REMEDY)
    if recorded := seen.payloads_recorded:
        if seen.payloads != recorded:
            text = f"This process sees {_shown(seen.payloads)}, and the payload store of the fleet is {recorded}."
            return Finding("payloads", Level.FAULT, text, MOUNT)
        if other := those(lambda store: store != recorded):
            text = f"Workers see another payload store than {recorded}, that of the fleet, or an empty one: {other}."
            return Finding("payloads", Level.FAULT, text, MOUNT)
    if other := those(lambda store: store != seen.payloads and EMPTY not in (store, seen.payloads)):
        return Finding(
            "payloads", Level.FAULT, f"Workers see another payload store than this process: {other}.", REMEDY
        )
    if seen.payloads == EMPTY:
        return Finding("payloads", Level.OK, "The payload store can be read; nothing was written to it yet.")
    text = f"This process and {counted(len(workers), 'worker')} read the payload store {seen.payloads}."
    return Finding("payloads", Level.OK, text)


def _shown(store: str) -> str:
    return "an empty payload store" if store == EMPTY else f"the payload store {store}"
