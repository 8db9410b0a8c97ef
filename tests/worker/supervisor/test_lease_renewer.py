"""Leases and the timeout of renewals follow the time that Redis takes for a reply."""

from __future__ import annotations

from jobfleet.worker.supervisor.lease_renewer import QUICK, Pace


def seen(pace: Pace) -> tuple[float, float]:
    return (pace.lease, pace.timeout)


def test_slow_replies_lengthen_the_lease_until_replies_are_quick_again() -> None:
    pace = Pace(6.0, 1.0)
    pace.answered(0.4)
    states = [seen(pace)]
    for seconds in (0.7, 1.5, *[0.1] * (QUICK - 1), 1.5, *[0.1] * QUICK):
        pace.answered(seconds)
    states.append(seen(pace))
    for _ in range(QUICK):
        pace.answered(0.1)

    assert [*states, seen(pace)] == [(6.0, 1.0), (12.0, 2.0), (6.0, 1.0)]


def test_silence_lengthens_the_timeout_alone_and_a_quick_reply_ends_that() -> None:
    pace = Pace(6.0, 1.0)
    states = []
    for _ in range(5):
        pace.missed()
        states.append(seen(pace))
    pace.answered(0.1)

    assert [*states, seen(pace)] == [(6.0, 2.0), (6.0, 4.0), (6.0, 8.0), (6.0, 8.0), (6.0, 8.0), (6.0, 1.0)]


def test_a_slow_reply_after_silence_keeps_the_timeout_and_lengthens_the_lease() -> None:
    pace = Pace(6.0, 1.0)
    pace.missed()
    pace.missed()
    pace.answered(1.4)

    assert seen(pace) == (12.0, 4.0)
