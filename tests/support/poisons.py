"""The poison table: single raw writes that nobody of ours would make, as data.

In texts ``{L}`` stands for the lane's prefix, ``{F}`` for the fleet's, ``{P}`` for what its ids begin with,
``{victim}``, ``{runs}`` and ``{later}`` for ids of the scene, ``{token}`` for the token of the run; see
`tests/poisons/conftest.py`.
"""

from __future__ import annotations

from typing import NamedTuple

BAD = b"\xff\xfe\xfd"
LOST = "has lost the envelopes"
Part = str | bytes | int
Command = tuple[Part, ...]


class Poison(NamedTuple):
    """One kind of damage.

    Attributes:
        name: What is damaged, and how.
        commands: The raw writes.
        told: What doctor's findings must have in them, before anything has repaired it; empty where the damage only
            costs its own row and is met by the next claim.
        victim: How the job named `victim` ends; empty where it must complete like all others.
        spares: Whether honest jobs that came before it are still there: of a key that is overwritten nothing is left.
    """

    name: str
    commands: tuple[Command, ...]
    told: str = ""
    victim: str = ""
    spares: bool = True


def _row(
    name: str,
    member: Part,
    *,
    score: Part = 1,
    band: int = 2,
    envelope: Part | None = None,
    told: str = "unreadable",
) -> Poison:
    """A bogus member of a band."""
    commands: tuple[Command, ...] = (("ZADD", f"{{L}}ready:{band}", score, member),)
    if envelope is not None:
        key = b"{L}job:" + (member if isinstance(member, bytes) else str(member).encode())
        commands += (("SET", key, envelope),)
    return Poison(f"ready: {name}", commands, told=told)


def _field(name: str, key: str, field: Part, value: Part, told: str, **more: object) -> Poison:
    """A bad field of a hash."""
    return Poison(name, (("HSET", "{L}" + key, field, value),), told=told, **more)  # type: ignore[arg-type]


def _fleet(name: str, key: str, field: Part, value: Part, told: str) -> Poison:
    return Poison(name, (("HSET", "{F}" + key, field, value),), told=told)


ROWS = (
    _row("an id that is no UTF-8", BAD),
    _row("an id that is no UTF-8, with an envelope", BAD, envelope=b"x"),
    _row("an id that is no UTF-8, among CRITICAL ones", BAD, band=0),
    _row("an empty id", ""),
    _row("an id with spaces", "{P}a b c"),
    _row("an id with spaces, and an envelope", "{P}a b", envelope=b"x"),
    _row("an id that is a line break", "\n"),
    _row("an id with a zero byte", b"{P}a\0b"),
    _row("an id longer than the lease board allows", "{P}" + "a" * 120),
    _row("an id of 100 KB", "a" * 100_000),
    _row("an id of another lane", "other.0.x"),
    _row("an id without dots", "bogus"),
    _row("an id whose lane is no number", "default.x.y"),
    _row("a good id without an envelope", "{P}ghost", told=LOST),
    _row("a good id, its envelope garbage", "{P}ghost", envelope=BAD),
    _row("a good id, its envelope empty", "{P}ghost", envelope=b"", told=LOST),
    Poison(
        "ready: a good id, its envelope a hash",
        (("ZADD", "{L}ready:2", 1, "{P}ghost"), ("HSET", "{L}job:{P}ghost", "a", "b")),
        told=LOST,
    ),
    _row("a due time that is a fraction", "{P}ghost", score="0.5", told=LOST),
    _row("a due time below all", "{P}ghost", score="-inf", told=LOST),
    _row("a due time beyond all", "{P}ghost", score="+inf", told=LOST),
)
TRIES = tuple(
    _field(f"tries: {name}", "tries", "{victim}", value, "unreadable", victim="unreadable")
    for name, value in (
        ("no UTF-8", BAD), ("garbage", "garbage"), ("a number that is none", "1:x:0:0:0"), ("too short", "1:0"),
        ("a number of 5,000 digits", "9" * 5000 + ":0:0:0:0"), ("empty lines", "\n\n"),
    )
)  # fmt: skip
METAS = tuple(
    _field(f"meta: {name}", "meta", "{victim}", value, "unreadable", victim="unreadable")
    for name, value in (
        ("no UTF-8", BAD), ("an expiry that is no number", "x abc"), ("an expiry of 400 digits", "x " + "9" * 400),
        ("a retention that is no number", "r abc"), ("a scope without a key", "s q"), ("garbage", "garbage"),
        ("100 KB of garbage", "z" * 100_000), ("a scope that is none", "u k\ns zzz"),
    )
)  # fmt: skip
RUNS = tuple(
    _field(f"runs: {name}", "runs", "{runs}", value, "run")
    for name, value in (
        ("garbage", "garbage"), ("no UTF-8", BAD), ("empty", ""), ("a token that is no number", "x|gone:1:a.0|1|1|2|"),
        ("nothing behind the token", "{token}|junk"), ("a band that is none", "{token}|gone:1:a.0|1|1|9|"),
        ("a moment that is none", "{token}|gone:1:a.0|x|1|2|"),
        ("a mark that is none", "{token}|gone:1:a.0|1|1|2|ann@x"),
    )
)  # fmt: skip
RUNNING = (
    *RUNS,
    Poison("runs: the field is gone", (("HDEL", "{L}runs", "{runs}"),), told="no run"),
    Poison("lease: the member is gone", (("ZREM", "{L}lease", "{runs}"),), told="no lease"),
    Poison("lease: a member that is no UTF-8", (("ZADD", "{L}lease", 1, BAD),), told="no run"),
    Poison("lease: a member without a job", (("ZADD", "{L}lease", 1, "{P}ghost"),), told="no run"),
    Poison("lease: an id of another lane", (("ZADD", "{L}lease", 1, "other.0.x"),), told="no run"),
    _field("tries of a run: garbage", "tries", "{runs}", "garbage", "unreadable", victim="runs:unreadable"),
    _field("meta of a run: no UTF-8", "meta", "{runs}", BAD, "unreadable", victim="runs:unreadable"),
    _field("meta of a run: a bad retention", "meta", "{runs}", "r x", "unreadable", victim="runs:unreadable"),
)  # fmt: skip
LANE = tuple(
    _field(f"lane: {field} {value!r:.24}", "lane", field, value, f"lane {field}")
    for field, value in (
        ("token", "x"), ("token", "9100000000000000"), ("token", "9" * 40), ("token", "nan"), ("token", "-5"),
        ("token", BAD), ("seen", "x"), ("seen", "9" * 40), ("hold", "x"), ("hold", "9000000000000000"),
        ("longest", "x"), ("longest", "9" * 18), ("longest", "nan"), ("fair:2", "x y"),
    )
)  # fmt: skip
CONF = tuple(
    _field(f"conf: {field} {value!r:.24}", "conf", field, value, f"conf {field}")
    for field, value in (
        ("limit", "nan nan nan nan"), ("limit", BAD), ("aging", "x"), ("aging", "nan"), ("journal", "x"),
        ("journal", BAD), ("functions", BAD), ("functions", "test.other ann@zz why"),
    )
)  # fmt: skip
TOTALS = tuple(
    _field(f"totals: {field!r} {value!r:.24}", "totals", field, value, "totals ")
    for field, value in (
        ("enqueued", "x"), ("completed", "x"), ("run_us", BAD), ("failed", "x"), ("retrying", "9" * 40), (BAD, "x"),
    )
)  # fmt: skip
OTHERS = (
    _field("dead: an entry that is none", "dead", "{victim}", "garbage", ""),
    _field("unique: a lock that is none", "unique", "only", BAD, ""),
    _field("unique: an empty lock", "unique", "only", "", ""),
    Poison("dlq: a letter without fields of ours", (("XADD", "{L}dlq", "*", "foo", BAD),), told="dlq"),
    Poison("dlq: a letter that is no UTF-8", (("XADD", "{L}dlq", "*", "id", BAD, "band", "x"),), told="dlq"),
    Poison("done: an entry without fields of ours", (("XADD", "{L}done", "*", "foo", BAD),), told="done"),
    Poison("done: an entry that is no UTF-8", (("XADD", "{L}done", "*", "jobs", BAD),), told="done"),
    Poison("outbox: an entry without fields of ours", (("XADD", "{L}outbox", "*", "foo", BAD),)),
    Poison("expiry: a member that is no UTF-8", (("ZADD", "{L}expiry", 1, BAD),)),
    Poison("expiry: a member without a job", (("ZADD", "{L}expiry", 1, "{P}ghost"),)),
    Poison("gdue: a member that is none", (("ZADD", "{L}gdue", 1, BAD, 1, ""),)),
    Poison("ring: a member that is none", (("ZADD", "{L}ring", 1, BAD, 1, "", 2_000_000_000_000_001, "x"),)),
    Poison(
        "grouped: a member that is none",
        (("ZADD", "{L}grouped", 0, b"2acme\x00zzz", 0, BAD, 0, b"2acme\x000000000000000001\x00" + BAD),
         ("ZADD", "{L}gdue", 1, "2acme")),
    ),
    Poison("locks: a member that is none", (("ZADD", "{L}locks", 1, BAD),)),
    Poison("indexes: a member that is none", (("ZADD", "{L}indexes", 1, BAD),)),
    Poison("fired: a mark that is none", (("HSET", "{L}fired", "nightly", BAD),)),
)  # fmt: skip
FLEET = (
    _fleet("queues: a name that is no UTF-8", "queues", BAD, "1:1", "queues"),
    _fleet("queues: a name that is none", "queues", "no name!", "1:1", "queues"),
    _fleet("queues: lanes that are none", "queues", "other", "x", "queues"),
    _fleet("queues: a thousand million lanes", "queues", "other", "1:1000000000", "queues"),
    _fleet("queues: this one's lanes are no UTF-8", "queues", "default", BAD, "queues"),
    _fleet("functions: a name that is no UTF-8", "functions", BAD, "x", "functions"),
    _fleet("functions: a record that is none", "functions", "test.one", BAD, "functions"),
    Poison("workers: an id that is no UTF-8", (("ZADD", "{F}workers", 9_000_000_000_000_000, BAD),), told="workers"),
    Poison("workers: a beat beyond all", (("ZADD", "{F}workers", "+inf", "w:1:a"),), told="workers"),
    Poison(
        "workers: an account that is none",
        (("ZADD", "{F}workers", 9_000_000_000_000_000, "w:1:a"), ("SET", "{F}worker:w:1:a", b"\x81\xa3pid\xa1x")),
    ),
    _fleet("cron: a name that is no UTF-8", "cron", BAD, "1 a\nx", "cron"),
    _fleet("cron: an entry that is none", "cron", "nightly", "garbage", "cron"),
    _fleet("conf: functions that are no UTF-8", "conf", "functions", BAD, "conf"),
    _fleet("consumers: a number that is none", "consumers", "archive", "x", "consumers"),
    _fleet("consumers: a name that is no UTF-8", "consumers", BAD, "1000", "consumers"),
)
HASHES = ("meta", "tries", "unique", "dead", "totals", "lane", "conf", "watched", "fired")
ZSETS = (
    "ready:0", "ready:1", "ready:3", "wake", "expiry", "locks", "grouped", "ring", "gdue", "held", "rates", "indexes",
    "lease",
)  # fmt: skip
STREAMS = ("done", "dlq", "outbox", "journal")
TYPES = (
    *(
        Poison(f"{name} is a string", (("DEL", "{L}" + name), ("SET", "{L}" + name, BAD)), told=name)
        for name in (*HASHES, *ZSETS, *STREAMS, "runs")
    ),
    Poison("ready:2 is a string", (("DEL", "{L}ready:2"), ("SET", "{L}ready:2", BAD)), told="ready:2", spares=False),
    Poison("listeners is a hash", (("DEL", "{L}listeners"), ("HSET", "{L}listeners", "a", "b")), told="listeners"),
    *(
        Poison(f"{name} of the fleet is a list", (("DEL", "{F}" + name), ("RPUSH", "{F}" + name, BAD)), told=name)
        for name in ("queues", "functions", "workers", "conf", "cron", "consumers")
    ),
)
POISONS: tuple[Poison, ...] = (
    *ROWS, *TRIES, *METAS, *RUNNING, *LANE, *CONF, *TOTALS, *OTHERS, *FLEET, *TYPES,
)  # fmt: skip
