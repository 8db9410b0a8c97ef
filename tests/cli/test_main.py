"""What all commands share: global flags, settings, errors, exit codes."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jobfleet import Fleet, Job
from jobfleet.cli.main import SECTIONS
from jobfleet.config import mask_url
from tests.cli.hand import ROOT, Cli, Hand, Shell
from tests.support import users
from tests.support.each import each
from tests.support.server import free_port

pytestmark = pytest.mark.fresh  # the process of the command, as users start it

LEAVES = ["enqueue x", "status a.0.b", "wait a.0.b", "watch a.0.b", "cancel a.0.b", "jobs", "queues ls",
          "queues pause q", "queues resume q", "queues purge q", "workers ls", "events tail", "dead ls",
          "dead show a.0.b", "dead replay a.0.b",
          "dead purge -y a.0.b", "dead edit --args [] a.0.b", "top", "top --once"]  # fmt: skip


@each("command", LEAVES)
def test_without_redis_every_command_ends_with_4(cli: Cli, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("JOBFLEET_PATIENCE", "0.1")
    url = f"redis://u:secret@localhost:{free_port()}/0"
    result = cli(*command.split(), "--url", url)
    shown = url.replace("secret", "***")
    told = f"No Redis at {shown} (connection refused). Start it there, or correct the URL.\n"
    assert (result.exit_code, result.stdout, result.stderr) == (4, "", told)


@each("args, line", [
        (["nope"], "No such command 'nope'. Try 'jobfleet -h'."),
        (["jobs", "--url", "http://x"],
         ("Unknown scheme 'http' in URL; "
          "use redis, rediss, unix, sentinel, sentinels, cluster, clusters, embedded or memory.")),
        (["jobs", "--url", "redis://u:pw@h:abc"],
         ("Cannot read the URL redis://u:***@h:***: the port is not a number from 0 to 65535, "
          "write it as redis://HOST:6379/0.")),
        (["jobs", "--config", "no.toml"], "No settings file no.toml; correct --config / JOBFLEET_CONFIG."),
        (["worker"], "Missing argument 'MODULE[:FLEET]...'. Try 'jobfleet worker -h'."),
        (["worker", "m", "-c", "many"], "slots = 'many' (argument): use a whole number."),
        (["config", "check", "-o", "xml"],
         ("Invalid value for '-o' / '--output': 'xml' is not one of 'table', 'json', 'ids'. "
         "Try 'jobfleet config check -h'.")),
        (["up", "m", "--url", "redis://x"],
         ("'up' starts its own server; leave --url out, or use 'jobfleet worker --with-reaper'. "
         "Try 'jobfleet up -h'.")),
    ])  # fmt: skip
def test_a_wrong_call_is_told_in_one_line(cli: Cli, args: list[str], line: str) -> None:
    result = cli(*args)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", line + "\n")


def test_global_flags_stand_anywhere_and_the_last_wins(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    fleet.enqueue(Job("x", "demo.add", id="a"))
    wanted = "default.0.a\n"
    assert cli("-o", "ids", "jobs").stdout == wanted
    assert cli("jobs", "-o", "ids").stdout == wanted
    assert cli("-o", "json", "jobs", "-o", "ids").stdout == wanted
    assert cli("queues", "-o", "ids", "ls").stdout == "default\n"
    if not users.ARE_USED:  # a user may read its namespace only
        assert cli("--namespace", "other", "jobs").stderr == "No jobs.\n"


def test_output_by_variable(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBFLEET_OUTPUT", "json")
    assert json.loads(cli("jobs").stdout) == {"jobs": [], "cursor": ""}
    monkeypatch.setenv("JOBFLEET_OUTPUT", "xml")
    assert cli("jobs").stderr == "output = 'xml' (JOBFLEET_OUTPUT): use table, json or ids.\n"


def test_help_tells_every_command(cli: Cli) -> None:
    text = cli("-h").stdout
    assert cli("--help").stdout == text
    for section, commands in SECTIONS.items():
        assert f"\n{section}:\n" in text
        for name in commands:
            assert f"\n  {name} " in text
            shown = cli(name, "-h")
            assert (shown.exit_code, shown.stderr) == (0, "")
    assert "..." not in text.replace("[ARGS]...", "")


@each("group", ["queues", "workers", "dead", "cron", "limits", "archive", "notify", "flow"])
def test_the_help_of_a_group_cuts_no_sentence(cli: Cli, group: str) -> None:
    shown = cli(group, "-h").stdout

    assert "\nCommands:\n" in shown
    assert "..." not in shown.replace("[ARGS]...", "")


def test_version(cli: Cli) -> None:
    from jobfleet import __version__

    assert cli("version").stdout == f"jobfleet {__version__}\n" == cli("--version").stdout
    assert json.loads(cli("version", "-o", "json").stdout)["jobfleet"] == __version__


def test_config_show_and_check(cli: Cli, here: Path) -> None:
    (here / "jobfleet.toml").write_text('slots = 4\nnamespace = "n"\n')
    shown = json.loads(cli("config", "show", "-o", "json").stdout)
    assert (shown["slots"]["value"], shown["slots"]["source"]) == ("4", "jobfleet.toml")
    assert (shown["grace"]["value"], shown["grace"]["source"]) == ("25s", "default")
    told = cli("config", "check").stdout
    assert told == "The settings are valid: 3 settings given (JOBFLEET_URL, jobfleet.toml).\n"
    (here / "jobfleet.toml").write_text("slots = 0\n")
    for url in ("redis://127.0.0.1:abc", "sentinel://h:1,h:2", "redis://h/jobs/3", "redis://h?foo=1"):
        unread = cli("config", "check", "--url", url)
        assert (unread.exit_code, unread.stdout) == (2, ""), url
    wrong = cli("config", "check")
    assert (wrong.exit_code, wrong.stderr) == (2, "slots = 0 (jobfleet.toml): use 1 or more.\n")


def test_verbose_tells_where(cli: Cli, redis_url: str) -> None:
    assert cli("jobs", "-v").stderr == f"Using {mask_url(redis_url)} from JOBFLEET_URL\nNo jobs.\n"


def test_a_running_up_is_used_and_said_once(
    cli: Cli, here: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JOBFLEET_URL")
    (here / ".jobfleet").mkdir()
    note = here / ".jobfleet" / "up.json"
    note.write_text(json.dumps({"url": redis_url, "pid": os.getpid()}))
    result = cli("enqueue", "demo.add", "1", "-o", "json")
    assert result.exit_code == 0
    assert result.stderr.splitlines()[0] == f"Using {mask_url(redis_url)} from .jobfleet/up.json"
    assert result.stderr.count("Using") == 1


def test_a_process_prints_no_traceback(shell: Shell) -> None:
    result = shell("jobs", "--url", "unix:///nowhere/s.sock")
    assert (result.returncode, result.stdout) == (4, "")
    assert result.stderr == (
        "No Redis at unix:///nowhere/s.sock (no such socket). Start it there, or correct the URL.\n"
    )


def test_ctrl_c_ends_with_130(here: Path, redis_url: str, fleet: Fleet, hand: Hand) -> None:
    job_id = fleet.enqueue(Job("x", "demo.add", id="a"))
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "JOBFLEET_URL": redis_url}
    command = [sys.executable, "-m", "jobfleet", "watch", job_id]
    process = subprocess.Popen(command, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err.strip()) == (130, "")


def test_a_closed_pipe_is_silent(here: Path, redis_url: str, fleet: Fleet, hand: Hand) -> None:
    for number in range(200):
        fleet.enqueue(Job("x" * 200, "demo.add", id=str(number)))
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "JOBFLEET_URL": redis_url}
    command = f"{sys.executable} -m jobfleet jobs --limit 200 -o json | head -n 1"
    result = subprocess.run(command, shell=True, env=environ, text=True, capture_output=True, check=False, timeout=60)
    assert (result.stdout, result.stderr) == ("{\n", "")


def test_a_terminal_has_bars_and_colours(here: Path, redis_url: str, fleet: Fleet, hand: Hand) -> None:
    pytest.importorskip("rich")
    job_id = fleet.enqueue(Job("Add up", "demo.add", id="a"))
    grant = hand.claims(job_id)
    hand.reports(grant, 0.5, "half way")
    screen = on_terminal(redis_url, ["watch", job_id], after=lambda: hand.completes(grant, 3), once="half way")
    assert "half way" in screen
    assert "50 %" in screen
    assert "━" in screen
    assert "\x1b[36m" in screen
    plain = on_terminal(redis_url, ["watch", job_id], NO_COLOR="1")
    assert "100 %" in plain
    assert "\x1b[3" not in plain
    assert "\x1b[32mcompleted" in on_terminal(redis_url, ["status", job_id])
    assert "\x1b[" not in on_terminal(redis_url, ["status", job_id, "--no-color"])


def on_terminal(
    url: str, args: list[str], after: Callable[[], object] | None = None, once: str = "", **environ: str
) -> str:
    """Run a command on a terminal; `after` is called once it has drawn a text."""
    ours, theirs = pty.openpty()
    variables = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "CI"}}
    variables |= {"PYTHONPATH": str(ROOT), "JOBFLEET_URL": url, "TERM": "xterm", "COLUMNS": "120", **environ}
    command = [sys.executable, "-m", "jobfleet", *args]
    process = subprocess.Popen(command, env=variables, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    screen = b""
    while True:
        try:
            read = os.read(ours, 65536)
        except OSError:
            break
        screen += read
        if after is not None and once.encode() in screen:
            after()
            after = None
        if not read:
            break
    process.wait(30)
    os.close(ours)
    return screen.decode()
