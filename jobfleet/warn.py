"""Warnings that point at the user's line: the nearest one outside of the library."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

LIBRARY = str(Path(__file__).parent) + os.sep


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Issue a warning at the nearest line of the stack that is not in this package.

    Args:
        message: The text.
        category: The class of the warning.
    """
    if sys.version_info >= (3, 12):
        warnings.warn(message, category, skip_file_prefixes=(LIBRARY,))
    else:
        warnings.warn(message, category, stacklevel=_level())


def _level() -> int:
    """The `stacklevel` of the nearest frame outside of the package, for the caller of `warn`."""
    level = 2
    frame = sys._getframe(level)  # noqa: SLF001 - the public forms read the source of every frame
    while frame.f_code.co_filename.startswith(LIBRARY) and frame.f_back is not None:
        frame = frame.f_back
        level += 1
    return level
