"""Why a queue needs its number of workers, in words with which the number can be computed again. Pure."""

from __future__ import annotations

import math

from jobfleet.model.scale import AHEAD, TARGET_BUSY, Decision, Demand, Live, ScaleRule

SHOWN = 0.005
"""The share of running jobs from which the text counts those that still run later."""


def reason_of(rule: ScaleRule, live: Live, made: Decision) -> str:
    """Return the reason for a decision.

    Args:
        rule: What the queue wants.
        live: Its present state.
        made: The decision.
    """
    demand = made.demand
    waiting = amount(live.waiting, "waiting job")
    if live.is_paused:
        parts = [
            f"The queue is paused, so its {waiting} {verb(live.waiting, 'count')} for nothing.",
            f"{amount(live.running, 'running job')} {verb(live.running, 'keep')} {amount(demand.busy, 'slot')} busy.",
        ]
    else:
        parts = [_busy(live, demand), _due(rule, live, made)]
    parts.append(f"With {amount(live.slots, 'slot')} per worker this takes {amount(made.wanted, 'worker')}.")
    needed = math.ceil(demand.slots / live.slots - 1e-9)
    if needed != made.wanted:
        limit = f"most is {rule.most:,}" if needed > made.wanted else f"least is {rule.least:,}"
        parts.append(f"The demand is for {needed:,}, but {limit}.")
    stay = f"{amount(made.workers, 'worker')} {verb(made.workers, 'stay')}"
    if made.why == "kept":
        parts.append(f"{stay}, because the demand was larger in the last {rule.hold:,.4g} s.")
    elif made.why == "unknown":
        parts.append(f"{stay}, because the last {rule.hold:,.4g} s have too few samples; a reaper takes them.")
    return " ".join(parts)


def _busy(live: Live, demand: Demand) -> str:
    """The slots for the jobs that arrive or run, with each number that they follow from."""
    rate = amount(demand.rate, "job")
    took = f"{demand.duration:,.3g} s{' (assumed, because no run has ended yet)' if demand.is_assumed else ''}"
    keeps = verb(demand.rate, "keep")
    text = f"{rate} per second of {took} {keeps} {amount(demand.arriving, 'slot')} busy (rate × time ÷ {TARGET_BUSY})"
    computed = demand.arriving
    if live.running and demand.remaining >= SHOWN:
        computed = live.running * demand.remaining + demand.arriving * (1 - demand.remaining)
        running = amount(live.running, "running job")
        text += f"; {demand.remaining:.0%} of {running} will still run in {AHEAD:,.0f} s, which makes "
        text += amount(computed, "slot")
    if demand.busy > computed * (1 + SHOWN):
        count = f"{amount(demand.busy, 'slot')} {verb(demand.busy, 'count')}"
        text += f"; on average {amount(demand.average, 'job')} ran in the last minute, so {count}"
    return f"{text}."


def _due(rule: ScaleRule, live: Live, made: Decision) -> str:
    """What the jobs that are due need."""
    if made.is_held_back:
        return (
            f"{amount(live.waiting, 'job')} {verb(live.waiting, 'wait')} although {amount(live.free, 'slot')} "
            f"{'is' if live.free == 1 else 'are'} free, so more workers would not start them; 'jobfleet explain' tells "
            "for what one of them waits."
        )
    waiting = amount(live.waiting, "waiting job")
    backlog = amount(made.demand.backlog, "slot")
    return f"{waiting} {verb(live.waiting, 'need')} {backlog} to start within {rule.wait:,.4g} s."


def amount(number: float, word: str) -> str:
    """A number of things, such as ``1 worker`` or ``0.167 slots``; fractions have three digits."""
    text = f"{number:,}" if isinstance(number, int) else f"{number:,.3g}"
    return f"{text} {word}" if text == "1" else f"{text} {word}s"


def verb(number: float, word: str) -> str:
    """The verb for a number of things: ``1 worker stays``, ``2 workers stay``."""
    return f"{word}s" if amount(number, "") == "1 " else word
