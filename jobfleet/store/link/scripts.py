"""Which script a command runs: for watchers, which see commands and not calls."""

from __future__ import annotations

from jobfleet.store.call import Argument, Command
from jobfleet.store.functions import function_of
from jobfleet.store.script import Script, load, names

_EVALS = frozenset(("EVALSHA", "EVALSHA_RO", "EVAL", "EVAL_RO", "FCALL", "FCALL_RO"))
_OFTEN = ("claim", "settle", "keep", "enqueue", "enqueue_plain", "status", "fleet", "renew", "beat", "tick")
"""The scripts to look at first; the others are read only if a command runs none of these."""
_known: dict[Argument, Script] = {}
_left: list[str] = []


def script_of(command: Command) -> Script | None:
    """Return the script that a command runs or loads; None for other commands."""
    if command[0] in _EVALS:
        return _found(command[1])
    return _found(command[2]) if command[:2] == ("SCRIPT", "LOAD") else None


def known() -> list[Script]:
    """Return the scripts that commands have run so far, and those that were read to find them."""
    return [script for key, script in list(_known.items()) if key == script.sha]


def _found(text: Argument) -> Script | None:
    """Find a script by its hash, its function, or either form of its source."""
    if not _known:
        _left.extend([*(name for name in names() if name not in _OFTEN), *reversed(_OFTEN)])
    while text not in _known and _left:
        script = load(_left.pop())
        _known.update(dict.fromkeys((script.sha, function_of(script.name), script.source, script.plain), script))
    return _known.get(text)
