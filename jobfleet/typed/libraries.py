"""What pydantic and msgspec report of a type and of a wrong value, without the value. Pure."""

from __future__ import annotations

import re
import typing
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cached_property
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID, uuid4

from jobfleet.errors import InvalidJob
from jobfleet.secret import Secret
from jobfleet.typed.choices import literal_data
from jobfleet.typed.converter import (
    EXACT_RECORD,
    RECORD,
    UNFIT,
    Converter,
    Definitions,
    Refused,
    Schema,
    bare,
    expected,
    field_step,
    plain,
)

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


REFERENCE = "#/$defs/"
OLDEST = (2, 11)
"""The first version of pydantic that reads field names and aliases alike."""
NATIVE = (bytes, datetime, date, time, timedelta, Decimal, UUID)
_MARK: Final = f"secret-{uuid4()}"
"""The only key of the map that stands for a `Secret` while msgspec converts: it would convert a `Secret` again."""


class LibraryConverter(Converter, ABC):
    """A type that a library converts and checks.

    Args:
        hint: The type.
        label: Its name, for messages.
    """

    is_typed: bool = True

    def __init__(self, hint: Any, label: str) -> None:
        self._hint = hint
        self.label: str = label
        self._is_class = isinstance(hint, type)

    def dump(self, value: Any) -> Any:
        """Convert an object, or the data of one, and check the data as a worker will."""
        if self._is_class and type(value) is not self._hint:
            if isinstance(value, self._hint):
                raise Refused(f"expected exactly {self.label}, not its subclass {type(value).__name__}")
            value = self.load(value)
        data = self._data_of(value)
        self._check(data)
        return data

    def _check(self, data: Any) -> None:
        self.load(data)

    @abstractmethod
    def _data_of(self, value: Any) -> Any:
        """Convert an object to plain data.

        Raises:
            Refused: The library cannot convert it.
        """

    def holds(self, value: Any) -> bool:
        """Whether it is an object of this class; for other types, whether it is valid."""
        if self._is_class:
            return type(value) is self._hint
        try:
            self.load(value)
        except Refused:
            return False
        return True

    def rank(self, data: Any) -> int:
        """Whether it is a map with the fields of the type."""
        if type(data) is not dict:
            return UNFIT
        return EXACT_RECORD if self._has_fields_of(data) else RECORD

    @abstractmethod
    def _has_fields_of(self, data: Mapping[str, Any]) -> bool:
        """Whether a map has the fields that the type requires, and no others."""

    def _merged(self, definitions: Definitions, schema: Schema, named: Mapping[str, Schema]) -> Schema:
        """The schema of the type, with the types that it names as definitions below its own name."""
        return definitions.merge(schema, {f"{self.label}.{name}": one for name, one in named.items()})

    def _template(self, name: str) -> str:
        """How the library refers to such a definition; its own placeholder stands for the name."""
        return f"{REFERENCE}{self.label}.{{{name}}}"


class PydanticConverter(LibraryConverter):
    """A pydantic model, a pydantic dataclass, or a type with pydantic's constraints.

    Args:
        hint: The type.
        label: Its name, for messages.

    Raises:
        InvalidJob: pydantic is too old, or a field is always left out, so that its value would be lost.
    """

    def __init__(self, hint: Any, label: str) -> None:
        from pydantic import VERSION, TypeAdapter

        if tuple(map(int, VERSION.split(".")[:2])) < OLDEST:
            raise InvalidJob(
                f"{label} is a type of pydantic {VERSION}; typed arguments need 2.11 or later: upgrade it."
            )
        super().__init__(hint, label)
        self._adapter: Any = TypeAdapter(hint)
        self._refuse_excluded()

    def _data_of(self, value: Any) -> Any:
        from pydantic import ValidationError
        from pydantic_core import PydanticSerializationError, to_jsonable_python

        try:
            return plain(self._adapter.dump_python(value, round_trip=True, warnings=False), to_jsonable_python)
        except ValidationError as error:
            raise self._refused(error) from None
        except PydanticSerializationError as error:
            raise Refused(f"{self.label} cannot be dumped: {error}") from None

    def _refuse_excluded(self) -> None:
        for name, field in model_fields(self._adapter.core_schema):
            if field.get("serialization_exclude") is True:
                raise InvalidJob(
                    f"{self.label}: the field {name} has exclude=True, so its value would not reach the worker; remove "
                    "exclude, or annotate a model without the field."
                )

    def _check(self, data: Any) -> None:
        """Check the data of an object as a worker will."""
        try:
            self.load(data)
        except Refused as error:
            for name, field in model_fields(self._adapter.core_schema):
                serializer = own_serializer(field)
                if serializer and error.path.endswith(f".{name}"):
                    error.text += f"; check what its serializer {serializer} returns"
                    break
            raise

    @property
    def tags(self) -> Mapping[str, tuple[Any, ...]]:
        """Its fields with a ``Literal``."""
        fields: Mapping[str, Any] = getattr(self._hint, "__pydantic_fields__", {})
        hints = ((name, one.annotation) for name, one in fields.items() if not one.alias)
        return {
            name: tuple(map(literal_data, typing.get_args(hint)))
            for name, hint in hints
            if typing.get_origin(hint) is typing.Literal
        }

    def load(self, data: Any) -> Any:
        """Make an object; texts are read as in JSON, also by strict models."""
        from pydantic import ValidationError

        try:
            return self._adapter.validate_python(bare(data), strict=False, by_alias=True, by_name=True)
        except ValidationError as error:
            raise self._refused(error) from None

    @staticmethod
    def _refused(error: Any) -> Refused:
        first = error.errors(include_url=False, include_input=False)[0]
        more = error.error_count() - 1
        text = unquoted(first) + (f" (and {more} more)" if more else "")
        return Refused(text, "".join(map(field_step, first["loc"])))

    def _has_fields_of(self, data: Mapping[str, Any]) -> bool:
        names: Mapping[str, Any] = getattr(self._hint, "__pydantic_fields__", {})
        known = {*names, *(str(one.alias) for one in names.values() if one.alias)}
        required = {name for name, one in names.items() if one.is_required() and not one.alias}
        return required <= data.keys() <= known

    def schema(self, definitions: Definitions) -> Schema:
        """The schema that pydantic makes."""
        from pydantic.errors import PydanticInvalidForJsonSchema

        try:
            made = dict(self._adapter.json_schema(ref_template=self._template("model")))
        except PydanticInvalidForJsonSchema:
            return {}
        return self._merged(definitions, made, made.pop("$defs", {}))


class MsgspecConverter(LibraryConverter):
    """A msgspec Struct, or a type with constraints of msgspec.

    Args:
        hint: The type.
        label: Its name, for messages.
    """

    @property
    def tags(self) -> Mapping[str, tuple[Any, ...]]:
        """Its tag."""
        settings = getattr(self._hint, "__struct_config__", None)
        return {settings.tag_field: (settings.tag,)} if settings is not None and settings.tag is not None else {}

    @cached_property
    def _fields(self) -> frozenset[str]:
        import msgspec

        return (
            frozenset(one.encode_name for one in msgspec.structs.fields(self._hint)) if self._is_class else frozenset()
        )

    def _data_of(self, value: Any) -> Any:
        import msgspec

        try:
            data = msgspec.to_builtins(value, builtin_types=NATIVE, enc_hook=_encoded)
        except (TypeError, ValueError) as error:
            raise Refused(f"{self.label} cannot be dumped: {error}") from None
        return _with_secrets(data)

    def load(self, data: Any) -> Any:
        """Make an object."""
        return _converted(bare(data), self._hint)

    def _has_fields_of(self, data: Mapping[str, Any]) -> bool:
        return data.keys() <= self._fields

    def schema(self, definitions: Definitions) -> Schema:
        """The schema that msgspec makes."""
        import msgspec

        try:
            (made,), others = msgspec.json.schema_components(
                [self._hint], schema_hook=_described, ref_template=self._template("name")
            )
        except (TypeError, NotImplementedError):
            return {}
        return self._merged(definitions, made, others)


def _converted(data: Any, kind: Any) -> Any:
    """Convert bare data with msgspec."""
    import msgspec

    try:
        return msgspec.convert(data, kind, dec_hook=_decoded)
    except msgspec.ValidationError as error:
        text, _, path = str(error).partition(" - at `")
        path = path.rstrip("`").removeprefix("$").removeprefix("key in ")
        if isinstance(error.__cause__, Refused):
            path += error.__cause__.path
        elif error.__cause__ is None and (quoting := MSGSPEC_QUOTES.match(text)):
            text = quoting[1]
        raise Refused(text.replace("`", ""), path) from None


def _with_secrets(data: Any) -> Any:
    """Put each `Secret` in the place of its mark."""
    kind = type(data)
    if kind is dict:
        if _MARK in data:
            return Secret(_with_secrets(data[_MARK]))
        return {key: _with_secrets(item) for key, item in data.items()}
    return kind(map(_with_secrets, data)) if kind in (list, tuple) else data


def _encoded(value: Any) -> Any:
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Secret):
        return {_MARK: value.reveal()}
    raise NotImplementedError(f"{type(value).__name__} cannot be encoded")


def _decoded(kind: Any, data: Any) -> Any:
    if isinstance(kind, type) and issubclass(kind, PurePath) and isinstance(data, str):
        return kind(data)
    if kind is Secret or typing.get_origin(kind) is Secret:
        inside = typing.get_args(kind)
        return Secret(_converted(data, inside[0]) if inside else data)
    raise expected(getattr(kind, "__name__", str(kind)), data)


def _described(kind: Any) -> Schema:
    if isinstance(kind, type) and issubclass(kind, PurePath):
        return {"type": "string"}
    if kind is Secret:  # msgspec tells no arguments, and takes an empty schema for none
        return {"description": "a secret"}
    raise NotImplementedError
