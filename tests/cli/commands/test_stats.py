"""`stats`."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import cast

import redis

from jobfleet import Fleet
from jobfleet.cli.commands.stats import BARS, PLAIN_BARS, PLAIN_GAP, fitted, sparkline
from jobfleet.samples import COMPLETED, ENQUEUED, FAILED, FINE, FIRST_GAUGE, RUN, TOTAL, pack, pack_mark, queue_series
from tests.cli.hand import Cli, Hand
from tests.support.each import each
from tests.support.state import server_now


def sampled(fleet: Fleet, raw: redis.Redis) -> int:
    """Store the samples of the last minute but one step; return the number of the last one."""
    last = FINE.step_at(server_now(raw)) - 1
    keys = fleet.context.keys
    for age in (5, 4, 3, 1, 0):
        part, step = FINE.place(last - age)
        point = {ENQUEUED: 10 - age, COMPLETED: 8, FAILED: age, FIRST_GAUGE: 2 * age, RUN: {20: 8}}
        for name, value in (("", pack_mark(step, 0)), (TOTAL, pack(step, 0, point)), (queue_series("mail"), b"")):
            before = cast(bytes, raw.hget(keys.samples_of(part), name) or b"")
            raw.hset(keys.samples_of(part), name, before + value)
    raw.hset(keys.samples, "last", last)
    raw.zadd(keys.versions, {"a1b2c3": (last - 2) * 10_000_000})
    return last


def test_bars_with_totals_rates_and_percentiles(cli: Cli, fleet: Fleet, raw: redis.Redis, hand: Hand) -> None:
    sampled(fleet, raw)

    title, _, *lines = cli("stats", "--since", "1m").stdout.splitlines()

    assert title.startswith("fleet: the last 1 min until ")
    assert title.endswith(", 10 s per step")
    assert lines[:5] == [
        "JOBS       PAST    TOTAL    MEAN",
        "enqueued   ▅▅▆·▇█     37  0.74/s",
        "started    ▁▁▁·▁▁      0       -",
        "completed  ███·██     40   0.8/s",
        "failed     █▇▅·▂▁     13  0.26/s",
    ]
    assert "waiting      █▇▅·▂▁     0    10" in lines
    assert lines[-4:-2] == ["TIME  PAST (P95)    P50    P95    P99", "run   ███·██      57 ms  65 ms  65 ms"]
    assert lines[-1].endswith("  new version a1b2c3")


def test_json_has_every_point_and_ids_their_times(cli: Cli, fleet: Fleet, raw: redis.Redis, hand: Hand) -> None:
    last = sampled(fleet, raw)

    data = json.loads(cli("stats", "--since", "1m", "-o", "json").stdout)
    begin = datetime.fromtimestamp((last - 5) * 10, UTC)

    assert (data["since"], data["step"], data["queue"]) == (begin.isoformat(), 10.0, None)
    assert [point["enqueued"] for point in data["points"]] == [5, 6, 7, None, 9, 10]
    assert data["points"][0]["run"].keys() == data["run"].keys() == {"p50", "p95", "p99"}
    assert [deploy["version"] for deploy in data["deploys"]] == ["a1b2c3"]
    ids = cli("stats", "--since", "1m", "-o", "ids").stdout.split()
    assert ids == [(begin + timedelta(seconds=10 * step)).isoformat() for step in range(6)]


def test_a_fleet_without_samples_is_told_what_takes_them(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    result = cli("stats")

    assert result.exit_code == 0
    assert result.stderr == (
        "No samples in this time. A reaper takes them: 'jobfleet reaper', or a worker with --with-reaper.\n"
    )


@each(
    "arguments, code, text",
    [
        (("--queue", "none"), 3, "No queue 'none'"),
        (("--function", "app.none"), 2, "No worker has published 'app.none'"),
        (("--since", "50h"), 2, "Without an archive the history goes back 48 hours"),
        (("--step", "1s"), 2, "samples are kept every 10 s"),
    ],
)
def test_what_cannot_be_shown_is_refused(
    cli: Cli, fleet: Fleet, hand: Hand, arguments: tuple[str, ...], code: int, text: str
) -> None:
    result = cli("stats", *arguments)

    assert result.exit_code == code
    assert text in result.stderr


def test_bars_fit_the_room_and_only_nothing_is_the_lowest() -> None:
    assert sparkline([0, 1, 1000, None], 10) == "▁▂█·"
    assert sparkline([None, 0, 4], 3, bars=PLAIN_BARS, gap=PLAIN_GAP) == " _#"
    assert sparkline([], 10) == ""
    assert fitted([1, 5, None, 2, None, None, 3], 3) == [5, 2, 3]
    assert set(sparkline(list(range(100)), 40)) <= set(BARS)
