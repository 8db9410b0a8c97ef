"""A sample of each script's call, and what the contract tests have to know of its arguments."""

from __future__ import annotations

from typing import Any

from jobfleet.events import Command
from jobfleet.model.gates import Demand
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
    queues,
    samples,
    settle,
    spoiled,
    steps,
)
from jobfleet.store.calls.dead import filing, groups, rescues
from jobfleet.store.calls.doctor import topology
from jobfleet.store.calls.flows import batches
from jobfleet.store.calls.gate import passing, state
from jobfleet.store.damage import Damage, Place
from jobfleet.store.records import Entry
from jobfleet.store.round_trip.mending import mend, survey
from jobfleet.store.rows import Spoiled
from tests.lua.world import KEYS, LANE

IDS = ["mail.0.a", "mail.0.b"]
INDEXED = index.marked("", IDS)
JOBS = [rescues.Planned(job_id, "1-0") for job_id in IDS]

DEMANDS = [Demand(name) for name in IDS]

SAMPLES: dict[str, Call[Any]] = {
    "define_limit": state.define_limit(KEYS, "limit:x", most=1),
    "gates": state.gates(KEYS, IDS),
    "leave_gates": passing.leave_gates(KEYS, "c", [passing.Leaving("1 0 a", (one,), "ok", "", 0) for one in DEMANDS]),
    "pass_gates": passing.pass_gates(KEYS, "c", [passing.Passing("mail.0.a", 1, (one,)) for one in DEMANDS]),
    "shut_gate": state.shut_gate(KEYS, "limit:x", 1, by="ann"),
    "attend": presence.attend(KEYS, "w", "worker", gone_us=1),
    "attendants": presence.attendants(KEYS),
    "beat": presence.beat(
        KEYS, "w", account=b"", gone_us=1_000_000, serves=["mail", "bulk"], functions={"f": b"", "g": b""}
    ),
    "block": flow.block(LANE, Entry("mail.0.k", 2, "", INDEXED, b""), [flow.Edge(i, 0, "c") for i in IDS], ttl_ms=1000),
    "block_many": batches.block_many(
        LANE,
        [batches.Blocked(Entry(i, 2, "", "", b""), [flow.Edge("mail.0.p", 0, "c")], ["mail.0.k"], True) for i in IDS],
        ttl_ms=1000,
    ),
    "pending_ends": batches.pending_ends(LANE),
    "unwatch_many": batches.unwatch_many(
        LANE, [batches.Notified("1-1", job_id, 1, [("mail.0.k", flow.NOTIFIED)]) for job_id in IDS]
    ),
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
    "keep_parents": flow.keep_parents(LANE, IDS, ttl_ms=1),
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
    "count_letters": filing.count_letters(LANE, IDS),
    "file_letters": filing.file_letters(LANE, "0-0", "1-0", [filing.Filing(job_id, "1-0", ["f:x"]) for job_id in IDS]),
    "find_letters": filing.find_letters(LANE, "f:x"),
    "group_marks": groups.group_marks(KEYS, since_us=1),
    "groups": groups.groups(KEYS),
    "mark_group": groups.mark_group(KEYS, "f", "resolved", by=None),
    "note_groups": groups.note_groups(KEYS, [groups.GroupSeen(one, 1, 1, "f", "1", "E", "e", one) for one in IDS]),
    "unfiled": filing.unfiled(LANE),
    "drop_letters": rescues.drop_letters(LANE, IDS),
    "keep_letters": rescues.keep_letters(LANE, JOBS),
    "note_rescue": rescues.note_rescue(KEYS, "r", [(job, "s") for job in JOBS]),
    "oldest_letters": rescues.oldest_letters(LANE, "f:x", after="0-0", upto_ms=1, limit=1),
    "open_rescue": rescues.open_rescue(
        KEYS, "r", fingerprint="f", by=None, every_us=1, canary=[1, 10], stop_after=1, total=1
    ),
    "plan_rescue": rescues.plan_rescue(KEYS, "r", JOBS, step=0, stage=1, cursor="", last=1, is_read=False),
    "rescue": rescues.rescue(KEYS, "r"),
    "rescues": rescues.rescues(KEYS),
    "undo_replay": rescues.undo_replay(LANE, IDS, ttl_ms=1),
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
    "unpark": limit.unpark(LANE, "acme", IDS[0]),
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
    "level": enqueue.level(LANE),
    "mark": enqueue.mark(LANE),
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
    "chunks": log.chunks(LANE, IDS[0]),
    "emit_chunks": log.emit_chunks(
        LANE, [log.Emission(job_id, 7, 1, 1, [b"x"]) for job_id in IDS], most=9, most_bytes=9
    ),
    "leave": presence.leave(KEYS, "w", IDS),
    "report_runs": presence.report_runs(KEYS, "w", b""),
    "run_reports": samples.run_reports(KEYS, since_us=1),
    "hold_samples": samples.hold_samples(KEYS, "r", lease_us=1),
    "write_samples": samples.write_samples(KEYS, "r", "10s:1", [(name, b"") for name in "fg"], ttl_ms=1),
    "commit_samples": samples.commit_samples(
        KEYS,
        "r",
        samples.Commit(1, 0, None, ("10s:1", b"m", 1), ("1m:1", b"m", 1), ["1", "2"], {"f": b"", "g": b""}),
    ),
    "sampled": samples.sampled(KEYS, "counters"),
    "samples": samples.samples(KEYS),
    "points": samples.points(KEYS, "10s:1", ["f", "g"]),
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
    "progress": log.progress(LANE, [log.Report(job_id, 7, 1, b"") for job_id in IDS], ttl_ms=1),
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
    "sequences": limit.sequences(LANE, "acme"),
    "server": doctor.server(KEYS),
    "set_limit": limit.set_limit(LANE, "limit", "4 - - - -"),
    "signal": steps.signal(LANE, IDS[0], "approved", b"", by=None, nonce="n", ttl_ms=1),
    "drop_steps": steps.drop_steps(LANE, IDS[0], IDS),
    "settle": settle.settle(LANE, [settle.release(job_id, 7) for job_id in IDS]),
    "status": inspect.status(LANE, IDS),
    "steps": steps.steps(LANE, IDS[0]),
    "keep_stacks": presence.keep_stacks(KEYS, "0af", b"answer"),
    "stacks": presence.stacks(KEYS, "0af"),
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
    "read_audit": journal.read_audit(KEYS),
    "write_audit": journal.write_audit(KEYS, "a", "{}", b"", most=9),
}
LETTERED = {
    "block_many", "cancel", "emit_chunks", "enqueue_plain", "follow", "log", "mend", "progress", "reschedule",
    "set_aside", "note_groups", "repair", "retire", "settle", "stop", "unblock", "undo_replay",
}  # fmt: skip
"""Scripts whose replies end with a letter for each item."""
ARGUMENTS_AN_ITEM = {
    "acquire_lock": 1, "ended_runs": 2,
    "beat": 3, "block": 3, "block_many": 11, "bury": 2, "cancel": 1, "clean": 1, "commit_samples": 3, "declare": 1,
    "count_letters": 1, "file_letters": 2, "keep_letters": 2, "note_rescue": 2, "plan_rescue": 1, "undo_replay": 1,
    "drop_steps": 1,
    "note_groups": 8,
    "emit_chunks": 6, "enqueue": 5, "enqueue_plain": 1, "gather": 6, "gates": 1, "leave_gates": 9, "pass_gates": 7,
    "join": 1, "kept": 1,
    "lacking": 1, "repair": 3, "know": 2, "leave": 1, "ledger": 2, "limits": 1, "log": 5, "marks": 1, "mend": 3,
    "outcomes": 1, "points": 1, "progress": 4, "purge": 1, "put_back": 1, "renew": 2, "replay": 3, "reschedule": 1,
    "results": 1,
    "retire": 2,
    "set_aside": 5, "settle": 6, "status": 1, "stop": 4, "survey": 1, "unblock": 4, "unwatch": 2,
    "unwatch_many": 3, "watch": 1, "write_samples": 2,
}  # fmt: skip
SHARES_KEYS = {
    "acquire_lock", "awaited_lock", "note_wait", "release_lock",
    "define_limit", "gates", "leave_gates", "pass_gates", "shut_gate",
    "attend", "attendants", "beat", "close_queue", "command", "consumers", "deliver", "deliveries", "dismiss", "enlist",
    "entries",
    "note_rescue", "open_rescue", "plan_rescue", "rescue", "rescues",
    "group_marks", "groups", "mark_group", "note_groups",
    "extend_flow", "fleet", "flow", "flows", "gather", "history", "hold_entry", "keep_flow", "kinds", "know", "leave",
    "ledger", "memory", "open_queue", "paused", "queues", "schedule", "server", "lacking", "take", "topology",
    "unschedule", "commit_samples", "hold_samples", "points", "report_runs", "run_reports", "sampled", "samples",
    "write_samples", "read_audit", "write_audit", "stacks", "keep_stacks",
}  # fmt: skip
