"""What was typed into a form that was refused, for the page that shows it once more. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from jobfleet.web.errors import Problem


@dataclass(frozen=True, slots=True)
class Sent:
    """A form that was refused.

    Attributes:
        path: The path that it was sent to.
        fields: What was typed.
        problem: Why it was refused.
    """

    path: str
    fields: Mapping[str, str]
    problem: Problem


@dataclass(frozen=True, slots=True)
class Entered:
    """What was typed into the form that a template writes; nothing if another form, or none, was refused.

    Attributes:
        fields: The values by name.
        wrong: The name of the field that is wrong.
    """

    fields: Mapping[str, str] = field(default_factory=dict)
    wrong: str = ""

    def get(self, name: str, default: object = None) -> object:
        """The value of a field."""
        return self.fields.get(name, default)


def entered_into(sent: Sent | None) -> Callable[[str], Entered]:
    """What templates ask for the values of the form with a path."""

    def entered(path: str) -> Entered:
        if sent is None or sent.path != unquote(path):
            return Entered()
        return Entered(sent.fields, sent.problem.field)

    return entered
