"""The lower bounds of what the extras bring: no version with a published advisory is permitted.

The advisories are listed here, because the gate runs without a database of them. `pip-audit` finds newer ones where
there is a network; docs/howto/deploy.md names the command.
"""

from __future__ import annotations

import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.support.fleet import ROOT

ADVISORIES = {
    "cryptography": ("46.0.7", "CVE-2024-12797, CVE-2026-26007: fixed by 46.0.5; later wheels have a newer OpenSSL"),
    "flask": ("3.1.3", "CVE-2025-47278, CVE-2026-27205"),
    "h11": ("0.16.0", "CVE-2025-43859: chunked bodies"),
    "jinja2": ("3.1.6", "CVE-2024-56201, CVE-2024-56326, CVE-2025-27516: the sandbox"),
    "pymysql": ("1.1.1", "CVE-2024-36039"),
    "redis": ("4.5.5", "CVE-2023-28858, CVE-2023-28859"),
    "starlette": ("1.0.1", "CVE-2024-47874, CVE-2025-54121, CVE-2025-62727, CVE-2026-48710"),
    "uvicorn": ("0.11.7", "CVE-2020-7694, CVE-2020-7695"),
}
"""The first version without the advisories, for each package that had some."""


def bounds() -> dict[str, Version]:
    """The lowest version of each package that the project permits, in any extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    rows = [*project["dependencies"], *(row for extra in project["optional-dependencies"].values() for row in extra)]
    found: dict[str, Version] = {}
    for requirement in map(Requirement, rows):
        for one in requirement.specifier:
            if one.operator == ">=":
                found[requirement.name] = min(Version(one.version), found.get(requirement.name, Version(one.version)))
    return found


@pytest.mark.parametrize("package", ADVISORIES)
def test_no_version_with_an_advisory_is_permitted(package: str) -> None:
    first, names = ADVISORIES[package]

    assert bounds()[package] >= Version(first), names
