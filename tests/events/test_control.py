"""Messages on the control channel."""

from __future__ import annotations

import pytest

from jobfleet.events import CancelRequest, Command, read_control


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (Command("quiet", "box:1:ab", "0f"), "quiet box:1:ab 0f - -"),
        (Command("resume", "box:1:ab", "0f", "ann@box"), "resume box:1:ab 0f ann%40box -"),
        (Command("scale", "box:1:ab", "0f", "ann", 12), "scale box:1:ab 0f ann 12"),
        (Command("stop", "box:1:ab", "0f", "ann", 2.5), "stop box:1:ab 0f ann 2.5"),
        (Command("stop", "box:1:ab", "0f", "ann", 0), "stop box:1:ab 0f ann 0"),
        (Command("dump", "box:1:ab", "0f", "ann"), "dump box:1:ab 0f ann -"),
        (Command("stacks", "box:1:ab", "0f", "ann", 12), "stacks box:1:ab 0f ann 12"),
    ],
)
def test_a_command_travels(command: Command, line: str) -> None:
    assert command.line() == line
    assert read_control(line) == command


def test_who_asks_cannot_part_the_line() -> None:
    assert Command("quiet", "w", "0", "ann b\nstop w 1 - 0").line() == "quiet w 0 ann%20b%0Astop%20w%201%20-%200 -"
    assert Command("quiet", "w", "0", "").line() == "quiet w 0 - -"
    assert len(Command("quiet", "w", "0", "x" * 500).line()) == len("quiet w 0  -") + 64


def test_a_command_of_an_earlier_version_is_read() -> None:
    assert read_control("resume box:1:ab 0f ann@box -") == Command("resume", "box:1:ab", "0f", "ann@box")


def test_a_request_to_cancel_is_read() -> None:
    assert read_control("cancel mail.0.x 7 w.1 ann") == CancelRequest("mail.0.x", 7, "w.1", "ann")


@pytest.mark.parametrize(
    "line",
    ["", "cancel", "cancel a b c d", "quiet w", "quiet w XY - -", "dance w 0 - -", "scale w 0 - -1", "scale w 0 - many",
     "quiet w 0 - - more", "cancel mail.0.x 7 w.1 ann more"],
)  # fmt: skip
def test_what_is_not_understood_is_passed_over(line: str) -> None:
    assert read_control(line) is None
