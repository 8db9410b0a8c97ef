"""Unique keys: how a key is made from the arguments of a call, and which keys are valid. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from string import Formatter
from typing import Any

from jobfleet.errors import InvalidJob
from jobfleet.model.option_types import Items

KEY_LENGTH_MAX = 200
QUEUED, OPEN = "queued", "open"
EXISTING, RAISE, REPLACE, DEBOUNCE = "existing", "raise", "replace", "debounce"
SCOPES = (QUEUED, OPEN)
ON_CONFLICT = (EXISTING, RAISE, REPLACE, DEBOUNCE)

_PLACEHOLDER = re.compile(r"(?:[0-9]+|[^\W\d]\w*)?(?:\.[^\W\d_]\w*|\[[^\[\]]+\])*")  # no private attributes, no nesting


class _Formatter(Formatter):
    """Formats a key; an error names the argument that the call does not have."""

    def get_value(self, key: int | str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        try:
            return super().get_value(key, args, kwargs)
        except LookupError:
            has = ", ".join(sorted(kwargs)) or ("only positions, from {0} on" if args else "no named arguments")
            raise InvalidJob(
                f"unique names {{{key}}}, which is not an argument of this call; it has {has}.", field="unique"
            ) from None


_formatter = _Formatter()


@lru_cache(maxsize=256)
def placeholders(template: str) -> tuple[str, ...]:
    """Return the arguments that a template names: names, numbers, or an empty string for the next positional one.

    Raises:
        InvalidJob: The template is not a format string, or it uses a feature that keys do not support.
    """
    found = []
    try:
        parts = list(_formatter.parse(template))
    except ValueError as error:
        raise InvalidJob(f"unique is {template!r}: {error}; write a literal brace twice.", field="unique") from None
    for _, field, spec, _ in parts:
        if field is None:
            continue
        if not _PLACEHOLDER.fullmatch(field) or "{" in (spec or ""):
            raise InvalidJob(
                f"unique holds {{{field}}}; name an argument as {{id}}, {{0}}, {{order.id}} or {{row[id]}}.",
                field="unique",
            )
        found.append(re.split(r"[.\[]", field, maxsplit=1)[0])
    return tuple(found)


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
    placeholders(template)  # the template may come from another party; it must not reach private attributes
    try:
        return check_key(_formatter.vformat(template, tuple(args), named))
    except InvalidJob:
        raise
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise InvalidJob(f"unique {template!r} cannot be made from this call: {error}.", field="unique") from error
