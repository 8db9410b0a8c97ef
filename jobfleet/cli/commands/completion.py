"""`jobfleet completion`, and the scripts that shells load.

The scripts ask the program for candidates, and discard whatever it writes to stderr. A candidate is a line of a kind
(``plain``, ``file`` or ``dir``), a value and a help text, with tabs between them. bash passes the line up to the
cursor, because it splits words at ``:`` and ``=``; the others pass the words.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import click

from jobfleet.cli.options import Command

VARIABLE: Final = "_JOBFLEET_COMPLETE"
"""The variable that asks for candidates; its value is the name of the shell."""
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
    done < <(COMP_LINE=${{COMP_LINE:0:COMP_POINT}} {WORD}=$2 {VARIABLE}=bash "$1" 2>/dev/null)
}}
complete -o nosort -F _jobfleet_complete jobfleet 2>/dev/null || complete -F _jobfleet_complete jobfleet
"""

_ZSH = f"""\
#compdef jobfleet
# jobfleet completion for zsh. Load it with: source <(jobfleet completion zsh)
_jobfleet() {{
    local line kind value help
    local -a candidates
    for line in "${{(@f)$({VARIABLE}=zsh ${{~words[1]}} "${{(@Q)words[2,CURRENT]}}" 2>/dev/null)}}"; do
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
    for line in (env {VARIABLE}=fish $words[1] $words[2..-1] "$current" 2>/dev/null)
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
    r"""Print the script with which a shell completes commands, options, queues, functions, workers and jobs.

    Load it in each shell with a line in its start file:

    \b
      bash   source <(jobfleet completion bash)
      zsh    source <(jobfleet completion zsh)
      fish   jobfleet completion fish | source

    Values are read from Redis if it answers within a second. Errors are never shown.
    """
    click.echo(SCRIPTS[shell], nl=False)
