"""`jobfleet completion`: in the shells themselves, and what they are answered."""

from __future__ import annotations

import subprocess
from pathlib import Path

import click
import pytest

from jobfleet import Fleet, Job
from jobfleet.cli.commands.completion import SCRIPTS, answer, candidates
from jobfleet.cli.main import main
from tests.cli.hand import Cli, Hand
from tests.support.each import each
from tests.support.fleet import LONG
from tests.support.shells import Prompt, prepare_zsh, shell, variables
from tests.support.tools import tool
from tests.support.waiting import wait_until

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def fleet(redis_url: str) -> Fleet:
    """A fleet with a function, a queue, a waiting job and a dead letter."""
    fleet = Fleet(redis_url)
    hand = Hand(fleet)
    hand.knows("mail.send", "mail.sort", "demo.fail")
    hand.buries("buried", queue="graveyard")
    fleet.enqueue(Job("mail.send", "mail.send", id="waiting", queue="letters", delay=3600))
    return fleet


def values(line: str) -> list[str]:
    """The values that bash gets for a line."""
    found = answer(main, "bash", {"COMP_LINE": f"jobfleet {line}"}, [])
    return [row.split("\t")[1] for row in found]


def test_bash_completes_commands_options_and_values_of_the_fleet(fleet: Fleet, redis_url: str, tmp_path: Path) -> None:
    with Prompt([shell("bash"), "--norc", "--noprofile", "-i"], variables(redis_url, tmp_path), tmp_path) as prompt:
        prompt.types("PS1='ready> '; bind 'set enable-bracketed-paste off'; source <(jobfleet completion bash)\n")
        prompt.until("\nready> ")
        prompt.types("jobfleet enq\t")
        prompt.until("jobfleet enqueue ")
        prompt.types("mail.se\t")
        prompt.until("mail.send ")
        prompt.types("--queue=gr\t")
        prompt.until("--queue=graveyard ")
        prompt.types("--prio\tcr\t")
        prompt.until("--priority critical ")


@tool("zsh")
def test_zsh_completes_commands_and_values_of_the_fleet(fleet: Fleet, redis_url: str, tmp_path: Path) -> None:
    program = shell("zsh")
    prepare_zsh(tmp_path)
    with Prompt([program, "-i"], variables(redis_url, tmp_path), tmp_path) as prompt:
        prompt.types("source <(jobfleet completion zsh); print loaded-$((1 + 1))\n")
        prompt.until("loaded-2")
        prompt.until("ready> ")
        prompt.types("jobfleet exp\t")
        prompt.until("jobfleet explain ")
        prompt.types("lett\t")
        prompt.until("letters.0.waiting")
        prompt.types("\x15jobfleet jobs --queue gr\t")
        prompt.until("--queue graveyard")


@tool("fish")
def test_fish_completes_commands_and_values_of_the_fleet(fleet: Fleet, redis_url: str, tmp_path: Path) -> None:
    lines = ["jobfleet exp", "jobfleet dead show gr", "jobfleet jobs --queue=le"]
    asked = "; ".join(f"complete -C '{line}'" for line in lines)

    def found() -> tuple[list[str], str]:
        done = subprocess.run(
            [shell("fish"), "--no-config", "-c", f"jobfleet completion fish | source; {asked}"],
            env=variables(redis_url, tmp_path), capture_output=True, text=True, check=False,
        )  # fmt: skip
        return [line.split("\t")[0] for line in done.stdout.splitlines()], done.stderr

    # Values that do not come within a second are not shown, and a machine may be slow.
    values = (["explain", "graveyard.0.buried", "--queue=letters"], "")
    wait_until(lambda: found() == values, timeout=LONG, why=f"fish shows {values}")


def test_without_redis_nothing_is_shown_but_the_commands(tmp_path: Path) -> None:
    with Prompt([shell("bash"), "--norc", "--noprofile", "-i"], variables(NOWHERE, tmp_path), tmp_path) as prompt:
        prompt.types("PS1='ready> '; bind 'set enable-bracketed-paste off'; source <(jobfleet completion bash)\n")
        prompt.until("\nready> ")
        prompt.types("jobfleet logs \t\x01echo \x05end\n")
        shown = prompt.until("\nready> ")

    assert shown.splitlines()[-2] == "jobfleet logs end"


def test_a_broken_setting_is_not_shown_either(tmp_path: Path) -> None:
    (tmp_path / "jobfleet.toml").write_text("slots = [")
    environ = {**variables(NOWHERE, tmp_path), "_JOBFLEET_COMPLETE": "bash", "COMP_LINE": "jobfleet logs "}

    done = subprocess.run(["jobfleet"], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_each_kind_of_value_is_read_from_the_fleet(fleet: Fleet, cli: Cli) -> None:
    fleet.cron.add("nightly", "0 2 * * *", Job("mail.sort", "mail.sort"))

    assert values("enqueue mail.s") == ["mail.send", "mail.sort"]
    assert values("enqueue mail.send --on-failure mail.so") == ["mail.sort"]
    assert values("move x --to l") == ["letters"]
    assert values("worker -Q letters,gr") == ["letters,graveyard"]
    assert values("workers show ") == ["w1"]
    assert values("status l") == ["letters.0.waiting"]
    assert values("dead replay g") == ["graveyard.0.buried"]
    assert values("cron rm ") == ["nightly"]
    assert values("--url redis://127.0.0.1:1/0 cron rm ") == []
    assert values("cron add ") == []


def test_a_server_is_never_started(cli: Cli, tmp_path: Path) -> None:
    assert values(f"--url embedded://{tmp_path}/data logs ") == []
    assert not (tmp_path / "data").exists()


def test_only_the_part_behind_the_last_break_of_bash_is_answered(fleet: Fleet, cli: Cli) -> None:
    fleet.enqueue(Job("mail.send", "mail.send", id="order:7", queue="letters", delay=3600))
    asked = {"COMP_LINE": "jobfleet status letters.0.order:", "_JOBFLEET_WORD": ""}

    assert list(answer(main, "bash", asked, [])) == ["plain\t7\tscheduled mail.send"]


def test_paths_are_left_to_the_shell() -> None:
    rows = list(answer(main, "zsh", {}, ["up", "shop", "--path", "."]))

    assert [row.split("\t")[0] for row in rows] == ["dir"]


@each("line", ["", "dead", "dead ls --", "enqueue x --priority "])
def test_every_place_of_a_line_has_an_answer_or_none(line: str, cli: Cli) -> None:
    words = line.split(" ")

    assert isinstance(candidates(main, words[:-1], words[-1]), list)


def test_the_commands_are_those_of_the_help() -> None:
    listed = main.list_commands(click.Context(main))

    assert [item.value for item in candidates(main, [], "")] == listed


@pytest.mark.parametrize("name", list(SCRIPTS))
def test_the_script_of_a_shell_is_printed(name: str, cli: Cli) -> None:
    done = cli("completion", name)

    assert (done.exit_code, done.stdout) == (0, SCRIPTS[name])


def test_an_unknown_shell_is_refused(cli: Cli) -> None:
    done = cli("completion", "tcsh")

    assert done.exit_code == 2
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'" in done.stderr
