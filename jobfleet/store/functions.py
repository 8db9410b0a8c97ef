"""The scripts as a library of functions, for a server whose users may run no other scripts (docs/adr/0072).

The names of the library and of its functions end in a hash of the scripts' text, so the libraries of two revisions stand
side by side. `library` is loaded by an administrator; a store whose target says so calls its functions.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from jobfleet.store.script import load, names, raw_texts

if TYPE_CHECKING:
    from jobfleet.store.link.protocol import Link

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


@cache
def mark() -> str:
    """Hash of the text of all scripts; it reads their files, but does not expand them."""
    return hashlib.sha256("\0".join(raw_texts()).encode()).hexdigest()[:12]


def library_name() -> str:
    """Return the name of this revision's library."""
    return PREFIX + mark()


@cache
def function_of(script: str) -> str:
    """Return the name of the function of a script. It names the revision, because a server knows a function's name once."""
    return f"{PREFIX}{script}_{mark()}"


def library() -> Library:
    """Return this revision's library."""
    parts = [f"#!lua name={library_name()}\n"]
    for script in map(load, names()):
        flags = ", ".join(f"'{flag}'" for flag in script.header.flags)
        body = "\n".join(line for line in script.plain.decode().splitlines() if not line.lstrip().startswith("--"))
        parts.append(_FUNCTION.format(name=function_of(script.name), flags=flags, body=body))
    return Library(library_name(), tuple(map(function_of, names())), "".join(parts).encode())


def install(link: Link) -> Installed:
    """Load the library into the server, or into each primary of a cluster; a library of its name is replaced.

    Raises:
        ConfigError: The user may not do this, or the server has no functions.
        JobfleetError: The server refuses the library.
    """
    from jobfleet.store.round_trip.replies import translate  # those who only call functions have it already

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
