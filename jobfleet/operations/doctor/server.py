"""Checks of the Redis server. Each function converts a checkup to one finding. Pure."""

from __future__ import annotations

from jobfleet.clock import span
from jobfleet.operations.doctor.endings import HOUR, Endings, KeptResult
from jobfleet.operations.doctor.findings import Finding, Level, size
from jobfleet.operations.doctor.snapshot import Checkup
from jobfleet.operations.explain.reasons import counted
from jobfleet.store.call import FSYNC
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
