"""Warnings that point at the user's line: the nearest one outside of the library."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FrameType

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
        _, level = nearest_frame(lambda frame: not frame.f_code.co_filename.startswith(LIBRARY))
        warnings.warn(message, category, stacklevel=level)


def nearest_frame(is_meant: Callable[[FrameType], bool]) -> tuple[FrameType, int]:
    """Return the nearest frame that is meant, else the outermost one, and its `stacklevel` for a call in the caller."""
    frame, level = sys._getframe(), 0  # noqa: SLF001 - `inspect.stack` reads the source of every frame
    while not is_meant(frame) and frame.f_back is not None:
        frame, level = frame.f_back, level + 1
    return frame, level
