"""What a Redis user writes without the keys is never a result, the end of a wait, or a job of another fleet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from jobfleet import Fleet, Flow, Job, JobContext, JobStatus
from jobfleet.codec import seal, seal_record
from jobfleet.codec.frames import HEADER_LIMITS, decode_header, encode_header, frame, split
from jobfleet.codec.seals import Sealer, joined
from jobfleet.errors import BadSignature, SignalTimeout
from jobfleet.functions.registry import Registry
from jobfleet.store.calls.ended import retire
from jobfleet.store.journal import Event
from jobfleet.store.journal import signed as signed_events
from jobfleet.store.keys import Lane
from tests.support.waiting import wait_until
from tests.trust.conftest import OLD, FleetWith, ring, spelled

KEYS = spelled(old=OLD)
Forge = Callable[[Fleet, Any], tuple[str, bytes]]
"""Makes the id of a job and the ending that somebody writes for it."""


@pytest.fixture
def intruder(raw: Any) -> Any:
    """Who may write to Redis and has no keys.

    Each write of these tests was possible for the user `producer` of revision f933da4f. Users with fewer rights are
    tried in tests/store/acl; here the keys alone have to hold, against a user of any role.
    """
    return raw


def lane_of(fleet: Fleet, job_id: str) -> Lane:
    return fleet.context.keys.lane_of(job_id)


def never_ran(fleet: Fleet) -> str:
    return fleet.enqueue(Job("add", "app.add", (1, 2), delay=3600))


def ran_once(fleet: Fleet, raw: Any, **options: Any) -> tuple[str, bytes, bytes]:
    """A job that has completed, its line and its record."""
    job_id = fleet.enqueue(Job("add", "app.add", (1, 2), **options))
    fleet.run_worker(burst=True)
    line, _, record = bytes(raw.get(lane_of(fleet, job_id).result(job_id)) or b"").partition(b"\n")
    return job_id, line, record


def failed_once(fleet: Fleet, raw: Any) -> tuple[str, bytes, bytes]:
    job_id = fleet.enqueue(Job("add", "app.add", ("a", 2), max_retries=0))
    fleet.run_worker(burst=True)
    line, _, record = bytes(raw.get(lane_of(fleet, job_id).result(job_id)) or b"").partition(b"\n")
    return job_id, line, record


def with_own_envelope(fleet: Fleet, raw: Any) -> tuple[str, bytes]:
    job_id = never_ran(fleet)
    return job_id, b"completed 1 7\n" + bytes(raw.get(lane_of(fleet, job_id).job(job_id)) or b"")


def with_another_token(fleet: Fleet, raw: Any) -> tuple[str, bytes]:
    job_id, line, record = ran_once(fleet, raw)
    status, at, _ = line.split()
    return job_id, b" ".join((status, at, b"7")) + b"\n" + record


def with_another_verb(fleet: Fleet, raw: Any) -> tuple[str, bytes]:
    job_id, line, record = failed_once(fleet, raw)
    return job_id, line.replace(b"failed", b"completed") + b"\n" + record


def with_the_proof_of_another_job(fleet: Fleet, raw: Any) -> tuple[str, bytes]:
    return never_ran(fleet), ran_once(fleet, raw, id="brief", result_ttl=0)[1] + b"\n"


FORGED: dict[str, Forge] = {
    "a line": lambda fleet, _: (never_ran(fleet), b"completed 1 7\n"),
    "a line with words": lambda fleet, _: (never_ran(fleet), b"completed 1 7 0 - - s:AAAA\n"),
    "the job's own envelope": with_own_envelope,
    "a plain record": lambda fleet, _: (
        never_ran(fleet),
        b"completed 1 7\n" + seal_record({"function": "app.add", "value": 666}),
    ),
    "a sealed record under another token": with_another_token,
    "a sealed failure that is called a success": with_another_verb,
    "a sealed record without its value": lambda fleet, raw: (
        (found := ran_once(fleet, raw))[0],
        found[1] + b"\n",
    ),
    "a sealed success that is called cancelled": lambda fleet, raw: (
        (found := ran_once(fleet, raw))[0],
        found[1].replace(b"completed", b"cancelled") + b"\n" + found[2],
    ),
    "the proof of another job": with_the_proof_of_another_job,
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED.keys())
def test_what_nobody_with_keys_has_signed_is_not_a_result(
    signed: Fleet, raw: Any, intruder: Any, ran: list[Any], forge: Forge
) -> None:
    job_id, ending = forge(signed, raw)
    intruder.set(lane_of(signed, job_id).result(job_id), ending)
    intruder.xadd(lane_of(signed, job_id).done, {"jobs": f"{job_id.split('.', 2)[2]} co 5"})

    with pytest.raises(BadSignature):
        signed.poll(job_id)
    with pytest.raises(BadSignature):
        signed.wait(job_id, timeout=5)
    child = signed.enqueue(Job("note", "app.note", ("child",), depends_on=[job_id]))
    signed.run_worker(burst=True)

    (row,) = signed.poll_many([job_id])
    assert row is not None
    assert (row.status, row.result, row.error_class) == (JobStatus.FAILED, None, "bad-signature")
    (seen,) = [row for row in signed.ended(limit=10) if row.id == job_id]
    assert (seen.status, seen.result, seen.error_class) == (JobStatus.FAILED, None, "bad-signature")
    assert ran == []
    assert child in {letter.id for letter in signed.dead() if letter.error_class == "bad-signature"} or (
        signed.poll(child).status is JobStatus.CANCELLED
    )


RELEASES: dict[str, Callable[[Any, Lane, str, str], object]] = {
    "a line in place of the edge": lambda client, lane, child, parent: client.hset(
        lane.parents(child), parent, "0 completed\ncompleted 1 7\n"
    ),
    "an edge that says cancelled": lambda client, lane, child, parent: client.hset(
        lane.parents(child), parent, "0 cancelled\ncancelled 1 0 0 - -\n"
    ),
    "an open edge": lambda client, lane, child, parent: None,
    "no edges": lambda client, lane, child, parent: client.delete(lane.parents(child)),
}


@pytest.mark.parametrize("release", RELEASES.values(), ids=RELEASES.keys())
def test_a_dependant_runs_only_after_a_signed_completion(
    signed: Fleet, intruder: Any, ran: list[Any], release: Callable[[Any, Lane, str, str], object]
) -> None:
    parent = never_ran(signed)
    child = signed.enqueue(Job("note", "app.note", ("child",), depends_on=[parent]))
    lane = lane_of(signed, child)
    release(intruder, lane, child, parent)
    # The user may not write this key; it may through a script, as EVAL is not bound to the scripts of the fleet.
    intruder.eval("return redis.call('ZADD', KEYS[1], 1, ARGV[1])", 1, lane.ready[2], child)
    intruder.eval("return redis.call('ZADD', KEYS[1], 0, 'w')", 1, lane.wake)

    signed.run_worker(burst=True)

    assert ran == []
    assert [(row.id, row.error_class) for row in signed.dead()] == [(child, "bad-signature")]


BRIEF = {
    "not kept": {"id": "b", "result_ttl": 0},
    "kept briefly": {"id": "b", "result_ttl": 60},
}


@pytest.mark.parametrize("options", BRIEF.values(), ids=BRIEF.keys())
def test_an_ending_without_its_value_is_proven_by_its_line(
    signed: Fleet, raw: Any, ran: list[Any], options: dict[str, Any]
) -> None:
    job_id, line, record = ran_once(signed, raw, **options)
    raw.delete(lane_of(signed, job_id).value(job_id))
    child = signed.enqueue(Job("note", "app.note", ("child",), depends_on=[job_id]))
    signed.run_worker(burst=True)

    assert (signed.poll(job_id).status, signed.poll(job_id).result, record) == (JobStatus.COMPLETED, None, b"")
    assert (signed.wait(job_id, timeout=5).status, signed.poll(child).status) == (JobStatus.COMPLETED,) * 2
    assert (ran, len(line.split())) == (["child"], 7)


def test_what_lua_writes_without_keys_denies_and_says_no_more(
    signed: Fleet, raw: Any, intruder: Any, ran: list[Any]
) -> None:
    jobs = [never_ran(signed) for _ in range(2)]
    forged = seal_record({"function": "app.add", "value": 666})
    for job_id, status in zip(jobs, (b"cancelled", b"expired"), strict=True):
        intruder.set(lane_of(signed, job_id).result(job_id), status + b" 1 0 0 - -\n")
    shown = [signed.poll(job_id) for job_id in jobs]
    children = [signed.enqueue(Job("note", "app.note", ("child",), depends_on=[job_id])) for job_id in jobs]
    signed.run_worker(burst=True)

    assert [(row.status, row.result) for row in shown] == [(JobStatus.CANCELLED, None), (JobStatus.EXPIRED, None)]
    assert [signed.poll(child).status for child in children] == [JobStatus.CANCELLED] * 2
    assert ran == []
    intruder.set(lane_of(signed, jobs[0]).result(jobs[0]), b"cancelled 1 0 0 - -\n" + forged)
    with pytest.raises(BadSignature):
        signed.poll(jobs[0])


@pytest.mark.parametrize("encrypt", ["off", "require"])
def test_nothing_of_one_fleet_is_taken_by_another_with_the_same_keys(
    fleet_with: FleetWith, raw: Any, ran: list[Any], encrypt: str
) -> None:
    settings = {"keyring": KEYS, "sign": "require", "encrypt": encrypt}
    staging = fleet_with(namespace="staging", **settings)
    live = fleet_with(**settings)
    done, done_line, done_record = ran_once(staging, raw, id="same")
    job_id = staging.enqueue(Job("note", "app.note", ("from staging",)))
    here, there = lane_of(staging, job_id), lane_of(live, job_id)
    live.enqueue(Job("note", "app.note", ("own",)))  # the lane is known
    raw.set(there.job(job_id), raw.get(here.job(job_id)) or b"")
    raw.zadd(there.ready[2], {job_id: 1})
    raw.set(lane_of(live, done).result(done), done_line + b"\n" + done_record)

    live.run_worker(burst=True)

    assert ran == ["own"]
    assert [(row.id, row.error_class) for row in live.dead()] == [(job_id, "bad-signature")]
    assert "staging" in (live.dead()[0].error or "")
    with pytest.raises(BadSignature, match="staging"):
        live.poll(done)


def test_values_are_bound_to_the_fleet_once_no_older_revision_reads_them(fleet_with: FleetWith, raw: Any) -> None:
    settings = {"keyring": KEYS, "sign": "require"}
    moved = {}
    for bound in ("off", "send", "require"):
        staging = fleet_with(namespace="staging", bind_namespace=bound, **settings)
        staging.cron.add("tick", "0 0 1 1 *", Job("tick", "app.note", ("staging",)), replace=True)
        moved[bound] = raw.hget(staging.context.keys.cron, "tick")
    seen = {}
    for bound in ("off", "send", "require"):
        live = fleet_with(bind_namespace=bound, **settings)
        for sent, record in moved.items():
            raw.hset(live.context.keys.cron, "tick", record)
            seen[sent, bound] = [entry.name for entry in live.cron()] == ["tick"]
    assert seen == {
        ("off", "off"): True, ("off", "send"): True, ("off", "require"): False,
        **{(sent, bound): False for sent in ("send", "require") for bound in ("off", "send", "require")},
    }  # fmt: skip


@pytest.fixture
def approvals(registry: Registry) -> list[str]:
    """What a job has done that waits for an objection."""
    done: list[str] = []

    async def pay(ctx: JobContext) -> None:
        try:
            done.append(f"objection: {await ctx.wait_for('objection', timeout='3d')}")
        except SignalTimeout:
            done.append("paid")

    async def sleep(ctx: JobContext) -> None:
        await ctx.sleep("3d")
        done.append("slept")

    registry.register(pay, name="app.pay")
    registry.register(sleep, name="app.sleep")
    return done


def wake(client: Any, fleet: Fleet, job_id: str) -> None:
    """Make a job due, as each user may that writes the lists of waiting jobs."""
    lane = lane_of(fleet, job_id)
    client.eval("return redis.call('ZADD', KEYS[1], 1, ARGV[1])", 1, lane.ready[2], job_id)
    client.eval("return redis.call('ZADD', KEYS[1], 0, 'w')", 1, lane.wake)


@pytest.mark.parametrize("function", ["app.pay", "app.sleep"])
@pytest.mark.parametrize("at", ["1", "0", "-5", "nan", "1 s:AAAA", ""])
def test_a_wait_ends_when_it_was_to_end(
    signed: Fleet, intruder: Any, raw: Any, approvals: list[str], function: str, at: str
) -> None:
    job_id = signed.enqueue(Job("wait", function))
    signed.run_worker(burst=True)
    steps = lane_of(signed, job_id).steps(job_id)
    kept = {name: value for name, value in raw.hgetall(steps).items() if name != b"@"}
    (wait,) = [name for name in kept if name.startswith(b"w:")]
    due = signed.poll(job_id).scheduled_at
    for name in kept:
        intruder.hset(steps, name, at)
    intruder.hset(steps, wait, at)
    wake(intruder, signed, job_id)

    signed.run_worker(burst=True)

    shown = signed.poll(job_id)
    assert (approvals, shown.status, signed.dead()) == ([], JobStatus.SCHEDULED, [])
    assert due is not None
    assert shown.scheduled_at is not None
    assert shown.scheduled_at >= due


def test_a_woken_wait_keeps_its_end(signed: Fleet, intruder: Any, approvals: list[str]) -> None:
    job_id = signed.enqueue(Job("wait", "app.pay"))
    signed.run_worker(burst=True)
    due = signed.poll(job_id).scheduled_at
    for _ in range(2):
        wake(intruder, signed, job_id)
        signed.run_worker(burst=True)
    assert (signed.poll(job_id).scheduled_at, approvals) == (due, [])
    assert signed.signal(job_id, "objection", "no")
    signed.run_worker(burst=True)
    assert (signed.poll(job_id).status, approvals) == (JobStatus.COMPLETED, ["objection: no"])


@pytest.mark.parametrize("value", ["", "yes", "\u00c1\x01\x01\x03oldxxx"])
def test_a_signal_that_nobody_with_keys_has_sent_is_ignored_and_reported(
    signed: Fleet, intruder: Any, approvals: list[str], value: str
) -> None:
    job_id = signed.enqueue(Job("wait", "app.pay"))
    signed.run_worker(burst=True)
    due = signed.poll(job_id).scheduled_at
    intruder.hset(lane_of(signed, job_id).steps(job_id), "x:objection", "1 nonce\n" + value)
    wake(intruder, signed, job_id)

    signed.run_worker(burst=True)

    assert (signed.poll(job_id).status, signed.poll(job_id).scheduled_at, approvals) == (JobStatus.SCHEDULED, due, [])
    assert [line.text for line in signed.logs(job_id) if "objection" in line.text]
    assert signed.signal(job_id, "objection", "mine")  # it does not take the place of a signal that can be opened
    signed.run_worker(burst=True)
    assert (signed.poll(job_id).status, approvals) == (JobStatus.COMPLETED, ["objection: mine"])


def test_doctor_warns_until_everything_names_its_fleet(fleet_with: FleetWith, raw: Any) -> None:
    def keys(fleet: Fleet) -> tuple[str, str]:
        (found,) = [one for one in fleet.doctor().findings if one.check == "keys"]
        return found.level, found.seen

    former = fleet_with(keyring=KEYS, sign="require")
    job_id = never_ran(former)
    place = lane_of(former, job_id).job(job_id)
    assert keys(former)[0] == "warning"
    assert "waiting job" not in keys(former)[1]
    raw.set(place, as_f933da4f_seals(job_id, seal({"function": "app.add"}, (1, 2), {})))
    assert "1 waiting job" in keys(former)[1]
    assert keys(fleet_with(keyring=KEYS, sign="require", bind_namespace="require"))[0] == "ok"
    assert keys(fleet_with())[0] == "ok"


@pytest.mark.parametrize(("bind", "status"), [("off", "completed"), ("send", "completed"), ("require", "failed")])
def test_what_revision_f933da4f_has_sealed_runs_until_the_setting_refuses_it(
    fleet_with: FleetWith, raw: Any, bind: str, status: str
) -> None:
    fleet = fleet_with(keyring=KEYS, sign="require", bind_namespace=bind)
    job_id = fleet.enqueue(Job("add", "app.add", (9, 9)))
    raw.set(lane_of(fleet, job_id).job(job_id), as_f933da4f_seals(job_id, seal({"function": "app.add"}, (1, 2), {})))
    fleet.run_worker(burst=True)
    result = fleet.poll(job_id)
    assert (result.status, result.result) == (status, 3 if status == "completed" else None)


def as_f933da4f_seals(job_id: str, plain: bytes, what: str = "envelope") -> bytes:
    """Sign a frame as that revision does: its header names the key alone."""
    sealer = Sealer(ring(old=OLD), sign="require")
    begin = split(plain, plain[1], what)
    header = decode_header(plain, begin, HEADER_LIMITS, what)
    head = frame(plain[1] + 1, encode_header({**header, "kid": "old"}, HEADER_LIMITS, what), b"")
    return head + sealer.protect(plain[begin:], joined(what, job_id, head))


def test_another_job_that_has_completed_is_not_taken_for_a_parent(
    signed: Fleet, raw: Any, intruder: Any, ran: list[Any]
) -> None:
    other, line, record = ran_once(signed, raw)
    parent = never_ran(signed)
    child = signed.enqueue(Job("note", "app.note", ("child",), depends_on=[parent]))
    lane = lane_of(signed, child)
    intruder.delete(lane.parents(child))
    intruder.hset(lane.parents(child), other, b"0 completed\n" + line + b"\n" + record)
    wake(intruder, signed, child)

    signed.run_worker(burst=True)

    assert (ran, [(row.id, row.error_class) for row in signed.dead()]) == ([], [(child, "bad-signature")])


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("options", [{}, {"result_ttl": 0, "id": "m"}], ids=["kept", "not kept"])
def test_a_parent_that_was_moved_is_known_by_its_first_id(
    signed: Fleet, ran: list[Any], times: int, options: dict[str, Any]
) -> None:
    parent = signed.enqueue(Job("add", "app.add", (1, 2), **options))
    signed.enqueue(Job("note", "app.note", ("child",), depends_on=[parent]))
    for queue in ("one", "two")[:times]:
        parent = signed.move(parent, queue)

    def is_over() -> bool:
        signed.run_worker(burst=True, queues=["one", "two", "default"], with_reaper=True)
        return bool(ran or signed.dead())

    wait_until(is_over, why="the child has run")
    assert (ran, signed.dead()) == (["child"], [])


def test_a_move_that_the_new_job_does_not_name_is_not_followed(signed: Fleet, raw: Any, intruder: Any) -> None:
    other, *_ = ran_once(signed, raw)
    flow = Flow("one")
    flow.add(Job("add", "app.add", (5, 5), delay=3600))
    info = signed.flows.enqueue(flow)
    (job,) = info.jobs
    intruder.set(lane_of(signed, job.id).result(job.id), f"cancelled 1 0 0 - - moved:{other}\n")

    (shown,) = signed.flows.get(info.id).jobs

    assert shown.result is not None
    assert (shown.id, shown.result.status, shown.result.result) == (job.id, JobStatus.CANCELLED, None)


def test_a_forged_completion_forbids_no_undo(signed: Fleet, registry: Registry, intruder: Any) -> None:
    undone: list[str] = []
    undo = registry.register(undone.append, name="app.undo")

    async def pay(ctx: JobContext) -> None:
        await ctx.step("pay", str, "card", undo=undo)
        raise ValueError

    registry.register(pay, name="app.saga")
    job_id = signed.enqueue(Job("pay", "app.saga", max_retries=0))
    signed.run_worker(burst=True)
    key = lane_of(signed, job_id).result(job_id)
    intruder.set(key, b"completed 1 7\n")

    def is_over() -> bool:
        signed.run_worker(burst=True, with_reaper=True)
        return bool(undone)

    wait_until(is_over, why="the step is undone")
    assert undone == ["card"]


def test_archive_and_notices_take_no_ending_that_is_not_signed(signed: Fleet, raw: Any) -> None:
    done, line, record = ran_once(signed, raw)
    token = int(line.split()[2])
    seals = signed.context.keys.seals
    forged = seal_record({"function": "app.add", "value": 666})

    def event(number: int, kind: str, token: int, record: bytes) -> Event:
        words = ("5",) if kind == "completed" else ("crashed", "5", "2")
        return Event(number, kind, done, token, 1, words, record=record)

    read = {
        name: [one.event for one in signed_events(seals, [event(1, kind, number, stored)])]
        for name, (kind, number, stored) in {
            "true": ("completed", token, record),
            "empty": ("completed", token, b""),
            "plain": ("completed", token, forged),
            "of another run": ("completed", 7, record),
            "a failure": ("failed", token, record),
        }.items()
    }

    assert read == {"true": ["completed"], "empty": [], "plain": [], "of another run": [], "a failure": []}


@pytest.mark.parametrize("forged", [False, True])
def test_a_parent_whose_large_result_has_expired_is_proven_by_what_the_relay_has_passed_on(
    signed: Fleet, raw: Any, intruder: Any, ran: list[Any], forged: bool
) -> None:
    large = signed.enqueue(Job("add", "app.add", ("x" * 40_000, "y" * 40_000)))
    late = signed.enqueue(Job("add", "app.add", (1, 2), delay=3600))
    child = signed.enqueue(Job("note", "app.note", ("child",), depends_on=[large, late]))
    parents = lane_of(signed, child).parents(child)

    def is_passed_on() -> bool:
        signed.run_worker(burst=True, with_reaper=True)
        return not bytes(raw.hget(parents, large)).startswith(b"?")

    wait_until(is_passed_on, why="the relay has passed it on")
    raw.delete(lane_of(signed, large).result(large), lane_of(signed, large).value(large))
    if forged:
        place, status, token, *_ = bytes(raw.hget(parents, large)).split()
        intruder.hset(parents, large, b" ".join((place, status, token)) + b"\n")
    signed.reschedule(late, delay=0)

    def is_over() -> bool:
        signed.run_worker(burst=True, with_reaper=True)
        return signed.poll(child).status.is_final

    wait_until(is_over, why="the child has ended")
    assert (ran, [row.error_class for row in signed.dead()]) == (([], ["bad-signature"]) if forged else (["child"], []))


def test_results_that_are_kept_by_number_leave_a_line_that_is_proven(
    signed: Fleet, registry: Registry, raw: Any
) -> None:
    counted = registry.register(str, name="app.counted", keep_last=1)
    ids = [signed.enqueue(Job("n", counted, (n,), id=f"n{n}")) for n in range(3)]
    signed.run_worker(burst=True)
    lane = lane_of(signed, ids[0])
    jobs = [(job_id, 3_600_000) for job_id in ids[:2]]
    assert [signed.poll(job_id).result for job_id in ids] == ["0", "1", "2"]

    assert signed.store.run(retire(lane, "keep:app.counted", jobs, before_us=2**52)) == "ll"

    assert [signed.poll(job_id).result for job_id in ids] == [None, None, "2"]
    assert {signed.wait(job_id, timeout=5).status for job_id in ids} == {JobStatus.COMPLETED}
