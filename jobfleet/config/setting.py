"""What a row of the table says, and the types its attributes have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from jobfleet.config.kind import DURATION, LANES, NOTIFY, QUEUES, SIZE, Kind
from jobfleet.errors import ConfigError

Scope = Literal["all", "producer", "worker", "reaper", "command"]
Duration = float | timedelta | str

DURATION_MOST = 36_500 * 86_400.0  # in microseconds still exact as a float, as Lua's numbers are

if TYPE_CHECKING:

    class Seconds:
        """Read as float seconds; given as seconds, a timedelta, or a text such as '5m'."""

        def __get__(self, owner: object, kind: type | None = None) -> float: ...
        def __set__(self, owner: object, value: Duration) -> None: ...

    class OptionalSeconds:
        """The same, or None."""

        def __get__(self, owner: object, kind: type | None = None) -> float | None: ...
        def __set__(self, owner: object, value: Duration | None) -> None: ...

    class Weights:
        """Read as queues with their weights; given as such, as names, or as a text such as 'mail=3,bulk'."""

        def __get__(self, owner: object, kind: type | None = None) -> Mapping[str, int]: ...
        def __set__(self, owner: object, value: Mapping[str, int] | Sequence[str]) -> None: ...

else:
    Weights = Mapping[str, int]
    Seconds = float
    OptionalSeconds = float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One row of the table.

    Attributes:
        name: The attribute of `JobConfig`, and the key in a file.
        kind: How the value is read and written.
        default: The value when nobody gives one; None is *no value*, and `derived` says what follows.
        help: What it does, in one line.
        unit: What a bare number counts.
        scope: Who reads it.
        short: The short flag, without its dash.
        derived: What takes the place of a default of None, in words.
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
        """The flag on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """The environment variable."""
        return "JOBFLEET_" + self.name.upper()

    @property
    def is_optional(self) -> bool:
        """Whether None, or the text 'none', is a value."""
        return self.default is None

    def parse(self, value: object, *, source: str = "") -> Any:
        """Read a value from wherever it came.

        Args:
            source: Where it came from, for the message.

        Raises:
            ConfigError: The value is of another kind or out of bounds; the message has the remedy.
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
    """Make an attribute of `JobConfig` a row; the attribute's name is filled in later."""
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
    # What may hold a password is not shown, and a dict has no hash.
    return field(
        default=default,
        repr=not kind.hides,
        hash=kind not in (LANES, NOTIFY, QUEUES),
        metadata={"setting": row},
    )
