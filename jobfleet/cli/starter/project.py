"""Writes the starter project into a folder."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path, PurePath
from string import Template

from jobfleet.cli.starter.names import check_name
from jobfleet.errors import JobfleetError

SUFFIX = ".template"
FILES = (
    "module.py", "tests/test_module.py", "jobfleet.toml", "pyproject.toml", "Dockerfile", "compose.yaml",
    "systemd/worker.service", "systemd/reaper.service", "README.md", ".gitignore", ".dockerignore",
)  # fmt: skip
"""The files of the project, relative to its folder; the module's name replaces ``module``, and services begin with the
project's."""
KEPT = (".gitignore", ".dockerignore")
"""Files that a folder may have already; then its own are kept."""
NEVER_SENT = (".venv", ".jobfleet")
"""What a kept file of these has to list."""


class Occupied(JobfleetError):
    """A file of the project exists."""


def contents(name: str) -> dict[str, str]:
    """The text of each file of a project, by its path within the folder.

    Args:
        name: The name of the project.

    Raises:
        InvalidJob: The name cannot be used.
    """
    module = check_name(name)
    folder = files("jobfleet.cli.starter").joinpath("files")
    made = {}
    for path in FILES:
        text = folder.joinpath(path.removeprefix(".") + SUFFIX).read_text(encoding="utf-8")
        place = path.replace("module", module).replace("systemd/", f"systemd/{name}-")
        made[place] = Template(text).substitute(name=name, module=module)
    return made


def write(folder: Path, texts: dict[str, str]) -> None:
    """Write files; none if one of them exists.

    Args:
        folder: The folder; it is created if it does not exist.
        texts: The texts by their paths within the folder.

    Raises:
        Occupied: A file exists. Nothing is written.
    """
    there = [path for path in texts if (folder / path).exists() or (folder / path).is_symlink()]
    folders = dict.fromkeys(str(above) for path in texts for above in PurePath(path).parents)
    there += [path for path in folders if (folder / path).exists() and not (folder / path).is_dir()]
    if there:
        raise Occupied(f"{', '.join(there)} in {str(folder)!r} would be overwritten; choose another folder.")
    for path, text in texts.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("x", encoding="utf-8") as file:  # never over a file that came meanwhile
            file.write(text)
