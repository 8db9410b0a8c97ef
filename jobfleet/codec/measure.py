"""The fast check of each value before it is encoded; `refusal` finds the cause of a failure."""

from __future__ import annotations

from typing import Any, Final

from jobfleet.codec.extensions import NESTED_TYPES, SCALAR_TYPES, Untravelable
from jobfleet.secret import Secret

KEY_TYPES: Final = frozenset([str, int, bytes])
LEAF_TYPES: Final = frozenset([type(None), bool, int, float, str, bytes]) | SCALAR_TYPES
SEQUENCE_TYPES: Final = (NESTED_TYPES - {Secret}) | {list}


class TooDeep(ValueError):
    """The nesting exceeds the limit; a structure that contains itself always does."""


class TooMany(ValueError):
    """The number of containers exceeds the limit."""


def measure(value: Any, room: int, budget: int) -> int:
    """Count the containers in a container; only the exact type of each value is checked.

    Args:
        room: Maximum number of levels, this one included.
        budget: Maximum number of containers. It is checked during the count, because a list of shared lists can
            expand to any number.

    Raises:
        Untravelable: A value or a map key has a type that cannot be encoded.
        TooDeep, TooMany: The structure exceeds a limit.
    """
    if room <= 0:
        raise TooDeep
    if type(value) is dict:
        for key in value:
            if type(key) not in KEY_TYPES:
                raise Untravelable
        value = value.values()
    elif type(value) not in SEQUENCE_TYPES:
        if type(value) is not Secret:
            raise Untravelable
        value = (value.reveal(),)
    count = 1
    for child in value:
        if type(child) not in LEAF_TYPES:
            count += measure(child, room - 1, budget - count)
            if count > budget:
                raise TooMany
    return count
