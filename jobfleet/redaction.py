"""Values that are hidden because of the name of their key, such as ``password``. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from jobfleet.secret import HIDDEN, NAMES, Secret

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
