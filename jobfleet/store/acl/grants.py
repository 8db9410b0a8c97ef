"""The permissions that a script needs: pairs of a command and a key, from its header and its code.

Redis checks the commands and the keys inside a script for the user that calls it. The keys are those of the header. A
command applies to the keys of its type: `HSET` to hashes, `XADD` to streams. Two rules make this narrower:

- Only commands that read apply to the keys under READS, and to all keys of a script that writes nothing.
- Commands that delete or rename a key, or give it a TTL, apply to keys of one job, child or worker, such as
  ``job:<id>``. The keys of a whole lane live as long as the lane; the exceptions are in `ENDED`.

The tests of the scripts run as a user with these permissions and no others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple

from jobfleet.errors import ScriptContractError
from jobfleet.store.key_table import ANSWERED, FLEET_KEY_TABLE, KEY_TABLE
from jobfleet.store.script import Field, Script, commands_of, load

KEYLESS = frozenset({"TIME", "INFO", "PUBLISH", "PUBSUB|NUMSUB"})
OF_ANY_TYPE = frozenset({"EXISTS", "TYPE", "PTTL"})
STRINGS_READ = frozenset({"GET", "GETRANGE", "MGET", "STRLEN"})
STRINGS_WRITTEN = frozenset({"SET", "MSET", "MSETNX", "MSETEX"})
WHOLE = frozenset({"DEL", "UNLINK", "RENAME", "PEXPIRE", "PERSIST"})
BY_TYPE: dict[str, frozenset[str]] = {
    "string": STRINGS_READ | STRINGS_WRITTEN,
    "list": frozenset({"LINDEX", "LLEN", "LRANGE", "LPOP", "LTRIM", "RPUSH"}),
}
BY_LETTER = {"H": "hash", "Z": "zset", "X": "stream"}
"""Types of the other commands, by their first letter."""
READING = frozenset(
    {
        *OF_ANY_TYPE, *STRINGS_READ, "LINDEX", "LLEN", "LRANGE",
        "HEXISTS", "HGET", "HGETALL", "HKEYS", "HLEN", "HMGET", "HRANDFIELD", "HSCAN",
        "XINFO|CONSUMERS", "XINFO|GROUPS", "XINFO|STREAM", "XLEN", "XPENDING", "XRANGE", "XREVRANGE",
        "ZCARD", "ZCOUNT", "ZLEXCOUNT", "ZRANGE", "ZRANGEBYLEX", "ZRANGEBYSCORE", "ZMSCORE", "ZRANK", "ZREVRANGE",
        "ZREVRANGEBYLEX", "ZREVRANGEBYSCORE", "ZSCORE",
    }
)  # fmt: skip
ENDED: dict[str, frozenset[str]] = {
    "attend": frozenset({"cron-duty"}),
    "know": frozenset({"kinds"}),
    "unregister": frozenset({"journal"}),
}
"""Keys of a lane or of the fleet that a script deletes, or gives a TTL. `clear_lane` deletes all of its keys."""
ONLY: dict[str, dict[str, frozenset[str]]] = {
    "dlq": {
        "counts": frozenset({"XLEN"}),
        "settle": frozenset({"XADD", "XDEL"}),
        "set_aside": frozenset({"XADD", "XDEL"}),
    },
    "steps:<id>": {
        "cancel": frozenset({"HEXISTS", "PEXPIRE"}),
        "replace": frozenset({"HEXISTS", "PEXPIRE"}),
        "signal": frozenset({"HEXISTS", "HGET", "HLEN", "HSET", "PEXPIRE"}),
    },
}
"""For a key and a script: the commands that the script calls on it, beside those for any type of key."""
FOR_ANY_KEY = frozenset({"mend", "survey"})
"""Scripts for any key; see `roles`."""
FLEET = "fleet"
LANE = "lane"


class Key(NamedTuple):
    """A kind of key.

    Attributes:
        scope: `LANE` or `FLEET`.
        name: Its name in the table of keys, such as ``job:<id>``.
    """

    scope: str
    name: str

    def pattern(self, namespace: str) -> str:
        """The pattern of its keys in a fleet."""
        tag = f"{{{namespace}}}:" if self.scope == FLEET else f"{{{namespace}:*}}:"
        return tag + re.sub(r"<[a-z]+>", "*", self.name)


class Grant(NamedTuple):
    """A permission: a command on a kind of key; the key is None for a command without keys."""

    command: str
    key: Key | None


TYPES: dict[Key, str] = {
    **{Key(LANE, row.name): row.type for row in KEY_TABLE},
    **{Key(FLEET, row.name): row.type for row in FLEET_KEY_TABLE},
}
_SPELLED = {re.sub(r"<[a-z]+>", "<>", key.name): key.name for key in TYPES}


@cache
def grants_of(name: str) -> frozenset[Grant]:
    """Return the permissions that the commands of a script need."""
    return frozenset(_grants(load(name)))


def _grants(script: Script) -> Iterator[Grant]:
    commands = commands_of(script.name)
    declared, read = keys_of(script)
    for command in commands:
        if command in KEYLESS:
            yield Grant(command, None)
    reading = commands & READING
    for key in declared:
        applied = reading if script.read_only else commands
        yield from (Grant(command, key) for command in applied if applies(command, key, script.name))
    for key in read:
        yield from (Grant(command, key) for command in reading if applies(command, key, script.name))
    if script.is_once:
        yield from (Grant(command, key) for key in answers(declared) for command in ("GET", "SET"))


def applies(command: str, key: Key, script: str = "") -> bool:
    """Whether a command of a script may apply to a kind of key."""
    kind = TYPES[key]
    if command in KEYLESS:
        return False
    if command in OF_ANY_TYPE:
        return True
    only = ONLY.get(key.name, {}).get(script)
    if only is not None and command not in only:
        return False
    if command in WHOLE:
        is_of_one = "<" in key.name and key.name != "ready:<p>"
        return is_of_one or script == "clear_lane" or key.name in ENDED.get(script, ())
    return kind == "any" or kind == type_of(command)


def type_of(command: str) -> str:
    """Return the type of key to which a command applies.

    Raises:
        ScriptContractError: The command is not in the tables of this module.
    """
    for kind, commands in BY_TYPE.items():
        if command in commands:
            return kind
    if command[0] not in BY_LETTER:
        raise ScriptContractError(f"{command} is not in the tables of jobfleet/store/acl/grants.py.")
    return BY_LETTER[command[0]]


def keys_of(script: Script) -> tuple[frozenset[Key], frozenset[Key]]:
    """Return the keys that a script declares, and those that it only reads."""
    names = [name for field in script.header.keys for name in names_in(field)]
    scope = scope_of([*names, *(name for name, _, _ in script.header.reads)])
    declared = {key for name in names for key in _of(name, scope)}
    return frozenset(declared), frozenset(key for name, _, _ in script.header.reads for key in _of(name, scope))


def names_in(field: Field) -> list[str]:
    """Return the names of keys that a line under KEYS means, as the table of keys has them."""
    more = re.findall(r"\b[a-z]+:<id>", field.note) if field.last is None else []
    if field.last is None and "indexes" in field.note:
        more += ["indexes", "index:<name>"]
    return [_in_table(name) for name in dict.fromkeys([field.name, *more])]


def _in_table(name: str) -> str:
    """Return a name of a header as the table has it: ``job:<holder>`` is ``job:<id>``."""
    name = re.sub(r"^ready:\d$", "ready:<p>", name)
    return _SPELLED.get(re.sub(r"<[a-z]+>", "<>", name), name)


def scope_of(names: Iterable[str]) -> tuple[str, ...]:
    """Return where the keys of a script are: the names that only one table has decide it."""
    found = [_in_table(name) for name in names]
    for scope, other in ((FLEET, LANE), (LANE, FLEET)):
        if any(Key(scope, name) in TYPES and Key(other, name) not in TYPES for name in found):
            return (scope,)
    return (LANE, FLEET)


def _of(name: str, scopes: tuple[str, ...]) -> list[Key]:
    found = [key for scope in scopes if (key := Key(scope, _in_table(name))) in TYPES]
    if not found:
        raise ScriptContractError(f"{name} is not in the table of keys.")
    return found


def answers(declared: Iterable[Key]) -> set[Key]:
    """Return the keys under which the replies of a script are stored, beside its first key."""
    return {Key(key.scope, ANSWERED.name) for key in declared}
