"""The whole state of a server as one value, so that one `==` shows what moved and what did not.

Keys bear their short names (after the tag). Times are said relative to a moment, in steps of ten
seconds, so seeds use such steps and a slow machine changes nothing; small tokens stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

import redis

from jobfleet.store.keys import GROUPED, Keyspace

State = dict[str, Any]

STEP_S = 10
EARLY_US = 500_000  # a due time ahead may be written a little before the moment it is named after

_MOMENT = re.compile(r"(?<!\d)\d{16}(?!\d)")
_ENTRY = re.compile(r"(?<!\d)\d{13}-\d+(?!\d)")
_TAG = re.compile(r"^\{[^:}]+(?::([^}]+))?\}:")


def server_now(raw: redis.Redis) -> int:
    """Redis's clock, µs."""
    seconds, micros = raw.time()
    return seconds * 1_000_000 + micros


def state(raw: redis.Redis, keyspace: Keyspace, *, now: int) -> State:
    """Everything on the server: sorted sets and hashes as mappings, streams as lists of fields.

    A string that ends is `(text, seconds)`. Keys of another lane keep `queue:lane/` before their
    names; keys without a tag of the keyspace keep their whole name, so a leak cannot hide.

    Args:
        raw: A client of the server.
        keyspace: Whose names to shorten.
        now: The moment that times are relative to, µs.
    """
    dump = exact(raw)
    found = {short(name, keyspace): value for name, value in dump.items()}
    entries = {
        entry: f"{name}[{place}]"
        for name, value in found.items()
        if name.endswith("dlq")  # the only stream that a hash points into; others may share its ids
        for place, (entry, _) in enumerate(value)
    }
    return {
        name: value if name.endswith("ring") else _told(value, now, entries)  # virtual times are no times
        for name, value in sorted(found.items())
    }


def short(name: str, keyspace: Keyspace, queue: str = "mail:0") -> str:
    """The name of a key after its tag."""
    match = _TAG.match(name)
    if match is None or not name.startswith((f"{{{keyspace.namespace}}}", f"{{{keyspace.namespace}:")):
        return name
    rest = name[match.end() :]
    return rest if match.group(1) in (None, queue) else f"{match.group(1)}/{rest}"


def exact(raw: redis.Redis, at: int | None = None) -> dict[str, Any]:
    """Everything on the server as it is written; only how long a string still lives is rounded up to ten seconds.

    Args:
        raw: A client of the server.
        at: From when on lifetimes count, µs, so that two looks are alike however long one waits between them; None
            means now.
    """
    names = sorted(cast(list[bytes], raw.keys("*")))
    with raw.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.type(name)
            if at is None:
                pipe.pttl(name)
            else:
                cast(Any, pipe).pexpiretime(name)  # its type takes no bytes
        facts = pipe.execute()
        if at is not None:
            facts[1::2] = [ends if ends < 0 else ends - at // 1000 for ends in facts[1::2]]
        kinds = [kind.decode() for kind in facts[::2]]
        for name, kind in zip(names, kinds, strict=True):
            _ask(pipe, name, kind)
        values = pipe.execute()
    return {
        _text(name): _shown(kind, value, ttl)
        for name, kind, value, ttl in zip(names, kinds, values, facts[1::2], strict=True)
    }


def after(before: Mapping[str, Any], changes: Mapping[str, Any]) -> State:
    """A state with changes: None for a key that is gone."""
    return {name: value for name, value in {**before, **changes}.items() if value is not None}


def moment(at: int, now: int) -> str:
    """Name a time: `now`, `now+30s`, `now-10s`."""
    steps = (at - now + EARLY_US) // (STEP_S * 1_000_000)
    return f"now{steps * STEP_S:+}s" if steps else "now"


def _ask(pipe: Any, name: bytes, kind: str) -> None:
    if kind == "zset":
        pipe.zrange(name, 0, -1, withscores=True)
    elif kind == "hash":
        pipe.hgetall(name)
    elif kind == "stream":
        pipe.xrange(name)
    elif kind == "list":
        pipe.lrange(name, 0, -1)
    else:
        pipe.get(name)


def _shown(kind: str, value: Any, ttl: int) -> Any:
    if kind == "zset":
        return {_text(member): int(float(score)) for member, score in value}
    if kind == "hash":
        return {_text(field): _text(content) for field, content in value.items()}
    if kind == "stream":
        return [
            (entry.decode(), {name.decode(): _text(part) for name, part in fields.items()}) for entry, fields in value
        ]
    text = "\n".join(map(_text, value)) if kind == "list" else _text(value)
    return text if ttl < 0 else (text, -(-ttl // (STEP_S * 1000)) * STEP_S)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


def _told(value: Any, now: int, entries: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {
            _MOMENT.sub(lambda match: moment(int(match[0]), now), name).replace("\0", "|"): _told(content, now, entries)
            for name, content in value.items()
        }
    if isinstance(value, list):
        return [_told(fields, now, entries) for _, fields in value]
    if isinstance(value, tuple):
        return (_told(value[0], now, entries), value[1])
    if isinstance(value, int):
        if value < -(10**15):
            return f"grouped {moment(value + GROUPED, now)}"
        return moment(value, now) if 10**15 <= value < GROUPED else value
    told = _MOMENT.sub(lambda match: moment(int(match[0]), now), value)
    return _ENTRY.sub(lambda match: entries.get(match[0], match[0]), told)
