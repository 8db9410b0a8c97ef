"""The command ``jobfleet`` for the command lines of frameworks: its arguments, its environment, and its start.

It runs as a program of its own, with this interpreter: a worker must be the process that gets the signals.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from jobfleet.config import load
from jobfleet.errors import ConfigError

COMMANDS = ("worker", "up")
"""The commands that load modules with jobs."""
QUEUES = ("-Q", "--queues")


def arguments_of(words: Sequence[str], module: str) -> list[str]:
    """The arguments of ``jobfleet``; a command that loads modules also loads the one of the framework, first.

    Args:
        words: What was typed, from the name of the command on.
        module: The module.
    """
    if not words or words[0] not in COMMANDS or "--help" in words:
        return list(words)
    return [words[0], module, *words[1:]]


def is_set(setting: str, words: Sequence[str], environment: Mapping[str, str], *flags: str) -> bool:
    """Whether a flag, a variable or a file gives the command a setting.

    Args:
        setting: The name of the setting.
        words: What was typed.
        environment: The environment of the command.
        flags: The flags of the setting.

    Raises:
        ConfigError: A setting is not valid.
    """
    short = tuple(flag for flag in flags if not flag.startswith("--"))
    long = tuple(f"{flag}=" for flag in flags if flag.startswith("--"))
    if any(word in flags or word.startswith(long) or (short and word.startswith(short)) for word in words):
        return True
    return load(environ=environment).sources[setting] != "default"


def environment_of(settings: Mapping[str, Any]) -> dict[str, str]:
    """The environment of ``jobfleet``: that of this process, and settings of the application, which win.

    Raises:
        ConfigError: A setting cannot be passed on in a variable.
    """
    environment = dict(os.environ)
    for name, value in settings.items():
        if isinstance(value, bool):
            text = "true" if value else "false"
        elif isinstance(value, str | int | float | os.PathLike):
            text = os.fspath(value) if isinstance(value, os.PathLike) else str(value)
        else:
            raise ConfigError(f"{name} = {value!r:.100} cannot be a variable; put it into jobfleet.toml.")
        environment[f"JOBFLEET_{name.upper()}"] = text
    return environment


def become(arguments: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Replace this process by the command."""
    os.execve(sys.executable, _command(arguments), dict(environment))  # noqa: S606 - no shell is wanted


def finish(arguments: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, and keep what it prints."""
    return subprocess.run(_command(arguments), env=dict(environment), capture_output=True, text=True, check=False)


def _command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "jobfleet", *arguments]
