"""The end of a program of this package, without a last search for objects in cycles."""

from __future__ import annotations

import atexit
import gc


def exit_fast() -> None:
    """Let this process end without a search of all its objects for cycles, of which the kernel frees the memory anyway.

    The search of the interpreter takes about a fifth of the processor time of a short command, and of each start and
    end of a worker's child. Called once, by a program and not by a library: `__del__` of an object in a cycle that is
    still there at the end is not called.
    """
    atexit.register(gc.freeze)
