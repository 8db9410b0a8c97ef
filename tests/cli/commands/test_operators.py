"""`queues`, `workers` and `dead`."""

from __future__ import annotations

import json
import re

import pytest

from jobfleet import Fleet, Job, JobStatus
from jobfleet.codec import encode
from jobfleet.store.calls.presence import beat
from tests.cli.hand import Cli, Hand
from tests.support.each import each


def test_queues_ls(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    fleet.enqueue(Job("x", "demo.add", delay=60))
    hand.buries("a", queue="mail")
    assert cli("queues", "ls").stdout.splitlines() == [
        "QUEUE    QUEUED  SCHEDULED  BLOCKED  RETRYING  RUNNING  DEAD  COMPLETED  FAILED  OLDEST  STATE",
        "default       0          1        0         0        0     0          0       0       -  open",
        "mail          0          0        0         0        0     1          0       1       -  open",
    ]
    rows = json.loads(cli("queues", "ls", "-o", "json").stdout)
    assert [(row["name"], row["scheduled"], row["dead"], row["latency"]) for row in rows] == [
        ("default", 1, 0, 0.0), ("mail", 0, 1, 0.0),
    ]  # fmt: skip


def test_pause_and_resume(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    fleet.enqueue(Job("x", "demo.add", id="a"))
    assert cli("queues", "pause", "default", "--by", "ann").stdout == "default is paused.\n"
    assert cli("queues", "pause", "default").stdout == "default was paused already.\n"
    assert cli("queues", "ls").stdout.endswith("paused by ann\n")
    assert json.loads(cli("queues", "resume", "default", "-o", "json").stdout) == {
        "queue": "default", "group": None, "function": None, "paused": False, "changed": True,
    }  # fmt: skip
    assert cli("queues", "resume", "default").stdout == "default was open already.\n"


def test_the_durability_of_a_queue(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    fleet.enqueue(Job("x", "demo.add"))
    assert cli("queues", "set", "default", "--durability", "fsync").stdout == "default: durability fsync.\n"
    assert cli("queues", "set", "default", "--durability", "fsync").stdout == "default: durability fsync, as before.\n"
    assert cli("queues", "ls").stdout.endswith("open, fsync\n")
    assert json.loads(cli("queues", "ls", "-o", "json").stdout)[0]["durability"] == "fsync"
    assert json.loads(cli("queues", "set", "default", "--durability", "none", "-o", "json").stdout) == {
        "queue": "default", "durability": None, "changed": True,
    }  # fmt: skip
    wrong = cli("queues", "set", "default", "--durability", "eager")
    assert (wrong.exit_code, "'eager' is not one of 'fast', 'replicated', 'fsync', 'none'" in wrong.stderr) == (2, True)


def test_a_function_is_paused_and_resumed_in_a_queue_or_in_all(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    for queue in ("default", "mail"):
        fleet.enqueue(Job("x", "demo.add", queue=queue))
    paused = cli("queues", "pause", "mail", "--function", "demo.add", "--by", "ann", "--reason", "it adds\x1b[31m up")
    assert paused.stdout == "demo.add in mail is paused.\n"
    states = [line.split("  ")[-1].strip() for line in cli("queues", "ls").stdout.splitlines()]
    assert states == ["STATE", "open", r"demo.add paused by ann (it adds\x1b[31m up)"]
    assert cli("queues", "pause", "--function", "demo.add").stdout == "demo.add is paused.\n"
    rows = json.loads(cli("queues", "ls", "-o", "json").stdout)
    assert [[(one["function"], one["by"]) for one in row["paused_functions"]] for row in rows] == [
        [("demo.add", None)], [("demo.add", "ann")],
    ]  # fmt: skip
    assert json.loads(cli("queues", "resume", "--function", "demo.add", "-o", "json").stdout) == {
        "queue": None, "group": None, "function": "demo.add", "paused": False, "changed": True,
    }  # fmt: skip
    assert cli("queues", "resume", "mail", "--function", "demo.add").stdout == "demo.add in mail was open already.\n"


@each("verb", ["pause", "resume"])
def test_to_pause_nothing_is_wrong_usage(cli: Cli, hand: Hand, verb: str) -> None:
    result = cli("queues", verb)
    assert (result.exit_code, "give a queue, a function, or both." in result.stderr) == (2, True)


@each("verb", ["pause", "resume"])
def test_a_group_is_of_a_queue_and_not_of_a_function(cli: Cli, hand: Hand, verb: str) -> None:
    lonely = cli("queues", verb, "--group", "acme")
    assert (lonely.exit_code, "give its queue too." in lonely.stderr) == (2, True)
    both = cli("queues", verb, "default", "--group", "acme", "--function", "demo.add")
    assert (both.exit_code, "give one, not both." in both.stderr) == (2, True)


def test_why_a_queue_is_paused_is_shown(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    fleet.enqueue(Job("x", "demo.add"))
    cli("queues", "pause", "default", "--by", "ann", "--reason", "Redis moves")
    assert cli("queues", "ls").stdout.endswith("paused by ann (Redis moves)\n")


@each("verb", ["resume", "purge", "rm"])
def test_a_queue_that_is_not_known(cli: Cli, fleet: Fleet, hand: Hand, verb: str) -> None:
    fleet.enqueue(Job("x", "demo.add", id="a"))
    result = cli("queues", verb, "mial")
    assert (result.exit_code, result.stderr) == (3, "No queue 'mial'; there are: default.\n")


@pytest.mark.parametrize(
    "command", [("enqueue", "demo.add", "1", "2"), ("cron", "add", "sum", "* * * * *", "demo.add", "--replace")]
)
def test_a_misspelt_queue_of_a_new_job_is_reported(
    cli: Cli, fleet: Fleet, hand: Hand, command: tuple[str, ...]
) -> None:
    fleet.enqueue(Job("x", "demo.add", queue="mail"))

    misspelt, right = cli(*command, "--queue", "mial"), cli(*command, "--queue", "mail")

    assert (misspelt.exit_code, right.exit_code) == (0, 0)
    purge = " --purge" if command[0] == "enqueue" else ""  # a queue with a job is removed only so
    assert (
        misspelt.stderr == f"Queue 'mial' is new; did you mean 'mail'? 'jobfleet queues rm mial{purge}' removes it.\n"
    )
    assert cli(*f"queues rm mial{purge} --yes".split()).stdout == "Removed queue mial.\n"
    assert right.stderr == ""


def test_a_misspelt_queue_that_a_pause_creates_is_reported_and_removed(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    fleet.enqueue(Job("x", "demo.add", queue="mail"))

    paused = cli("queues", "pause", "mial")

    assert paused.exit_code == 0
    assert paused.stderr == "Queue 'mial' is new; did you mean 'mail'? 'jobfleet queues rm mial' removes it.\n"
    assert [queue.name for queue in fleet.queues()] == ["mail", "mial"]
    assert cli("queues", "rm", "mial", "--yes").stdout == "Removed queue mial.\n"
    assert [queue.name for queue in fleet.queues()] == ["mail"]
    assert cli("queues", "rm", "mial", "--yes").stderr == "No queue 'mial'; did you mean 'mail'? There are: mail.\n"


@pytest.mark.parametrize(
    ("command", "lines"),
    [
        ("queues pause new", ["Queue 'new' is new."]),
        ("queues set new --durability fsync", ["Queue 'new' is new."]),
        ("limits set new --concurrency 3", ["Queue 'new' is new."]),
        ("queues pause --function no.such", ["No worker has published 'no.such'."]),
        ("queues pause default --function demo.ad", ["No worker has published 'demo.ad'; did you mean 'demo.add'?"]),
        ("queues resume --function no.such", ["No worker has published 'no.such'."]),
        ("queues pause default --function demo.add", []),
        ("limits set default --concurrency 3", []),
    ],
)
def test_a_name_that_is_new_is_reported(cli: Cli, fleet: Fleet, hand: Hand, command: str, lines: list[str]) -> None:
    fleet.enqueue(Job("x", "demo.add"))

    result = cli(*command.split())

    assert (result.exit_code, result.stderr.splitlines()) == (0, lines)


def test_nobody_is_asked_about_a_queue_that_cannot_be_removed(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    fleet.enqueue(Job("x", "demo.add", queue="mail"))

    result = cli("queues", "rm", "mail", input="y\n")

    told = "Queue 'mail' still has jobs: 1 waiting; purge it with --purge (purge=True).\n"
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", told)
    removed = cli("queues", "rm", "mail", "--purge", input="y\n")
    assert (removed.exit_code, removed.stdout) == (0, "Removed queue mail.\n")


@each("answer", ["n\n", "\n", "", "maybe\n"])
def test_purge_asks(cli: Cli, fleet: Fleet, hand: Hand, answer: str) -> None:
    job_id = fleet.enqueue(Job("x", "demo.add", id="a"))
    result = cli("queues", "purge", "default", input=answer)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Cancel 1 waiting job of default? [y/N] ")
    assert result.stderr.endswith("Nothing was changed; answer y, or use --yes.\n")
    assert fleet.poll(job_id).status is JobStatus.QUEUED


def test_purge_cancels(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    for name in "abc":
        fleet.enqueue(Job("x", "demo.add", id=name))
    assert cli("queues", "purge", "default", input="y\n").stdout == "Cancelled 3 jobs of default.\n"
    assert fleet.poll("default.0.a").status is JobStatus.CANCELLED
    assert cli("queues", "purge", "default").stdout == "Cancelled 0 jobs of default.\n"


def test_workers_ls_tells_who_quieted_one_and_what_hangs(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    for name, more in (("w1", {"state": "quiet", "state_by": "ann@desk"}), ("w2", {"state": "running", "hung": 2})):
        account = encode({"host": "box", "children": 2, **more})
        hand.run(beat(fleet.context.keys, name, account=account, gone_us=20_000_000))

    text = cli("workers", "ls").stdout

    assert re.search(r"^w1 +quiet by ann@desk +box ", text, re.MULTILINE)
    assert re.search(r"^w2 +running, 2 hung +box ", text, re.MULTILINE)


def test_workers_ls(cli: Cli, hand: Hand) -> None:
    lines = cli("workers", "ls").stdout.splitlines()
    assert lines[0].split() == [
        "WORKER",
        "STATE",
        "HOST",
        "PID",
        "CHILDREN",
        "RUNNING",
        "SLOTS",
        "UP",
        "HEARD",
        "MEMORY",
        "CPU",
        "VERSION",
        "QUEUES",
    ]
    assert re.fullmatch(r"w1 +running +box +7 +1 +2 +10 +\d+ d +\d s +- +- +0\.1\.0 +default", lines[1])
    (worker,) = json.loads(cli("workers", "ls", "-o", "json").stdout)
    assert (worker["id"], worker["queues"], worker["is_gone"]) == ("w1", ["default"], False)
    assert cli("workers", "ls", "-o", "ids").stdout == "w1\n"


def test_an_empty_fleet_is_told(cli: Cli) -> None:
    for command, told in {
        "workers": "No workers. Start one: 'jobfleet worker MODULE'.\n",
        "queues": "No queues yet; the first job or worker creates one.\n",
        "dead": "No dead letters.\n",
    }.items():
        result = cli(command, "ls")
        assert (result.exit_code, result.stdout, result.stderr) == (0, "", told)
        assert json.loads(cli(command, "ls", "-o", "json").stdout) == []


def test_dead_ls_and_show(cli: Cli, hand: Hand) -> None:
    letter = hand.buries("a", error="bad\x1b[1mluck")
    lines = cli("dead", "ls").stdout.splitlines()
    assert re.fullmatch(r"default\.0\.a +demo\.\w+ +1 +\d s +ValueError: bad\\x1b\[1mluck", lines[1])
    shown = cli("dead", "show", letter)
    assert "error       ValueError: bad\\x1b[1mluck\n" in shown.stdout
    assert shown.stdout.endswith("\n\nTraceback\n  x\n\narguments: none\n")
    assert json.loads(cli("dead", "show", letter, "-o", "json").stdout)["traceback"] == "Traceback\n  x\n"


def test_a_letter_that_is_not_there(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    alive = fleet.enqueue(Job("x", "demo.add", id="b"))
    result = cli("dead", "show", alive)
    assert (result.exit_code, result.stderr) == (3, "No dead letter 'default.0.b': the job is queued.\n")
    for verb in ("replay", "purge"):
        result = cli("dead", verb, "default.0.zzz")  # without a question
        assert (result.exit_code, result.stderr) == (3, "No dead letter 'default.0.zzz'.\n")


def test_purge_asks_for_the_letters_that_are_there(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    letter = hand.buries("a")

    result = cli("dead", "purge", "default.0.zzz", letter, input="y\n")

    assert (result.exit_code, result.stdout) == (3, "Purged 1 dead letter.\n")
    assert result.stderr == "Delete 1 dead letter permanently? [y/N] No dead letter 'default.0.zzz'.\n"
    assert fleet.dead() == []


def test_replay_some_and_all(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    letters = [hand.buries(name) for name in "abc"]
    assert cli("dead", "replay", letters[0], "--by", "ann").stdout == "Replayed 1 dead letter.\n"
    assert fleet.poll(letters[0]).status is JobStatus.QUEUED
    refused = cli("dead", "replay", "--all", input="n\n")
    assert (refused.exit_code, refused.stderr.startswith("Replay 2 dead letters? [y/N] ")) == (1, True)
    done = cli("dead", "replay", "--all", "--queue", "default", "--yes", "-o", "json")
    assert {key: sorted(value) for key, value in json.loads(done.stdout).items()} == {
        "replayed": letters[1:],
        "left": [],
    }
    assert cli("dead", "replay", "--all").stderr == "No dead letters.\n"


def test_purge_letters(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    letters = [hand.buries(name) for name in "abc"]
    asked = cli("dead", "purge", letters[0], input="y\n")
    assert (asked.stdout, asked.stderr) == ("Purged 1 dead letter.\n", "Delete 1 dead letter permanently? [y/N] ")
    done = cli("dead", "purge", "--all", "--yes")
    assert done.stdout == "Purged 2 dead letters.\n"
    assert fleet.dead() == []


@each(
    "args, line",
    [
        (["replay"], "Give ids, or --all. Try 'jobfleet dead replay -h'."),
        (["purge", "x", "--all"], "Give ids or --all, not both. Try 'jobfleet dead purge -h'."),
        (["replay", "x", "--queue", "q"], "--queue requires --all. Try 'jobfleet dead replay -h'."),
    ],
)
def test_a_wrong_choice(cli: Cli, args: list[str], line: str) -> None:
    result = cli("dead", *args)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", line + "\n")


def test_stacks_takes_a_job_or_a_worker_with_one_child(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    waiting = fleet.enqueue(Job("x", "demo.add", id="waiting", delay=60))
    running = fleet.enqueue(Job("x", "demo.add", id="running"))
    hand.claims(running)
    for name, pids in (("w1", (1,)), ("w2", (1, 2))):
        processes = [[f"{name}.{one}", pid, "running", 0, 1, 1, 0.0] for one, pid in enumerate(pids)]
        account = encode({"host": f"box-{name}", "children": len(pids), "processes": processes})
        hand.run(beat(fleet.context.keys, name, account=account, gone_us=10**8))
    told = {
        name: cli("workers", "stacks", name, "--timeout", "0.01") for name in (running, "w1", waiting, "w2", "nope")
    }

    assert told[running].stderr == told["w1"].stderr
    assert told["w1"].stderr.startswith("w1.0: ")
    assert (told[waiting].exit_code, told[waiting].stderr) == (
        3, "default.0.waiting is scheduled, so no child runs it; see 'jobfleet explain default.0.waiting'.\n",
    )  # fmt: skip
    assert (told["w2"].exit_code, told["w2"].stderr) == (2, "'w2' has several children; give one of: w2.0, w2.1.\n")
    assert (told["nope"].exit_code, told["nope"].stderr) == (
        3, "There is no child, worker or job 'nope'; see 'jobfleet workers ls'.\n",
    )  # fmt: skip
