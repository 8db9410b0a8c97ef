"""Shared Lua functions of the scripts, by themselves."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

_LIB = Path(str(files("jobfleet.store"))) / "lua" / "lib"
_INCLUDE = re.compile(r"^-- @include lib/(\S+)\n", re.MULTILINE)


def library(*names: str) -> str:
    """The text of files of ``lua/lib`` with all that they include, each once, ready for EVAL.

    Args:
        names: Paths below ``lua/lib``, without ``.lua``, in the order in which they are needed.
    """
    seen: set[str] = set()

    def text_of(name: str) -> str:
        if name in seen:
            return ""
        seen.add(name)
        return _INCLUDE.sub(lambda match: text_of(match[1]), (_LIB / f"{name}.lua").read_text())

    return "".join(text_of(name) for name in names)
