"""`limits`, and pauses of groups."""

from __future__ import annotations

import json

from jobfleet import Fleet, Job
from jobfleet.model.limits import Declaration, DeclaredLimit
from jobfleet.store.calls.limits import declare
from tests.cli.hand import Cli, Hand
from tests.support.each import each


def test_nothing_is_set(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    fleet.enqueue(Job("x", "demo.add"))

    result = cli("limits", "ls")

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("No limits. Set one: 'jobfleet limits set QUEUE --concurrency 10'")
    assert cli("limits", "ls", "-o", "json").stdout == "[]\n"


def test_limits_are_set_listed_and_cleared(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    fleet.enqueue(Job("x", "demo.add", group="tenant-7"))

    assert cli("limits", "set", "default", "--concurrency", "50", "--aging", "5m").stdout == (
        "default: 50 at once, aging 5 min.\n"
    )
    cli("limits", "set", "default", "--group", "*", "--concurrency", "4", "--rate", "10/min", "--burst", "2")
    told = cli("limits", "set", "default", "--group", "tenant-7", "--concurrency", "none", "--weight", "4").stdout
    assert told == "tenant-7 of default: any number at once, weight 4.\n"
    again = cli("limits", "set", "default", "--group", "tenant-7", "--weight", "4").stdout
    assert again == "tenant-7 of default: any number at once, weight 4, as before.\n"
    cli("queues", "pause", "default", "--group", "tenant-7", "--by", "ann", "--reason", "db is down")
    assert cli("limits", "ls", "default").stdout.splitlines() == [
        "QUEUE    GROUP        CONCURRENCY  RUNNING    RATE  BURST  NEXT  WEIGHT  AGING  STATE",
        "default  (the queue)           50        0       -      -     -       -  5 min  on",
        "default  *                      4        -  10/min      2     -       -      -  on",
        "default  tenant-7            none        0       -      -     -       4      -  paused by ann (db is down)",
    ]
    assert cli("limits", "ls", "-o", "ids").stdout.split() == ["default", "default:*", "default:tenant-7"]

    data = json.loads(cli("limits", "set", "default", "--group", "tenant-7", "--clear", "-o", "json").stdout)
    assert (data["changed"], data["limit"]["concurrency"], data["limit"]["paused"]) == (True, None, "ann")
    told = cli("limits", "set", "default", "--clear", "--rate", "100/s").stdout
    assert told == "default: 100/s, 100 in a burst.\n"


def test_a_declared_limit_is_listed_with_its_functions(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    fleet.enqueue(Job("x", "demo.add", group="tenant-7"))
    limit = DeclaredLimit("default", "*", concurrency=5, rate="10/min").limit
    wanted = {"limit:*": Declaration(limit, ("demo.add",))}
    fleet.store.run(declare(fleet.context.keys.lane("default", 0), wanted, ["demo.add"]))

    told = cli("limits", "set", "default", "--group", "*", "--concurrency", "2").stdout
    assert told == "* of default: 2 at once, 10/min, 10 in a burst (declared: 5 at once, 10/min by demo.add).\n"
    title, line = cli("limits", "ls", "default").stdout.splitlines()
    assert title == "QUEUE    GROUP  CONCURRENCY  RUNNING    RATE  BURST  NEXT  WEIGHT  AGING  STATE  DECLARED"
    assert line.startswith(
        "default  *                2        -  10/min     10     -       -      -  on     5 at once,"
    )
    assert line.endswith(" 5 at once, 10/min by demo.add")
    row = json.loads(cli("limits", "ls", "-o", "json").stdout)[0]
    assert (row["declared_concurrency"], row["declared_rate"], row["declared_by"]) == (5, "10/min", ["demo.add"])
    clear = ("limits", "set", "default", "--group", "*", "--clear")
    assert cli(*clear).stdout.startswith("* of default: 5 at once, 10/min, 10 in a burst (declared: ")
    assert "--declared needs --clear" in cli(*clear, "--declared", "--concurrency", "2").stderr
    assert cli(*clear, "--declared").stdout == "* of default: no limits.\n"
    assert cli(*clear, "--declared").stdout == "* of default: no limits, as before.\n"


def test_a_group_is_paused_and_resumed(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    fleet.enqueue(Job("x", "demo.add", group="tenant-7"))
    flags = ("default", "--group", "tenant-7")

    assert cli("queues", "pause", *flags).stdout == "tenant-7 of default is paused.\n"
    assert cli("queues", "pause", *flags).stdout == "tenant-7 of default was paused already.\n"
    assert json.loads(cli("queues", "resume", *flags, "-o", "json").stdout) == {
        "queue": "default", "group": "tenant-7", "function": None, "paused": False, "changed": True,
    }  # fmt: skip
    assert cli("queues", "resume", *flags).stdout == "tenant-7 of default was open already.\n"


def test_what_is_wrong_is_told_in_a_line(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    fleet.enqueue(Job("x", "demo.add"))

    for flags, said in (
        ((), "Nothing to set; give concurrency, rate, burst, weight or aging.\n"),
        (("--rate", "ten"), "rate is 'ten'; give a rate such as '100/s', '10/min' or '5/10s'.\n"),
        (("--weight", "2"), "weight is for groups, which share a queue; give group too.\n"),
        (("--burst", "2"), "burst is for a rate, and default has none there; give rate too.\n"),
    ):
        result = cli("limits", "set", "default", *flags)
        assert (result.exit_code, result.stderr) == (2, said)
    assert "'many': give a whole number, or none." in cli("limits", "set", "default", "--concurrency", "many").stderr
    assert cli("limits", "ls", "mial").stderr == "No queue 'mial'; there are: default.\n"


def test_a_job_is_enqueued_into_a_group(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    job_id = cli("enqueue", "demo.add", "1", "2", "--group", "tenant-7").stdout.strip()

    assert fleet.poll(job_id).group == "tenant-7"
    assert "tenant-7" in cli("status", job_id).stdout


@each("flags", [("--rate", "ten"), ("--burst", "2"), ("--weight", "2")])
def test_a_wrong_value_clears_nothing(cli: Cli, fleet: Fleet, hand: Hand, flags: tuple[str, str]) -> None:
    fleet.enqueue(Job("x", "demo.add"))
    cli("limits", "set", "default", "--concurrency", "3", "--rate", "5/s")
    before = fleet.limits()

    assert cli("limits", "set", "default", "--clear", *flags).exit_code == 2

    assert fleet.limits() == before


def test_clear_with_new_values_removes_the_others(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    fleet.enqueue(Job("x", "demo.add"))
    cli("limits", "set", "default", "--concurrency", "3", "--aging", "5m")

    assert cli("limits", "set", "default", "--clear", "--rate", "5/s").stdout == "default: 5/s, 5 in a burst.\n"
