"""The bytes of a terminal as keys. Pure."""

from __future__ import annotations

import codecs
import re

ESCAPE = "\x1b"
_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O[A-Za-z])")
_BEGINNING = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|O)?")
_NAMES = {
    "[A": "up", "[B": "down", "OA": "up", "OB": "down",
    "[5~": "page-up", "[6~": "page-down",
    "[H": "home", "[1~": "home", "OH": "home", "[F": "end", "[4~": "end", "OF": "end",
}  # fmt: skip
_CONTROLS = {"\r": "enter", "\n": "enter", "\t": "tab", "\x7f": "backspace", "\b": "backspace"}


class KeyReader:
    """Reads keys from bytes as they arrive. A key is a printable character, or a name such as ``up`` or ``enter``.

    Other control characters, and sequences that have no name here, are not keys.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    @property
    def is_unfinished(self) -> bool:
        """Whether the last bytes may begin a longer sequence."""
        return bool(self._rest)

    def feed(self, data: bytes) -> list[str]:
        """The keys of the next bytes."""
        text = self._rest + self._decoder.decode(data)
        self._rest = ""
        keys: list[str] = []
        at = 0
        while at < len(text):
            if text[at] != ESCAPE:
                keys += _character(text[at])
                at += 1
            elif found := _SEQUENCE.match(text, at):
                keys += filter(None, [_NAMES.get(found[0][1:])])
                at = found.end()
            elif _BEGINNING.fullmatch(text, at):
                self._rest = text[at:]
                break
            else:
                keys.append("escape")
                at += 1
        return keys

    def flush(self) -> list[str]:
        """Nothing more has come: a lone escape is a key, and half of a sequence is not."""
        rest, self._rest = self._rest, ""
        return ["escape"] if rest == ESCAPE else []


def _character(char: str) -> list[str]:
    name = _CONTROLS.get(char, char)
    return [name] if name.isprintable() else []
