"""A sample of each script's call, and what the contract tests have to know of its arguments."""

from __future__ import annotations

from typing import Any

from jobfleet.events import Command
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
    lock,
    log,
    notify,
    paused,
    presence,
    progress,
    queues,
    settle,
    spoiled,
    steps,
)
from jobfleet.store.calls.topology import topology
from jobfleet.store.damage import Damage, Place
from jobfleet.store.mending import mend, survey
from jobfleet.store.records import Entry
from jobfleet.store.rows import Spoiled
from tests.lua.world import KEYS, LANE

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
    "unblock": flow.unblock(
        LANE, [flow.ParentEnd(job_id, "mail.0.p", "completed", b"") for job_id in IDS], ttl_ms=1000
    ),
    "unwatch": flow.unwatch(LANE, "1-1", "mail.0.p", [(job_id, flow.NOTIFIED) for job_id in IDS], ending_ms=1),
    "watch": flow.watch(LANE, "mail.0.p", IDS),
    "bury": lease.bury(LANE, "w.1", [(job_id, 7) for job_id in IDS]),
    "cancel": control.cancel(KEYS, LANE, IDS, by=None, ttl_ms=1),
    "claim": lease.claim(
        LANE, child="w.1", nonce=1, lease_us=1, limit=1, leave=lease.leave_to(dict.fromkeys("fg", IDS))
    ),
    "clean": ended.clean(LANE, IDS, before_us=1),
    "clear_lane": queues.clear_lane(LANE, drops_letters=True),
    "close_queue": queues.close_queue(KEYS, "mail"),
    "command": presence.command(KEYS, Command("quiet", "w", "0")),
    "consumers": journal.consumers(KEYS),
    "counts": inspect.counts(LANE),
    "dead": inspect.dead(LANE),
    "entries": cron.entries(KEYS),
    "fire": cron.fire(LANE, "nightly", 1, Entry(IDS[0], 2, "1", INDEXED, b""), overlap="allow"),
    "granted": lease.granted(LANE, child="w.1", first=7),
    "gather": notify.gather(KEYS.channel("ops"), [notify.Item(f"m{i}", "k", 1, "d", 1, b"") for i in (1, 2)], most=1),
    "history": cron.history(KEYS, "nightly", limit=1),
    "hold_entry": cron.pause(KEYS, "nightly", by=None),
    "ledger": cron.ledger(KEYS, "nightly", [(1, "fired"), (2, "fired")]),
    "mend": mend(LANE.tag, [Damage(f"job:{job_id}", "string", b"", b"hash") for job_id in IDS]),
    "memory": inspect.memory(KEYS),
    "marks": cron.marks(LANE, ["nightly", "weekly"]),
    "schedule": cron.add(KEYS, "nightly", "abc", b""),
    "unmark": cron.unmark(LANE, "nightly"),
    "unschedule": cron.remove(KEYS, "nightly"),
    "declare": limit.declare(LANE, {}, ["app.f", "app.g"]),
    "debounce": enqueue.debounce(
        LANE, Entry(IDS[1], 2, "", f"u k\n{INDEXED}", b""), key="k", holder=IDS[0], longest_us=None
    ),
    "dismiss": journal.dismiss(KEYS, "g"),
    "edit": control.edit(LANE, IDS[0], by=None, expected=b"", envelope=b""),
    "enlist": journal.enlist(KEYS, "g", most=9),
    "enqueue": enqueue.in_full(LANE, [Entry(job_id, 2, "", "", b"") for job_id in IDS]),
    "enqueue_plain": enqueue.enqueue(LANE, [Entry(job_id, 2, "", "", b"") for job_id in IDS]),
    "deliver": notify.deliver(KEYS.channel("ops"), notify.Delivery("d", 1, 1, 1, 1, 1, "k", b"")),
    "deliveries": notify.deliveries(KEYS.channel("ops")),
    "explain": inspect.explain(LANE, IDS[0]),
    "finished": inspect.finished(LANE),
    "fleet": inspect.fleet(KEYS),
    "forget": ended.forget(LANE, IDS[0], by=None, indexes=IDS, key="k", dependants=0, is_archived=False),
    "forget_steps": steps.forget_steps(LANE, IDS[0]),
    "indexed": index.indexed(LANE, "tag:eu"),
    "indexes": ended.indexes(LANE),
    "kept": doctor.kept(LANE, IDS),
    "lacking": doctor.lacking(KEYS, ["PING", "TIME"]),
    "keep": steps.keep(LANE, IDS[0], 7, ttl_ms=1, step="s:a"),
    "letter": inspect.letter(LANE, IDS[0]),
    "limits": limit.limits(LANE, ["acme", "zeta"]),
    "lines": log.lines(LANE, IDS[0]),
    "acquire_lock": lock.acquire(KEYS, "crm", lock.Holder(7, 1, IDS[0]), 2, ended=["3 1 mail.0.y", "3 1 mail.0.z"]),
    "release_lock": lock.release(KEYS, "crm", lock.Holder(7, 1, IDS[0])),
    "note_wait": lock.note_wait(KEYS, "crm", lock.Holder(7, 1, IDS[0]), 2, waited_us=1),
    "awaited_lock": lock.awaited(KEYS, IDS[0]),
    "ended_runs": lock.ended_runs(LANE, [(job_id, 7) for job_id in IDS]),
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
    "recent": inspect.recent(LANE, limit=10, kinds="wred", part="a"),
    "register": journal.register(LANE, "g", most=9),
    "renew": lease.renew(LANE, [(job_id, 7) for job_id in IDS], lease_us=1),
    "replace": enqueue.replace(LANE, Entry(IDS[1], 2, "", f"u k\n{INDEXED}", b""), key="k", holder=IDS[0], ttl_ms=1),
    "replay": control.replay(LANE, IDS, by=None),
    "reschedule": control.reschedule(LANE, IDS, by=None),
    "resume": control.resume(LANE),
    "resume_group": limit.resume_group(LANE, "acme"),
    "repair": doctor.repair(LANE, [doctor.Broken("run", job_id) for job_id in IDS], ttl_ms=1),
    "runs": doctor.runs(LANE),
    "running": inspect.running(LANE),
    "set_aside": spoiled.set_aside(LANE, [(Spoiled(job_id.encode(), b"7", ""), b"") for job_id in IDS], ttl_ms=1),
    "survey": survey(LANE.tag, [Place(f"job:{job_id}", "string") for job_id in IDS]),
    "server": doctor.server(KEYS),
    "set_limit": limit.set_limit(LANE, "limit", "4 - - - -"),
    "settle": settle.settle(LANE, [settle.release(job_id, 7) for job_id in IDS]),
    "status": inspect.status(LANE, IDS),
    "steps": steps.steps(LANE, IDS[0]),
    "stop": control.stop(LANE, [(job_id, 7, 1, "raised") for job_id in IDS]),
    "sweep": ended.sweep(LANE, "tag:eu"),
    "endings": ended.endings(LANE, "keep:f"),
    "retire": ended.retire(LANE, "keep:f", [(job_id, 1) for job_id in IDS], before_us=1),
    "take": notify.take(KEYS.channel("ops"), lease_us=1, rules="r"),
    "topology": topology(KEYS),
    "tick": lease.tick(LANE),
    "trim": control.trim(LANE, done_before_ms=1, dead_before_ms=1, dead_max=1),
    "trim_journal": journal.trim_journal(LANE, longest_us=1, gone_ms=1),
    "unregister": journal.unregister(LANE, "g"),
    "waiting": inspect.waiting(LANE, 2),
}
LETTERED = {
    "cancel", "enqueue_plain", "follow", "log", "mend", "progress", "reschedule", "set_aside",
    "repair", "retire", "settle", "stop", "unblock",
}  # fmt: skip
"""Scripts whose replies end with a letter for each item."""
ARGUMENTS_AN_ITEM = {
    "acquire_lock": 1, "ended_runs": 2,
    "beat": 3, "block": 3, "bury": 2, "cancel": 1, "clean": 1, "declare": 1,
    "enqueue": 5, "enqueue_plain": 1, "gather": 6,
    "join": 1, "kept": 1,
    "lacking": 1, "repair": 3, "know": 2, "leave": 1, "ledger": 2, "limits": 1, "log": 5, "marks": 1, "mend": 3,
    "outcomes": 1, "progress": 4, "purge": 1, "put_back": 1, "renew": 2, "replay": 3, "reschedule": 1, "results": 1,
    "retire": 2,
    "set_aside": 5, "settle": 6, "status": 1, "stop": 4, "survey": 1, "unblock": 4, "unwatch": 2, "watch": 1,
}  # fmt: skip
SHARES_KEYS = {
    "acquire_lock", "awaited_lock", "note_wait", "release_lock",
    "attend", "attendants", "beat", "close_queue", "command", "consumers", "deliver", "deliveries", "dismiss", "enlist",
    "entries",
    "extend_flow", "fleet", "flow", "flows", "gather", "history", "hold_entry", "keep_flow", "kinds", "know", "leave",
    "ledger", "memory", "open_queue", "paused", "queues", "schedule", "server", "lacking", "take", "topology",
    "unschedule",
}  # fmt: skip
