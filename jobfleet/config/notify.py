"""The section ``[notify]``: its shape, and how it is shown without secrets; `jobfleet.notify` gives it a meaning."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from difflib import get_close_matches

SECRETS = ("secret", "password")
"""Options that are given as the name of a variable only."""

HIDDEN = ("url", "urls", "headers")
"""Options that may hold a secret, and are shown without what they hold."""

_KEYS = ("channels", "rules")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def read_notify(value: object) -> dict[str, object]:
    """Read the section from a table or from JSON.

    Raises:
        ValueError: It has another shape; the message is the remedy, and holds no value.
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
    """The variable that a value names (``{ env = "NAME" }``); None where it is the value itself."""
    if isinstance(given, Mapping) and set(given) == {"env"} and isinstance(given["env"], str):
        return given["env"]
    return None


def _check_secret(place: str, option: str, given: object) -> None:
    named = variable_of(given)
    if option in SECRETS and named is None:
        raise ValueError(f'{place} is no secret in a file; name a variable: {{ env = "NAME" }}')
    if named is not None and (not _VARIABLE.fullmatch(named) or named.startswith("JOBFLEET_")):
        raise ValueError(f"{place} names no variable; use a name that does not begin with JOBFLEET_")


def show_notify(value: object) -> str:
    """The section as JSON, without what may be a secret."""
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
