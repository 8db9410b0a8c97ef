"""`jobfleet init`: write a starter project into a folder."""

from __future__ import annotations

import keyword
import re
import sys
import sysconfig
from importlib import metadata
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path, PurePath
from string import Template

import click

from jobfleet.cli import fail
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Command
from jobfleet.cli.output import plain, say
from jobfleet.errors import InvalidJob, JobfleetError


@click.command(cls=Command)
@click.argument("name", metavar="[NAME]", required=False)
@click.pass_obj
def init(invocation: Invocation, name: str | None) -> int:
    """Write a starter project: jobs, a test, settings, compose.yaml, and units for systemd.

    It goes into the folder NAME, which is created; without NAME, into the current folder, whose name it takes.
    Existing files are never overwritten: if one is in the way, nothing is written, and the exit code is 1. A .gitignore
    or .dockerignore of the folder is kept.
    """
    folder = Path(name) if name is not None else Path()
    chosen = name if name is not None else Path.cwd().name
    texts = contents(chosen)
    kept = [path for path in KEPT if (folder / path).is_file()]
    for path in kept:
        del texts[path]
    try:
        write(folder, texts)
    except (Occupied, OSError) as error:
        say(str(error))
        return fail.FAILED
    paths = [str(folder / path) for path in texts]
    if kept:
        say(f"Kept {' and '.join(kept)}. Add to it: {', '.join(NEVER_SENT)}.")
    module = check_name(chosen)
    lines = [f"Wrote {len(paths)} files:", *(f"  {plain(path)}" for path in paths)]
    start = f"cd {chosen} && " if name is not None else ""
    lines.append(f"Next: {start}jobfleet up {module}")
    invocation.output.show(data={"files": paths, "module": module}, ids=paths, text="\n".join(lines))
    return fail.DONE


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


RULE = re.compile(r"[a-z]([a-z0-9_-]{0,38}[a-z0-9])?")
TAKEN = ("jobfleet", "tests", "systemd", "test")
"""Names that would hide a module of the project or of this package."""
_REQUIRED = re.compile(r"[A-Za-z0-9._-]+")


def check_name(name: str) -> str:
    """Check the name of a project; return the name of its module.

    Raises:
        InvalidJob: It cannot be the name of a module and of services, or the module would hide another one.
    """
    module = name.replace("-", "_")
    if not RULE.fullmatch(name):
        raise _refused(
            name, "use up to 40 lower-case letters, digits, '-' and '_', with a letter first and a letter or digit last"
        )
    if keyword.iskeyword(module):
        raise _refused(name, "it is a keyword of Python")
    if module in TAKEN:
        raise _refused(name, f"{', '.join(TAKEN)} are in use by the project itself")
    if module in sys.stdlib_module_names:
        raise _refused(name, f"{module}.py would hide the module {module} of Python's standard library")
    if _is_package(module):
        raise _refused(name, f"{module}.py would hide the package {module}, which is installed or needed")
    return module


def _refused(name: str, why: str) -> InvalidJob:
    end = "" if why.startswith("use") else " Choose another name."
    return InvalidJob(f"{name!r} cannot be the name of a project: {why}.{end}", field="name")


def _is_package(module: str) -> bool:
    """Whether a package that jobfleet can use has this name, or an installed one."""
    try:
        needed = {_REQUIRED.match(line) for line in metadata.requires("jobfleet") or ()}
    except metadata.PackageNotFoundError:  # it runs from its source
        needed = set()
    if module in {found[0].lower().replace("-", "_") for found in needed if found}:
        return True
    spec = find_spec(module)
    if spec is None:
        return False
    places = [Path(place) for place in (spec.origin, *(spec.submodule_search_locations or ())) if place]
    installed = {Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib")}
    return any(place.is_relative_to(folder) for place in places for folder in installed)
