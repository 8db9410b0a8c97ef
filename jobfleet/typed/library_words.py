"""What pydantic and msgspec report of a type and of a wrong value, without the value. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

MSGSPEC_QUOTES: Final = re.compile(r"(Invalid (?:enum )?value) .")
"""How a message of msgspec begins that continues with the value."""
_WITHOUT_VALUE: Final = {
    "union_tag_invalid": (
        "Input tag found using {discriminator} does not match any of the expected tags: {expected_tags}"
    ),
    "json_invalid": "Invalid JSON",
    "get_attribute_error": "Error extracting attribute",
    "iteration_error": "Error iterating over object",
    "mapping_type": "Input should be a valid mapping",
    "bytes_invalid_encoding": "Data should be valid {encoding}",
    "timezone_offset": "Timezone offset of {tz_expected} required",
    "url_parsing": "Input should be a valid URL",
    "url_syntax_violation": "Input violated strict URL syntax rules",
    "uuid_parsing": "Input should be a valid UUID",
    "decimal_parsing": "Input should be a valid decimal",
    "fraction_parsing": "Input should be a valid fraction",
}
"""pydantic's messages that can quote the value or a part of it, by their types, in words that do not."""
_HOLDERS: Final = ("model-fields", "dataclass-args", "typed-dict")
_OTHER_DATA: Final = ("metadata", "default", "expected", "config", "cls", "ref", "members")
"""The keys of a schema below which there are no schemas."""


def unquoted(error: Mapping[str, Any]) -> str:
    """The message of an error of pydantic, without the value. The words of the user's own validators stay.

    Args:
        error: An entry of ``ValidationError.errors()``, with its context.
    """
    context = error.get("ctx", {})
    text = _WITHOUT_VALUE.get(error["type"])
    if text is not None:
        return text.format_map(context)
    if error["type"] == "value_error" and "reason" in context:  # an address for mail
        return str(error["msg"]).partition(":")[0]
    return str(error["msg"])


def model_fields(schema: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the fields of all models and dataclasses in a schema of pydantic, with their names."""
    if isinstance(schema, list | tuple):
        for one in schema:
            yield from model_fields(one)
    elif isinstance(schema, Mapping):  # a model whose schema pydantic defers is another mapping than a dict
        if schema.get("type") in _HOLDERS:
            fields = schema["fields"]
            yield from ((one["name"], one) for one in fields) if isinstance(fields, list) else fields.items()
        for name, one in schema.items():
            if name not in _OTHER_DATA:
                yield from model_fields(one)


def own_serializer(field: Mapping[str, Any]) -> str:
    """The name of the user's function that converts a field; empty if there is none."""
    schema: Any = field
    while isinstance(schema, Mapping):
        found = schema.get("serialization", {})
        function = found.get("function") if isinstance(found, dict) else None
        if function is not None and not function.__module__.partition(".")[0].startswith("pydantic"):
            return str(function.__qualname__)
        schema = schema.get("schema")
    return ""
