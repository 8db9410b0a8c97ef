"""The roles of Redis users: which scripts each runs, and which commands it sends itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache

from jobfleet.store.acl.grants import FLEET, LANE, TYPES, Grant, Key, answers, applies, grants_of, keys_of
from jobfleet.store.acl.rules import CALLS, CALLS_READING, EVALS, FUNCTION_OF, selectors, spelled
from jobfleet.store.key_table import FLEET_KEY_TABLE, KEY_TABLE
from jobfleet.store.keys import KEPT, WORK
from jobfleet.store.script import load, names

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
    report_runs shorten_parents shut_gate signal steps stop"""
)
LEASES = _named("pause_function paused resume_function set_aside settle tick waiting")
"""What workers do, too, so that a fleet without a reaper recovers the jobs of dead workers."""
CRON = _named("attend attendants entries fire ledger marks note_times schedule set_back")
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
    """clean clear_lane close_queue command define_limit dismiss edit enlist file_letters forget forget_steps hold_entry
    mark_group note_groups open_rescue note_rescue plan_rescue keep_letters drop_letters undo_replay pause
    pause_function pause_group precede purge put_back register repair replay reschedule resume resume_function
    resume_group retire schedule set_limit shorten_parents shut_gate trim unmark unpark unregister
    unschedule write_audit"""
)


@cache
def roles() -> tuple[Role, ...]:
    """Return all roles."""
    exists = tuple(Grant("EXISTS", Key(LANE, name)) for name in (*_in_table(WORK), *KEPT))
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


METERS = _named("counts finished fleet gates marks memory outbox queues timetable")


def _in_table(keys: Iterable[str]) -> set[str]:
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


__all__ = ["Role", "roles", "rules_of", "text"]
