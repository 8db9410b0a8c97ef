"""Groups of a queue: their names. Pure."""

from __future__ import annotations

from jobfleet.errors import InvalidJob

GROUP_LENGTH_MAX = 200
EVERY_GROUP = "*"
"""The name for all groups that have no limit of their own."""


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
