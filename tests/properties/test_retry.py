"""The decision after a run, for any outcome, policy and past."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from jobfleet import Discard, RetryAfter, Snooze
from jobfleet.model.life import CHARACTERS, LIFE_LINES
from jobfleet.outcome import (
    Broken,
    Cancelled,
    Crashed,
    Interrupted,
    LeaseLost,
    Outcome,
    Overdue,
    Preempted,
    Raised,
    Succeeded,
    TimedOut,
    Unrunnable,
    Witnessed,
)
from jobfleet.retry.decision import (
    PARK_DELAY_US,
    PARK_FIRST_US,
    Complete,
    Drop,
    Expire,
    Fail,
    Park,
    Policy,
    Release,
    Retry,
    backoff_us,
    decide,
)
from jobfleet.retry.tries import FRESH, NO_SUSPICION, Tries

S = 1_000_000
counts = st.integers(0, 12)
moments = st.integers(0, 4_000_000_000 * S)
delays = st.floats(0, 1e9, allow_nan=False)
lines = st.text(st.characters(exclude_characters="\n"), min_size=1, max_size=40)
policies = st.builds(
    Policy,
    max_retries=counts,
    retry_delay=st.floats(0, 1e6),
    retry_backoff=st.floats(1, 100),
    retry_delay_max=st.floats(0, 1e6),
    retry_jitter=st.booleans(),
    max_crashes=counts,
    unknown_grace=st.floats(0, 1e6),
)
pasts = st.builds(
    Tries,
    failures=counts,
    crashes=counts,
    preemptions=counts,
    parked_since=st.just(0) | moments,
    deaths=counts,
    suspects=counts,
    history=st.lists(lines, max_size=LIFE_LINES).map(tuple),
)
errors: st.SearchStrategy[BaseException] = st.one_of(
    st.builds(ConnectionError, st.text()),
    st.builds(ValueError, st.text()),
    st.builds(Discard, st.text()),
    st.builds(Snooze, delays),
    st.builds(RetryAfter, delays),
)
crashes = st.builds(Crashed, st.text())
witnessed = st.builds(Witnessed, st.text(), st.integers(1, 10_000))
outcomes: st.SearchStrategy[Outcome] = st.one_of(
    st.builds(Succeeded, st.integers()),
    st.builds(Raised, errors),
    st.builds(TimedOut, st.floats(0, 1e6)),
    st.builds(Cancelled, st.text()),
    st.builds(Unrunnable, st.text()),
    st.builds(Broken, st.text()),
    crashes,
    witnessed,
    st.sampled_from([LeaseLost(), Interrupted(), Overdue(), Preempted()]),
)


def spent(tries: Tries) -> tuple[int, int, int]:
    return tries.failures, tries.crashes, tries.preemptions


@given(policies, st.integers(0, 5_000), st.floats(0.5, 1.0))
def test_a_delay_is_half_to_all_of_the_growing_delay_and_never_above_the_cap(
    policy: Policy, repeated: int, chance: float
) -> None:
    whole = backoff_us(replace(policy, retry_jitter=False), repeated)
    delay = backoff_us(policy, repeated, uniform=lambda low, high: low + (high - low) * (chance - 0.5) * 2)

    assert 0 <= whole <= round(policy.retry_delay_max * S)
    assert whole / 2 - 1 <= delay <= whole if policy.retry_jitter else delay == whole


@given(policies, st.integers(0, 100))
def test_a_delay_never_shrinks_from_one_repetition_to_the_next(policy: Policy, repeated: int) -> None:
    calm = replace(policy, retry_jitter=False)

    assert backoff_us(calm, repeated) <= backoff_us(calm, repeated + 1)


@given(policies, st.integers(0, 100))
def test_the_real_dice_stay_within_the_bounds(policy: Policy, repeated: int) -> None:
    whole = backoff_us(replace(policy, retry_jitter=False), repeated)

    assert 0 <= backoff_us(policy, repeated) <= whole


@given(outcomes, policies, pasts, moments)
def test_a_decision_is_one_of_seven_and_never_waits_a_negative_time(
    outcome: Outcome, policy: Policy, tries: Tries, now_us: int
) -> None:
    decision = decide(outcome, policy, tries, now_us)

    match decision:
        case Retry(delay) | Park(delay) | Release(delay):
            assert isinstance(delay, int)
            assert delay >= 0
        case Complete() | Fail() | Expire() | Drop():
            pass


@given(outcomes, policies, pasts, moments)
def test_a_decision_spends_one_of_one_budget_at_most(
    outcome: Outcome, policy: Policy, tries: Tries, now_us: int
) -> None:
    after = getattr(decide(outcome, policy, tries, now_us), "tries", None) or tries

    steps = [new - old for new, old in zip(spent(after), spent(tries), strict=True)]
    assert sorted(steps) in ([0, 0, 0], [0, 0, 1])
    assert tries.attempt <= after.attempt <= tries.attempt + 1


@given(outcomes, policies, pasts, moments)
def test_history_is_bounded_and_survives_being_written(
    outcome: Outcome, policy: Policy, tries: Tries, now_us: int
) -> None:
    after = getattr(decide(outcome, policy, tries, now_us), "tries", None) or tries

    added = [line for line in after.history if line not in tries.history]
    assert len(after.history) <= LIFE_LINES
    assert len(added) <= 1
    assert all(len(line) <= CHARACTERS and "\n" not in line for line in added)
    assert Tries.parse(after.dump()) == after


@given(pasts)
def test_tries_survive_being_written(tries: Tries) -> None:
    assert Tries.parse(tries.dump()) == tries


@given(policies, st.lists(outcomes, max_size=40), moments)
def test_runs_never_exceed_their_budgets(policy: Policy, story: list[Outcome], now_us: int) -> None:
    tries = FRESH
    for outcome in story:
        decision = decide(outcome, policy, tries, now_us)
        if not isinstance(decision, Retry | Park | Release):
            break
        tries = decision.tries or tries

        assert tries.failures <= policy.max_retries
        assert tries.crashes < max(1, policy.max_crashes)


@given(crashes, policies, pasts, moments)
def test_a_crash_is_charged_and_is_a_death_that_nobody_else_is_suspected_for(
    crash: Crashed, policy: Policy, tries: Tries, now_us: int
) -> None:
    decision = decide(crash, policy, tries, now_us)

    assert isinstance(decision, Fail if tries.crashes + 1 >= policy.max_crashes else Retry)
    assert isinstance(decision, Fail | Retry)
    assert spent(decision.tries) == (tries.failures, tries.crashes + 1, tries.preemptions)
    if isinstance(decision, Retry):
        assert decision.tries.suspicion == (tries.deaths + 1, 1)
        assert decision.tries.suspicion.width == 1


@given(witnessed, policies, pasts, moments)
def test_who_has_witnessed_a_death_goes_back_at_once_and_is_charged_nothing(
    death: Witnessed, policy: Policy, tries: Tries, now_us: int
) -> None:
    decision = decide(death, policy, tries, now_us)

    assert isinstance(decision, Release)
    assert decision.tries is not None
    assert (decision.delay_us, spent(decision.tries)) == (0, spent(tries))
    assert decision.tries.suspicion == (tries.deaths + 1, death.suspects)


@given(policies, pasts, moments)
def test_suspicion_ends_with_a_run_that_its_process_survived(policy: Policy, tries: Tries, now_us: int) -> None:
    decision = decide(Raised(ConnectionError()), policy, replace(tries, deaths=7, suspects=50), now_us)

    assert isinstance(decision, Retry | Fail)
    assert decision.tries.suspicion == NO_SUSPICION


@given(policies, moments, st.integers(0, 2_000_000 * S))
def test_a_parked_job_keeps_its_clock_until_its_grace_is_over(policy: Policy, start: int, waited: int) -> None:
    start += 1
    grace = round(policy.unknown_grace * S)
    parked = Tries(parked_since=start, history=(f"1 {start} nobody knows it",))

    decision = decide(Unrunnable("nobody knows it"), policy, parked, start + waited)

    if waited >= grace:
        assert isinstance(decision, Fail)
    else:
        assert decision == Park(min(PARK_DELAY_US, max(PARK_FIRST_US, waited), grace - waited + 1000), parked)
