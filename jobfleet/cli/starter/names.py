"""Checks the name of a starter project: its module must not hide another one."""

from __future__ import annotations

import keyword
import re
import sys
import sysconfig
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from jobfleet.errors import InvalidJob

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
