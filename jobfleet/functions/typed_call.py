"""`TypedCall`: the arguments and the result of a function whose annotations name types that JSON does not have. Pure.

A function without such annotations has none, which is decided once, when it is registered.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from jobfleet.errors import TypeMismatch
from jobfleet.functions.batch import Batch
from jobfleet.functions.callables import called
from jobfleet.functions.injection import Injection, hints_of
from jobfleet.typed.build import ANY, Builder, Unresolved, result_of
from jobfleet.typed.containers import ListConverter
from jobfleet.typed.converter import Converter, Definitions, Refused, Schema, UnknownField

log: logging.Logger = logging.getLogger("jobfleet.functions")
EMPTY: Final = inspect.Parameter.empty
Call = tuple[list[Any], dict[str, Any]]
INVALID_ARGUMENTS = "invalid-arguments"
"""The reason of a failure: the arguments do not fit the annotations of the function."""

CORRECT: Final = "Correct them with a replay, or correct the annotation."
NEWER: Final = (
    "If its producer is newer than this worker, upgrade the worker and replay the job; upgrade workers before "
    "producers. Else correct the arguments with a replay."
)
"""The remedy for a field that the worker does not know."""


class ArgumentsRefused(TypeMismatch):
    """The arguments of a job do not fit the annotations of its function; only a worker raises it."""


@dataclass(slots=True)
class Table:
    """The converters of a function.

    Attributes:
        names: Those of its positional parameters and of ``*args``, for paths.
        by_position: The converters of its positional parameters; None for one that is left alone.
        rest: That of ``*args``.
        by_name: The converters of all parameters that are not left alone, by name.
        named_rest: That of ``**kwargs``.
        result: That of its result.
        unresolved: The parameters whose annotations cannot be evaluated, with the reasons; ``return`` is the result.
    """

    names: list[str] = field(default_factory=list)
    by_position: list[Converter | None] = field(default_factory=list)
    rest: Converter | None = None
    by_name: dict[str, Converter] = field(default_factory=dict)
    named_rest: Converter | None = None
    result: Converter | None = None
    unresolved: dict[str, str] = field(default_factory=dict)

    @property
    def takes_all(self) -> bool:
        """Whether no argument is converted."""
        return not self.by_name and self.rest is None and self.named_rest is None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is converted."""
        return self.takes_all and self.result is None

    def add(self, parameter: inspect.Parameter, converter: Converter | None) -> None:
        """Add a parameter that callers give."""
        if parameter.kind is parameter.VAR_POSITIONAL:
            self.rest = converter
            self.names.append(parameter.name)
        elif parameter.kind is parameter.VAR_KEYWORD:
            self.named_rest = converter
        else:
            if parameter.kind is not parameter.KEYWORD_ONLY:
                self.names.append(parameter.name)
                self.by_position.append(converter)
            if converter is not None:
                self.by_name[parameter.name] = converter


class TypedCall:
    """Converts the arguments and the result of a function.

    Args:
        name: The name of the function.
        function: The function.
        parameters: The parameters that callers give.
        hidden: The names of those that workers give.
        batch: How its jobs are gathered; None if each has its own call.
    """

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        parameters: Sequence[inspect.Parameter],
        *,
        hidden: frozenset[str],
        batch: Batch | None,
    ) -> None:
        self.name: str = name
        self._function = function
        self._parameters = parameters
        self._own_names = hidden.union(one.name for one in parameters if one.kind is not one.VAR_KEYWORD)
        self._batch = batch
        self._is_final = False
        self._table = self._made()

    @property
    def table(self) -> Table:
        """The converters. Annotations that name something later in the module are evaluated on the first use."""
        if self._table.unresolved and not self._is_final:
            self._is_final = True
            self._table = self._made()
            for place, reason in self._table.unresolved.items():
                log.info("function.unresolved function=%s annotation=%s %s", self.name, place, reason)
        return self._table

    @property
    def is_needed(self) -> bool:
        """Whether there is something to convert, or an annotation cannot be evaluated yet."""
        return bool(self._table.unresolved) or not self._table.is_empty

    def _made(self) -> Table:
        table, builder = Table(), Builder()
        hints = hints_of(self._function)
        for parameter in self._parameters:
            hint = parameter.annotation if self._batch is not None else hints.get(parameter.name, parameter.annotation)
            table.add(parameter, _typed(table, parameter.name, hint, builder))
        raw = getattr(called(self._function), "__annotations__", {}).get("return", EMPTY)
        result = _typed(table, "return", result_of(hints.get("return", raw)), builder)
        if self._batch is not None:  # one result per job
            result = result.item if isinstance(result, ListConverter) and result.item.is_typed else None
        table.result = result
        return table

    def dump(self, args: Sequence[Any], kwargs: Mapping[str, Any], *, may_be_json: bool = False) -> Call:
        """Convert the arguments of a call to plain data.

        Args:
            args: The positional arguments.
            kwargs: The named arguments.
            may_be_json: Whether values may be JSON, in which bytes are base64.

        Raises:
            TypeMismatch: One of them does not fit; its path names the place.
        """
        try:
            return self._converted(args, kwargs, _dump_json if may_be_json else _dump, 0)
        except Refused as error:
            raise TypeMismatch(
                f"{self.name}: {error.path}: {error.text}.", field=self._field_of(error.path, kwargs), path=error.path
            ) from error.__cause__

    def load(self, args: Sequence[Any], kwargs: Mapping[str, Any], given: int = 0) -> Call:
        """Convert plain data to the arguments of a call.

        Args:
            args: The positional arguments.
            kwargs: The named arguments.
            given: How many of the positional arguments the worker has given; they are left alone.

        Raises:
            ArgumentsRefused: One of them does not fit; its path names the place.
        """
        try:
            return self._converted(args, kwargs, _load, given)
        except Refused as error:
            remedy = NEWER if isinstance(error, UnknownField) else CORRECT
            raise ArgumentsRefused(
                f"the arguments do not fit the annotations of {self.name}: {error.path}: {error.text}. {remedy}",
                field=self._field_of(error.path, kwargs),
                path=error.path,
            ) from error.__cause__

    def dump_result(self, value: Any) -> Any:
        """Convert a result to plain data.

        Raises:
            TypeMismatch: It does not fit.
        """
        converter = self.table.result
        return value if converter is None else self._result(converter.dump, value, "result")

    def load_result(self, data: Any) -> Any:
        """Convert plain data to a result.

        Raises:
            TypeMismatch: It does not fit.
        """
        converter = self.table.result
        return data if converter is None else self._result(converter.load, data, "stored result")

    def _result(self, convert: Callable[[Any], Any], value: Any, what: str) -> Any:
        try:
            return convert(value)
        except Refused as error:
            path, text = f"result{error.path}", error.text
        except RecursionError:
            path, text = "result", "it contains itself"
        place = f"{path}: " if path != "result" else ""
        raise TypeMismatch(
            f"the {what} of {self.name} does not fit the return annotation: {place}{text}.", field="result", path=path
        )

    def _converted(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], way: Callable[[Converter, Any], Any], given: int
    ) -> Call:
        table = self.table
        positional, named = list(args), dict(kwargs)
        if table.takes_all:
            return positional, named
        for place in range(given, len(positional)):
            at = place - given
            converter = table.by_position[at] if at < len(table.by_position) else table.rest
            if converter is not None:
                is_rest = at >= len(table.by_position)
                step = f"{table.names[-1]}[{at - len(table.by_position)}]" if is_rest else table.names[at]
                positional[place] = _at(step, way, converter, positional[place])
        for name, value in named.items():
            converter = table.by_name.get(name)
            if converter is None and name not in self._own_names:
                converter = table.named_rest
            if converter is not None:
                named[name] = _at(name, way, converter, value)
        return positional, named

    @staticmethod
    def _field_of(path: str, kwargs: Mapping[str, Any]) -> str:
        return "kwargs" if path.replace("[", ".").partition(".")[0] in kwargs else "args"

    def schemas(self) -> dict[str, Schema]:
        """The JSON Schema of each converted parameter."""
        table = self.table
        found = {name: described(converter) for name, converter in table.by_name.items()}
        for parameter in self._parameters:
            rest = None
            if parameter.kind is parameter.VAR_POSITIONAL:
                rest = table.rest
            elif parameter.kind is parameter.VAR_KEYWORD:
                rest = table.named_rest
            if rest is not None:
                found[parameter.name] = described(rest)
        return found


def typed_call_of(
    name: str,
    function: Callable[..., Any],
    parameters: Sequence[inspect.Parameter] | None,
    injection: Injection,
    batch: Batch | None,
) -> TypedCall | None:
    """What converts the arguments and the result of a function; None if nothing does, as with ``typing.no_type_check``.

    Args:
        name: The name of the function.
        function: The function.
        parameters: The parameters that callers give; None if they are not known.
        injection: The parameters that workers give.
        batch: How its jobs are gathered; None if each has its own call.
    """
    code = called(function)
    if parameters is None or not getattr(code, "__annotations__", None) or hasattr(code, "__no_type_check__"):
        return None
    made = TypedCall(name, function, parameters, hidden=injection.hidden, batch=batch)
    return made if made.is_needed else None


def described(converter: Converter) -> Schema:
    """The JSON Schema of a type, with its definitions."""
    definitions = Definitions()
    schema = converter.schema(definitions)
    return schema | {"$defs": definitions.schemas} if definitions.schemas else schema


def _typed(table: Table, name: str, hint: Any, builder: Builder) -> Converter | None:
    if hint is EMPTY:
        return None
    try:
        converter = builder.of(hint)
    except Unresolved as error:
        table.unresolved[name] = str(error)
        return None
    except RecursionError:
        return None  # an alias that names itself
    return converter if converter is not ANY and converter.is_typed else None


def _dump(converter: Converter, value: Any) -> Any:
    return converter.dump(value)


def _dump_json(converter: Converter, value: Any) -> Any:
    return converter.dump(value if converter.holds(value) else converter.load(value))


def _load(converter: Converter, value: Any) -> Any:
    return converter.load(value)


def _at(step: str, way: Callable[[Converter, Any], Any], converter: Converter, value: Any) -> Any:
    try:
        return way(converter, value)
    except Refused as error:
        raise error.below(step) from error.__cause__
    except RecursionError:
        raise Refused("it contains itself, or is nested too deep", step) from None
