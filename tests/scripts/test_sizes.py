"""The check of the sizes of files: neither too large, nor too small for a room of its own, and few at the root."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

SCRIPT: dict[str, Any] = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "sizes"))
DOCUMENTED = '"""A text.\n\nMore of it.\n"""\n\n# A comment.\nA = 1\n\n\ndef b() -> None:\n    """Do nothing."""\n'


def test_lines_of_code_are_counted_without_texts() -> None:
    assert SCRIPT["code_lines"](DOCUMENTED) == 2


def test_a_small_module_is_refused_unless_it_is_a_seam(tmp_path: Path) -> None:
    for name, lines in {"small": 39, "right": 40, "__init__": 1, "version": 1, "contrib/django/apps": 3}.items():
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"A{number} = 1\n" for number in range(lines)))

    found = SCRIPT["small_files"](tmp_path)

    assert found[0] == f"{tmp_path}/small.py: fewer than 40 lines of code: merge it, or name the seam in scripts/sizes"
    unmet = {one for one in SCRIPT["SEAMS"] if one not in ("version.py", "contrib/django")}
    assert {line.split()[1] for line in found[1:]} == unmet, "a seam that is none any more is reported"


def test_a_root_with_too_many_modules_is_refused(tmp_path: Path) -> None:
    for number in range(8):
        (tmp_path / f"a{number}.py").touch()
    (tmp_path / "__main__.py").touch()
    assert SCRIPT["crowded_root"](tmp_path) == []

    (tmp_path / "b.py").touch()

    assert SCRIPT["crowded_root"](tmp_path) == [
        f"{tmp_path.name}/: 9 modules, at most 8: a0, a1, a2, a3, a4, a5, a6, a7, b"
    ]


def test_a_long_file_is_refused(tmp_path: Path) -> None:
    for name, lines in {"long": 701, "right": 700}.items():
        path = tmp_path / "jobfleet" / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n" * lines)

    assert SCRIPT["long_files"](tmp_path) == ["jobfleet/long.py: 701 lines, 1 too many: split it"]
