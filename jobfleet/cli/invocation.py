"""One run of the command line: the given flags, the settings, the fleet, the output, and what it hides."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from jobfleet.cli.output import Output, say
from jobfleet.config import JobConfig, Loaded, load, mask_url
from jobfleet.config.layers import UP_FILE
from jobfleet.errors import ConfigError
from jobfleet.secret import Redaction

if TYPE_CHECKING:
    from jobfleet.fleet.sync import Fleet


OUTPUT_VARIABLE = "JOBFLEET_OUTPUT"
PATIENCE_S = 1.0
"""Default of `patience` for commands, in seconds: they retry for less time, because a person waits for them."""

CONNECT_S = 2.0


@dataclass
class Invocation:
    """One run of the command line.

    Attributes:
        given: Values of the given flags by the name of their setting, and those of ``config`` and ``output``.
    """

    given: dict[str, object] = field(default_factory=dict)

    @cached_property
    def loaded(self) -> Loaded:
        """The settings, and the source of each."""
        arguments = {name: value for name, value in self.given.items() if name != "output"}
        environ = {name: value for name, value in os.environ.items() if name != OUTPUT_VARIABLE}
        loaded = load(arguments, environ=environ)
        REDACTION.use(loaded.config.redact)
        return loaded

    @property
    def config(self) -> JobConfig:
        """The settings."""
        return self.loaded.config

    @cached_property
    def form(self) -> str:
        """The form of the output: ``table``, ``json`` or ``ids``.

        Raises:
            ConfigError: It is none of these.
        """
        form = self.given.get("output") or os.environ.get(OUTPUT_VARIABLE) or "table"
        if form not in {"table", "json", "ids"}:
            raise ConfigError(f"output = {form!r} ({OUTPUT_VARIABLE}): use table, json or ids.")
        return str(form)

    @cached_property
    def output(self) -> Output:
        """The printer of results."""
        return Output(self.form, no_color=self.config.no_color)

    def announce(self) -> None:
        """Print which Redis is used, if it comes from `jobfleet up` or the output is verbose."""
        source = self.loaded.sources["url"]
        if source == UP_FILE or (self.config.verbose and self.config.log_format == "plain"):
            say(f"Using {mask_url(self.config.url)} from {source}")

    @contextmanager
    def fleet(self) -> Iterator[Fleet]:
        """A fleet for an interactive command: it gives up early, keeps no jobs, and prints each warning as one line."""
        from jobfleet.fleet.sync import Fleet

        self.announce()
        brief: dict[str, Any] = {"patience": PATIENCE_S, "connect_timeout": CONNECT_S}
        unset = {name: value for name, value in brief.items() if self.loaded.sources[name] == "default"}
        with warnings.catch_warnings(), Fleet.of(replace(self.config, buffer=0, **unset)) as fleet:
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = lambda message, *_: say(str(message))
            fleet.context.source = "cli"
            yield fleet


REDACTION = Redaction()
"""Hides values of arguments and results by the names of their keys; `Invocation` sets the names from the settings."""
