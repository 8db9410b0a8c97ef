"""Answers a shell that asks for candidates. Whatever is wrong, the answer is empty and the exit code 0."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem, ShellComplete, split_arg_string

from jobfleet.cli.commands.completion import SCRIPTS, VARIABLE, WORD
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import absorb
from jobfleet.errors import JobfleetError

if TYPE_CHECKING:
    from jobfleet.fleet.sync import Fleet


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


# Values that only a fleet knows: its queues, functions, workers, jobs, flows and cron entries.
#
# A look-up has `LIMIT` seconds in total, so that a Redis that is away does not block the prompt. It reads only, and
# it starts no server.


LIMIT = 1.0
"""Seconds that a look-up may take."""
MOST_JOBS = 50
Pair = tuple[str, str]
"""A value and a help text."""
Look = Callable[["Fleet"], Iterator[Pair]]


def _queues(fleet: Fleet) -> Iterator[Pair]:
    for queue in fleet.queues():
        yield queue.name, ""


def _functions(fleet: Fleet) -> Iterator[Pair]:
    for name in sorted(fleet.store.run(fleet.context.fleet_call()).functions):
        yield name, ""


def _workers(fleet: Fleet) -> Iterator[Pair]:
    for worker in fleet.workers():
        if not worker.is_gone:
            yield worker.id, worker.host


def _children(fleet: Fleet) -> Iterator[Pair]:
    for worker in fleet.workers():
        for child in worker.processes:
            yield child.id, child.state


def _jobs(fleet: Fleet) -> Iterator[Pair]:
    for job in fleet.newest(limit=MOST_JOBS):
        yield job.id, f"{job.status} {job.function}"


def _dead(fleet: Fleet) -> Iterator[Pair]:
    for job in fleet.dead(limit=MOST_JOBS):
        yield job.id, f"{job.function}: {job.error or ''}"


def _flows(fleet: Fleet) -> Iterator[Pair]:
    for flow, _ in fleet.flows():
        yield flow, ""


def _entries(fleet: Fleet) -> Iterator[Pair]:
    for entry in fleet.cron():
        yield entry.name, entry.function


def look_of(path: Sequence[str], param: click.Parameter) -> Look | None:
    """What knows the values of a parameter; None if nothing does.

    Args:
        path: The names of the command.
        param: Its parameter.
    """
    name, metavar = param.name or "", str(getattr(param, "metavar", None) or "")
    if name in {"queue", "queues"} or "QUEUE" in metavar:
        return _queues
    if name in {"function", "on_success", "on_failure"} or metavar == "FUNCTION":
        return _functions
    if "WORKER" in metavar:
        return _workers
    if metavar == "CHILD":
        return _children
    if path[0] == "cron" and name in {"name", "which"} and path[1:] != ["add"]:
        return _entries
    if metavar.strip("[].") == "ID" or name == "depends_on":
        return {"flow": _flows, "dead": _dead}.get(path[0], _jobs)
    return None


class KnownValues(click.ParamType[Any]):
    """A text of which a fleet knows the possible values.

    Args:
        look: Reads them.
        is_list: Whether the text is a list with commas, of which the last part is completed.
    """

    name = "text"

    def __init__(self, look: Look, *, is_list: bool) -> None:
        self._look = look
        self._is_list = is_list

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The values that begin with the incomplete word."""
        del param
        before, comma, last = incomplete.rpartition(",") if self._is_list else ("", "", incomplete)
        return [
            CompletionItem(f"{before}{comma}{value}", help=text)
            for value, text in found(ctx, self._look)
            if value.startswith(last)
        ]


def use_values(command: click.Command, args: Sequence[str]) -> None:
    """Give the parameters of the command that these words name the values that a fleet knows."""
    ctx, path = click.Context(command), []
    for word in args:
        known = command.get_command(ctx, word) if isinstance(command, click.Group) else None
        if known is not None:
            command = known
            path.append(word)
    if not path:
        return
    for param in command.params:
        look = look_of(path, param) if param.type is click.STRING else None
        if look is not None:
            param.type = KnownValues(look, is_list=param.name == "queues")


def found(ctx: click.Context, look: Look) -> list[Pair]:
    """Read values from the fleet that the flags and the settings name; none if it is not there in time."""
    invocation = Invocation()
    chain = [ctx]
    while (above := chain[-1].parent) is not None:
        chain.append(above)
    for one in reversed(chain):
        one.obj = invocation
        absorb(one.command, one)
    answered: list[Pair] = []
    reading = threading.Thread(target=_read, args=(invocation, look, answered), daemon=True)
    reading.start()
    reading.join(LIMIT)
    return list(answered)


def _read(invocation: Invocation, look: Look, answered: list[Pair]) -> None:
    from jobfleet.fleet.sync import Fleet

    try:
        config = invocation.config
    except JobfleetError:  # the settings are wrong: the command itself reports that
        return
    if config.url.startswith(("embedded:", "memory:")):  # a look-up starts no server
        return
    brief = replace(config, buffer=0, patience=0.0, connect_timeout=LIMIT / 2, socket_timeout=LIMIT)
    with warnings.catch_warnings(), suppress(JobfleetError), Fleet.of(brief) as fleet:  # without Redis, no values
        warnings.simplefilter("ignore")
        answered.extend(look(fleet))
