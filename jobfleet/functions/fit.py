"""Check the arguments of a call against the parameters of its function."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from jobfleet.errors import InvalidJob
from jobfleet.model.option_types import Items

SHAPES_MOST = 64
"""How many shapes of calls are remembered per function; a function with ``**kwargs`` may have any number."""
CONTEXT_NAMES = frozenset({"ctx", "context", "job_context"})


class Fit:
    """Whether the arguments of a job fit its function.

    A shape is the number of positional arguments and the names of the others. Shapes that fit are remembered, so that
    the caller of `check` can look up the shape of a usual call first.

    Args:
        name: The name of the function, for errors.
        parameters: The parameters that a caller gives; None if they are not known, then everything fits.

    Attributes:
        shapes: The shapes that fit, as far as they are known.
    """

    __slots__ = ("_name", "_parameters", "shapes")

    def __init__(self, name: str, parameters: Sequence[inspect.Parameter] | None) -> None:
        self._name = name
        self._parameters = parameters
        self.shapes: set[object] = set()

    def check(self, shape: object, args: Items[object], kwargs: Mapping[str, Any]) -> None:
        """Check a call of a shape that is not known yet.

        Args:
            shape: The shape; see `Fit`.
            args: The positional arguments.
            kwargs: The other arguments.

        Raises:
            InvalidJob: The function does not accept these arguments.
        """
        self._check(args, kwargs)
        if len(self.shapes) < SHAPES_MOST:
            self.shapes.add(shape)

    def _check(self, args: Items[object], kwargs: Mapping[str, Any]) -> None:
        if self._parameters is None:
            return
        signature = inspect.Signature(self._parameters)
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            shown = inspect.Signature([one.replace(annotation=one.empty) for one in self._parameters])
            raise InvalidJob(f"{self._name} takes {shown}: {error}{self._hint()}.", field="args") from None

    def _hint(self) -> str:
        """The remedy for a context without its annotation, which a caller would have to give."""
        first = next(iter(self._parameters or ()), None)
        if first is None or first.name not in CONTEXT_NAMES or first.annotation is not first.empty:
            return ""
        return f"; to receive the context of the job, annotate '{first.name}: JobContext'"
