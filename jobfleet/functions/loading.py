"""Whether a worker or a reaper is importing the user's modules now: code that runs then must not wait for jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from jobfleet.errors import ConfigError
from jobfleet.warn import nearest_frame

_loading: ContextVar[str] = ContextVar("jobfleet_loading", default="")


@contextmanager
def loading(module: str) -> Iterator[None]:
    """Mark the import of a module.

    Args:
        module: The name of the module.
    """
    token = _loading.set(module)
    try:
        yield
    finally:
        _loading.reset(token)


def check_not_loading() -> None:
    """Refuse to wait for a job during an import: the job would wait for the process that imports.

    Raises:
        ConfigError: A worker or a reaper is importing a module.
    """
    module = _loading.get()
    if module:
        raise ConfigError(
            f"{_line_of_import()} waits for a job while a worker loads {module!r}, and the worker runs no job before "
            "it has loaded its modules. Move the line into another file, or under if __name__ == '__main__'."
        )


def _line_of_import() -> str:
    """The line that is being imported, as ``FILE, line NUMBER``."""
    frame, _ = nearest_frame(lambda frame: frame.f_code.co_name == "<module>")
    return f"{frame.f_code.co_filename}, line {frame.f_lineno},"
