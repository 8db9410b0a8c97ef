"""The OpenAPI 3.1 document of the API, made of the table of routes."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from jobfleet.version import VERSION
from jobfleet.web.errors import OWN
from jobfleet.web.route import DAMAGED, Action, Many, Page, Parameter, Shape

Schema = dict[str, Any]
_PLAIN: dict[Any, Schema] = {
    str: {"type": "string"}, int: {"type": "integer"}, float: {"type": "number"}, bool: {"type": "boolean"},
    type(None): {"type": "null"}, datetime: {"type": "string", "format": "date-time"},
    timedelta: {"type": "number", "description": "seconds"}, Any: {}, object: {},
}  # fmt: skip
_INFINITE: Schema = {"type": ["number", "string"], "description": "a number, or 'inf'"}


class Document:
    """Makes the document.

    Args:
        pages: The pages.
        actions: The actions.
    """

    def __init__(self, pages: Sequence[Page], actions: Sequence[Action]) -> None:
        self._pages = pages
        self._actions = actions
        self._schemas: dict[str, Schema] = {}

    def made(self, server: str) -> dict[str, Any]:
        """The document.

        Args:
            server: The address of the API, relative to that of the document.
        """
        paths: dict[str, Any] = {}
        for page in self._pages:
            operation = self._operation("get", page.api_path, page.summary, page.answer, page.parameters, page.role)
            if page.has_events:  # each event has such data
                done = operation["responses"]["200"]
                done["content"] = {"text/event-stream": {"schema": {"type": "string"}}}
                operation["responses"]["204"] = {"description": "The last event was sent before."}
            paths.setdefault(page.api_path, {})["get"] = operation
        for action in self._actions:
            operation = self._operation(
                "post", action.path, action.summary, action.answer, action.parameters, action.role
            )
            if action.instead:
                operation |= {"deprecated": True}
            if action.is_open:
                operation |= {"description": "Needs no login: the path has a secret.", "security": []}
            paths.setdefault(action.path, {})["post"] = operation | _body(action.parameters)
        codes = sorted(OWN)
        self._schemas["Problem"] = _object(
            {"error": _object({"code": {"type": "string", "examples": codes}, "message": {"type": "string"}})}
        )
        return {
            "openapi": "3.1.0",
            "info": {"title": "jobfleet", "version": VERSION, "summary": "What a fleet of workers does, and commands."},
            "servers": [{"url": server}],
            "security": [{"token": []}],
            "paths": paths,
            "components": {
                "schemas": dict(sorted(self._schemas.items())),
                "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            },
        }

    def _operation(
        self,
        method: str,
        path: str,
        summary: str,
        answer: Mapping[str, Any],
        parameters: Sequence[Parameter],
        role: str,
    ) -> dict[str, Any]:
        words = re.findall(r"[a-z]+", path)
        problem = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
        return {
            "operationId": "_".join([method, *words]),
            "summary": summary,
            "description": f"Needs the role {role}.",
            "parameters": [_parameter(one) for one in parameters if one.place != "body"],
            "responses": {
                "200": {
                    "description": "Done.",
                    "content": {"application/json": {"schema": self._answer(answer, method)}},
                },
                "default": {"description": "Refused or failed.", "content": problem},
            },
        }

    def _answer(self, answer: Mapping[str, Any], method: str) -> Schema:
        schema = _object({name: self.schema(kind) for name, kind in answer.items()})
        if method == "get":
            what = "What in Redis could not be read, and is left out; absent if everything could."
            schema["properties"][DAMAGED] = {"type": "array", "items": {"type": "string"}, "description": what}
        return schema

    def schema(self, kind: Any) -> Schema:
        """The schema of the JSON form of a type."""
        if isinstance(kind, Many):
            return {"type": "array", "items": self.schema(kind.of)}
        if isinstance(kind, Shape):
            return self._named(kind.name, kind.fields)
        if isinstance(kind, TypeVar):
            return {}
        if kind in _PLAIN:
            return dict(_PLAIN[kind])
        origin, arguments = get_origin(kind), get_args(kind)
        if origin in (Union, types.UnionType):
            return self._union(arguments)
        if origin is Literal:
            return {"enum": list(arguments)}
        return self._generic(kind, origin, arguments)

    def _generic(self, kind: Any, origin: Any, arguments: tuple[Any, ...]) -> Schema:
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return {"type": "object", "additionalProperties": self.schema(arguments[1])}
        if isinstance(origin, type) and issubclass(origin, Sequence):
            return {"type": "array", "items": self.schema(arguments[0])}
        if isinstance(kind, type) and issubclass(kind, Enum):
            return {"type": "string", "enum": [one.value for one in kind]}
        if isinstance(kind, type) and is_dataclass(kind):
            hints = get_type_hints(kind)
            return self._named(kind.__name__, {one.name: hints[one.name] for one in fields(kind)})
        if isinstance(kind, type) and issubclass(kind, tuple):
            return self._named(kind.__name__, get_type_hints(kind))
        raise TypeError(f"The API cannot describe {kind!r}.")

    def _union(self, kinds: Sequence[Any]) -> Schema:
        if set(kinds) == {float, type(None)}:
            return {"anyOf": [_INFINITE, {"type": "null"}]}
        return {"anyOf": [self.schema(one) for one in kinds]}

    def _named(self, name: str, members: Mapping[str, Any]) -> Schema:
        """A reference to the schema of an object, which is made once."""
        if name not in self._schemas:
            self._schemas[name] = {}
            self._schemas[name] = _object({key: self.schema(kind) for key, kind in members.items()})
        return {"$ref": f"#/components/schemas/{name}"}


def _object(members: Mapping[str, Schema]) -> Schema:
    return {"type": "object", "properties": dict(members), "required": list(members)}


def _parameter_schema(one: Parameter) -> Schema:
    if one.kind:
        return dict(one.kind.schema)
    if one.least is not None:
        number: Schema = {"type": "integer", "minimum": one.least, "maximum": one.most}
        return number if one.default is None else number | {"default": one.default}
    if one.schema:
        return dict(one.schema)
    if one.words:
        return {"type": "string", "enum": list(one.words)}
    return {"type": "string", "maxLength": one.longest}


def _parameter(one: Parameter) -> dict[str, Any]:
    return {
        "name": one.name,
        "in": one.place,
        "required": one.place == "path",
        "description": one.help,
        "schema": _parameter_schema(one),
    }


def _body(parameters: Sequence[Parameter]) -> dict[str, Any]:
    members = {
        one.name: _parameter_schema(one) | {"description": one.help} for one in parameters if one.place == "body"
    }
    needed = [one.name for one in parameters if one.is_required and one.place == "body"]
    schema: Schema = {"type": "object", "properties": members}
    if needed:
        schema |= {"required": needed, "additionalProperties": False}
    return {"requestBody": {"required": bool(needed), "content": {"application/json": {"schema": schema}}}}
