"""`limits named|close|open`, and `breakers`."""

from __future__ import annotations

import json
import re

from jobfleet import Fleet
from tests.cli.hand import Cli
from tests.support.each import each


def test_a_named_limit_is_defined_listed_closed_opened_and_removed(cli: Cli, fleet: Fleet) -> None:
    assert "No named limits. Define one" in cli("limits", "named").stderr
    assert cli("limits", "named", "github", "--rate", "100/1m", "--concurrency", "5").stdout == (
        "Limit 'github' is defined.\n"
    )
    assert cli("limits", "named", "github", "--rate", "100/1m", "--concurrency", "5").stdout == (
        "Limit 'github' is defined, as before.\n"
    )
    cli("limits", "named", "gpt", "--concurrency", "9", "--rate", "5/s")
    cli("limits", "named", "gpt", "--adaptive", "2-50")
    assert fleet.limits.all_named()[1].rate == "5/s", "what is not given stays"
    cli("limits", "named", "gpt", "--adaptive", "2-50", "--clear")
    assert cli("limits", "close", "gpt", "--reason", "down", "--by", "ann").stdout == "Limit 'gpt' is closed.\n"

    assert cli("limits", "named").stdout.splitlines() == [
        "LIMIT   CONCURRENCY  RUNNING    RATE  LEFT  NEXT  STATE",
        "github            5        0  100/1m   100     -  open",
        "gpt       2 of 2-50        0       -     -     -  closed by ann: down",
    ]
    assert json.loads(cli("limits", "named", "-o", "json").stdout)[0]["most"] == 5
    assert cli("limits", "open", "gpt").stdout == "Limit 'gpt' is open.\n"
    assert cli("limits", "open", "gpt").stdout == "Limit 'gpt' is open, as before.\n"
    assert cli("limits", "named", "gpt", "--remove").stdout == "Limit 'gpt' is removed.\n"
    assert [one.name for one in fleet.limits.all_named()] == ["github"]
    assert [row.action for row in fleet.audit().entries][:2] == ["limit.remove", "limit.open"]


@each(
    "arguments",
    [("--rate", "5/s"), ("github",), ("github", "--remove", "--rate", "5/s"), ("github", "--adaptive", "2")],
)
def test_a_wrong_usage_is_refused(cli: Cli, arguments: tuple[str, ...]) -> None:
    assert cli("limits", "named", *arguments).exit_code == 2


def test_breakers_are_opened_listed_and_closed(cli: Cli, fleet: Fleet) -> None:
    assert "No circuit breakers have counted a run" in cli("breakers", "ls").stderr
    assert cli("breakers", "open", "function:f", "--reason", "down", "--by", "ann").stdout == (
        "Breaker 'function:f' is open.\n"
    )

    header, row = cli("breakers", "ls").stdout.splitlines()
    assert header.split() == ["BREAKER", "STATE", "OK", "FAILED", "TRIAL", "SINCE", "BY", "REASON"]
    assert re.fullmatch(r"function:f  open +0 +0  never  \d+ (s|min) +ann  down", row)
    assert cli("breakers", "close", "function:f").stdout == "Breaker 'function:f' is closed.\n"
    assert fleet.breakers()[0].state == "closed"
    assert cli("breakers", "open", "f").exit_code != 0
