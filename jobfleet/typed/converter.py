"""`Converter`: how the values of one type travel. `Refused` is a value that does not fit; it knows where.

Three forms of a value are met: the object that user code has, the plain data that is stored (the types of the codec),
and the JSON that programs without Python send, in which a datetime is a text. `load` reads both forms of data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Schema = dict[str, Any]
UNFIT: Final = 0
"""A value that the type reads in another form only, such as the text of a datetime."""
CODED: Final = 1
"""Data in the form that `dump` writes, which other types may write too: a text for a path."""
OWN: Final = 2
"""Data of the type itself: a text for `str`."""
RECORD: Final = 3
"""A map in which keys are missing, or unknown."""
EXACT_RECORD: Final = 4
"""A map with the keys of the record."""


class Refused(ValueError):
    """A value does not fit its annotation.

    Args:
        text: What is wrong, without the value: it may be a secret.

    Attributes:
        path: The place below the value that was given first, such as ``.lines[2].price``.
    """

    def __init__(self, text: str, path: str = "") -> None:
        super().__init__(text)
        self.text: str = text
        self.path: str = path

    def below(self, step: str) -> Refused:
        """Return the same refusal, seen from one level above."""
        self.path = step + self.path
        return self


class UnknownField(Refused):
    """A map has a key that is not a field of the record, for example because its producer is newer."""


class Definitions:
    """The schemas of named types, each once; other schemas refer to them."""

    def __init__(self) -> None:
        self.schemas: dict[str, Schema] = {}
        self._names: dict[object, str] = {}

    def reference(self, key: object, name: str) -> tuple[Schema, bool]:
        """Return a reference to the schema of a type, and whether it is new, so that `schemas` needs it."""
        known = self._names.get(key)
        if known is None:
            known = name
            while known in self.schemas:
                known += "_"
            self._names[key] = known
            self.schemas[known] = {}
            return {"$ref": f"#/$defs/{known}"}, True
        return {"$ref": f"#/$defs/{known}"}, False

    def fill(self, reference: Schema, schema: Schema) -> None:
        """Set the schema that a reference names."""
        self.schemas[reference["$ref"].removeprefix("#/$defs/")] = schema

    def merge(self, schema: Schema, definitions: Mapping[str, Schema]) -> Schema:
        """Take the definitions of a library; return the schema, or one that takes everything if a name is taken."""
        if any(self.schemas.get(name, one) != one for name, one in definitions.items()):
            return {}
        self.schemas.update(definitions)
        return schema


class Converter:
    """The values of one type. This one takes every value as it is: `Any`, and types that have no other converter.

    Attributes:
        label: The type, for messages.
        is_typed: Whether values change on their way, or JSON has no such values. A parameter without it is left alone.
    """

    label: str = "any value"
    is_typed: bool = False

    def dump(self, value: Any) -> Any:
        """Convert a value to plain data.

        Raises:
            Refused: It does not fit.
        """
        return value

    def load(self, data: Any) -> Any:
        """Convert plain data, or JSON, to a value.

        Raises:
            Refused: It does not fit.
        """
        return data

    @property
    def tags(self) -> Mapping[str, tuple[Any, ...]]:
        """The fields that tell a record from others, with the values that they may have: those with a ``Literal``."""
        return {}

    def holds(self, value: Any) -> bool:  # noqa: ARG002 - the others look at it
        """Whether a value is of the type, for the choice between the members of a union."""
        return True

    def rank(self, data: Any) -> int:  # noqa: ARG002 - the others look at it
        """How well plain data fits, for the choice between the members of a union."""
        return CODED

    def schema(self, definitions: Definitions) -> Schema:  # noqa: ARG002 - the others fill it
        """The JSON Schema of the JSON form."""
        return {}


def expected(label: str, value: object) -> Refused:
    """The refusal of a value of another type."""
    return Refused(f"expected {label}, not {type(value).__name__}")


def step_of(key: object) -> str:
    """The step to a value of a mapping, as a path spells it; it quotes no more than a short key."""
    return f"[{key!r:.40}]"


def field_step(name: object) -> str:
    """The step to a field of a record; to a value of a mapping if no field can have this name."""
    return f".{name:.40}" if isinstance(name, str) and name.isidentifier() else step_of(name)
