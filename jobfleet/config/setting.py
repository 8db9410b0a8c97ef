"""The type of a row of the table of settings, and the types of the settings' attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from jobfleet.config.kind import DURATION, LANES, NOTIFY, QUEUES, SIZE, Kind
from jobfleet.errors import ConfigError

Scope = Literal["all", "producer", "worker", "reaper", "web", "command"]
Duration = float | timedelta | str

DURATION_MOST = 36_500 * 86_400.0  # in µs still exact as a float; numbers in Lua are floats

if TYPE_CHECKING:

    class Seconds:
        """Reads as seconds (float); accepts seconds, a timedelta, or a text such as '5m'."""

        def __get__(self, owner: object, kind: type | None = None) -> float: ...
        def __set__(self, owner: object, value: Duration) -> None: ...

    class OptionalSeconds:
        """Like `Seconds`, or None."""

        def __get__(self, owner: object, kind: type | None = None) -> float | None: ...
        def __set__(self, owner: object, value: Duration | None) -> None: ...

    class Weights:
        """Reads as weights by queue; accepts such a mapping, a list of names, or a text such as 'mail=3,bulk'."""

        def __get__(self, owner: object, kind: type | None = None) -> Mapping[str, int]: ...
        def __set__(self, owner: object, value: Mapping[str, int] | Sequence[str]) -> None: ...

else:
    Weights = Mapping[str, int]
    Seconds = float
    OptionalSeconds = float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One row of the table of settings.

    Attributes:
        name: The attribute of `JobConfig`, and the key in a file.
        kind: How values are parsed and formatted.
        default: The value if no source gives one. None means *no value*; `derived` describes the consequence.
        help: A description in one line.
        unit: The unit of a bare number.
        scope: The component that reads the setting.
        short: The short flag, without its dash.
        derived: A description of the value that replaces a default of None.
        least: The smallest value.
        most: The largest value.
    """

    name: str
    kind: Kind
    default: object
    help: str
    unit: str
    scope: Scope
    short: str
    derived: str
    least: float | None
    most: float | None

    @property
    def flag(self) -> str:
        """The command line flag; only `jobfleet web` has those of the web, so they need no prefix, but for --url."""
        is_short = self.scope == "web" and self.name != "web_url"
        name = self.name.removeprefix("web_") if is_short else self.name
        return "--" + name.replace("_", "-")

    @property
    def variable(self) -> str:
        """The environment variable."""
        return "JOBFLEET_" + self.name.upper()

    @property
    def is_optional(self) -> bool:
        """Whether None, or the text 'none', is a valid value."""
        return self.default is None

    def parse(self, value: object, *, source: str = "") -> Any:
        """Parse a value and check its bounds.

        Args:
            value: The value, in any form that the kind accepts.
            source: The source of the value, for the error message.

        Raises:
            ConfigError: The value is of another kind or out of bounds; the message contains the remedy.
        """
        if self.is_optional and (value is None or (isinstance(value, str) and value.strip().lower() == "none")):
            return None
        try:
            read = self.kind.parse(value)
            self._check_bounds(read)
        except ValueError as error:
            shown = repr(self.kind.show(value)) if self.kind.hides else repr(value)
            origin = f" ({source})" if source else ""
            raise ConfigError(f"{self.name} = {shown}{origin}: {error}.") from None
        return read

    def show(self, value: object) -> str:
        """Write a value as text; passwords are masked."""
        return "none" if value is None else self.kind.show(value)

    def _check_bounds(self, value: object) -> None:
        if isinstance(value, int | float):
            if self.least is not None and value < self.least:
                raise ValueError(f"use {self.kind.show(self.least)} or more")
            if self.most is not None and value > self.most:
                raise ValueError(f"use {self.kind.show(self.most)} or less")


def setting(
    kind: Kind,
    default: object,
    help: str,
    *,
    scope: Scope,
    unit: str = "",
    short: str = "",
    derived: str = "",
    least: float | None = None,
    most: float | None = None,
) -> Any:
    """Declare an attribute of `JobConfig` as a row of the table; `SETTINGS` fills in the name."""
    if kind is DURATION:
        unit, least, most = "s", 0.0 if least is None else least, DURATION_MOST if most is None else most
    elif kind is SIZE:
        unit = "B"
    row = Setting(
        name="",
        kind=kind,
        default=default,
        help=help,
        unit=unit,
        scope=scope,
        short=short,
        derived=derived,
        least=least,
        most=most,
    )
    # A value that may contain a password is not in the repr. A dict has no hash.
    return field(
        default=default,
        repr=not kind.hides,
        hash=kind not in (LANES, NOTIFY, QUEUES),
        metadata={"setting": row},
    )
