"""The reference of the Python API, as Markdown: the signatures and docstrings of the public names, read by griffe."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import griffe

import jobfleet

ROOT = Path(__file__).resolve().parent.parent
WIDTH = 100
"""The longest signature on one line, in characters."""
AWAITED = {"AsyncFleet": "Fleet", "AsyncJobHandle": "JobHandle"}
"""Classes that have the members of another one, awaited."""
INTERNAL = frozenset({
    "apply", "buffering", "checked", "context", "counted", "envelope_from_archive", "from_archive", "is_blocking",
    "is_empty", "is_plain", "listener", "own_options", "record_refusal", "request", "send", "serve_requests", "store",
    "submit", "suffix", "trace", "up_folder", "without_parents",
})  # fmt: skip
"""Members that other parts of jobfleet use."""
NAMED = {
    "FunctionOptions": "functions.options.FunctionOptions",
    "JobFilters": "operations.jobs.matching.JobFilters",
    "DeadFilters": "operations.dead_letters.DeadFilters",
    "FunctionFilters": "operations.functions.FunctionFilters",
}
"""Arguments that several methods take by name, and where they are described."""
PARTS = ("flows", "cron", "groups", "limits", "breakers")
"""Attributes of a fleet whose methods are described behind those of the fleet."""


def parts() -> dict[str, str]:
    """The text of each public name, with its members."""
    logging.getLogger("griffe").setLevel(logging.ERROR)  # it warns of parameters that a signature has as ``**options``
    package = griffe.load("jobfleet", search_paths=[str(ROOT)], docstring_parser="google")
    public = {name: "\n\n".join(entry(package, name)) for name in jobfleet.__all__}
    return public | {name: "\n\n".join(named(package[path], name)) for name, path in NAMED.items()}


def entry(package: Any, name: str) -> Iterator[str]:
    """A public name."""
    yield from head(f"jobfleet.{name}", name, level=2)
    if name == "__version__":
        yield "The version of the package, a text."
        return
    found = target(package[name])
    if found.is_attribute:  # an object: the class tells what it is for, and its `__call__` what it takes
        found = target(package[canonical(package, found)])
        yield sections(found, "text")[0].value
        if "__call__" in found.members:
            _, *rest = described(found.members["__call__"])
            yield from rest
    else:
        if not found.is_class or sections(found, "parameters"):
            yield signature(found, name)
        yield from described(found)
    if not found.is_class:
        return
    if name in AWAITED:
        yield awaited(found, name)
    else:
        yield from members(found, name)


def target(found: Any) -> Any:
    """What a name stands for that may be imported from elsewhere."""
    return found.final_target if found.is_alias else found


def canonical(package: Any, attribute: Any) -> str:
    """The path, below the package, of the class of an attribute."""
    return str(attribute.annotation.canonical_path).removeprefix(f"{package.name}.")


def head(path: str, title: str, level: int) -> tuple[str, str]:
    """The anchor by which links find an entry, and its heading."""
    return f'<a id="{path}"></a>', f"{'#' * level} `{title}`"


def shown(kind: Any) -> dict[str, Any]:
    """The members of a class that are described, by name: public ones with a text, and values of an enumeration."""
    found = {key: target(one) for key, one in kind.all_members.items() if not key.startswith("_")}
    values = any("Enum" in str(base) for base in kind.bases)
    return {key: one for key, one in found.items() if key not in INTERNAL and (one.docstring or values)}


def members(kind: Any, name: str) -> Iterator[str]:
    """The attributes of a class as a table, then its methods."""
    found = shown(kind)
    attributes = {key: one for key, one in found.items() if one.is_attribute and key not in PARTS}
    rows = [f"| `{key}` | {typed(one)} | {brief(one)} |" for key, one in attributes.items()]
    if rows:
        yield "\n".join(["| attribute | type or value | meaning |", "| --- | --- | --- |", *rows])
    for key, one in found.items():
        if one.is_function:
            yield from method(one, f"{name}.{key}")
    for part in PARTS if name == "Fleet" else ():
        below = target(found[part].modules_collection[str(found[part].annotation.canonical_path)])
        for key, one in shown(below).items():
            if one.is_function:
                yield from method(one, f"{name}.{part}.{key}")


def named(kind: Any, name: str) -> Iterator[str]:
    """Arguments by name. The row ``texts`` is for each free text of a job, which are the attributes of the bases."""
    yield from head(f"jobfleet.{name}", name, level=3)
    yield sections(kind, "text")[0].value
    bases = [kind, *kind.mro()]
    texts = dict.fromkeys(key for base in bases[1:] for key in base.attributes)
    rows = [
        (row.name, flat(row.description)) for base in bases for one in sections(base, "attributes") for row in one.value
    ]
    described = {key: text for key, text in rows if key != "texts"}
    described |= {key: text.format(key.replace("_", " ")) for one, text in rows if one == "texts" for key in texts}
    yield "\n".join(f"- `{key}`: {text}" for key, text in described.items())


def method(found: Any, path: str) -> Iterator[str]:
    """A method."""
    yield from head(f"jobfleet.{path}", path, level=3)
    yield signature(found, found.name)
    yield from described(found)


def awaited(kind: Any, name: str) -> str:
    """What differs from the class that blocks: the methods that are not coroutines."""
    other = AWAITED[name]
    plain = [f"`{key}`" for key, one in shown(kind).items() if one.is_function and "async" not in one.labels]
    rest = f" These are not coroutines: {', '.join(plain)}." if plain else ""
    return f"It has the members of [`{other}`](#jobfleet.{other}), and its methods are awaited.{rest}"


def signature(found: Any, name: str) -> str:
    """How it is called; each overload, if it has several."""
    if found.is_class:
        return fenced(call(f"class {name}", list(found.parameters)[1:], None))
    word = "async def" if "async" in found.labels else "def"
    ways = found.overloads or [found]
    return fenced("\n\n".join(call(f"{word} {name}", without_self(way), way.returns) for way in ways))


def without_self(found: Any) -> list[Any]:
    """The parameters that a caller gives."""
    given = list(found.parameters)
    return given[1:] if given and given[0].name in {"self", "cls"} else given


def call(start: str, parameters: list[Any], returns: Any) -> str:
    """A signature, with one parameter per line if it is long."""
    texts = list(listed(parameters))
    end = f") -> {returns}" if returns is not None else ")"
    line = f"{start}({', '.join(texts)}{end}"
    return line if len(line) <= WIDTH else "\n".join([f"{start}(", *(f"    {text}," for text in texts), end])


def listed(parameters: list[Any]) -> Iterator[str]:
    """Parameters as they are written, with ``*`` before those that are given by name."""
    kinds = griffe.ParameterKind
    has_star = False
    for one in parameters:
        if one.kind is kinds.keyword_only and not has_star:
            yield "*"
        has_star = has_star or one.kind in {kinds.keyword_only, kinds.var_positional}
        stars = {kinds.var_positional: "*", kinds.var_keyword: "**"}.get(one.kind, "")
        kind = f": {one.annotation}" if one.annotation is not None else ""
        default = f" = {one.default}" if one.default is not None and not stars else ""
        yield f"{stars}{one.name}{kind}{default}"


def fenced(text: str) -> str:
    """Python code."""
    return f"```py\n{text}\n```"  # `python` would be a program, which a test runs


def described(found: Any) -> Iterator[str]:
    """A docstring, section by section."""
    for one in found.docstring.parsed if found.docstring else ():
        kind = one.kind.value
        if kind == "text":
            yield one.value
        elif kind in {"parameters", "other parameters", "attributes"}:
            word = "Attributes" if kind == "attributes" else "Arguments"
            yield f"**{word}**\n\n" + "\n".join(f"- `{row.name}`: {flat(row.description)}" for row in one.value)
        elif kind == "raises":
            yield "**Errors**\n\n" + "\n".join(f"- `{row.annotation}`: {flat(row.description)}" for row in one.value)
        elif kind in {"returns", "yields"}:
            yield f"**{kind.capitalize()}** " + " ".join(flat(row.description) for row in one.value)
        elif kind == "admonition":
            yield f"**{one.title or one.value.kind.capitalize()}** {flat(one.value.contents)}"
        else:
            raise ValueError(f"{found.path}: write a section of the kind {kind!r} in scripts/docs_api.py")


def sections(found: Any, kind: str) -> list[Any]:
    """The sections of one kind of a docstring."""
    return [one for one in found.docstring.parsed if one.kind.value == kind] if found.docstring else []


def typed(found: Any) -> str:
    """The type of an attribute, or its value if it has no type."""
    text = str(found.annotation if found.annotation is not None else found.value or "")
    return f"`{text}`".replace("|", "\\|") if text else ""


def brief(found: Any) -> str:
    """A docstring as one line of a table."""
    return flat(found.docstring.value).replace("|", "\\|") if found.docstring else ""


def flat(text: str) -> str:
    """A text on one line."""
    return " ".join(text.split())
