"""What the command line hides; apart from `schema`, so that a command that shows no job loads no job."""

from __future__ import annotations

from jobfleet.secret import Redaction

REDACTION = Redaction()
"""Hides values of arguments and results by the names of their keys; `Invocation` sets the names from the settings."""
