"""The access file as a running dashboard reads it. A fault of the file refuses every request, and is logged once."""

from __future__ import annotations

import logging
from pathlib import Path

from jobfleet.errors import ConfigError
from jobfleet.web.errors import Problem, refusal
from jobfleet.web.safety.access import Access, AccessFile

RETRY_AFTER = {"Retry-After": "2"}
_log = logging.getLogger("jobfleet.web")


class AccessWatch:
    """Reads the access file for each request.

    A file that has existed must not disappear: without a user, an open dashboard would let everybody in.

    Args:
        path: The file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._file = AccessFile(path.absolute())
        self._has_existed = self._file.path.is_file()
        self._fault = ""

    @property
    def mark(self) -> object:
        """Another value once the file has changed."""
        try:
            return self._file.look()
        except OSError:
            return ""

    def read(self) -> Access:
        """The users and tokens as the file has them now.

        Raises:
            Problem: The file is gone, cannot be read, has another form, or other users can write it.
        """
        try:
            access = self._file.read()
        except ConfigError as error:
            self._has_existed = True
            raise self._refused(str(error)) from error
        if not self._file.exists and self._has_existed:
            path = self._file.path
            raise self._refused(
                f"The access file {path} is gone. Restore it, or run 'jobfleet web --access {path} user add NAME'. "
                "To serve without users, restart the dashboard."
            )
        self._has_existed = self._file.exists
        if self._fault:
            self._fault = ""
            _log.info("The access file %s can be read again.", self._file.path)
        return access

    def _refused(self, fault: str) -> Problem:
        """The refusal of a request; the log gets each fault once."""
        if fault != self._fault:
            self._fault = fault
            _log.error("Every request is refused. %s", fault)
        return refusal("access-unavailable", headers=RETRY_AFTER)
