"""Every script keeps the contract that its header states, and its tests cover it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from jobfleet.errors import FleetFull, JobfleetError, ScriptContractError
from jobfleet.events import Command
from jobfleet.store import script as scripts
from jobfleet.store.call import Call
from jobfleet.store.calls import (
    control,
    cron,
    doctor,
    ended,
    enqueue,
    flow,
    index,
    inspect,
    journal,
    lease,
    limit,
    log,
    notify,
    paused,
    presence,
    progress,
    settle,
    steps,
)
from jobfleet.store.connect import target
from jobfleet.store.link import SocketLink
from jobfleet.store.script import Field, load, names
from jobfleet.store.sync import Store
from jobfleet.store.values import Entry
from tests.lua.cases import cases
from tests.lua.world import KEYS, LANE, Eavesdropper, World, mutated

LUA = Path(scripts.__file__).parent / "lua"
FILES = sorted(LUA.glob("**/*.lua"))
IDS = ["mail.0.a", "mail.0.b"]
INDEXED = index.marked("", IDS)

SAMPLES: dict[str, Call[Any]] = {
    "attend": cron.attend(KEYS, "w", "worker", gone_us=1),
    "attendants": cron.attendants(KEYS),
    "beat": presence.beat(
        KEYS, "w", account=b"", gone_us=1_000_000, serves=["mail", "bulk"], functions={"f": b"", "g": b""}
    ),
    "block": flow.block(LANE, Entry("mail.0.k", 2, "", INDEXED, b""), [flow.Edge(i, 0, "c") for i in IDS], ttl_ms=1000),
    "children": flow.children(LANE, "mail.0.p"),
    "extend_flow": flow.extend_flow(KEYS, "f", "a", stage=1, count=1, record=b"", ttl_ms=1),
    "flow": flow.read_flow(KEYS, "f"),
    "flows": flow.flows(KEYS, limit=1),
    "follow": flow.follow(LANE, IDS, parent="mail.0.p", to="bulk.0.p"),
    "join": flow.join(LANE, IDS[0], via="mail.0.p", parents=IDS, most=10),
    "keep_flow": flow.keep_flow(KEYS, "f", b"", ttl_ms=1),
    "dependants": flow.dependants(LANE, IDS[0], ending_ms=1),
    "outbox": flow.outbox(LANE),
    "outcomes": ended.outcomes(LANE, IDS),
    "parents": flow.parents(LANE, IDS[0]),
    "results": flow.results(LANE, IDS),
    "unblock": flow.unblock(LANE, [flow.Told(job_id, "mail.0.p", "completed", b"") for job_id in IDS], ttl_ms=1000),
    "unwatch": flow.unwatch(LANE, "1-1", "mail.0.p", [(job_id, False) for job_id in IDS], ending_ms=1),
    "watch": flow.watch(LANE, "mail.0.p", IDS),
    "bury": lease.bury(LANE, "w.1", [(job_id, 7) for job_id in IDS]),
    "cancel": control.cancel(KEYS, LANE, IDS, by=None, ttl_ms=1),
    "claim": lease.claim(
        LANE, child="w.1", nonce=1, lease_us=1, limit=1, leave=lease.leave_to(dict.fromkeys("fg", IDS))
    ),
    "clean": ended.clean(LANE, IDS, before_us=1),
    "command": presence.command(KEYS, Command("quiet", "w", "0")),
    "consumers": journal.consumers(KEYS),
    "counts": inspect.counts(LANE),
    "dead": inspect.dead(LANE),
    "entries": cron.entries(KEYS),
    "fire": cron.fire(LANE, "nightly", 1, Entry(IDS[0], 2, "1", INDEXED, b""), overlap="allow"),
    "gather": notify.gather(KEYS.channel("ops"), [notify.Item(f"m{i}", "k", 1, "d", 1, b"") for i in (1, 2)], most=1),
    "history": cron.history(KEYS, "nightly", limit=1),
    "hold_entry": cron.hold(KEYS, "nightly", paused=True, by=None),
    "ledger": cron.ledger(KEYS, "nightly", [(1, "fired"), (2, "fired")]),
    "memory": inspect.memory(KEYS),
    "marks": cron.marks(LANE, ["nightly", "weekly"]),
    "schedule": cron.schedule(KEYS, "nightly", "abc", b""),
    "unmark": cron.unmark(LANE, "nightly"),
    "unschedule": cron.unschedule(KEYS, "nightly"),
    "debounce": enqueue.debounce(
        LANE, Entry(IDS[1], 2, "", f"u k\n{INDEXED}", b""), key="k", holder=IDS[0], longest_us=None
    ),
    "dismiss": journal.dismiss(KEYS, "g"),
    "enlist": journal.enlist(KEYS, "g", most=9),
    "enqueue": enqueue.in_full(LANE, [Entry(job_id, 2, "", "", b"") for job_id in IDS]),
    "enqueue_plain": enqueue.enqueue(LANE, [Entry(job_id, 2, "", "", b"") for job_id in IDS]),
    "deliver": notify.deliver(KEYS.channel("ops"), notify.Delivery("d", 1, 1, 1, 1, 1, "k", b"")),
    "deliveries": notify.deliveries(KEYS.channel("ops")),
    "explain": inspect.explain(LANE, IDS[0]),
    "finished": inspect.finished(LANE),
    "fleet": inspect.fleet(KEYS),
    "forget": steps.forget(LANE, IDS[0]),
    "indexed": index.indexed(LANE, "tag:eu"),
    "indexes": index.indexes(LANE),
    "kept": doctor.kept(LANE, IDS),
    "keep": steps.keep(LANE, IDS[0], 7, ttl_ms=1, step="s:a"),
    "letter": inspect.letter(LANE, IDS[0]),
    "limits": limit.limits(LANE, ["acme", "zeta"]),
    "lines": log.lines(LANE, IDS[0]),
    "listen": control.listen(LANE),
    "leave": presence.leave(KEYS, "w", IDS),
    "know": presence.know(KEYS, "w", "k", gone_us=1_000_000, functions={"f": "mail", "g": "mail"}),
    "kinds": presence.kinds(KEYS, gone_us=1_000_000),
    "locks": doctor.locks(LANE, grace_us=1),
    "log": log.log(LANE, [log.Entry(job_id, 7, 1, 1, b"") for job_id in IDS], most_lines=9, most_bytes=9),
    "open_queue": enqueue.open_queue(KEYS, "mail", 1),
    "pause": control.pause(LANE, by=None),
    "pause_group": limit.pause_group(LANE, "acme", by=None),
    "pause_function": paused.pause_function(LANE, "mail.send", by=None),
    "paused": paused.paused(KEYS),
    "queues": inspect.queues(KEYS),
    "put_back": paused.put_back(LANE, IDS),
    "resume_function": paused.resume_function(LANE, "mail.send"),
    "progress": progress.progress(LANE, [progress.Report(job_id, 7, 1, b"") for job_id in IDS], ttl_ms=1),
    "purge": control.purge(LANE, IDS),
    "register": journal.register(LANE, "g", most=9),
    "renew": lease.renew(LANE, [(job_id, 7) for job_id in IDS], lease_us=1),
    "replace": enqueue.replace(LANE, Entry(IDS[1], 2, "", f"u k\n{INDEXED}", b""), key="k", holder=IDS[0], ttl_ms=1),
    "replay": control.replay(LANE, IDS, by=None),
    "reschedule": control.reschedule(LANE, IDS, by=None),
    "resume": control.resume(LANE),
    "resume_group": limit.resume_group(LANE, "acme"),
    "runs": doctor.runs(LANE),
    "running": inspect.running(LANE),
    "server": doctor.server(KEYS),
    "set_limit": limit.set_limit(LANE, "limit", "4 - - - -"),
    "settle": settle.settle(LANE, [settle.release(job_id, 7) for job_id in IDS]),
    "status": inspect.status(LANE, IDS),
    "steps": steps.steps(LANE, IDS[0]),
    "stop": control.stop(LANE, [(job_id, 7, 1, "raised") for job_id in IDS]),
    "sweep": index.sweep(LANE, "tag:eu"),
    "take": notify.take(KEYS.channel("ops"), lease_us=1, rules="r"),
    "tick": lease.tick(LANE),
    "trim": control.trim(LANE, done_before_ms=1, dead_before_ms=1, dead_max=1),
    "trim_journal": journal.trim_journal(LANE, longest_us=1, gone_ms=1),
    "unregister": journal.unregister(LANE, "g"),
    "waiting": inspect.waiting(LANE, 2),
}
LETTERED = {"cancel", "enqueue_plain", "follow", "log", "progress", "reschedule", "settle", "stop", "unblock"}
"""Scripts whose replies end with a letter for each item."""
ARGUMENTS_AN_ITEM = {
    "beat": 3, "block": 3, "bury": 2, "cancel": 1, "clean": 1, "enqueue": 5, "enqueue_plain": 1, "gather": 6,
    "join": 1, "kept": 1, "know": 2, "leave": 1, "ledger": 2, "limits": 1, "log": 5, "marks": 1,
    "outcomes": 1, "progress": 4, "purge": 1, "put_back": 1, "renew": 2, "replay": 3, "reschedule": 1, "results": 1,
    "settle": 6, "status": 1, "stop": 4, "unblock": 4, "unwatch": 2, "watch": 1,
}  # fmt: skip
SHARES_KEYS = {
    "attend", "attendants", "beat", "command", "consumers", "deliver", "deliveries", "dismiss", "enlist", "entries",
    "extend_flow", "fleet", "flow", "flows", "gather", "history", "hold_entry", "keep_flow", "kinds", "know", "leave",
    "ledger", "memory", "open_queue", "paused", "queues", "schedule", "server", "take", "unschedule",
}  # fmt: skip

every_script = pytest.mark.parametrize("name", names())


def code(path: Path) -> str:
    """A file without its comments."""
    return re.sub(r"--.*", "", path.read_text(encoding="utf-8"))


def keys_an_item(field: Field) -> int:
    words = {"two": 2, "four": 4}
    return next((words[word] for word in words if f"{word} keys an item" in field.note), 1)


def test_every_script_has_a_sample_and_a_file_of_tests() -> None:
    assert sorted(SAMPLES) == names()
    assert all(cases(name) for name in names())


@every_script
def test_its_header_tells_what_it_does_in_one_sentence(name: str) -> None:
    header = load(name).header

    assert header.summary.endswith(".")
    assert load(name).words
    assert set(header.flags) <= {"allow-oom", "no-writes"}
    assert load(name).read_only == ("no-writes" in header.flags)


@every_script
def test_keys_and_arguments_are_numbered_without_a_gap_and_only_the_last_is_open(name: str) -> None:
    for fields in (load(name).header.keys, load(name).header.argv):
        following = 1
        for field in fields:
            assert field.first == following
            assert field.last is not None or field is fields[-1]
            following = (field.last or field.first) + 1


@every_script
def test_its_body_uses_no_number_that_the_header_does_not_name(name: str) -> None:
    header, text = load(name).header, code(LUA / f"{name}.lua")

    for table, fields in (("KEYS", header.keys), ("ARGV", header.argv)):
        open_from = next((field.first for field in fields if field.last is None), None)
        singles = {field.first for field in fields if field.last is not None}
        for number in map(int, re.findall(rf"{table}\[(\d+)\]", text)):
            assert number in singles
        for base, factor in re.findall(rf"{table}\[(\d+) \+ (?:(\d+) \* )?i\]", text):
            first = int(base) + int(factor or 1)
            assert open_from is not None
            assert open_from <= first < open_from + 2


@every_script
def test_its_builder_passes_as_many_keys_and_arguments_as_the_header_declares(name: str) -> None:
    header, call = load(name).header, SAMPLES[name]

    fixed = [field for field in header.keys if field.last is not None]
    items = [field for field in header.keys if field.last is None]
    assert call.script is load(name)
    assert len(call.keys) == len(fixed) + sum(keys_an_item(field) * len(IDS) for field in items)
    fixed = [field for field in header.argv if field.last is not None]
    an_item = ARGUMENTS_AN_ITEM.get(name, 0)
    assert len(call.args) == len(fixed) + an_item * len(IDS)
    assert bool(an_item) == any(field.last is None for field in header.argv)


@every_script
def test_its_builder_passes_keys_in_the_order_of_the_header(name: str) -> None:
    header, call = load(name).header, SAMPLES[name]
    tag = KEYS.tag if name in SHARES_KEYS else LANE.tag
    patterns = [re.sub(r"<[a-z]+>", ".*", field.name) for field in header.keys if field.last is not None]
    for field in header.keys:
        if field.last is None:
            kinds = re.findall(r"[a-z]+:<id>", field.note) or [field.name]
            patterns += [re.sub(r"<[a-z]+>", re.escape(job_id), kind) for job_id in IDS for kind in kinds]

    for key, pattern in zip(call.keys, patterns, strict=True):
        assert re.fullmatch(re.escape(tag) + pattern, key)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_file_searches_keys_or_reads_the_clock_by_itself(path: Path) -> None:
    commands = set(re.findall(r"redis\.p?call\('([A-Za-z]+)'", code(path)))

    searching = {"KEYS", "SCAN", "HSCAN", "SSCAN", "ZSCAN", "RANDOMKEY"} & commands
    assert searching == ({"HSCAN"} if path.stem == "queues" else set())  # one bounded page of one hash
    assert ("TIME" in commands) == (path.stem in {"clock", "stamp"})
    assert not re.search(r"redis\.p?call\((?!')", code(path)), "commands are spelled out"


@every_script
def test_it_compiles_and_sets_no_global(name: str, raw: redis.Redis) -> None:
    sha = raw.script_load(load(name).source.decode())

    assert sha in (load(name).sha, load(name).sha.encode())
    assert not re.search(r"^\s*function ", load(name).plain.decode(), re.MULTILINE)


@pytest.fixture
def heard(redis_url: str) -> Iterator[tuple[Store, dict[str, list[Any]]]]:
    replies: dict[str, list[Any]] = {}
    at = target(redis_url)
    store = Store(at, link=Eavesdropper(SocketLink(at, connect_timeout=5, socket_timeout=5), replies))
    yield store, replies
    store.close()


@every_script
def test_every_word_and_letter_under_returns_occurs_in_its_cases(
    name: str, heard: tuple[Store, dict[str, list[Any]]], raw: redis.Redis
) -> None:
    store, replies = heard

    for case in cases(name):
        raw.flushall()
        try:
            case.run(World(store, raw))
        except Exception:
            if not case.flaw:
                raise

    said = {word for reply in replies[name] if isinstance(reply, list) for word in words_of(name, reply)}
    assert said == words_declared(name)


def words_of(name: str, reply: list[Any]) -> set[str]:
    word = reply[0].decode()
    inner: set[str] = set()
    if name == "enqueue":
        inner = set(reply[2].decode())
    elif name in LETTERED and len(reply) > 1:
        inner = set(reply[-1].decode())
    elif name == "replay":
        inner = {answer.decode().partition(":")[0] for answer in reply[2]}
    elif name == "status":
        inner = {row[0].decode() for row in reply[2:]}
    return {word, *inner}


def words_declared(name: str) -> set[str]:
    text = "\n".join(load(name).header.returns)
    words = {word.decode() for word in load(name).words}
    if "letters}" in text:
        return words | set(re.findall(r"[ ,]([a-z]) [a-z]", text.partition("letters}")[2]))
    if name == "replay":
        return words | set(re.findall(r"([a-z]+)[,:]", text.rpartition("}}")[2])) | {"unknown"}
    if name == "status":
        return words | set(re.findall(r"\{([a-z]+)[,}]", text)) - {"word"}
    return words


@every_script
def test_what_it_emits_the_journal_keeps(name: str) -> None:
    header = load(name).header

    if header.emits not in {"-", "progressed"}:
        assert b"write_journal(" in load(name).plain, "a consumer of the journal must miss nothing"
        assert {"journal", "totals"} <= {field.name for field in header.keys}


def test_a_user_who_may_touch_what_is_declared_is_refused_what_is_not(world: World, floor: str) -> None:
    call = inspect.status(world.lane, IDS)
    spy = mutated(call.script, "local tag = ARGV[1]", "local tag = ARGV[1]\nredis.call('GET', tag .. 'undeclared')")

    if floor == "as_granted":
        with pytest.raises(JobfleetError, match="access"):
            world.run(call._replace(script=spy))
    else:
        world.run(call._replace(script=spy))


def test_a_key_that_is_only_declared_as_read_cannot_be_written(world: World, floor: str) -> None:
    call = control.resume(world.lane)
    vandal = mutated(call.script, "local tag = ARGV[1]", "local tag = ARGV[1]\nredis.call('DEL', tag .. 'ready:0')")

    if floor == "as_granted":
        with pytest.raises(JobfleetError, match="access"):
            world.run(call._replace(script=vandal))
    else:
        world.run(call._replace(script=vandal))


def test_a_cluster_refuses_a_key_of_another_slot(world: World, floor: str) -> None:
    call = inspect.counts(world.lane)
    stray = mutated(call.script, "local tag = ARGV[1]", "local tag = '{elsewhere}:'")

    if floor == "as_root":
        world.run(call._replace(script=stray))
    else:
        with pytest.raises(JobfleetError):
            world.run(call._replace(script=stray))


@every_script
def test_full_memory_refuses_new_jobs_and_still_drains(name: str, redis_url: str, raw: redis.Redis) -> None:
    header = load(name).header
    store = Store(target(redis_url))
    raw.config_set("maxmemory", 1)
    try:
        if "allow-oom" in header.flags or load(name).read_only:
            store.run(SAMPLES[name])
        else:
            assert name in {
                "block", "debounce", "enqueue", "enqueue_plain", "extend_flow", "fire", "join", "keep_flow",
                "open_queue", "replace", "replay", "schedule", "watch",
            }  # fmt: skip
            with pytest.raises(FleetFull):
                store.run(SAMPLES[name])
    finally:
        raw.config_set("maxmemory", 0)
        store.close()


def test_a_script_that_reads_only_cannot_write(world: World) -> None:
    call = inspect.counts(world.lane)
    writer = mutated(call.script, "local tag = ARGV[1]", "local tag = ARGV[1]\nredis.call('DEL', KEYS[1])")

    with pytest.raises(JobfleetError, match=r"[Ww]rite|access"):
        world.run(call._replace(script=writer))


@pytest.mark.parametrize(
    ("old", "new"),
    [("-- FLAGS", "-- FLUGS"), ("-- pause: ", "-- pose: "), ("-- KEYS    1 conf", "-- KEYS    one conf")],
)
def test_a_header_without_the_form_is_refused(old: str, new: str) -> None:
    text = (LUA / "pause.lua").read_text(encoding="utf-8")
    assert old in text

    with pytest.raises(ScriptContractError, match=r"pause\.lua"):
        scripts.parse_header("pause", text.replace(old, new, 1))
