"""The table of all keys: what each holds, and what limits its lifetime or size.

The keyspace page of the docs is generated from it. A test fails if a key has neither a TTL, nor an owner that deletes
it, nor a limit.
"""

from __future__ import annotations

from typing import NamedTuple

from jobfleet.model.fields import FILTER_NAMES


class KeyRow(NamedTuple):
    """One kind of key: its content, and what limits its lifetime or size.

    Attributes:
        name: The name without the tag.
        type: The type.
        holds: The content.
        ends: What limits its lifetime or size.
        listed: The keys of which the members, or fields, are the names of these keys, separated by spaces. A repair,
            and the doctor, find them there; see `damage.listed_places`.
    """

    name: str
    type: str
    holds: str
    ends: str
    listed: str = ""


ANSWERED = KeyRow("answer:<call>", "string", "reply to a call that may be repeated", "TTL 1 min")

KEY_TABLE: tuple[KeyRow, ...] = (
    KeyRow("ready:<p>", "zset", "ids by due time (µs, Redis's clock), p = 0 CRITICAL … 3 LOW", "claim, cancel, expire"),
    KeyRow("job:<id>", "string", "envelope: header and body; scripts read neither", "the final transition"),
    KeyRow("meta", "hash", "id → clear record: expiry, retention, unique key and scope", "the final transition"),
    KeyRow(
        "tries", "hash", "id → budgets spent, suspicion, history of runs; only if not empty", "the final transition"
    ),
    KeyRow("lease", "zset", "running ids by lease deadline (µs)", "every settle"),
    KeyRow(
        "runs",
        "hash",
        "id → token, child, claimed, lease, band; cancellation: requester, time, stage",
        "every settle",
    ),
    KeyRow("result:<id>", "string", "ending of the job; also the tombstone that refuses a repeated enqueue", "TTL"),
    KeyRow("value:<id>", "string", "record of an ending, if it is stored for a shorter time than the id", "TTL"),
    KeyRow("progress:<id>", "string", "last progress record", "TTL"),
    KeyRow("reported:<id>", "string", "token and number of the last report of progress", "TTL"),
    KeyRow(
        "log:<id>", "list", "last lines of the job's log; a line is: token n bytes at level text", "TTL; 1,000 lines"
    ),
    KeyRow("steps:<id>", "hash", "step → its encoded result; at most 1,000, 4 MiB", "TTL"),
    KeyRow("chunks:<id>", "stream", "output of the job: number and bytes so far, chunk", "TTL; stream_chunks"),
    KeyRow("done", "stream", "one entry per finishing batch: ids, outcomes, durations", "MAXLEN; retention duty"),
    KeyRow("dlq", "stream", "failed jobs: envelope, meta, record, reason, tries", "replay, purge; retention duty"),
    KeyRow("dead", "hash", "id → entry in dlq", "with its entry"),
    KeyRow("filed", "zset", "names (group, function, tag, text) with the entries of their letters", "with its letter"),
    KeyRow("filing", "hash", "id → what is filed of its letter; mark: the last entry", "with its letter; one mark"),
    KeyRow("rescued:<id>", "hash", "letter that a rescue has replayed, until its job starts", "the rescue; TTL 7 d"),
    KeyRow(
        "grouped",
        "zset",
        "waiting jobs of groups: band, group, due time and id; places (s) and heads (h) of strict sequences",
        "claim, cancel, expire; the end of the job; groups resume",
    ),
    KeyRow("ring", "zset", "band and group by its turn; resting groups at higher scores", "with its last waiting job"),
    KeyRow(
        "gdue", "zset", "band and group by the time of the next check of its turn (µs)", "claim; its last waiting job"
    ),
    KeyRow("held", "zset", "running jobs of groups: group and id", "every settle"),
    KeyRow(
        "rates",
        "zset",
        "group by the time at which its tokens are full again (µs); empty: the queue",
        "tick, once they are",
    ),
    KeyRow("expiry", "zset", "waiting ids by expires_at, only of jobs that have one", "claim, cancel, expire"),
    KeyRow("parents:<id>", "hash", "parents of a job, and the ending of each", "TTL, renewed while it waits"),
    KeyRow(
        "dependants:<id>",
        "zset",
        "dependants of a job",
        "the relay; those that read its record later, or wait for a replay: TTL",
    ),
    KeyRow("unique", "hash", "key → holder's id, end, start, last debounce", "the final transition; locks"),
    KeyRow("locks", "zset", "keys held for a time, by its end (µs)", "two with each new one; retention duty"),
    KeyRow(
        "index:<name>",
        "zset",
        f"ids by enqueue time; a name is tag:<t>, {', '.join(f'{name}:<text>' for name in FILTER_NAMES)} "
        "or keep:<function>",
        "retention duty; TTL 40 d, renewed",
        listed="indexes",
    ),
    KeyRow("indexes", "zset", "index → time of its next cleaning (µs)", "with its index"),
    KeyRow("watched", "hash", "id → 1 for jobs with dependants", "the final transition"),
    KeyRow("outbox", "stream", "one record per ended job with dependants", "the relay"),
    KeyRow(
        "journal", "stream", "lifecycle events, while a consumer is registered", "journal_max, journal_ttl; all read it"
    ),
    KeyRow("fired", "hash", "cron entry → last handled fire, and its job", "with its entry"),
    KeyRow("wake", "zset", "marker on which idle children block", "one member"),
    KeyRow(
        "wake:<kind>",
        "zset",
        "marker for children that know the functions of jobs that others left",
        "one member; TTL 1 h",
    ),
    KeyRow(
        "lane",
        "hash",
        "last token, primary's replication id, last TIME seen, hold, longest lease, clocks of bands, ahead",
        "few fields",
    ),
    KeyRow(
        "conf",
        "hash",
        "settings: pause (by, when, why); paused functions; journal, limits, aging, paused groups; declared limits, "
        "and what an operator has set there",
        "10,000 groups",
    ),
    KeyRow("totals", "hash", "counts since the beginning, and number of waiting jobs with tries", "few fields"),
    KeyRow("listeners", "string", "mark: the lane's events have a listener", "TTL 1 min"),
    KeyRow("barrier", "string", "mark that each wait for replicas or for the disk writes first", "TTL 1 min"),
    KeyRow(
        "aside:<name>",
        "any",
        "unreadable value that was moved away from a key; note on a stream that was copied",
        "TTL 30 d; one per key",
    ),
    KeyRow("claim:<child>", "string", "last claim of the child (nonce, ids, tokens), or `buried`", "TTL 1 h"),
    KeyRow("sent:<child>", "string", "last settle of the child: nonce and replies", "TTL 10 min"),
    ANSWERED,
)
FLEET_KEY_TABLE: tuple[KeyRow, ...] = (
    ANSWERED,
    KeyRow(
        "aside:<name>",
        "any",
        "unreadable value that was moved away from a key; note on a stream that was copied",
        "TTL 30 d; one per key",
    ),
    KeyRow("queues", "hash", "queue → home lanes, lanes", "remove_queue; max_queues"),
    KeyRow("workers", "zset", "worker ids by last beat (µs)", "trimmed by each beat"),
    KeyRow("worker:<id>", "string", "account of a worker", "TTL", listed="workers"),
    KeyRow("functions", "hash", "function → queue and options, published by workers", "one field per function"),
    KeyRow(
        "kinds",
        "zset",
        "kinds of workers with the same functions and queues, by last beat (µs)",
        "trimmed by each beat",
    ),
    KeyRow(
        "kind:<kind>",
        "hash",
        "function → its queue; under the empty name the queues that the kind serves",
        "TTL",
        listed="kinds",
    ),
    KeyRow(
        "knowers:<kind>", "zset", "workers of the kind by last beat (µs)", "TTL; trimmed by each beat", listed="kinds"
    ),
    KeyRow("conf", "hash", "operator's settings of the fleet: functions that are paused in every queue", "few fields"),
    KeyRow(
        "flow:<id>",
        "string",
        "jobs of a flow, and the parents of each",
        "TTL: that of results and letters, from 7 d",
        listed="flows",
    ),
    KeyRow(
        "flow-more:<id>",
        "hash",
        "additions that jobs of a flow have made to it",
        "TTL of its flow; at most 20,000 jobs",
        listed="flows",
    ),
    KeyRow("flows", "zset", "flows by creation time", "the last 1,000"),
    KeyRow(
        "consumers", "hash", "reader group of the journals → maximum number of events per lane", "one field per group"
    ),
    KeyRow("audit", "stream", "actions of operators", "audit_max"),
    KeyRow("payload-store", "string", "identity of the payload store", "stays; an operator who replaces the store"),
    KeyRow("cron", "hash", "cron entry → start, fingerprint of its schedule, record", "remove_entry; 10,000"),
    KeyRow("cron-times", "hash", "cron entry → start, schedule, queue; nothing of its call", "with its entry"),
    KeyRow("cron-paused", "hash", "cron entry → who paused it, and when", "with its entry"),
    KeyRow("cron-outcomes", "hash", "cron entry → numbers of its fires, at most 100 open jobs", "with its entry"),
    KeyRow(
        "cron-duty", "zset", "processes that fire recurring jobs, by last announcement (µs)", "TTL; trimmed by each"
    ),
    KeyRow(
        "cron-ledger:<entry>", "zset", "outcomes of its fires, by time", "1,000 notes; with its entry", listed="cron"
    ),
    KeyRow(
        "lock:<name>",
        "zset",
        "running jobs that hold a lock, by its fencing token",
        "release, the next taker; TTL 30 d",
    ),
    KeyRow(
        "gates",
        "zset",
        "named limits and circuit breakers by their last use; defined limits at 9e15",
        "30 days; those from 9e15 on stay",
    ),
    KeyRow(
        "gate:<name>",
        "hash",
        "a named limit or a circuit breaker",
        "30 days; a defined limit stays, and a gate that is shut until somebody opens it",
        listed="gates",
    ),
    KeyRow(
        "inside:<name>",
        "zset",
        "running jobs inside a named limit, or in the trial of a breaker",
        "30 days",
        listed="gates",
    ),
    KeyRow("lock-wait:<id>", "string", "the lock for which a running job waits, after two seconds", "TTL 6 s; renewed"),
    KeyRow("lock-state:<name>", "hash", "number of places of a lock, its last fencing token", "TTL 30 d"),
    KeyRow("dead-groups", "zset", "groups of dead letters by the time of the last letter (µs)", "the last 1,000"),
    KeyRow(
        "dead-group:<fp>",
        "hash",
        "state of a group, by whom and when; times, function, error",
        "TTL 90 d; groups",
        listed="dead-groups",
    ),
    KeyRow("dead-regressed", "zset", "groups by the time at which they came back (µs)", "a mark; with its group"),
    KeyRow("dead-ignored", "zset", "ignored groups by the time of that decision (µs)", "a mark; with its group"),
    KeyRow("rescues", "zset", "rescues by their begin (µs)", "the last 100"),
    KeyRow("rescuing", "zset", "rescues that are not over, by their begin (µs)", "with its last job in flight"),
    KeyRow("rescue:<rescue>", "hash", "a rescue: state, plan, counts", "TTL 30 d", listed="rescues rescuing"),
    KeyRow(
        "rescue-jobs:<rescue>",
        "zset",
        "jobs in flight, by the last look (µs)",
        "10,000; TTL 30 d",
        listed="rescues rescuing",
    ),
    KeyRow("notify:<channel>:gathered", "zset", "marks of processed notices, by time", "100,000; TTL 7 d"),
    KeyRow("notify:<channel>:windows", "zset", "kinds of notice by the end of their window", "one per kind; TTL 7 d"),
    KeyRow("notify:<channel>:groups", "hash", "kind → collected notices; its rate", "with its window; TTL 7 d"),
    KeyRow("notify:<channel>:due", "zset", "deliveries by the time of the next attempt", "1,000; TTL 7 d"),
    KeyRow("notify:<channel>:held", "hash", "delivery → attempts and content", "1,000; TTL 7 d"),
    KeyRow("samples", "hash", "holder of the samples duty, last sample, last archived hour", "few fields"),
    KeyRow(
        "samples:<part>",
        "hash",
        "counters at the last sample; or series → its points in ten minutes, or in four hours",
        "TTL 4 h, 56 h; 10,000 series",
    ),
    KeyRow("versions", "zset", "versions of workers by the time they were first seen (µs)", "the last 200"),
    KeyRow("reports", "zset", "workers by the time of their last report of runs (µs)", "trimmed by each report"),
    KeyRow(
        "report:<id>",
        "string",
        "counts and times of a worker's runs per queue and function",
        "TTL 1 h",
        listed="reports",
    ),
    KeyRow("stacks:<nonce>", "string", "the stacks of a child that somebody has asked for", "TTL 1 min"),
)
