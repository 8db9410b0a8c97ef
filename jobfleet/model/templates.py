"""Unique keys and groups, and the templates that make them from the arguments of a call, such as ``invoice:{id}``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from string import Formatter
from typing import Any

from jobfleet.errors import InvalidJob
from jobfleet.model.option_types import Items
from jobfleet.secret import Secret

_PLACEHOLDER = re.compile(r"(?:[0-9]+|[^\W\d]\w*)?(?:\.[^\W\d_]\w*|\[[^\[\]]+\])*")  # no private attributes, no nesting


WIDTH_MOST = 100
"""The largest width and precision in a placeholder such as ``{id:>10}``; a text of that length is made."""
_SPEC = re.compile(r"(?:.?[<>=^])?[-+ ]?z?#?(\d*)[_,]?(?:\.(\d*))?[_,]?[a-zA-Z%]?", re.DOTALL)  # of numbers and texts
_STEP = re.compile(r"\.(\w+)|\[([^\[\]]+)\]")


class _Formatter(Formatter):
    """Fills a template; an error names the argument that the call does not have.

    Args:
        option: The option that has the template.
        check: Checks a value and its placeholder.
    """

    def __init__(self, option: str, check: Callable[[object, str], None] | None = None) -> None:
        self._option = option
        self._check = check

    def get_value(self, key: int | str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        try:
            return super().get_value(key, args, kwargs)
        except LookupError:
            has = ", ".join(sorted(kwargs)) or ("only positions, from {0} on" if args else "no named arguments")
            raise InvalidJob(
                f"{self._option} names {{{key}}}, which is not an argument of this call; it has {has}.",
                field=self._option,
            ) from None

    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        first = re.split(r"[.\[]", field_name, maxsplit=1)[0]
        key: int | str = int(first) if first.isdecimal() else first
        value: Any = self.get_value(key, args, kwargs)
        for name, index in _STEP.findall(field_name[len(first) :]):
            if index:
                value = value[int(index) if index.isdecimal() else index]
            elif isinstance(value, Mapping):  # an object whose class its producer does not know
                value = value[name]
            else:
                value = getattr(value, name)
        if isinstance(value, Enum):
            value = value.value
        if isinstance(value, Secret):
            raise InvalidJob(
                f"{self._option} names {{{field_name}}}, which is a Secret; everybody could read it there.",
                field=self._option,
            )
        if self._check is not None:
            self._check(value, field_name)
        return value, key


@lru_cache(maxsize=256)
def placeholders(template: str, option: str = "unique") -> tuple[str, ...]:
    """Return the arguments that a template names: names, numbers, or an empty string for the next positional one.

    Args:
        template: The template.
        option: The option that has it, for errors.

    Raises:
        InvalidJob: The template is not a format string, or it uses a feature that templates do not support.
    """
    found = []
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise InvalidJob(f"{option} is {template!r}: {error}; write a literal brace twice.", field=option) from None
    for _, field, spec, _ in parts:
        if field is None:
            continue
        if not _PLACEHOLDER.fullmatch(field) or "{" in (spec or ""):
            raise InvalidJob(
                f"{option} holds {{{field}}}; name an argument as {{id}}, {{0}}, {{order.id}} or {{row[id]}}.",
                field=option,
            )
        sizes = _SPEC.fullmatch(spec or "")
        if sizes and any(len(size) > 4 or int(size) > WIDTH_MOST for size in sizes.groups("") if size):
            raise InvalidJob(
                f"{option} holds {{{field}:{spec:.20}}}; use a width and a precision of at most {WIDTH_MOST}.",
                field=option,
            )
        found.append(re.split(r"[.\[]", field, maxsplit=1)[0])
    return tuple(found)


def fill(
    template: str,
    args: Items[object],
    named: Mapping[str, object],
    *,
    option: str,
    check: Callable[[object, str], None] | None = None,
) -> str:
    """Fill a template from a call's arguments.

    Args:
        template: The template.
        args: The positional arguments, for placeholders such as ``{0}``.
        named: All arguments whose names are known, for placeholders such as ``{id}``.
        option: The option that has the template, for errors.
        check: Checks each value and its placeholder.

    Raises:
        InvalidJob: The call lacks an argument that the template names, or a value cannot be formatted.
    """
    placeholders(template, option)  # the template may come from another party; it must not reach private attributes
    try:
        return _Formatter(option, check).vformat(template, tuple(args), named)
    except InvalidJob:
        raise
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise InvalidJob(f"{option} {template!r} cannot be made from this call: {error}.", field=option) from error


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
