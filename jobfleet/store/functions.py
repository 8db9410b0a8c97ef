"""The scripts as a library of functions, for a server whose users may run no other scripts (docs/adr/0072).

The names of the library and of its functions end in a hash of the scripts' text, so the libraries of two revisions
stand side by side. An administrator loads it; a store whose target says so calls its functions.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import NamedTuple

from jobfleet.store.script import load, names, raw_texts

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
def function_of(script: str) -> str:
    """Return the name of a script's function. It names the revision: a server has each name only once."""
    return f"{PREFIX}{script}_{mark()}"


def library() -> Library:
    """Return this revision's library."""
    parts = [f"#!lua name={library_name()}\n"]
    for script in map(load, names()):
        flags = ", ".join(f"'{flag}'" for flag in script.header.flags)
        body = "\n".join(line for line in script.plain.decode().splitlines() if not line.lstrip().startswith("--"))
        parts.append(_FUNCTION.format(name=function_of(script.name), flags=flags, body=body))
    return Library(library_name(), tuple(map(function_of, names())), "".join(parts).encode())
