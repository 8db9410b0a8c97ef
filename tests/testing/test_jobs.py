"""The fixture `jobs`: in a pytest run of its own, as users have it, and the object that it hands out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobfleet import Fleet, InvalidJob, Job, JobContext, JobStatus, Priority
from jobfleet.fleet import default
from jobfleet.functions.registry import Registry
from jobfleet.testing import Jobs

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "test-your-jobs.md"
USERS_MODULE = """
from jobfleet import JobContext, job


@job(name="post.send", queue="post")
def send(ctx: JobContext, to: str, lines: int = 3) -> int:
    return lines


def signup(address: str) -> None:
    send.enqueue(address)


async def later(address: str) -> None:
    await send.aenqueue(address)
"""
USERS_TESTS = """
import asyncio

from shop import later, send, signup


def test_signup(jobs):
    signup("a@b.c")

    jobs.assert_enqueued(send, "a@b.c")
    (sent,) = jobs.drain()
    assert sent.result == 3


def test_each_test_begins_with_nothing(jobs):
    jobs.assert_not_enqueued(send)
    assert jobs.drain() == []


def test_what_is_awaited_is_seen(jobs):
    asyncio.run(later("a@b.c"))

    jobs.assert_enqueued(send, "a@b.c", lines=3)
    assert len(jobs.drain()) == 1
"""


# Python 3.11 fails at times when two threads parse modules, as pytest does to rewrite assertions.
USERS_TESTS += """

def test_pytest_leaves_the_modules_of_jobfleet_as_they_are():
    import jobfleet.model.flow
    assert "rewrite" not in type(jobfleet.model.flow.__loader__).__module__
"""


def page_example() -> str:
    """The test that the page shows."""
    (found,) = re.findall(r"^```python\n(# test_signup\.py\n.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return str(found)


def test_users_tests_and_the_pages_run_as_they_stand(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(USERS_MODULE)
    (tmp_path / "test_shop.py").write_text(USERS_TESTS)
    (tmp_path / "test_signup.py").write_text(page_example())
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("JOBFLEET_URL", "PYTEST_"))}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]

    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 passed" in done.stdout


def test_the_plugin_loads_nothing_of_redis_until_a_test_asks() -> None:
    code = "import sys, jobfleet.testing.plugin; sys.exit(bool({'redis', 'jobfleet.client'} & sys.modules.keys()))"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture
def registry() -> Registry:
    registry = Registry()

    def send(ctx: JobContext, to: str, lines: int = 3) -> str:
        if to == "nobody":
            raise ValueError("nobody there")
        return f"{to} {lines}"

    registry.register(send, name="mail.send", queue="mail")
    return registry


@pytest.fixture
def seen(redis_url: str, registry: Registry) -> Iterator[Jobs]:
    with Fleet(redis_url, registry=registry) as fleet, Jobs(fleet).in_place() as jobs:
        yield jobs


def put(to: str, **options: object) -> str:
    return default.enqueue(Job("Send", "mail.send", (to,), **options))  # type: ignore[arg-type]


def test_it_does_not_matter_how_an_argument_was_given(seen: Jobs) -> None:
    put("ann")

    job = seen.assert_enqueued("mail.send", "ann")

    assert seen.assert_enqueued("mail.send", to="ann", lines=3) is job
    assert seen.enqueued == [job]


def test_what_was_not_enqueued_is_told_beside_what_was(seen: Jobs) -> None:
    with pytest.raises(AssertionError, match=r"^mail\.send\('ann'\) was not enqueued; nothing was\.$"):
        seen.assert_enqueued("mail.send", "ann")
    put("bob")

    with pytest.raises(
        AssertionError, match=r"^mail\.send\('ann', lines=1\) was not enqueued; these were: mail\.send\("
    ):
        seen.assert_enqueued("mail.send", "ann", lines=1)
    with pytest.raises(AssertionError, match=r"^mail\.send was enqueued; these were: mail\.send\('bob'\)\.$"):
        seen.assert_not_enqueued("mail.send")


def test_the_closest_jobs_come_with_the_fields_that_differ(seen: Jobs, registry: Registry) -> None:
    send = registry.functions["mail.send"]
    put("ann")
    put("bob", queue="slow", priority=Priority.HIGH)
    registry.register(lambda to: to, name="mail.other", queue="mail")
    default.enqueue(Job("Other", "mail.other", ("ann",)))

    with pytest.raises(AssertionError) as raised:
        seen.assert_enqueued(send.options(queue="slow", priority=Priority.CRITICAL), "bob", lines=4)

    assert seen.assert_enqueued(send.options(queue="slow", priority=Priority.HIGH), "bob").queue == "slow"
    first, second, third = str(raised.value).partition("The closest:\n")[2].splitlines()
    assert first == (
        "  mail.send('bob') differs in lines: 3, not 4; priority: <Priority.HIGH: 2>, not <Priority.CRITICAL: 3>"
    )
    assert second == (
        "  mail.send('ann') differs in to: 'ann', not 'bob'; lines: 3, not 4; queue: None, not 'slow'; "
        "priority: None, not <Priority.CRITICAL: 3>"
    )
    assert third.startswith("  mail.other('ann') differs in function: mail.other, not mail.send; ")


def test_a_context_has_the_job_of_a_call(seen: Jobs, registry: Registry) -> None:
    ctx = seen.context(registry.functions["mail.send"], "ann", attempt=2, user="bob")

    assert (ctx.job.function, ctx.job.args, ctx.attempt, ctx.fence, ctx.user) == ("mail.send", ("ann",), 2, 1, "bob")
    assert ctx.job_id.startswith("mail.0.")


def test_a_key_that_the_watched_function_does_not_have_is_refused(seen: Jobs) -> None:
    with pytest.raises(InvalidJob, match="key is 'typo', which is not a parameter of") as caught:
        seen.watch(seen, "effect", key="typo").__enter__()
    assert caught.value.field == "key"


def test_arguments_that_do_not_fit_are_compared_as_they_are(seen: Jobs) -> None:
    default.enqueue(Job("Send", "mail.send", ("ann", 1, 2, 3)))

    seen.assert_enqueued("mail.send", "ann", 1, 2, 3)


def test_a_drain_runs_what_is_due_and_answers_how_it_ended(seen: Jobs) -> None:
    put("ann")
    put("nobody")
    late = put("bob", delay=60)

    ended = seen.drain()

    assert [(job.status, job.result) for job in ended] == [(JobStatus.COMPLETED, "ann 3"), (JobStatus.FAILED, None)]
    assert seen.fleet.poll(late).status is JobStatus.SCHEDULED


def test_a_drain_runs_jobs_in_queues_that_jobs_create(seen: Jobs, registry: Registry) -> None:
    def hand_on(queues: list[str]) -> str:
        if queues:
            default.enqueue(Job("Next", "mail.hand_on", (queues[1:],), queue=queues[0]))
        return f"{len(queues)} left"

    registry.register(hand_on, name="mail.hand_on", queue="mail")
    default.enqueue(Job("First", "mail.hand_on", (["second", "mail", "third"],)))

    assert [job.result for job in seen.drain()] == ["3 left", "2 left", "1 left", "0 left"]
    assert seen.drain()[-1].queue == "third"


def test_the_default_fleet_and_its_registry_are_as_before(redis_url: str, registry: Registry) -> None:
    with Fleet(redis_url) as mine, Fleet(redis_url, registry=registry) as fleet:
        before = default.set_default_fleet(mine)
        with Jobs(fleet).in_place():
            assert default.default_fleet() is fleet
        assert default.set_default_fleet(before) is mine

    assert registry.around_enqueue == []


def test_a_durable_job_is_fast_in_memory() -> None:
    registry = Registry()
    registry.register(lambda: None, name="app.f", durability="fsync")
    with Fleet("memory://durable", registry=registry, durability="replicated") as fleet, Jobs(fleet).in_place() as jobs:
        assert fleet.submit(Job("x", "app.f")).durability == "fast"
        assert fleet.submit(Job("x", "app.f", durability="replicated")).durability == "fast"
        assert [one.durability for one in fleet.enqueue_many([Job("x", "app.f")])] == ["fast"]

        assert [row.status for row in jobs.drain()] == [JobStatus.COMPLETED] * 3


def test_explain_names_the_limit_that_a_job_waits_for(redis_url: str, registry: Registry) -> None:
    def add(one: int, other: int) -> int:
        return one + other

    registry.register(add, name="t.limited", queue="q", limits=["few"])
    with Fleet(redis_url, registry=registry) as fleet, Jobs(fleet).in_place() as jobs:
        jobs.fleet.limits.named("few", rate="1/h")
        _, second = (jobs.fleet.enqueue(Job("add", "t.limited", (1, number), queue="q")) for number in range(2))
        jobs.drain()

        codes = [reason.code for reason in jobs.fleet.explain(second).reasons]

    assert codes == ["unserved", "limit-rate"]
