"""`groups`: strict sequences."""

from __future__ import annotations

import json

from jobfleet import Fleet, Job
from jobfleet.store.calls.settle import settle, wait
from tests.cli.hand import Cli, Hand


def enter(cli: Cli, count: int) -> list[str]:
    command = ("enqueue", "demo.add", "1", "2", "--group", "account-7", "--order", "strict-park")
    return [cli(*command).stdout.strip() for _ in range(count)]


def test_nothing_is_listed_without_a_sequence(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    fleet.enqueue(Job("x", "demo.add", group="account-7"))

    result = cli("groups", "ls")

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "No strict sequence has open jobs or is parked.\n"
    assert cli("groups", "ls", "-o", "json").stdout == "[]\n"
    shown = cli("groups", "show", "account-7")
    assert (shown.exit_code, shown.stderr) == (
        3, "No strict sequence 'account-7' has open jobs or is parked; 'jobfleet groups ls' lists them.\n",
    )  # fmt: skip


def test_a_sequence_is_listed_shown_and_skipped(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    first, second, third = enter(cli, 3)

    title, line = cli("groups", "ls", "default").stdout.splitlines()
    assert title.split() == ["QUEUE", "GROUP", "STATE", "HEAD", "STATUS", "WAITING"]
    assert line.split() == ["default", "account-7", "open", first, "queued", "2"]
    assert cli("groups", "show", "account-7").stdout.splitlines() == [
        "account-7 of default is open; 2 jobs behind the head.",
        f"head  {first}  queued",
        f"   1  {second}",
        f"   2  {third}",
    ]
    assert cli("groups", "skip", "account-7", "--by", "ann").stdout == f"account-7: skipped {first}.\n"
    assert cli("groups", "show", "account-7", "-o", "ids").stdout.split() == [second, third]


def test_the_signal_for_which_a_head_waits_is_shown(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    first, second = enter(cli, 2)
    item = wait(first, hand.claims(first).token, key="1", name="go on", delay_us=3_600_000_000, ttl_ms=60_000)
    hand.run(settle(fleet.context.keys.lane_of(first), [item]))

    assert "signal go on" in cli("groups", "ls").stdout
    head = cli("groups", "show", "account-7").stdout.splitlines()[1]
    assert head.startswith(f"head  {first}  scheduled, waits for signal go on until ")
    assert json.loads(cli("groups", "show", "account-7", "-o", "json").stdout)["signal"] == "go on"
    assert (
        f"{first}, the head of its sequence 'account-7', which waits for signal go on" in cli("explain", second).stdout
    )


def test_a_parked_sequence_is_shown_and_resumed(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    first, second = enter(cli, 2)
    hand.fails(hand.claims(first), "no such account")

    assert cli("groups", "show", "account-7").stdout.splitlines() == [
        "account-7 of default is parked; 1 job behind the head.",
        f"head  {first}  failed: no such account",
        f"   1  {second}",
        (
            "'jobfleet groups resume account-7 --queue default' continues behind the head; "
            f"'jobfleet dead replay {first}' runs it again."
        ),
    ]
    assert fleet.forget(first)
    assert cli("groups", "show", "account-7").stdout.splitlines()[1:] == [
        f"head  {first}  forgotten",
        f"   1  {second}",
        "'jobfleet groups resume account-7 --queue default' continues behind the head.",
    ]
    data = json.loads(cli("groups", "resume", "account-7", "-o", "json").stdout)
    assert data == {"group": "account-7", "queue": None, "changed": True}
    assert cli("groups", "resume", "account-7").stdout == "account-7 was not parked.\n"
    assert fleet.groups.show("account-7").head == second
