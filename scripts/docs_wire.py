"""The parts of the pages about events and the wire format, for scripts/docs."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping

from jobfleet import events
from jobfleet.codec import DEFAULT, FIELD_KEYS, HEADER_KEYS
from jobfleet.codec.extensions import TABLE, Extension
from jobfleet.codec.frames import ENVELOPE_KIND, RECORD_KIND, VERSION
from jobfleet.events import Event
from jobfleet.model import TRANSITIONS
from jobfleet.store.script import load, names

BODIES = {
    1: "text: ISO 8601; after it the name of its zone in brackets, if it has one",
    2: "text: ISO 8601",
    3: "text: ISO 8601, as for 1",
    4: "days, signed, 32 bits; seconds and microseconds, 32 bits each; big endian",
    5: "text",
    6: "16 bytes",
    7: "an array",
    8: "an array of the members",
    9: "an array of the members",
    10: "an array of the value alone",
}
"""How the body of each extension type is encoded."""

Table = list[tuple[str, ...]]


def event_rows() -> Table:
    """Each event with what it means for the job's state, and the scripts that write it."""
    emitted: dict[str, list[str]] = {}
    for name in names():
        for event in re.findall(r"[a-z]+", load(name).header.emits):
            emitted.setdefault(event, []).append(name)
    rows: Table = []
    if missing := sorted(emitted.keys() - {*events.NAMES}):
        raise ValueError(f"NAMES of jobfleet/events/__init__.py lacks {', '.join(missing)}; scripts emit them.")
    for event in events.NAMES:
        if event in emitted:
            moves = [row for row in TRANSITIONS if row.event == event]
            sources = sorted({str(state) for row in moves for state in row.sources})
            targets = sorted({str(state) for row in moves for state in row.targets})
            change = f"{_words(sources) or 'new'} → {_words(targets)}" if moves else "none"
            rows.append((f"`{event}`", change, ", ".join(f"`{name}`" for name in emitted[event])))
    return rows


def field_rows() -> Table:
    """The attributes of an event."""
    rows = [(f"`{field}`", _sentence(field)) for field in Event._fields]
    return [(field, text.replace("; `NAMES` has them all", f": {', '.join(events.NAMES)}")) for field, text in rows]


def _sentence(field: str) -> str:
    """What the docstring of `Event` says about an attribute."""
    found = re.search(rf"^ +{field}: (.*(?:\n {{8,}}.*)*)", inspect.cleandoc(Event.__doc__ or ""), re.MULTILINE)
    return " ".join(found[1].split()) if found else ""


def _words(states: list[str]) -> str:
    return ", ".join(f"`{state}`" for state in states)


def facts() -> dict[str, str]:
    """Numbers of the formats."""
    return {
        "event_version": str(events.VERSION),
        "last": f"{events.LAST:,}",
        "frame_version": str(VERSION),
        "plain": f"{ENVELOPE_KIND:#04x}",
        "record": f"{RECORD_KIND:#04x}",
        "bytes": f"{DEFAULT.max_bytes >> 20} MiB",
        "depth": str(DEFAULT.max_depth),
    }


def key_rows() -> tuple[Table, Table]:
    """The keys of the header of an envelope, and the fields of a record."""
    return _keys(HEADER_KEYS), _keys(FIELD_KEYS)


def _keys(keys: Mapping[str, str]) -> Table:
    return [(f"`{key}`", text) for key, text in keys.items()]


def extension_rows() -> Table:
    """The extension types of msgpack."""
    return [(str(one.code), f"`{_name(one)}`", BODIES[one.code]) for one in TABLE]


def _name(extension: Extension) -> str:
    return extension.type.__name__
