"""Write every script and every shared Lua file, each expanded, into a folder for luacheck.

A shared file on its own shows whether it includes everything that it uses.
"""

from __future__ import annotations

import sys
from pathlib import Path

from jobfleet.store.script import Includes, load, names

LUA = Path(__file__).parents[1] / "jobfleet" / "store" / "lua"


def text_of(path: str) -> str:
    """The text of a shared file, ``lib/<folder>/<name>``."""
    return (LUA / f"{path}.lua").read_text(encoding="utf-8")


def main(folder: Path) -> None:
    """Write the files."""
    for name in names():
        (folder / f"{name}.lua").write_bytes(load(name).plain)
    for found in sorted((LUA / "lib").glob("*/*.lua")):
        path = found.relative_to(LUA).with_suffix("").as_posix()
        file = folder / f"{path}.lua"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(Includes(path, text_of).expand(text_of(path)), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
