"""The terminal of `top` and of `dead triage`: it is as it was before at every kind of end, and fits at every size."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from jobfleet import Fleet
from tests.cli.hand import Hand
from tests.cli.terminal import STOPPED, Terminal

OPEN, CLOSE = "\x1b[?1049h", "\x1b[?1049l"
COMMANDS = [("top", "--every", "60"), ("dead", "triage")]
pytestmark = pytest.mark.usefixtures("letter")


@pytest.fixture
def environ(here: Path, redis_url: str) -> dict[str, str]:
    return {"JOBFLEET_URL": redis_url}


@pytest.fixture
def letter(hand: Hand) -> str:
    return hand.buries("a")


def is_as_before(terminal: Terminal) -> bool:
    """Whether the modes are those of before, and the first screen is shown with a cursor."""
    end = terminal.text.rpartition(OPEN)[2]
    return terminal.modes == terminal.modes_before and end.count(CLOSE) == 1 and "\x1b[?25h" in end


@pytest.mark.parametrize("command", COMMANDS)
def test_a_key_that_quits_restores_the_terminal(command: tuple[str, ...], environ: dict[str, str]) -> None:
    with Terminal(*command, environ=environ) as terminal:
        terminal.shows("no luck")
        assert terminal.modes != terminal.modes_before
        terminal.types("q")
        assert terminal.ends() == 0

        assert is_as_before(terminal)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGINT])
def test_a_signal_that_ends_it_restores_the_terminal(
    command: tuple[str, ...], number: signal.Signals, environ: dict[str, str]
) -> None:
    with Terminal(*command, environ=environ) as terminal:
        terminal.shows("no luck")
        terminal.process.send_signal(number)
        code = terminal.ends()

        assert is_as_before(terminal)
    assert code == (130 if number is signal.SIGINT else -number)
    assert "Traceback" not in terminal.text.rpartition(CLOSE)[2]


@pytest.mark.parametrize("name", ["USR1", "USR2", "ALRM", "VTALRM", "PROF", "XCPU", "ABRT"])
def test_a_signal_that_nobody_expects_restores_the_terminal(name: str, environ: dict[str, str]) -> None:
    number = signal.Signals[f"SIG{name}"]
    with Terminal("top", "--every", "60", environ=environ) as terminal:
        terminal.shows("no luck")
        terminal.process.send_signal(number)

        assert terminal.ends() == -number
        assert is_as_before(terminal)


@pytest.mark.parametrize("command", COMMANDS)
def test_an_error_restores_the_terminal(command: tuple[str, ...], environ: dict[str, str]) -> None:
    module = "jobfleet.cli.commands.top" if command[0] == "top" else "jobfleet.cli.commands.dead_triage"
    breaks = f"import {module}\n{module}.press = lambda *_: 1 / 0"

    with Terminal(*command, environ=environ, before=breaks) as terminal:
        terminal.shows("no luck")
        terminal.types("j")
        assert terminal.ends() == 1

        assert is_as_before(terminal)
    assert "ZeroDivisionError" in terminal.text.rpartition(CLOSE)[2]


@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_z_gives_the_terminal_to_the_shell_and_fg_draws_again(
    command: tuple[str, ...], environ: dict[str, str]
) -> None:
    with Terminal(*command, environ=environ, has_shell=True) as terminal:
        terminal.shows("no luck")
        raw = terminal.modes
        terminal.types("\x1a")
        terminal.until(STOPPED)
        assert is_as_before(terminal)

        there = len(terminal.text)
        terminal.types("fg\n")
        terminal.until(OPEN, after=there)
        terminal.until("no luck", after=there)
        assert terminal.modes == raw
        terminal.types("q")

        assert terminal.ends() == 0
        assert is_as_before(terminal)


def test_a_stop_that_cannot_be_handled_is_made_good_when_it_continues(environ: dict[str, str]) -> None:
    with Terminal("top", "--every", "60", environ=environ, has_shell=True) as terminal:
        terminal.shows("no luck")
        raw = terminal.modes
        terminal.types("/")
        terminal.shows("Filter: _")
        there = len(terminal.text)
        terminal.stops_command()
        terminal.until(STOPPED, after=there)
        terminal.restores_modes()
        terminal.types("fg\n")
        terminal.until("no luck", after=there)
        assert terminal.modes == raw
        terminal.types("\x1bq")

        assert terminal.ends() == 0
        assert is_as_before(terminal)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_closed_terminal_ends_it(command: tuple[str, ...], environ: dict[str, str]) -> None:
    with Terminal(*command, environ=environ) as terminal:
        terminal.shows("no luck")
        terminal.hangs_up()

        assert terminal.process.wait(30) == -signal.SIGHUP


@pytest.mark.parametrize("command", COMMANDS)
def test_a_closed_terminal_ends_it_also_if_hang_ups_are_ignored(
    command: tuple[str, ...], environ: dict[str, str]
) -> None:
    ignores = "signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    with Terminal(*command, environ=environ, before=ignores) as terminal:
        terminal.shows("no luck")
        terminal.hangs_up()

        assert terminal.process.wait(30) == 130


@pytest.mark.parametrize("command", COMMANDS)
def test_another_size_of_the_terminal_is_drawn_at_once(
    command: tuple[str, ...], environ: dict[str, str], fleet: Fleet, hand: Hand
) -> None:
    hand.buries("b", queue="a-queue-with-a-long-name-" + 7 * "x")

    with Terminal(*command, environ=environ, columns=120, rows=30) as terminal:
        terminal.shows("no luck")
        for columns, rows in ((60, 24), (60, 12), (200, 50), (30, 5), (80, 24)):
            terminal.resizes(columns, rows)

            assert max(map(len, terminal.shows(rows=rows))) <= columns
        terminal.types("q")
        assert terminal.ends() == 0
