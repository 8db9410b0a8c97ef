"""Checks of the Redis server, its replicas and nodes, and of how this process reaches it.

Each function converts a checkup to one finding. Pure.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from jobfleet.clock import span
from jobfleet.config.keyring import REQUIRE
from jobfleet.model.option_types import FAST
from jobfleet.operations.doctor.findings import Finding, Level, named, size
from jobfleet.operations.doctor.snapshot import HOUR, Checkup, Endings, KeptResult
from jobfleet.operations.verb import counted
from jobfleet.operations.workers import WorkerInfo
from jobfleet.store.acl import DEFAULT, user_of
from jobfleet.store.call import FSYNC, REPLICATED, is_unguarded
from jobfleet.store.connect import OLDEST
from jobfleet.store.script import names

CLOSE, FULL = 0.8, 0.95
"""Shares of the memory that the server may use."""
LARGE = 0.5
"""The share of that memory for results alone."""
SKEW = 1.0
MANY_VERSIONS = 5
"""More versions of all scripts than a server has seen since its start."""
COUNTED_FOR = 1200.0
"""Seconds after which a result is removed at the latest if its function keeps only the last ones, and it is none."""
OVERHEAD = 150
"""Approximate bytes that a key, its name and its TTL take in addition to the value."""
NOT_REPORTED = "The server does not report it."
ALLOW_INFO = "Allow this user the command INFO."


def version(seen: Checkup) -> Finding:
    """Whether the server is recent enough."""
    redis, valkey = seen.info.get("redis_version", ""), seen.info.get("valkey_version", "")
    if not redis:
        return Finding("version", Level.NOTE, NOT_REPORTED, ALLOW_INFO)
    numbers = tuple(int(part) for part in redis.split(".")[:2] if part.isdigit())
    name = f"Valkey {valkey}" if valkey else f"Redis {redis}"
    if numbers < OLDEST:
        return Finding("version", Level.FAULT, f"{name}; jobfleet needs Redis 7.2 or later.", "Upgrade the server.")
    return Finding("version", Level.OK, f"{name}.")


def eviction(seen: Checkup) -> Finding:
    """Whether the server refuses new jobs, and deletes none, when its memory is full."""
    policy = seen.info.get("maxmemory_policy", "")
    if not policy:
        return Finding("eviction", Level.NOTE, NOT_REPORTED, ALLOW_INFO)
    if policy == "noeviction":
        return Finding("eviction", Level.OK, "maxmemory-policy is noeviction.")
    what = "jobs" if policy.startswith("allkeys") else "results, and what keeps calls safe to repeat,"
    return Finding(
        "eviction",
        Level.FAULT,
        f"maxmemory-policy is {policy}: when memory is full, the server deletes {what} without a word.",
        "redis-cli CONFIG SET maxmemory-policy noeviction, and the same in the server's configuration.",
    )


def persistence(seen: Checkup) -> Finding:
    """Which changes a crash of the server would lose."""
    aof = seen.info.get("aof_enabled")
    if aof is None:
        return Finding("persistence", Level.NOTE, NOT_REPORTED, ALLOW_INFO)
    if aof == "1":
        if seen.info.get("aof_last_write_status", "ok") == "ok":
            return Finding("persistence", Level.OK, "AOF is on.")
        return Finding(
            "persistence",
            Level.FAULT,
            "AOF is on, but its last write has failed.",
            "Look at the server's disk and log.",
        )
    if FSYNC in seen.levels:
        return Finding(
            "persistence",
            Level.WARNING,
            "AOF is off, but some jobs have durability='fsync': the server refuses them.",
            "redis-cli CONFIG SET appendonly yes, and appendonly yes in its configuration; or choose another level.",
        )
    unsaved, saved = seen.number("rdb_changes_since_last_save"), seen.number("rdb_saves")
    text = "AOF is off"
    if seen.info.get("rdb_last_bgsave_status", "ok") != "ok":
        text += ", and the last snapshot has failed"
    elif saved:
        ago = max(0.0, seen.now / 1e6 - seen.number("rdb_last_save_time"))
        text += f"; the last snapshot was {span(ago)} ago"
    else:
        text += ", and no snapshot was made since the server's start"
    if unsaved:
        text += f": a crash of the server would lose {counted(unsaved, 'change')}"
        if seen.relayed:
            text += ", and jobs that were relayed from an outbox have no row any more"
    return Finding(
        "persistence",
        Level.WARNING,
        f"{text}.",
        "redis-cli CONFIG SET appendonly yes, and appendonly yes with appendfsync everysec in its configuration.",
    )


def scripts(seen: Checkup) -> Finding:
    """Whether the server keeps more scripts than jobfleet has. None of them can have the hash of another one."""
    number = seen.number("number_of_cached_scripts")
    if "number_of_cached_scripts" not in seen.info:
        return Finding("scripts", Level.OK, "The server does not report how many it keeps.")
    text = f"The server keeps {counted(number, 'script')}; this version has {len(names())}."
    if number <= MANY_VERSIONS * len(names()):
        return Finding("scripts", Level.OK, text)
    return Finding(
        "scripts",
        Level.NOTE,
        f"{text} They take {size(seen.number('used_memory_scripts_eval'))}.",
        "Some program sends scripts whose text changes: it should pass values as arguments. SCRIPT FLUSH is harmless.",
    )


def memory(seen: Checkup) -> Finding:
    """Whether the server has free memory."""
    used, limit, machine = (seen.number(name) for name in ("used_memory", "maxmemory", "total_system_memory"))
    if not used:
        return Finding("memory", Level.NOTE, NOT_REPORTED, ALLOW_INFO)
    most = limit or machine
    if not most:
        return Finding("memory", Level.OK, f"{size(used)} used; no limit is set.")
    text = f"{size(used)} of {size(most)} used"
    text += "." if limit else ", all that the machine has; no limit is set."
    if used < CLOSE * most:
        return Finding("memory", Level.OK, text)
    level = Level.FAULT if used >= FULL * most else Level.WARNING
    return Finding(
        "memory",
        level,
        f"{text} When it is full, jobs are refused.",
        "Raise maxmemory, or keep results for a shorter time.",
    )


def results(seen: Checkup) -> Finding:
    """How much memory results will take if as many jobs end in each hour as in the last one.

    In a busy lane, the endings that were read are those of some seconds. Load that has begun just now must not look
    like that of an hour, so the samples tell how many jobs have ended in the last hour, if there are any.
    """
    lanes = [one.endings for one in seen.lanes]
    at_present = sum(one.number / one.seconds * HOUR for one in lanes)
    if not at_present:
        return Finding("results", Level.OK, "No job has ended within the last hour.")
    hourly = at_present
    if seen.ended is not None:
        hourly = min(at_present, max(seen.ended, sum(one.number for one in lanes)))
    bytes_ = sum(_forecast(one, seen.config.result_ttl) for one in lanes) * hourly / at_present
    text = f"{counted(round(hourly), 'job')} per hour end; their results will take about {size(bytes_)}"
    most = seen.number("maxmemory")
    if not most:
        return Finding("results", Level.OK, f"{text}.")
    if bytes_ < LARGE * most:
        return Finding("results", Level.OK, f"{text} of {size(most)}.")
    return Finding(
        "results",
        Level.WARNING,
        f"{text} of {size(most)}.",
        "Keep results for a shorter time (result_ttl), return less, or raise maxmemory.",
    )


def _forecast(endings: Endings, ttl: float) -> float:
    """Bytes of the results of a lane once as many results expire as are written."""
    sizes = [row.kept.size + OVERHEAD for row in endings.kept if row.kept.size]
    kept = [_lifetime(row) for row in endings.kept if row.kept.left > 0]
    if not sizes:
        return 0.0
    longest = sum(kept) / len(kept) if kept else ttl
    return endings.number / endings.seconds * longest * sum(sizes) / len(sizes)


def _lifetime(row: KeptResult) -> float:
    """Seconds for which a result is stored, or is likely to be if its function keeps only the last ones."""
    whole = row.kept.left / 1000 + row.age
    return min(whole, COUNTED_FOR) if row.is_counted else whole


def clock(seen: Checkup) -> Finding:
    """Whether the clocks of this machine and of the server agree."""
    off = abs(seen.ahead)
    if off <= SKEW:
        return Finding("clock", Level.OK, "This machine's clock agrees with the server's.")
    word = "ahead of" if seen.ahead > 0 else "behind"
    return Finding(
        "clock",
        Level.WARNING,
        f"This machine's clock is {span(off)} {word} the server's: due times given as dates are off by that.",
        "Let NTP set the clocks of both.",
    )


UNGUARDED = (
    "Jobs of durability='fast' go to a primary that accepts them without its replicas. If it is cut off, it continues, "
    "and a failover loses most of what it has accepted meanwhile."
)
GUARD = "Set min-replicas-to-write 1 and min-replicas-max-lag 2 on all nodes."
SILENT = 10
"""Seconds without a word from a replica. A healthy one acknowledges every second."""


def replicas(seen: Checkup) -> Finding:
    """Whether the server is a primary, and can be replaced by a replica where Sentinels watch it."""
    role = seen.info.get("role")
    if role is None:
        return Finding("replicas", Level.NOTE, NOT_REPORTED, ALLOW_INFO)
    if role != "master":
        return Finding("replicas", Level.FAULT, "This server is a replica.", "Set --url / JOBFLEET_URL to the primary.")
    if seen.config.fails_over and FAST in seen.levels and is_unguarded(seen.info):
        return Finding("replicas", Level.FAULT, UNGUARDED, GUARD)
    every = list(_replicas(seen.info))
    away = [one for one in every if not _is_in_step(one)]
    text = f"{counted(len(every), 'replica')} in step." if every else "There is no replica."
    needed = max(1, seen.config.confirming_replicas)
    if REPLICATED in seen.levels and len(every) - len(away) < needed:
        text = f"{counted(len(every) - len(away), 'replica')} in step, but durability='replicated' needs {needed}."
        remedy = "Jobs of that durability are refused: start replicas, or lower durability_replicas."
        return Finding("replicas", Level.WARNING, text, remedy)
    if away:
        names = ", ".join(f"{one.get('ip', '?')}:{one.get('port', '?')}" for one in away)
        text = f"{counted(len(away), 'replica')} of {len(every)} not in step: {names}. "
        text += "A failover to such a replica loses writes."
        remedy = "Look at its log, and at the network between it and the primary."
        return Finding("replicas", Level.WARNING, text, remedy)
    return _watched(seen, text, has_replicas=bool(every)) or Finding("replicas", Level.OK, text)


def _watched(seen: Checkup, text: str, *, has_replicas: bool) -> Finding | None:
    """What is missing for a failover; None if nothing is, or if there is neither a Sentinel nor a replica."""
    if not has_replicas and not seen.config.url.lower().startswith("sentinel"):
        return None
    if not has_replicas:
        text = "The primary has no replica, so the Sentinels cannot replace it."
        return Finding("replicas", Level.WARNING, text, "Start a replica of it.")
    if not is_unguarded(seen.info):
        return None
    text += " A primary that is cut off would accept writes that a failover drops."
    return Finding("replicas", Level.NOTE, text, GUARD)


def _replicas(info: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    """The rows of INFO about the replicas, such as ``ip=10.0.0.2,port=6379,state=online,offset=42,lag=0``."""
    number = 0
    while (row := info.get(f"slave{number}")) is not None:
        yield dict(pair.split("=", 1) for pair in row.split(",") if "=" in pair)
        number += 1


def _is_in_step(replica: Mapping[str, str]) -> bool:
    lag = replica.get("lag", "0")
    return replica.get("state") == "online" and lag.isdigit() and int(lag) < SILENT


def cluster(seen: Checkup) -> Finding:
    """Whether all slots are served, all nodes are up, and each primary has a replica."""
    shards = seen.topology.shards
    if not shards:
        if seen.config.url.lower().startswith("cluster"):
            return Finding("cluster", Level.NOTE, NOT_REPORTED, "Allow this user the command CLUSTER SHARDS.")
        return Finding("cluster", Level.OK, "This is not a cluster.")
    if (missing := seen.topology.missing) or seen.away:
        text = f"No node serves {counted(missing, 'slot')}: calls for lanes there wait." if missing else ""
        down = {node.address for shard in shards for node in shard.nodes if node.health != "online"}
        if names := sorted(down | set(filter(None, seen.away))):
            text = f"{text} Down: {named(names)}.".lstrip()
        if lanes := [f"{lane.queue}.{lane.index}" for of_node in seen.away.values() for lane in of_node]:
            text = f"{text} {counted(len(lanes), 'lane')} not looked at: {named(lanes)}.".lstrip()
        return Finding("cluster", Level.FAULT, text, "Start the missing nodes, or assign the slots to others.")
    nodes = [node for shard in shards for node in shard.nodes]
    if away := [node.address for node in nodes if node.health != "online"]:
        text = f"{counted(len(away), 'node')} of {len(nodes)} not online: {', '.join(away)}."
        return Finding("cluster", Level.WARNING, text, "Look at their logs.")
    alone = [shard.primary.address for shard in shards if shard.primary and len(shard.nodes) == 1 and shard.slots]
    if alone:
        text = f"No replica of {', '.join(alone)}: if it dies, calls for its lanes wait until it is back."
        return Finding("cluster", Level.WARNING, text, "Add a replica.")
    return Finding("cluster", Level.OK, f"{counted(len(nodes), 'node')} online; all slots are served.")


PAGE = "docs/howto/redis-users.md"
KEYS_PAGE = "docs/howto/signing-and-encryption.md"
AHEAD, BEHIND = 1.0, 5.0
"""Seconds; a clock may only seem to be behind, because a heartbeat can be sent again later."""


def user(seen: Checkup) -> Finding:
    """Whether this user may do what it is for, and nobody connects without a password."""
    name = user_of(seen.config.url)
    text = f"Connected as {name}."
    if seen.lacking:
        what = named([command.replace("\n", " ") for command in seen.lacking])
        text = f"{text} It may not run {counted(len(seen.lacking), 'command')} that the role {seen.role} needs: {what}."
        return Finding("user", Level.WARNING, text, f"Load the users of this version of jobfleet: {PAGE}.")
    if seen.is_open and not is_local(seen.config.url):
        text = f"{text} Anybody who reaches the server can connect as {DEFAULT}, without a password."
        return Finding("user", Level.WARNING, text, f"Create users, then ACL SETUSER default off: {PAGE}.")
    if seen.is_open:
        return Finding("user", Level.OK, f"{text} Everybody on this machine can connect as {DEFAULT}.")
    if seen.lacking is None:
        return Finding("user", Level.OK, f"{text} The server does not report what it may do.")
    return Finding("user", Level.OK, f"{text} It may run every command that the role {seen.role} needs.")


def tls(seen: Checkup) -> Finding:
    """Whether connections are encrypted, and the certificate is checked."""
    url = seen.config.url
    scheme, where = url.partition("://")[0].lower(), urlsplit(url)
    if scheme in ("rediss", "sentinels", "clusters"):
        if "ssl_cert_reqs=none" in where.query or not seen.config.tls_check_hostname:
            text = "Connections are encrypted, but the server's certificate, or the host name in it, is not checked."
            return Finding("tls", Level.WARNING, text, "Remove tls_check_hostname=false and ssl_cert_reqs=none.")
        return Finding("tls", Level.OK, "Connections are encrypted, and the server's certificate is checked.")
    if is_local(url):
        return Finding("tls", Level.OK, "The server is on this machine; connections are not encrypted.")
    text = "Connections to another machine are not encrypted: who reads the network reads jobs and the password."
    return Finding("tls", Level.WARNING, text, f"Use {scheme}s://, as docs/howto/sentinel-and-tls.md describes.")


def keys(seen: Checkup) -> Finding:
    """Whether what is sealed must name its fleet."""
    if seen.config.keyring is None:
        return Finding("keys", Level.OK, "No keyring: nothing is signed or encrypted.")
    if seen.config.bind_namespace == REQUIRE:
        return Finding("keys", Level.OK, "What is sealed must name this fleet.")
    unbound = sum(row.is_unbound for one in seen.lanes for row in one.waiting)
    text = f"What is sealed need not name its fleet (bind_namespace = {seen.config.bind_namespace}): "
    if unbound:
        text += f"{counted(unbound, 'waiting job')} that were looked at do not, and run in each fleet with these keys."
    else:
        text += "jobs and values of older revisions are taken from each fleet with these keys."
    remedy = "Once all processes are of this revision: bind_namespace = 'send' everywhere, then 'require'."
    return Finding("keys", Level.WARNING, text, f"{remedy} See {KEYS_PAGE}.")


def clocks(seen: Checkup) -> Finding:
    """Whether the clocks of the workers' machines agree with the server's."""
    off = [one for one in seen.alive if one.ahead > AHEAD or one.ahead < -BEHIND]
    known = [one for one in seen.alive if one.ahead]
    if not off:
        text = f"{counted(len(known), 'clock')} of workers looked at; each agrees with the server's."
        return Finding("clocks", Level.OK, text)
    return Finding(
        "clocks",
        Level.WARNING,
        f"{counted(len(off), 'clock')} of workers differ from the server's: {named([_by(one) for one in off])}.",
        "Let NTP set them: their jobs see wrong times, and due times given there as dates are off.",
    )


def _by(worker: WorkerInfo) -> str:
    return f"{worker.id} is {span(abs(worker.ahead))} {'ahead' if worker.ahead > 0 else 'behind'}"


def is_local(url: str) -> bool:
    """Whether all hosts of a URL are this machine."""
    parts = urlsplit(url)
    if parts.scheme in ("unix", "embedded", "memory"):
        return True
    return all(map(_is_loopback, parts.netloc.rpartition("@")[2].split(",")))


def _is_loopback(address: str) -> bool:
    host = address.partition("]")[0].strip("[") if address.startswith("[") else address.partition(":")[0]
    try:
        return host in ("localhost", "") or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
