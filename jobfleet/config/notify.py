"""The shape of the section ``[notify]``, and its display without secrets; `jobfleet.notify` interprets it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from difflib import get_close_matches

SECRETS = ("secret", "password")
"""Options whose value must be the name of an environment variable."""

HIDDEN = ("url", "urls", "headers")
"""Options that may contain a secret, so that their values are masked."""

_KEYS = ("channels", "rules")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def read_notify(value: object) -> dict[str, object]:
    """Read the section from a table or from JSON.

    Raises:
        ValueError: The section has another shape. The message is the remedy and contains no value.
    """
    table = _of_json(value) if isinstance(value, str) else value
    if not isinstance(table, Mapping):
        raise ValueError("use a table with channels and rules")
    for key in table:
        if key not in _KEYS:
            close = get_close_matches(str(key), _KEYS, n=1)
            raise ValueError(f"{key} is unknown; {f'did you mean {close[0]}' if close else 'use channels and rules'}")
    channels, rules = table.get("channels", {}), table.get("rules", [])
    if not isinstance(channels, Mapping) or not all(isinstance(one, Mapping) for one in channels.values()):
        raise ValueError("write channels as tables: [notify.channels.NAME]")
    if not isinstance(rules, list | tuple) or not all(isinstance(one, Mapping) for one in rules):
        raise ValueError("write rules as a list of tables: [[notify.rules]]")
    for name, options in channels.items():
        for option, given in options.items():
            _check_secret(f"channels.{name}.{option}", option, given)
    read: dict[str, object] = {}
    if channels:
        read["channels"] = {str(name): dict(options) for name, options in channels.items()}
    if rules:
        read["rules"] = [dict(rule) for rule in rules]
    return read


def _of_json(text: str) -> object:
    if not text.strip():
        return {}
    try:
        return json.loads(text)
    except ValueError:
        raise ValueError("use a table of a TOML file, or JSON") from None


def variable_of(given: object) -> str | None:
    """Return the variable that a value refers to (``{ env = "NAME" }``), or None if it is a literal value."""
    if isinstance(given, Mapping) and set(given) == {"env"} and isinstance(given["env"], str):
        return given["env"]
    return None


def _check_secret(place: str, option: str, given: object) -> None:
    named = variable_of(given)
    if option in SECRETS and named is None:
        raise ValueError(f'{place} must not be in a file; name a variable instead: {{ env = "NAME" }}')
    if named is not None and (not _VARIABLE.fullmatch(named) or named.startswith("JOBFLEET_")):
        raise ValueError(f"{place} does not name a usable variable; use a name that does not begin with JOBFLEET_")


def show_notify(value: object) -> str:
    """Write the section as JSON with possible secrets masked."""
    try:
        table = read_notify(value)
    except ValueError:
        return "…"
    return json.dumps({key: _shown(part) for key, part in table.items()}, ensure_ascii=False) if table else ""


def _shown(part: object, *, hide: bool = False) -> object:
    if variable_of(part) is not None:
        return part
    if isinstance(part, Mapping):
        return {key: _shown(one, hide=hide or key in HIDDEN) for key, one in part.items()}
    if isinstance(part, list | tuple):
        return [_shown(one, hide=hide) for one in part]
    return "***" if hide else part
