"""`jobfleet completion`, the scripts that shells load, and the answer to a shell that asks for candidates.

The scripts ask the program for candidates, and discard whatever it writes to stderr. A candidate is a line of a kind
(``plain``, ``file`` or ``dir``), a value and a help text, with tabs between them. bash passes the line up to the
cursor, because it splits words at ``:`` and ``=``; the others pass the words. Whatever is wrong, the answer is empty
and the exit code 0.
"""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import click
from click.shell_completion import CompletionItem, ShellComplete, split_arg_string

from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import COMPLETE, Command, absorb
from jobfleet.errors import JobfleetError

if TYPE_CHECKING:
    from jobfleet.fleet.sync import Fleet

WORD: Final = "_JOBFLEET_WORD"
"""The variable in which bash passes the part of the word that its answer replaces."""

_BASH = f"""\
# jobfleet completion for bash. Load it with: source <(jobfleet completion bash)
_jobfleet_complete() {{
    local kind value help
    COMPREPLY=()
    while IFS=$'\\t' read -r kind value help; do
        case $kind in
            file) compopt -o default 2>/dev/null ;;
            dir) compopt -o dirnames 2>/dev/null ;;
            plain) COMPREPLY+=("$value") ;;
        esac
        case $value in
            *=) compopt -o nospace 2>/dev/null ;;
        esac
    done < <(COMP_LINE=${{COMP_LINE:0:COMP_POINT}} {WORD}=$2 {COMPLETE}=bash "$1" 2>/dev/null)
}}
complete -o nosort -F _jobfleet_complete jobfleet 2>/dev/null || complete -F _jobfleet_complete jobfleet
"""

_ZSH = f"""\
#compdef jobfleet
# jobfleet completion for zsh. Load it with: source <(jobfleet completion zsh)
_jobfleet() {{
    local line kind value help
    local -a candidates
    for line in "${{(@f)$({COMPLETE}=zsh ${{~words[1]}} "${{(@Q)words[2,CURRENT]}}" 2>/dev/null)}}"; do
        IFS=$'\\t' read -r kind value help <<<"$line"
        case $kind in
            file) _files ;;
            dir) _files -/ ;;
            plain) candidates+=("${{value//:/\\\\:}}${{help:+:$help}}") ;;
        esac
    done
    (( $#candidates )) && _describe -V candidate candidates
}}
if [[ ${{funcstack[1]}} == _jobfleet ]]; then
    _jobfleet "$@"
else
    (( $+functions[compdef] )) || {{ autoload -Uz compinit && compinit -i; }}
    compdef _jobfleet jobfleet
fi
"""

_FISH = f"""\
# jobfleet completion for fish. Load it with: jobfleet completion fish | source
function _jobfleet_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    test (count $current) -gt 0; or set current ""
    for line in (env {COMPLETE}=fish $words[1] $words[2..-1] "$current" 2>/dev/null)
        set -l parts (string split \\t -- $line)
        switch $parts[1]
            case file
                __fish_complete_path "$current"
            case dir
                __fish_complete_directories "$current"
            case plain
                printf '%s\\t%s\\n' $parts[2] $parts[3]
        end
    end
end
complete --command jobfleet --no-files --keep-order --arguments '(_jobfleet_complete)'
"""

SCRIPTS: Final[Mapping[str, str]] = MappingProxyType({"bash": _BASH, "zsh": _ZSH, "fish": _FISH})
"""The script of each shell, by its name."""


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(list(SCRIPTS)), metavar="bash|zsh|fish")
def completion(shell: str) -> None:
    """Print the script with which a shell completes commands, options, queues, functions, workers and jobs.

    Load it in each shell with a line in its start file:

    \b
      bash   source <(jobfleet completion bash)
      zsh    source <(jobfleet completion zsh)
      fish   jobfleet completion fish | source

    Values are read from Redis if it answers within a second. Errors are never shown.
    """  # noqa: D301 - click keeps the lines of a paragraph that begins with a backspace
    click.echo(SCRIPTS[shell], nl=False)


# Answers a shell.


PROGRAM = "jobfleet"
HELP_MOST = 60
"""Most characters of a help text beside a candidate."""


def main(command: click.Command, environ: Mapping[str, str]) -> int:
    """Print the candidates for the words of a shell.

    Args:
        command: The group of all commands.
        environ: The variables of this process.
    """
    shell = environ.get(COMPLETE, "")
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
    return ShellComplete(command, {}, PROGRAM, COMPLETE).get_completions(list(args), incomplete)


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
