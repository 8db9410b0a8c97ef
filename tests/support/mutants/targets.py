"""Which tests hold which file: the nearest ones, the fastest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

TARGETS: Mapping[str, Sequence[str]] = {
    "jobfleet/cron/schedule.py": ("tests/unit/test_cron_times.py", "tests/unit/test_cron.py"),
    "jobfleet/cron/entry.py": ("tests/unit/test_cron_plan.py", "tests/unit/test_cron.py"),
    "jobfleet/retry.py": (
        "tests/unit/test_retry_edges.py",
        "tests/unit/test_retry.py",
        "tests/unit/test_retry_elsewhere.py",
        "tests/unit/test_tries.py",
    ),
    "jobfleet/worker/run/stop_ladder.py": ("tests/worker/test_ladder_times.py", "tests/worker/test_stages.py"),
    "jobfleet/store/lua/lease/tick.lua": (
        "tests/lua/test_tick.py",
        "tests/lua/test_tick_edges.py",
        "tests/lua/test_tick_stepped.py",
        "tests/lua/test_tick_mends.py",
    ),
    "jobfleet/store/lua/lease/claim.lua": (
        "tests/lua/test_claim_rare.py",
        "tests/lua/test_claim_foreign.py",
        "tests/lua/test_claim.py",
        "tests/lua/test_claim_guards.py",
        "tests/lua/test_claim_fair.py",
    ),
    "jobfleet/store/lua/settle/settle.lua": (
        "tests/lua/test_settle.py",
        "tests/lua/test_settle_guards.py",
        "tests/lua/test_settle_rare.py",
        "tests/lua/test_withhold.py",
    ),
}
