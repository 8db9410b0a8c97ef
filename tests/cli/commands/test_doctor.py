"""`doctor`."""

from __future__ import annotations

import json

import pytest
import redis

from jobfleet import Fleet, Job
from jobfleet.cli.commands.doctor import SCREEN, Report
from jobfleet.cli.output import Output
from jobfleet.operations.doctor.findings import Diagnosis, Finding, Level
from tests.cli.hand import Cli, Hand, Shell

CHECKS = [
    "version", "eviction", "persistence", "replicas", "cluster", "memory", "results", "scripts", "clock", "clocks",
    "user", "tls", "keys", "workers", "versions", "service", "functions", "payloads",
    "queues", "hot", "leases", "cron", "fires", "samples", "limits", "damage", "runs", "waiting", "locks", "lifetimes",
    "long", "outbox", "database", "journal", "paused", "gates", "dead",
]  # fmt: skip
LOCK = "{jobfleet:default:0}:unique"


@pytest.fixture
def job_id(fleet: Fleet, hand: Hand) -> str:
    """A job that waits."""
    return fleet.enqueue(Job("x", "demo.add", id="a", unique="k"))


def test_a_line_a_check_and_a_sum(cli: Cli, job_id: str) -> None:
    result = cli("doctor", "-v")

    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    told = {line.split()[1]: line for line in lines[:-1] if not line.startswith(" ")}
    assert sorted(told) == sorted(CHECKS)
    assert told["locks"] == "ok     locks        1 unique key; none is left by a job that has ended."
    assert told["persistence"].startswith("WARN   persistence  AOF is off")
    remedy = lines[lines.index(told["persistence"]) + 1]
    assert remedy == " " * 20 + (
        "redis-cli CONFIG SET appendonly yes, and appendonly yes with appendfsync everysec in its configuration."
    )
    assert (lines[0], lines[-1]) == (told["persistence"], "37 checks, 0 faults, 1 warning (persistence)")


def test_a_fault_is_told_with_what_can_be_done_and_exit_code_1(cli: Cli, job_id: str, raw: redis.Redis) -> None:
    raw.hset(LOCK, "left", "default.0.gone 0 1")
    cli("queues", "pause", "default")

    result = cli("doctor")

    lines = result.stdout.splitlines()
    words = [line.split()[:2] for line in lines if not line.startswith(" ")]
    assert result.exit_code == 1
    assert lines[0] == "FAULT  locks        2 unique keys; 1 held by a job that is not open: left by default.0.gone."
    assert "note   paused       Paused: queue default." in lines
    assert [one for one, _ in words[:-2]] == ["FAULT", "WARN", *["note"] * (len(words) - 4)]
    assert set(lines[-2].removeprefix("ok     ").removesuffix(".").split(", ")) == {*CHECKS} - {one for _, one in words}
    assert lines[-1] == "37 checks, 1 fault (locks), 1 warning (persistence)"


def test_the_report_fits_a_terminal_of_24_lines_whatever_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    found = tuple(
        Finding(name, {"user": Level.FAULT}.get(name, (Level.OK, Level.NOTE)[at % 2]), f"{name} " * 30, "Do it. " * 9)
        for at, name in enumerate(CHECKS)
    )
    output = Output()
    output.is_terminal = True
    monkeypatch.setenv("COLUMNS", "80")

    lines = "\n".join(Report(output, Diagnosis(None, found), is_full=False).lines(SCREEN)).splitlines()

    assert len(lines) <= SCREEN
    assert lines[0].startswith("FAULT  user")
    assert lines[-1] == "37 checks, 1 fault (user), 0 warnings"
    assert "-v shows them." in " ".join(lines)
    assert all(one in " ".join(lines) for one in CHECKS)


def test_programs_read_json_or_the_names_of_what_is_wrong(cli: Cli, job_id: str, raw: redis.Redis) -> None:
    raw.hset(LOCK, "left", "default.0.gone 0 1")

    told = cli("doctor", "--json")
    data = json.loads(told.stdout)
    named = cli("doctor", "-o", "ids")

    refused = cli("-o", "ids", "doctor", "--json")

    assert (told.exit_code, named.exit_code) == (1, 1)
    assert (refused.exit_code, refused.stderr.startswith("--json and -o ids are both given; give one.")) == (2, True)
    assert [one["check"] for one in data["findings"]] == CHECKS
    assert next(one for one in data["findings"] if one["check"] == "locks") == {
        "check": "locks",
        "level": "fault",
        "seen": "2 unique keys; 1 held by a job that is not open: left by default.0.gone.",
        "remedy": "Nothing waits for them: the next job with the key takes it. docs/howto/doctor.md says how each is "
        "put right.",
        "about": [{"kind": "job", "name": "default.0.gone"}],
    }
    assert named.stdout.split() == ["persistence", "locks"]


def test_what_a_terminal_would_obey_is_written_as_an_escape(cli: Cli, job_id: str, raw: redis.Redis) -> None:
    raw.hset(LOCK, "\x1b[2J", "default.0.gone 0 1")

    assert "\x1b" not in cli("doctor").stdout


def test_without_redis_it_leaves_with_4(shell: Shell) -> None:
    result = shell("doctor", "--url", "redis://127.0.0.1:1/0")

    assert (result.returncode, result.stdout) == (4, "")
    assert result.stderr.startswith("No Redis at redis://127.0.0.1:1/0")


def test_a_fix_repairs_what_a_dry_run_shows(cli: Cli, job_id: str, raw: redis.Redis) -> None:
    raw.hset(LOCK, "left", "default.0.gone 0 1")
    text = "locks: left is held by default.0.gone, which is not open: the unique key is released."

    dry = cli("doctor", "--fix", "--dry-run")
    assert (dry.exit_code, dry.stdout.splitlines()[0]) == (1, f"would  {text}")
    assert raw.hexists(LOCK, "left")

    fixed = cli("doctor", "--fix")
    assert (fixed.exit_code, fixed.stdout.splitlines()[0]) == (0, f"fixed  {text}")
    assert not raw.hexists(LOCK, "left")
    assert json.loads(cli("doctor", "--fix", "-o", "json").stdout)["repairs"] == []


def test_warnings_fail_only_if_asked(cli: Cli, job_id: str) -> None:
    assert cli("doctor").exit_code == 0
    assert cli("doctor", "--strict").exit_code == 1
    assert cli("doctor", "--dry-run").exit_code == 2
