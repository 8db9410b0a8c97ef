"""Which script a command runs, for watchers, which see no calls; and loading the scripts as a library of functions."""

from __future__ import annotations

from typing import NamedTuple

from jobfleet.store.call import Argument, Command
from jobfleet.store.functions import PREFIX, function_of, library
from jobfleet.store.link.protocol import Link
from jobfleet.store.round_trip.replies import translate
from jobfleet.store.script import Script, load, loaded, names

_EVALS = frozenset(("EVALSHA", "EVALSHA_RO", "EVAL", "EVAL_RO", "FCALL", "FCALL_RO"))
_OFTEN = ("claim", "settle", "keep", "enqueue", "enqueue_plain", "status", "fleet", "renew", "beat", "tick")
"""The scripts to look at first; the others are read only if a command runs none of these."""
_functions: dict[Argument, Script] = {}
_left: list[str] = []


def script_of(command: Command) -> Script | None:
    """Return the script that a command runs or loads; None for other commands."""
    if command[0] in _EVALS:
        return _found(command[1])
    return _found(command[2]) if command[:2] == ("SCRIPT", "LOAD") else None


def known() -> list[Script]:
    """Return the scripts that were read so far: to run them, or to find one."""
    return [script for key, script in list(loaded.items()) if key == script.sha]


def _found(text: Argument) -> Script | None:
    """Find a script by its hash, its function, or either form of its source; also one that names those before it."""
    if text in loaded:
        return loaded[text]
    if not _functions:
        _left.extend([*(name for name in names() if name not in _OFTEN), *reversed(_OFTEN)])
    while text not in _functions and text not in loaded and _left:
        script = load(_left.pop())
        _functions[function_of(script.name)] = script
    return _functions.get(text) or loaded.get(text)


class Installed(NamedTuple):
    """What `install` has done.

    Attributes:
        name: The name of the library.
        functions: The number of its functions.
        others: The libraries of other revisions.
    """

    name: str
    functions: int
    others: tuple[str, ...]


def install(link: Link) -> Installed:
    """Load the library into the server, or into each primary of a cluster; a library of its name is replaced.

    Raises:
        ConfigError: The user may not do this, or the server has no functions.
        JobfleetError: The server refuses the library.
    """
    made = library()
    replies = link.exchange(
        [("FUNCTION", "LOAD", "REPLACE", made.text), ("FUNCTION", "LIST", "LIBRARYNAME", f"{PREFIX}*")]
    )
    for reply in replies:
        if isinstance(reply, BaseException):
            raise translate(reply)
    found = {bytes(word).decode() for row in replies[1] for word in row if isinstance(word, bytes)}
    others = sorted(word for word in found if word.startswith(PREFIX) and word != made.name)
    return Installed(made.name, len(made.functions), tuple(others))
