"""The permissions of Redis users: which scripts and commands each role needs, as rules of `ACL SETUSER`, and probes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from jobfleet.errors import ScriptContractError
from jobfleet.store.key_table import ANSWERED, FLEET_KEY_TABLE, KEY_TABLE
from jobfleet.store.keys import KEPT, WORK
from jobfleet.store.script import Field, Script, commands_of, load, names

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
        raise ScriptContractError(f"{command} is not in the tables of jobfleet/store/acl.py.")
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


Names = Callable[[Key], Sequence[str]]
CALLS = ("EVALSHA", "EVAL")
CALLS_READING = frozenset({"EVALSHA_RO", "EVAL_RO"})
FUNCTION_OF = {"EVALSHA": "FCALL", "EVALSHA_RO": "FCALL_RO"}
"""The commands that call a function in place of a script."""
EVALS = {*CALLS, *CALLS_READING, "SCRIPT|LOAD"}
"""Commands by which a user runs any script."""
OF_MANY_KEYS = (
    STRINGS_WRITTEN
    | CALLS_READING
    | {*CALLS, *FUNCTION_OF.values(), "EXISTS", "MGET", "DEL", "UNLINK", "RENAME", "BZPOPMIN"}
)
"""Commands whose keys may be of several kinds. One selector must allow all keys of a command."""
NOT_EVERYWHERE = {"MSETEX": ("+@string", "-@read")}
"""Commands that older servers do not know, and would refuse in a rule; and a wider permission that includes them.

Together with a permission that only writes (``%W~``), it adds no command that returns the old value.
"""


def selectors(grants: Iterable[Grant], names: Names) -> list[str]:
    """Return selectors for the commands, with the names or patterns of the keys to which they apply."""
    by_command: dict[str, set[Key]] = {}
    by_key: dict[tuple[Key, str], set[str]] = {}
    for command, key in grants:
        if key is not None and command in OF_MANY_KEYS:
            by_command.setdefault(command, set()).add(key)
        elif key is not None:
            by_key.setdefault((key, "" if command in WHOLE | OF_ANY_TYPE else type_of(command)), set()).add(command)
    shared: dict[frozenset[str], set[Key]] = {}
    for (key, _), commands in by_key.items():
        shared.setdefault(frozenset(commands), set()).add(key)
    alike: dict[tuple[str, frozenset[Key]], set[str]] = {}
    for command, keys in by_command.items():
        alike.setdefault((_access([command]), frozenset(keys)), set()).add(command)
    rows = [(sorted(commands), sorted(keys)) for commands, keys in shared.items()]
    rows += [(sorted(commands), sorted(keys)) for (_, keys), commands in alike.items()]
    return [rule for commands, keys in sorted(rows) if (rule := _selector(commands, keys, names))]


def _selector(commands: Sequence[str], keys: Iterable[Key], names: Names) -> str:
    """Write a selector. Keys of jobs come first: a call has many of them, and a server tries the patterns in order."""
    ordered = sorted(keys, key=lambda key: "<id>" not in key.name)
    patterns = [f"{_access(commands)}{name}" for key in ordered for name in names(key)]
    return f"({' '.join([*spelled(commands), *patterns])})" if patterns else ""


def spelled(commands: Iterable[str]) -> list[str]:
    """Write the permission to run some commands."""
    wide = [rule for command in commands for rule in NOT_EVERYWHERE.get(command, ())]
    return wide + [f"+{command.lower()}" for command in commands if command not in NOT_EVERYWHERE]


def _access(commands: Sequence[str]) -> str:
    if (READING | CALLS_READING | {"FCALL_RO"}).issuperset(commands):
        return "%R~"
    return "%W~" if STRINGS_WRITTEN.issuperset(commands) else "~"


CONTROL, COMMANDS = Key(FLEET, "control"), Key(FLEET, "commands")
"""Channels to supervisors: requests to cancel; operators' commands."""
FREED = Key(FLEET, "lock-freed:<name>")
GATE_FREED = Key(FLEET, "gate-freed:<child>")
EVENTS, JOB_EVENTS = Key(LANE, "events"), Key(LANE, "events:<id>")
HEARD = (EVENTS, JOB_EVENTS, Key(LANE, "chunks:<id>"))
JOURNAL, WAKE, KIND_WAKE = Key(LANE, "journal"), Key(LANE, "wake"), Key(LANE, "wake:<kind>")
ALWAYS = ("ASKING", "CLIENT|SETINFO", "CLUSTER|SLOTS", "INFO", "PING", "SELECT", "TIME")
"""Commands of every role. INFO tells a client that the address leads to another server; two are for clusters."""
LISTENS = ("SUBSCRIBE", "UNSUBSCRIBE")
KILLS = ("FUNCTION|KILL", "SCRIPT|KILL")
"""Commands that end a script that runs too long, and has not written."""
CONFIRMS = ("WAIT", "WAITAOF")
"""Commands that wait until replicas, or the disk, have what was written."""
KEPT_FROM_WORKERS = frozenset({"dlq", "dead", "conf"})
"""Keys that a worker does not move aside, because that deletes the key; reapers do."""
KEPT_FROM_OPERATORS = frozenset(key.name for key in TYPES) - {"audit"}
"""Operators move aside only the audit, which no other role writes."""
LISTS = {name for row in (*KEY_TABLE, *FLEET_KEY_TABLE) for name in row.listed.split()}
"""Keys whose members are the names of others, which a repair looks up there."""
MOVES = ("HGET", "HDEL", "HSET", "XADD", "XRANGE")
COPIES = ("XADD", "XRANGE", "XINFO|GROUPS", "XPENDING", "XGROUP|CREATE")
"""Commands of the script `mend` that copy a stream."""


@dataclass(frozen=True)
class Role:
    """What a Redis user does.

    Attributes:
        name: The name of the role, and of its user.
        does: A description, for people.
        scripts: The scripts that it runs.
        commands: Commands without keys that it sends.
        direct: Commands with keys that it sends.
        publishes: Channels to which its scripts publish.
        hears: Channels to which it subscribes.
        mends: Whether it moves unreadable keys aside; see `mending`.
        kept: Keys that it does not move aside.
        looks: Whether it looks at all keys for unreadable ones, as `doctor` does.
        calls_functions: Whether it calls functions in place of scripts.
    """

    name: str
    does: str
    scripts: frozenset[str]
    commands: tuple[str, ...] = ()
    direct: tuple[Grant, ...] = ()
    publishes: tuple[Key, ...] = HEARD
    hears: tuple[Key, ...] = ()
    mends: bool = False
    kept: frozenset[str] = frozenset()
    looks: bool = False
    calls_functions: bool = False

    def with_functions(self) -> Role:
        """Return the role as a user that calls the functions of a library, and may run no other scripts."""
        return replace(self, commands=tuple(one for one in self.commands if one not in EVALS), calls_functions=True)

    def grants(self) -> frozenset[Grant]:
        """Return all commands that it needs, each with a kind of key."""
        found = self._grants()
        if not self.calls_functions:
            return found
        return frozenset(
            grant._replace(command=FUNCTION_OF.get(grant.command, grant.command))
            for grant in found
            if grant.command in FUNCTION_OF or grant.command not in EVALS
        )

    def _grants(self) -> frozenset[Grant]:
        own = self.scripts - {"mend", "survey"}
        found = {grant for name in own for grant in grants_of(name)} | set(self.direct)
        found |= {grant for name in own for grant in calls_of(name)}
        found |= _looks(set(TYPES)) if self.looks else set()
        return frozenset(found | (_mends(found, self.kept) if self.mends else set()))


@cache
def calls_of(name: str) -> frozenset[Grant]:
    """Return the permission to name the keys of a script in its call, which counts as reading and writing them."""
    script = load(name)
    declared, _ = keys_of(script)
    if script.read_only:
        return frozenset(Grant(verb, key) for key in declared for verb in CALLS_READING)
    every = declared | (answers(declared) if script.is_once else set())
    return frozenset(Grant(verb, key) for key in every for verb in CALLS)


def _looks(keys: Iterable[Key]) -> set[Grant]:
    """Return what it takes to look at keys."""
    keys = set(keys)
    lists = {key for key in keys if key.name in LISTS}
    looked = {Grant(verb, key) for key in keys for verb in (*CALLS_READING, "TYPE")}
    looked |= {Grant(verb, key) for key in lists for verb in ("HKEYS", "ZREVRANGE") if applies(verb, key)}
    return looked | {
        Grant(verb, key) for key in keys for verb in ("HGETALL", "HMGET", "XINFO|STREAM") if applies(verb, key)
    }


def _mends(found: Iterable[Grant], kept: frozenset[str]) -> set[Grant]:
    """Return what it takes to look at the keys of a role, and to move aside those that it may write."""
    seen = {key for _, key in found if key is not None and key in TYPES}
    written = {key for command, key in found if key in seen and command in CALLS and key.name not in kept}
    aside = {Key(key.scope, "aside:<name>") for key in seen}
    moves = {Grant(verb, key) for key in written | aside for verb in (*CALLS, "TYPE", "RENAME")}
    moves |= {Grant(verb, key) for key in written | aside for verb in MOVES if applies(verb, key)}
    streams = {key for key in written if TYPES[key] == "stream"}
    moves |= {Grant(verb, key) for key in streams for verb in (*COPIES, "PTTL", "PEXPIRE")}
    return _looks(seen | aside) | moves | {Grant(verb, key) for key in aside for verb in ("UNLINK", "PEXPIRE")}


def _reading() -> frozenset[str]:
    return frozenset(name for name in names() if load(name).read_only) - {"survey"}


def _named(text: str) -> frozenset[str]:
    return frozenset(text.split())


ENQUEUES = _named(
    """block block_many consumers debounce enqueue enqueue_plain follow found_store join keep_flow level listen mark
    open_queue steps unblock watch"""
)
CANCELS = _named("cancel replace")
"""They write endings of jobs, and records of runs."""
SIGNALS = _named("fleet level mark outcomes payload_store server signal status steps")
ASKS = _named(
    "chunks explain fleet flow kinds letter lines outcomes parents payload_store queues results server status"
)
RUNS = _named(
    """acquire_lock beat bury children claim declare drop_steps emit_chunks ended_runs extend_flow gates granted keep
    keep_stacks know leave leave_gates log note_wait pass_gates progress put_back register release_lock renew
    report_runs return_parked shorten_parents shut_gate signal steps stop"""
)
LEASES = _named("pause_function paused resume_function set_aside settle tick waiting")
"""What workers do, too, so that a fleet without a reaper recovers the jobs of dead workers."""
CRON = _named(
    """attend attendants entries fire fire_outcomes history ledger marks note_outcomes note_times schedule set_back
    unmark"""
)
RELAYS = _named(
    "dependants explain extend_flow flows keep_parents outbox pending_ends precede sequences unwatch unwatch_many"
)
KEEPS_UP = _named(
    """commit_samples counts deliver deliveries drop_letters ended_runs endings enlist file_letters gates gather
    group_marks history hold_samples indexes keep_letters leave_gates letter memory note_groups note_rescue
    oldest_letters openings plan_rescue points put_back read_audit register replay rescue rescues retire run_reports
    sampled samples sweep take trim trim_journal undo_replay unfiled write_audit write_samples"""
)
OPERATES = _named(
    """clean clear_lane close_queue command define_limit dismiss edit enlist file_letters forget forget_steps
    pause_entry mark_group note_groups open_rescue note_rescue plan_rescue keep_letters drop_letters undo_replay pause
    pause_function pause_group precede purge put_back register repair replay reschedule resume resume_function
    resume_group retire schedule set_limit shorten_parents shut_gate trim unmark unpark unregister
    remove_entry write_audit"""
)


@cache
def roles() -> tuple[Role, ...]:
    """Return all roles."""
    exists = tuple(Grant("EXISTS", Key(LANE, name)) for name in (*_as_in_table(WORK), *KEPT))
    worker = Role(
        "worker",
        "runs jobs, which may enqueue others; recovers jobs and fires recurring ones if no reaper does",
        ENQUEUES | CANCELS | SIGNALS | ASKS | RUNS | LEASES | CRON | RELAYS,
        commands=(*LISTENS, *CONFIRMS, "SCRIPT|LOAD"),
        direct=(Grant("BZPOPMIN", WAKE), Grant("BZPOPMIN", KIND_WAKE), *exists),
        publishes=(*HEARD, CONTROL, FREED, GATE_FREED),
        hears=(*HEARD, CONTROL, COMMANDS, FREED, GATE_FREED),
        mends=True,
        kept=KEPT_FROM_WORKERS,
    )
    reaper = Role(
        "reaper",
        "does the duties of `jobfleet reaper`: leases, cron, relay, retention, archive, notifications",
        ENQUEUES | CANCELS | ASKS | LEASES | CRON | RELAYS | KEEPS_UP,
        commands=(*CONFIRMS, "SCRIPT|LOAD"),
        direct=(
            *(Grant(verb, JOURNAL) for verb in ("XREADGROUP", "XAUTOCLAIM", "XACK")),
            Grant("HGET", Key(LANE, "totals")),
            *exists,
        ),
        mends=True,
    )
    return (
        Role(
            "producer",
            "enqueues jobs and flows, and waits for them",
            ENQUEUES | ASKS,
            commands=(*LISTENS, *CONFIRMS),
            hears=HEARD,
        ),
        Role(
            "canceller",
            "a producer that also cancels jobs, and replaces the holders of unique keys",
            ENQUEUES | CANCELS | ASKS,
            commands=(*LISTENS, *CONFIRMS),
            publishes=(*HEARD, CONTROL),
            hears=HEARD,
        ),
        Role("approver", "sends signals to jobs", SIGNALS, commands=(*LISTENS, *CONFIRMS), hears=HEARD),
        worker,
        reaper,
        _both(
            "host",
            "does the duties of a reaper in the process that runs jobs, as a worker `--with-reaper`",
            worker,
            reaper,
        ),
        Role(
            "web",
            "reads everything, and listens to events",
            _reading() | {"listen"},
            commands=(*LISTENS, "CLUSTER|SHARDS"),
            publishes=(),
            hears=HEARD,
            looks=True,
        ),
        Role("exporter", "reads the metrics of the fleet", METERS, publishes=()),
        Role(
            "operator",
            "inspects and operates the fleet: the command line, and the actions of a dashboard",
            _reading() | ENQUEUES | CANCELS | SIGNALS | OPERATES,
            commands=(*LISTENS, *CONFIRMS, "CLUSTER|SHARDS", *KILLS),
            publishes=(*HEARD, CONTROL, COMMANDS, GATE_FREED),
            hears=HEARD,
            looks=True,
            mends=True,
            kept=KEPT_FROM_OPERATORS,
        ),
    )


def _both(name: str, does: str, one: Role, other: Role) -> Role:
    """Return the role of a process that does what two roles do."""
    return Role(
        name,
        does,
        one.scripts | other.scripts,
        commands=tuple(sorted({*one.commands, *other.commands})),
        direct=tuple(dict.fromkeys((*one.direct, *other.direct))),
        publishes=tuple(dict.fromkeys((*one.publishes, *other.publishes))),
        hears=tuple(dict.fromkeys((*one.hears, *other.hears))),
        mends=one.mends or other.mends,
        kept=one.kept & other.kept,
        looks=one.looks or other.looks,
    )


METERS = _named("counts finished fire_outcomes fleet gates marks memory outbox queues timetable")


def _as_in_table(keys: Iterable[str]) -> set[str]:
    return {"ready:<p>" if key.startswith("ready:") else key for key in keys}


def text(namespace: str, *, functions: bool = False) -> str:
    """Return the users of a fleet as an ACL file has them. They have no passwords, so nobody can connect as one yet.

    Args:
        namespace: The namespace of the fleet.
        functions: Whether they call functions in place of scripts.
    """
    users = [role.with_functions() if functions else role for role in roles()]
    return "".join(f"user {role.name} {' '.join(rules_of(role, namespace))}\n" for role in users)


def rules_of(role: Role, namespace: str) -> list[str]:
    """Return the rules of a role's user in a fleet."""
    keyless = {command for command, key in role.grants() if key is None} - {"PUBLISH", "PUBSUB|NUMSUB"}
    plain = sorted({*keyless, *ALWAYS, *role.commands} - set(LISTENS))
    channels: list[tuple[tuple[str, ...], tuple[Key, ...]]] = [(("SUBSCRIBE", "UNSUBSCRIBE"), role.hears)]
    if any(command == "PUBLISH" for command, _ in role.grants()):
        channels.insert(0, (("PUBLISH",), role.publishes))
        plain.append("PUBSUB|NUMSUB")
    heard = [
        f"({' '.join([*spelled(verbs), *(f'&{key.pattern(namespace)}' for key in keys)])})"
        for verbs, keys in channels
        if keys
    ]
    start = ["on", "resetpass", "resetkeys", "resetchannels", "-@all", *spelled(sorted(plain))]
    return [*start, *selectors(role.grants(), lambda key: [key.pattern(namespace)]), *heard]


WORDS_AFTER_KEY = {
    1: """HDEL HEXISTS HGET HMGET HSCAN LINDEX MSET MSETNX PEXPIRE RPUSH SET XDEL XGROUP|DESTROY XINFO|CONSUMERS
        XPENDING ZMSCORE ZRANK ZREM ZSCORE""",
    2: """GETRANGE HINCRBY HSET HSETNX LRANGE LTRIM XACK XGROUP|CREATE XGROUP|CREATECONSUMER XGROUP|DELCONSUMER XRANGE
        XREVRANGE XTRIM ZADD ZCOUNT ZLEXCOUNT ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZREMRANGEBYRANK ZREMRANGEBYSCORE
        ZINCRBY ZREVRANGE ZREVRANGEBYLEX ZREVRANGEBYSCORE""",
    3: "XADD",
    4: "XAUTOCLAIM",
}
"""How many words a command has after its key, at the least. Redis judges only commands that have enough words."""
_AFTER_KEY = {command: count for count, commands in WORDS_AFTER_KEY.items() for command in commands.split()}
OPERATOR = "operator"
DEFAULT = "default"


def user_of(url: str) -> str:
    """Return the user that a URL names; `default` if it names none."""
    login, at, _ = urlsplit(url).netloc.rpartition("@")
    return unquote(login.partition(":")[0]) or DEFAULT if at else DEFAULT


def role_of(user: str) -> Role:
    """Return the role of a user: the one that its name is, or ends with, such as ``shop-worker``; else the operator."""
    known = {role.name: role for role in roles()}
    return known.get(user.rpartition("-")[2], known[OPERATOR])


def probes(role: Role, namespace: str) -> list[str]:
    """Return one command for each permission of a role, a word per line."""
    found = [words for grant in role.grants() if (words := words_of(grant, namespace))]
    found += [("PUBLISH", _example(key, namespace), "x") for key in role.publishes]
    found += [("SUBSCRIBE", _example(key, namespace)) for key in role.hears]
    return sorted({"\n".join(words) for words in found})


def words_of(grant: Grant, namespace: str) -> tuple[str, ...]:
    """The words of a command that needs a permission; none if it cannot be tried."""
    command, key = grant
    if key is None or command in NOT_EVERYWHERE:
        return ()
    name = _example(key, namespace)
    match command:
        case verb if verb in CALLS or verb in CALLS_READING or verb in FUNCTION_OF.values():
            return (verb, "x", "1", name)
        case "BZPOPMIN":
            return (command, name, "0")
        case "RENAME":
            return (command, name, name)
        case "XREADGROUP":
            return (command, "GROUP", "x", "x", "STREAMS", name, ">")
    return (*command.split("|"), name, *("x",) * _AFTER_KEY.get(command, 0))


def _example(key: Key, namespace: str) -> str:
    return key.pattern(namespace).replace("*", "x")
