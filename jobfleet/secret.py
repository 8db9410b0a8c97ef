"""`Secret`: a value that jobs receive and nothing displays."""

from __future__ import annotations

from typing import Final, Generic, TypeVar

T_co = TypeVar("T_co", covariant=True)
HIDDEN: Final = "***"
NAMES: Final = (
    "password", "passwd", "passphrase", "token", "secret", "api_key", "apikey", "private_key", "access_key",
    "authorization", "cookie",
)  # fmt: skip
"""The names of keys whose values are hidden, unless the setting `redact` names others."""


class Secret(Generic[T_co]):
    """A value that is shown as ``***`` everywhere: in logs, on the command line, in errors and on pages.

    It travels as data and is a `Secret` again on the worker. Without encryption it is in clear text in Redis.

    Args:
        value: The value; any type that can be an argument.

    Example:
        >>> Secret("hunter2")
        Secret('***')
        >>> Secret("hunter2").reveal()
        'hunter2'
    """

    __slots__ = ("_value",)

    def __init__(self, value: T_co) -> None:
        self._value = value

    def reveal(self) -> T_co:
        """Return the value."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({HIDDEN!r})"

    def __str__(self) -> str:
        return HIDDEN

    def __format__(self, _spec: str) -> str:
        return HIDDEN

    def __eq__(self, other: object) -> bool:
        return self._value == other._value if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash((Secret, self._value))
