"""Django 6, which needs Python 3.12 or later: it has an environment of its own beside that of the tests."""

from __future__ import annotations

from pathlib import Path

DJANGO_6 = Path(__file__).parents[2] / ".venv" / "django6" / "bin" / "python"
"""Its interpreter; `scripts/tools django` makes the environment, if the machine has such a Python."""
