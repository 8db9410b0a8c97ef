"""How many jobs have ended in the last hour, from samples."""

from __future__ import annotations

import redis

from jobfleet import Fleet
from jobfleet.operations.doctor.snapshot import ended_in_hour
from jobfleet.operations.operation import drive_blocking
from jobfleet.samples import COMPLETED, FAILED, FINE, SECOND_US, STARTED, TOTAL
from tests.support.sampled import store_samples
from tests.support.state import server_now


def test_the_samples_of_the_last_hour_are_added_up(fleet: Fleet, raw: redis.Redis) -> None:
    for ago in (3700, 3500, 700, 30, 10):
        store_samples(raw, fleet, {TOTAL: {COMPLETED: 100, FAILED: 7, STARTED: 999}}, ago=ago)
    now = server_now(raw)
    last = FINE.step_at(now) - 1

    assert drive_blocking(fleet.store, ended_in_hour(fleet.context, last, now)) == 4 * 107


def test_old_samples_tell_nothing(fleet: Fleet, raw: redis.Redis) -> None:
    now = server_now(raw)
    old = FINE.step_at(now - 120 * SECOND_US)

    assert drive_blocking(fleet.store, ended_in_hour(fleet.context, old, now)) is None
    assert drive_blocking(fleet.store, ended_in_hour(fleet.context, None, now)) is None
