"""Answers a shell that asks for candidates. Whatever is wrong, the answer is empty and the exit code 0."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence

import click
from click.shell_completion import CompletionItem, ShellComplete, split_arg_string

from jobfleet.cli.completion.scripts import SCRIPTS, VARIABLE, WORD
from jobfleet.cli.completion.values import use_values

PROGRAM = "jobfleet"
HELP_MOST = 60
"""Most characters of a help text beside a candidate."""


def main(command: click.Command, environ: Mapping[str, str]) -> int:
    """Print the candidates for the words of a shell.

    Args:
        command: The group of all commands.
        environ: The variables of this process.
    """
    shell = environ.get(VARIABLE, "")
    _be_silent()
    try:
        lines = list(answer(command, shell, environ, sys.argv[1:])) if shell in SCRIPTS else []
    except Exception:  # noqa: BLE001 - an error would appear in the middle of the line that somebody types
        lines = []
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()
    os._exit(0)  # a look-up that still waits for Redis must not delay the prompt


def _be_silent() -> None:
    """Discard what this process, and any library in it, writes to stderr."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def answer(command: click.Command, shell: str, environ: Mapping[str, str], words: Sequence[str]) -> Iterator[str]:
    """The candidates, one line each: kind, value and help with tabs between them.

    Args:
        command: The group of all commands.
        shell: The name of the shell.
        environ: The variables of the shell's question.
        words: The words after the program, the last one incomplete; not used for bash, which passes its line.
    """
    if shell == "bash":
        words = _words_of(environ.get("COMP_LINE", ""))
    *args, incomplete = words or [""]
    prefix = _option_before(incomplete)
    cut = max(0, len(incomplete) - len(environ[WORD])) if WORD in environ and shell == "bash" else 0
    for item in candidates(command, args, incomplete):
        value = f"{prefix}{item.value}" if not item.value.startswith("-") else item.value
        help_text = " ".join((item.help or "").split())[:HELP_MOST]
        yield f"{item.type}\t{value[cut:]}\t{help_text}"


def candidates(command: click.Command, args: Sequence[str], incomplete: str) -> list[CompletionItem]:
    """The candidates for an incomplete word after others."""
    use_values(command, args)
    return ShellComplete(command, {}, PROGRAM, VARIABLE).get_completions(list(args), incomplete)


def _words_of(line: str) -> list[str]:
    """The words of a line of bash after the program; the last one is empty if the line ends with a space."""
    words = split_arg_string(line)[1:]
    return [*words, ""] if not words or line[-1:].isspace() else words


def _option_before(incomplete: str) -> str:
    """The option that is written in one word with its value, such as ``--queue=``; empty for any other word."""
    name, sign, _ = incomplete.partition("=")
    return f"{name}=" if sign and name.startswith("--") else ""
