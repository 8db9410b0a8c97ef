"""The methods of clients for the verbs of operators, as source: signature and docstring are those of the operation."""

import ast
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator
from itertools import compress
from pathlib import Path
from typing import Any

import jobfleet.operations
from jobfleet.operations import verb as kinds
from jobfleet.operations.verb import BY, DRY_RUN, Verb, verbs_of

FAMILIES = {
    "fleet": ("",),
    "limits": ("limits", "breakers", "groups"),
    "cron": ("cron",),
    "dead": ("dead",),
    "flows": ("flows",),
}
"""The module that has the methods, and the parts of a client in it; the empty one is the client."""
HEAD = '''"""Verbs of operators: `jobfleet.operations` declares them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobfleet.client._async.audit import {bases}

if TYPE_CHECKING:
    pass
'''
BY_HELP = "by: The person or program that does it, for the record."


def every_verb() -> list[Verb[..., Any]]:
    """All verbs, by module."""
    names = [one.name for one in pkgutil.walk_packages(jobfleet.operations.__path__, "jobfleet.operations.")]
    return [verb for name in names for verb in verbs_of(importlib.import_module(name))]


def aliases() -> dict[str, ast.expr]:
    """What the annotated types of `operations.verb` are for a caller."""
    tree = ast.parse(Path(kinds.__file__).read_text(encoding="utf-8"))
    return {
        node.targets[0].id: node.value.slice.elts[0]
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Subscript) and isinstance(node.value.slice, ast.Tuple)
    }  # fmt: skip


class Plain(ast.NodeTransformer):
    """Replaces the annotated types."""

    def __init__(self) -> None:
        self.known: dict[str, ast.expr] = aliases()
        self.names: set[str] = set()

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """Replace a name, or note it."""
        if node.id in self.known:
            known: ast.expr = self.visit(self.known[node.id])
            return known
        self.names.add(node.id)
        return node


def imported(verb: Verb[..., Any], names: set[str]) -> Iterator[str]:
    """The imports of the names in annotations."""
    module = sys.modules[verb.operation.__module__]
    for name in sorted(names):
        for tree in (ast.parse(inspect.getsource(module)), ast.parse(inspect.getsource(kinds))):
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom) and any(one.name == name for one in node.names):
                    yield f"from {node.module} import {name}"
        if isinstance(found := vars(module).get(name), type) and found.__module__ == module.__name__:
            yield f"from {module.__name__} import {name}"


def described(verb: Verb[..., Any]) -> str:
    """The docstring of a method."""
    text = inspect.cleandoc(verb.operation.__doc__ or "")
    if f"\n    {BY}: " not in text:
        head, args, rest = text.partition("Args:\n")
        if not args:
            head, raises, rest = text.partition("\n\nRaises:\n")
            return f"{head}\n\nArgs:\n    {BY_HELP}{raises}{rest}"
        first, gap, tail = rest.partition("\n\n")
        text = f"{head}{args}{first}\n    {BY_HELP}{gap}{tail}"
    return text


def method(verb: Verb[..., Any], types: set[str]) -> str:
    """A method."""
    node: Any = ast.parse(inspect.getsource(verb.operation)).body[0]
    plain = Plain()
    node.args.args[0] = ast.arg("self")
    kept = [one.arg not in verb.inner or one.arg == DRY_RUN for one in node.args.kwonlyargs]
    node.args.kwonlyargs = list(compress(node.args.kwonlyargs, kept))
    node.args.kw_defaults = list(compress(node.args.kw_defaults, kept))
    node.args, node.returns = plain.visit(node.args), plain.visit(node.returns.slice)
    if all(one.arg != BY for one in node.args.kwonlyargs):
        node.args.kwonlyargs.append(ast.arg(BY, ast.parse("str | None", mode="eval").body))
        node.args.kw_defaults.append(ast.Constant(None))
    module = verb.operation.__module__
    types.update(imported(verb, plain.names))
    takes_by = BY in inspect.signature(verb.operation).parameters
    before = [one.arg for one in node.args.args[1:]]
    after = [f"{one.arg}={one.arg}" for one in node.args.kwonlyargs if one.arg != BY or takes_by]
    after += [f"**{node.args.kwarg.arg}"] if node.args.kwarg else []
    body = "\n".join(f"        {line}".rstrip() for line in described(verb).splitlines())
    package, _, name = module.rpartition(".")
    call = ", ".join([f"{name}.{verb.operation.__name__}", BY, *before, *after])
    act = verb.method.rpartition(".")[2]
    return (
        f"    async def {act}({ast.unparse(node.args)}) -> {ast.unparse(node.returns)}:\n"
        f'        """{body.strip()}\n        """\n'
        f"        from {package} import {name}\n\n"
        f"        return await self._act({call})\n"
    )


def modules() -> dict[str, str]:
    """The text of each module, by its name."""
    made = {}
    verbs = {verb.method: verb for verb in every_verb() if not verb.is_written}
    known = {part for parts in FAMILIES.values() for part in parts}
    for key, verb in verbs.items():
        if (part := key.rpartition(".")[0]) not in known:
            raise ValueError(
                f"The verb {verb.name!r} has the method fleet.{key}, and fleet.{part} has no verbs. Give the verb "
                f"method='…', or add {part!r} to FAMILIES in scripts/client_methods.py."
            )
    for name, parts in FAMILIES.items():
        types: set[str] = set()
        classes = []
        for part in parts:
            base = "AsyncPart" if part else "AsyncAudit"
            methods = [method(one, types) for key, one in verbs.items() if key.rpartition(".")[0] == part]
            if methods:
                classes.append(
                    f"class Async{(part or name).capitalize()}Verbs({base}):\n"
                    f'    """The verbs of `fleet{f".{part}" if part else ""}`."""\n\n' + "\n".join(methods)
                )
        if classes:
            bases = sorted({"AsyncPart" if part else "AsyncAudit" for part in parts})
            head = HEAD.format(bases=", ".join(bases))
            head += "".join(f"    {one}\n" for one in sorted(types))
            made[f"{name}_verbs.py"] = head + "\n\n" + "\n\n".join(classes)
    return made
