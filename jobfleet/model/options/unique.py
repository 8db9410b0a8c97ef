"""Unique keys: how a key is made from the arguments of a call, and which keys are valid. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from jobfleet.errors import InvalidJob
from jobfleet.model.option_types import Items
from jobfleet.model.options.template import fill

KEY_LENGTH_MAX = 200
QUEUED, OPEN = "queued", "open"
EXISTING, RAISE, REPLACE, DEBOUNCE = "existing", "raise", "replace", "debounce"
SCOPES = (QUEUED, OPEN)
ON_CONFLICT = (EXISTING, RAISE, REPLACE, DEBOUNCE)


def check_key(key: object) -> str:
    """Return a unique key; raise `InvalidJob` if it is not valid."""
    if isinstance(key, str) and 0 < len(key) <= KEY_LENGTH_MAX and key.isprintable():
        return key
    raise InvalidJob(
        f"unique makes the key {key!r:.300}; a key has 1 to {KEY_LENGTH_MAX} printable characters.", field="unique"
    )


def format_key(template: str, args: Items[object], named: Mapping[str, object]) -> str:
    """Make a key from a call's arguments.

    Args:
        template: A format string.
        args: The positional arguments, for placeholders such as ``{0}``.
        named: All arguments whose names are known, for placeholders such as ``{id}``.

    Raises:
        InvalidJob: The call lacks an argument that the template names, or the result is not a valid key.
    """
    return check_key(fill(template, args, named, option="unique"))
