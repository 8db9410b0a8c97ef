"""Which tests hold which file: the nearest ones, the fastest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

TARGETS: Mapping[str, Sequence[str]] = {
    "jobfleet/cron/schedule.py": (
        "tests/cron/test_times.py",
        "tests/cron/test_intervals.py",
        "tests/cron/test_cron.py",
        "tests/cron/test_startup.py",
    ),
    "jobfleet/model/cron_expression.py": (
        "tests/cron/test_intervals.py",
        "tests/cron/test_times.py",
        "tests/cron/test_cron.py",
        "tests/cron/test_startup.py",
    ),
    "jobfleet/cron/entry.py": ("tests/cron/test_plan.py", "tests/cron/test_cron.py"),
    "jobfleet/retry/decision.py": (
        "tests/test_retry_edges.py",
        "tests/test_retry.py",
        "tests/test_retry_delays.py",
        "tests/test_retry_elsewhere.py",
    ),
    "jobfleet/retry/tries.py": ("tests/test_tries.py", "tests/test_retry_edges.py"),
    "jobfleet/worker/run/stop_ladder.py": (
        "tests/worker/run/test_ladder_times.py",
        "tests/worker/run/test_ladder.py",
    ),
    "jobfleet/store/lua/lease/tick.lua": (
        "tests/lua/lease/test_tick.py",
        "tests/lua/lease/test_tick_edges.py",
        "tests/lua/lease/test_tick_stepped.py",
        "tests/lua/lease/test_tick_mends.py",
    ),
    "jobfleet/store/lua/lease/claim.lua": (
        "tests/lua/lease/test_claim_rare.py",
        "tests/lua/lease/test_claim_foreign.py",
        "tests/lua/lease/test_claim.py",
        "tests/lua/lease/test_claim_guards.py",
        "tests/lua/lease/test_claim_fair.py",
    ),
    "jobfleet/store/lua/settle/settle.lua": (
        "tests/lua/settle/test_settle.py",
        "tests/lua/settle/test_settle_guards.py",
        "tests/lua/settle/test_settle_rare.py",
        "tests/lua/paused/test_withhold.py",
    ),
}
