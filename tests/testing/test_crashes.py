"""The explorer of crashes: it finds what happens twice, what is lost, and what a test asserts; and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from jobfleet import Job, JobContext, undo
from jobfleet.functions.registry import Registry
from jobfleet.testing import Jobs
from jobfleet.testing.crashes import Report, explore
from tests.support.server import RedisServer
from tests.testing.kit import Bank, fresh, paying


def explored(url: str, registry: Registry, test: Callable[[Jobs], None], *, seed: int = 0, most: int = 50) -> Report:
    return explore(test, lambda: fresh(url, registry), seed=seed, most=most)


@undo
def refund(amount: int) -> None:
    """Undo a step."""


def test_a_job_that_is_not_idempotent_is_found_at_the_points_where_it_shows(server: RedisServer) -> None:
    registry, bank = Registry(), Bank()
    paying(registry, bank)

    def test(jobs: Jobs) -> None:
        jobs.fleet.enqueue(Job("x", "shop.pay", (5,)))
        with jobs.watch(bank, "charge"):
            assert [job.result for job in jobs.drain()] == [5]

    report = explored(server.url, registry, test)

    assert report.findings == [
        "charge ran twice between attempt 1 and 2 after a kill at effect:charge",
        "charge ran twice between attempt 1 and 2 after a kill at step:charge",
    ]
    assert [str(point) for point in report.points] == [
        "a kill at after-claim", "a kill at before-step:charge", "a kill at effect:charge", "a kill at step:charge",
        "a kill at after-step:charge", "a kill at before-settle", "a kill at after-settle",
        "the lost reply to settle", "the lost reply to enqueue",
    ]  # fmt: skip
    assert str(report).startswith("2 of 9 kill points show that the test's jobs are not idempotent:\n  charge ran")
    assert "charge" not in vars(bank)


def test_calls_with_one_idempotency_key_count_once(server: RedisServer) -> None:
    registry, bank = Registry(), Bank()
    paying(registry, bank, with_key=True)

    def test(jobs: Jobs) -> None:
        jobs.fleet.enqueue(Job("x", "shop.pay", (5,)))
        with jobs.watch(bank, "charge", key="key"):
            jobs.drain()
        assert jobs.effects() == {"charge": 1}

    report = explored(server.url, registry, test, seed=3, most=4)

    assert report.is_idempotent
    assert (len(report.points), report.skipped) == (4, 5)
    assert explored(server.url, registry, test, seed=3, most=4).points == report.points


def test_a_job_that_notes_its_work_too_early_loses_it(server: RedisServer) -> None:
    registry, jobs_of_run = Registry(), list[Jobs]()

    async def mail(ctx: JobContext) -> None:
        if not await ctx.checkpoint("sent", default=False):
            await ctx.checkpoint("sent", True)
            jobs_of_run[-1].effect("mail")

    registry.register(mail, name="t.mail", queue="q")

    def test(jobs: Jobs) -> None:
        jobs_of_run.append(jobs)
        jobs.fleet.enqueue(Job("x", "t.mail"))
        jobs.drain()

    assert explored(server.url, registry, test).findings == ["mail never ran after a kill at after-checkpoint:sent"]


def test_what_a_step_stores_for_its_undo_is_no_point_of_its_own(server: RedisServer) -> None:
    registry = Registry()

    async def pay(ctx: JobContext) -> None:
        await ctx.step("charge", int, 5, undo=refund)

    registry.register(pay, name="shop.pay", queue="q")

    def test(jobs: Jobs) -> None:
        jobs.fleet.enqueue(Job("x", "shop.pay"))
        assert [job.status.value for job in jobs.drain()][:1] == ["completed"]

    report = explored(server.url, registry, test)

    assert report.findings == []
    assert not any("checkpoint" in point.name for point in report.points)


def test_the_assertions_of_the_test_are_a_part_of_the_verdict(server: RedisServer) -> None:
    registry = Registry()
    registry.register(lambda: None, name="t.once", queue="q")

    def test(jobs: Jobs) -> None:
        jobs.fleet.enqueue(Job("x", "t.once"))
        jobs.drain()
        assert jobs.kit.faults.passed.count("after-claim") == 1, "it was claimed twice"

    assert explored(server.url, registry, test).findings == [
        f"the test fails after a kill at {point}: AssertionError: it was claimed twice"
        for point in ("after-claim", "before-settle")
    ]


def test_a_test_that_fails_without_a_crash_fails_as_it_is(server: RedisServer) -> None:
    def test(jobs: Jobs) -> None:
        raise LookupError(jobs.fleet.config.namespace)

    with pytest.raises(LookupError, match="kit-"):
        explored(server.url, Registry(), test)
