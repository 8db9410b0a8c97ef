"""Groups of a queue: their names, and the templates that make a name from the arguments of a call. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobfleet.errors import InvalidJob
from jobfleet.model.option_types import Items
from jobfleet.model.options.template import fill, placeholders
from jobfleet.model.options.unique import DEBOUNCE, REPLACE

GROUP_LENGTH_MAX = 200
EVERY_GROUP = "*"
"""The name for all groups that have no limit of their own."""
_NO_NAMES = (bytes, bytearray, memoryview, list, tuple, set, frozenset, dict)


class GroupTemplate(str):
    """The group of a function that names arguments: ``"{customer}"``. `group_name` fills it."""

    __slots__ = ()


def check_group(name: object) -> str:
    """Return the name of a group.

    Raises:
        InvalidJob: It is not a printable text of 1 to 200 characters, or it is `EVERY_GROUP`.
    """
    if isinstance(name, str) and 0 < len(name) <= GROUP_LENGTH_MAX and name.isprintable() and name != EVERY_GROUP:
        return name
    raise InvalidJob(
        f"group is {name!r}; give a printable text of 1 to {GROUP_LENGTH_MAX} characters, other than {EVERY_GROUP!r}.",
        field="group",
    )


def group_option(given: Any) -> Any:
    """Read the group of ``@job(group=…)``: a `GroupTemplate` if it names arguments, else the name, or another value.

    Raises:
        InvalidJob: It has braces, and is not a template.
    """
    if not isinstance(given, str) or not ("{" in given or "}" in given):
        return given
    return GroupTemplate(given) if placeholders(given, "group") else fill(given, (), {}, option="group")


def group_name(template: str, args: Items[object], named: Mapping[str, object]) -> str:
    """Make the name of a group from the arguments of a call.

    Args:
        template: A `GroupTemplate`.
        args: The positional arguments.
        named: All arguments whose names are known.

    Raises:
        InvalidJob: The call lacks an argument, a value is None or is not a text or a number, or the name is not valid.
    """
    return check_group(fill(template, args, named, option="group", check=_check_value))


def _check_value(value: object, placeholder: str) -> None:
    has_text = isinstance(value, str | int | float) or type(value).__str__ is not object.__str__
    if not has_text or value is None or isinstance(value, _NO_NAMES):
        raise InvalidJob(
            f"group names {{{placeholder}}}, which is {value!r:.60} in this call; give a text or a number there, or "
            "give this job its group.",
            field="group",
        )


def check_order(order: str, group: str | None, on_conflict: str | None) -> None:
    """Refuse an order without a group, and a job that would take the place of another one.

    Raises:
        InvalidJob: `group` is None, or `on_conflict` replaces jobs.
    """
    if group is None:
        raise InvalidJob(f"order is {order!r}, but the job has no group; give group too.", field="order")
    if on_conflict in (REPLACE, DEBOUNCE):
        raise InvalidJob(
            f"on_conflict is {on_conflict!r}, and order {order!r}: a job keeps its place in a sequence, so "
            "another one cannot take it; use 'existing' or 'raise'.",
            field="on_conflict",
        )
