"""`Secret`: a value that jobs receive and nothing displays; and values that are hidden by the name of their key."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final, Generic, TypeVar

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


_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_OTHER = re.compile(r"[^a-z0-9]+")


class Redaction:
    """Hides values by the names of their keys.

    A key is hidden if a name is the whole of it or its end: ``token`` hides ``token``, ``access-token`` and
    ``accessToken``, but not ``tokens`` or ``token_count``.

    Args:
        names: The names.
    """

    def __init__(self, names: Collection[str] = NAMES) -> None:
        self._names: tuple[str, ...] = ()
        self.use(names)

    def use(self, names: Collection[str]) -> None:
        """Hide the values of other names from now on."""
        self._names = tuple(f"_{_words(name)}" for name in names if _words(name))

    def hides(self, key: object) -> bool:
        """Whether the value of a key is hidden."""
        return isinstance(key, str) and bool(self._names) and f"_{_words(key)}".endswith(self._names)

    def mapping(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """Return a mapping with hidden values replaced, at any depth."""
        return {key: HIDDEN if self.hides(key) else self(item) for key, item in value.items()}

    def __call__(self, value: Any) -> Any:
        """Return a value with hidden values replaced, at any depth."""
        if isinstance(value, Secret):
            return HIDDEN
        if isinstance(value, Mapping):
            return self.mapping(value)
        if type(value) in (list, tuple, set, frozenset):
            return type(value)(map(self, value))
        return value


def _words(name: str) -> str:
    return _OTHER.sub("_", _HUMP.sub("_", name).lower()).strip("_")
