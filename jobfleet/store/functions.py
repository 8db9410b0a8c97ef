"""The scripts as a library of functions, for a server whose users may run no other scripts (docs/adr/0072).

The names of the library and of its functions end in a hash of the scripts' text, so the libraries of two revisions
stand side by side. An administrator loads it; a store whose target says so calls its functions.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import NamedTuple

from jobfleet.store.script import Script, load, names, raw_texts

PREFIX = "jobfleet_"
_FUNCTION = """\
redis.register_function{{function_name = '{name}', flags = {{{flags}}}, callback = function(KEYS, ARGV)
{body}
end}}
"""


class Library(NamedTuple):
    """A library of functions.

    Attributes:
        name: Its name.
        functions: The names of its functions.
        text: What `FUNCTION LOAD` takes.
    """

    name: str
    functions: tuple[str, ...]
    text: bytes


@cache
def mark() -> str:
    """Hash of the text of all scripts; it reads their files, but does not expand them."""
    return hashlib.sha256("\0".join(raw_texts()).encode()).hexdigest()[:12]


def library_name() -> str:
    """Return the name of this revision's library."""
    return PREFIX + mark()


@cache
def function_of(script: str, *, is_exempt: bool = False) -> str:
    """Return the name of a script's function. It names the revision: a server has each name only once.

    Args:
        script: The name of the script.
        is_exempt: Whether it is the form that Redis runs even if its memory is full.
    """
    return f"{PREFIX}{script}{'_exempt' if is_exempt else ''}_{mark()}"


def library() -> Library:
    """Return this revision's library."""
    parts = [f"#!lua name={library_name()}\n"]
    functions: list[str] = []
    for script in (one for name in names() for one in _forms(name)):
        flags = ", ".join(f"'{flag}'" for flag in script.flags)
        body = "\n".join(line for line in script.plain.decode().splitlines() if not line.lstrip().startswith("--"))
        functions.append(function_of(script.name, is_exempt=script.is_exempt))
        parts.append(_FUNCTION.format(name=functions[-1], flags=flags, body=body))
    return Library(library_name(), tuple(functions), "".join(parts).encode())


def _forms(name: str) -> list[Script]:
    """A script, and for one that a full memory refuses also the form that running jobs call."""
    usual, exempt = load(name), load(name, is_exempt=True)
    return [usual, exempt] if exempt.is_exempt else [usual]
