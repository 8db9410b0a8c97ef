"""Who may ask a fleet for what: the table of `jobfleet.model.audit`, tried as each user, and the attacks on it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis

from jobfleet import Fleet, InvalidJob, Job, JobContext, JobResult, JobStatus, undo
from jobfleet.codec import encode, seal
from jobfleet.fleet.default import set_default_fleet
from jobfleet.functions.callables import CLEANUP, UNDO
from jobfleet.functions.registry import Registry
from jobfleet.functions.steps import UNDOS
from jobfleet.model.audit import AUTHORITIES
from jobfleet.store.acl import roles
from jobfleet.store.keys import Keyspace
from tests.store.acl.conftest import ROLES, As
from tests.store.acl.test_denials import refusal
from tests.support.users import UrlOf

pytestmark = pytest.mark.filterwarnings(
    "ignore:No worker has published:UserWarning", "ignore:No live worker:UserWarning"
)
KEYS = Keyspace("jobfleet")
LANE = KEYS.lane("default", 0)
WRITES = {
    "job:<id>": f"SET {LANE.tag}job:a x",
    "steps:<id>": f"HSET {LANE.tag}steps:a u: x",
    "cron": f"HSET {KEYS.tag}cron a b",
    "commands": f"PUBLISH {KEYS.tag}commands x",
}
"""For each proof, a command that makes one up."""
RAN: list[Any] = []


@undo
def give_back(what: str) -> None:
    RAN.append(what)


def innocent(what: str) -> None:
    RAN.append(f"undeclared {what}")


@pytest.fixture(autouse=True)
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    RAN.clear()
    monkeypatch.setattr(subprocess, "run", lambda *args, **_: RAN.append(args))


@pytest.fixture
def registry() -> Registry:
    registry = Registry()
    registry.register(len, name=f"{__name__}.registered")
    return registry


@pytest.mark.parametrize("act", AUTHORITIES)
def test_only_the_users_of_the_table_can_write_what_a_worker_takes_for_a_proof(act: str, as_role: As) -> None:
    command = WRITES[AUTHORITIES[act].proof]

    allowed = {role for role in ROLES if "permission" not in refusal(as_role(role), command)}

    assert allowed == AUTHORITIES[act].users
    assert {role.name for role in roles()} == set(ROLES)


def forge(client: redis.Redis, suffix: str, function: str, args: tuple[Any, ...], **kwargs: Any) -> str:
    """Write a job as a producer may, whatever its client refuses."""
    job_id = f"default.0.{suffix}"
    client.set(f"{LANE.tag}job:{job_id}", seal({"function": function}, args, kwargs))
    client.zadd(f"{LANE.tag}ready:2", {job_id: 1})
    return job_id


def plant(client: redis.Redis, victim: str, function: str, args: list[Any], *, suffix: str = "evil") -> None:
    """Write steps that a job has never done, with the job `default.0.evil` to undo them."""
    rows = {"": "10", "u:": encode(suffix), "u:step": encode([1, "mark", function, args, {}])}
    client.hset(f"{LANE.tag}steps:{victim}", mapping=rows)  # type: ignore[arg-type]


@contextmanager
def by_default(fleet: Fleet) -> Iterator[None]:
    """A worker in this process cleans the default fleet."""
    before = set_default_fleet(fleet)
    try:
        yield
    finally:
        set_default_fleet(before)


def ended(url: str, registry: Registry, job_id: str) -> JobResult[Any]:
    """Run what is there; return how a job has ended, or is."""
    with Fleet(url, registry=registry) as fleet, by_default(fleet):
        fleet.run_worker(burst=True)
        return fleet.poll(job_id)


def dead_letter(fleet: Fleet, registry: Registry) -> str:
    registry.register(os.fspath, name="app.fail", max_retries=0)
    job_id = fleet.enqueue(Job("Fail", "app.fail", (1,)))
    fleet.run_worker(burst=True)
    assert fleet.poll(job_id).status is JobStatus.FAILED
    return job_id


def test_a_producer_cannot_write_steps_nor_enqueue_what_undoes_them(
    url_of: UrlOf, as_role: As, registry: Registry
) -> None:
    producer = as_role("producer")
    with Fleet(url_of("producer"), registry=registry) as fleet:
        victim = fleet.enqueue(Job("victim", f"{__name__}.registered", ([],)))
        with pytest.raises(InvalidJob, match="is enqueued by a run whose steps have undo="):
            fleet.enqueue(Job("undo", UNDO, (victim,)))
        assert ended(url_of("worker"), registry, victim).status is JobStatus.COMPLETED

    with pytest.raises(redis.exceptions.NoPermissionError):
        plant(producer, victim, "subprocess.run", [["true"]])
    job_id = forge(producer, "evil", UNDO, (victim,))

    assert ended(url_of("worker"), registry, job_id).status is JobStatus.COMPLETED, "of a job that has completed"
    assert RAN == []


def test_not_even_steps_name_a_function_that_no_import_has_declared(
    url_of: UrlOf, admin: redis.Redis, registry: Registry
) -> None:
    import jobfleet.maintenance  # as a worker that was given it

    assert jobfleet.maintenance.cleanup.name == CLEANUP
    evil: dict[str, str] = {}
    for function in (
        "subprocess.run", f"{__name__}.subprocess.run", f"{__name__}.innocent", f"{__name__}.os", CLEANUP,
        "jobfleet.fleet.default.enqueue", "os.system", "builtins.eval", UNDO,
    ):  # fmt: skip
        suffix = f"evil{len(evil)}"
        plant(admin, f"default.0.of-{suffix}", function, [["true"]], suffix=suffix)
        evil[function] = forge(admin, suffix, UNDO, (f"default.0.of-{suffix}",))

    ended(url_of("worker"), registry, next(iter(evil.values())))

    with Fleet(url_of("worker"), registry=registry) as fleet:
        found = {function: fleet.poll(job_id).status for function, job_id in evil.items()}
    assert found == dict.fromkeys(evil, JobStatus.SCHEDULED), "each waits for a worker that has the function"
    assert RAN == []


@pytest.mark.parametrize("name", [f"{__name__}.give_back", f"{__name__}.registered"])
def test_steps_name_a_declared_function(name: str, url_of: UrlOf, admin: redis.Redis, registry: Registry) -> None:
    assert f"{__name__}.give_back" in UNDOS
    plant(admin, "default.0.victim", name, ["thing"])

    result = ended(url_of("worker"), registry, forge(admin, "evil", UNDO, ("default.0.victim",)))

    assert (result.status, result.result) == (JobStatus.COMPLETED, ["step"])
    assert (["thing"] if name.endswith("give_back") else []) == RAN


@pytest.mark.parametrize("suffix", ["other", "evil.2"])
def test_steps_are_undone_only_by_the_job_that_their_run_has_stored(
    suffix: str, url_of: UrlOf, admin: redis.Redis, registry: Registry
) -> None:
    plant(admin, "default.0.victim", f"{__name__}.give_back", ["thing"])

    result = ended(url_of("worker"), registry, forge(admin, suffix, UNDO, ("default.0.victim",)))

    assert (result.status, result.error_class, RAN) == (JobStatus.FAILED, "InvalidJob", [])
    assert "default.0.victim has no steps that" in str(result.error)


def test_a_producer_cannot_delete_dead_letters_with_a_job(
    url_of: UrlOf, as_role: As, registry: Registry, admin: redis.Redis
) -> None:
    with Fleet(url_of("operator"), registry=registry) as fleet:
        with Fleet(url_of("host"), registry=registry) as host:
            letter = dead_letter(host, registry)
        fleet.cron.add("nightly", "0 2 * * *", Job("Nightly", CLEANUP, kwargs={"days": 0}))
        (entry,) = fleet.cron()
        planned = entry.next.at.strftime("%Y%m%dT%H%M%SZ") if entry.next else ""
    with Fleet(url_of("producer"), registry=registry) as fleet:
        for kwargs in ({}, {"days": 0}):
            with pytest.raises(InvalidJob, match="runs only as a recurring job"):
                fleet.enqueue(Job("Cleanup", CLEANUP, kwargs=kwargs))
        with pytest.raises(Exception, match="permission"):
            fleet.enqueue(Job("Cleanup", CLEANUP, kwargs={"days": 0}, cron_expression="* * * * * *"))
    producer = as_role("producer")
    forged = [
        forge(producer, "a", CLEANUP, (), days=0.0001),
        forge(producer, "b", CLEANUP, (0,), failed_days=0),
        forge(producer, f"cron:nightly:{planned}", CLEANUP, (0, 0)),
        forge(producer, "same", CLEANUP, (), days=0),  # the call of the recurring job
    ]

    results = [ended(url_of("host"), registry, job_id) for job_id in forged]

    assert [result.status for result in results] == [*[JobStatus.FAILED] * 3, JobStatus.COMPLETED]
    assert results[-1].result == {"dead_letters": 0, "archived": 0}, "ages are at least those of the settings"
    with Fleet(url_of("operator"), registry=registry) as fleet:
        assert letter in {one.id for one in fleet.dead()}
        audited = fleet.audit(action="fleet.clean").entries
    assert [(entry.by, entry.outcome, dict(entry.after)) for entry in audited] == [
        ("cron nightly", "unchanged", {"days": 0, "failed_days": 0})
    ]


def test_a_producer_cannot_send_a_signal_and_an_approver_can(
    url_of: UrlOf, registry: Registry, admin: redis.Redis
) -> None:
    async def wait(ctx: JobContext) -> object:
        return await ctx.wait_for("approved")

    registry.register(wait, name="app.wait")
    with Fleet(url_of("producer"), registry=registry) as fleet:
        job_id = fleet.enqueue(Job("wait", "app.wait"))
        with pytest.raises(Exception, match="permission"):
            fleet.signal(job_id, "approved", "by the producer")
        with Fleet(url_of("approver"), registry=registry) as approver:
            assert approver.signal(job_id, "approved", "by the approver")
        result = ended(url_of("worker"), registry, job_id)
        assert (result.status, result.result) == (JobStatus.COMPLETED, "by the approver")
        assert fleet.poll(job_id).result == "by the approver"
