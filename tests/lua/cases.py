"""All cases of the scripts as values, for tests that run them on a floor of their own."""

from __future__ import annotations

import importlib
import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from jobfleet.store.script import entry_scripts
from tests.lua.world import World


class Case(NamedTuple):
    """One test function with one set of its parameters.

    Attributes:
        id: The file's verb, the function and the parameters.
        body: The function.
        arguments: Its parameters but for the world.
        flaw: Why it is expected to fail; empty when it is not.
    """

    id: str
    body: Callable[..., None]
    arguments: Mapping[str, Any]
    flaw: str

    def run(self, world: World) -> None:
        """Run it in a world."""
        self.body(world, **self.arguments)


NOUNS = sorted(set(entry_scripts().values()))
"""The folders of the scripts: a rule about scripts is a test for each folder, which tells all failures in it."""


def scripts_of(noun: str, among: Iterable[str]) -> list[str]:
    """The scripts of a folder."""
    return [name for name in among if entry_scripts()[name] == noun]


def cases(verb: str) -> list[Case]:
    """The cases of a script: those of its files in the folder of a noun."""
    stems = {f"test_{verb}", f"test_{verb}_guards"}
    return [case for file, found in files().items() if "/" in file and Path(file).name in stems for case in found]


@cache
def files() -> Mapping[str, Sequence[Case]]:
    """The cases of each file, by its path in this folder without the suffix."""
    folder = Path(__file__).parent
    paths = sorted(file.relative_to(folder).with_suffix("") for file in folder.rglob("test_*.py"))
    found = {str(path): [*_of(".".join(("tests.lua", *path.parts)))] for path in paths}
    return {file: them for file, them in found.items() if them}


def _of(module: str) -> Iterator[Case]:
    verb = module.rpartition(".test_")[2]
    for name, body in vars(importlib.import_module(module)).items():
        if name.startswith("test_") and (wanted := list(inspect.signature(body).parameters))[:1] == ["world"]:
            marks = getattr(body, "pytestmark", [])
            flaw = next((str(mark.kwargs["reason"]) for mark in marks if mark.name == "xfail"), "")
            for arguments in _arguments([mark.args for mark in marks if mark.name == "parametrize"]):
                if set(wanted) == {"world", *arguments}:  # what asks for a floor is about that floor
                    yield Case(f"{verb}:{name}", body, arguments, flaw)


def _arguments(tables: list[Any]) -> Iterator[dict[str, Any]]:
    columns = [[_row(names, row) for row in rows] for names, rows in tables]
    for choice in itertools.product(*columns):
        yield {name: value for row in choice for name, value in row.items()}


def _row(names: str | tuple[str, ...], row: Any) -> dict[str, Any]:
    return {names: row} if isinstance(names, str) else dict(zip(names, row, strict=True))
