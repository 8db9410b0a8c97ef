"""What `scripts/mutants` changes in a source, and what it calls each change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from tests.support.mutants import lua, python
from tests.support.mutants.mutant import Key, Mutant
from tests.support.mutants.survey import FIND, records
from tests.support.mutants.targets import TARGETS

ROOT = Path(__file__).parents[2]


def changed(find: Callable[[bytes], list[Mutant]], source: str) -> list[str]:
    """Each changed source, on one line."""
    text = source.encode()
    return [" ".join(mutant.apply(text).decode().split()) for mutant in find(text)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a < b", ["pass", "a <= b", "a >= b"]),
        ("a >= b > c", ["pass", "a > b > c", "a < b > c", "a >= b >= c", "a >= b <= c"]),
        ("a is not b", ["pass", "a is b"]),
        ("a not in b", ["pass", "a in b"]),
        ("(a) == (b)", ["pass", "(a) != (b)"]),
        ("not a", ["pass", "a"]),
        ("a and b or c", ["pass", "a and b and c", "a or b or c"]),
        ("a // b - c", ["pass", "a * b - c", "a // b + c"]),
        ("a %= b", ["pass", "a *= b"]),
        ("f(-a, 1.5, True)", ["pass", "f(a, 1.5, True)", "f(-a, 0.5, True)", "f(-a, 2.5, True)", "f(-a, 1.5, False)"]),
        ("a = '0 9'", ["a = '0 0'", "a = '1 9'"]),
        ("a: int = 1", ["a: int = 0", "a: int = 2"]),
        ("a.b = c", ["pass"]),
        ("if a: b()", ["if a: pass", "if not (a): b()"]),
        ("a = b if c else d", ["a = b if not (c) else d"]),
        ("def f():\n  'Doc 1.'\n  return a", ["def f(): 'Doc 1.' return None"]),
        ("def f(a):\n  a = b", ["def f(a): pass"]),
        ("def f():\n  a = b", []),
        ("def f():\n  raise E('1')", ["def f(): pass"]),
        ("@d(1)\nclass C:\n  'Doc 1.'", []),
        ("if TYPE_CHECKING:\n  import a", []),
        ("a = 'é'; b < c", ["a = 'é'; b <= c", "a = 'é'; b >= c", "a = 'é'; pass"]),
    ],
)
def test_a_python_source_has_these_mutants(source: str, expected: list[str]) -> None:
    assert sorted(changed(python.mutants, source)) == sorted(expected)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("local a = b < c", ["local a = b <= c", "local a = b >= c"]),
        ("local a = b ~= c", ["local a = b == c"]),
        ("local a = not b", ["local a = b"]),
        ("local a = b and c or d", ["local a = b or c or d", "local a = b and c and d"]),
        ("local a = b - -c", ["local a = b + -c", "local a = b - c"]),
        ("return f(2)", ["return f(3)", "return f(1)"]),
        ("return 1e3, 0x10", ["return 1001, 0x10", "return 999, 0x10", "return 1e3, 17", "return 1e3, 15"]),
        ("local a = true -- 1 < 2", ["local a = false -- 1 < 2"]),
        ("local a = 'b < 1'", []),
        ("redis.call('DEL', a)", [""]),
        ("if a then b(c) end", ["if not (a) then b(c) end", "if a then end"]),
        ("while a do b = c() end", ["while not (a) do b = c() end"]),
        ("local a = b() c(d)", ["local a = b()"]),
        ("f(a).b = c", []),
    ],
)
def test_a_lua_source_has_these_mutants(source: str, expected: list[str]) -> None:
    assert sorted(changed(lua.mutants, source)) == sorted(expected)


@pytest.mark.parametrize(
    ("find", "source", "key"),
    [
        (
            python.mutants,
            """
            class C:
                def f(self):
                    return (a
                        < b)
            """,
            Key("C.f", "< b)", "<= b)"),
        ),
        (
            lua.mutants,
            """
            local function f(a)
              if a then return end
              return a <
                b
            end
            """,
            Key("f", "return a <", "return a <="),
        ),
    ],
)
def test_a_mutant_is_known_by_its_function_and_its_line_wherever_they_stand(
    find: Callable[[bytes], list[Mutant]], source: str, key: Key
) -> None:
    text = dedent(source).encode()
    below = b"\n\n" + text

    assert key in [mutant.key(text) for mutant in find(text)]
    assert [mutant.key(below) for mutant in find(below)] == [mutant.key(text) for mutant in find(text)]


def test_lines_that_read_alike_are_told_apart_by_the_line_above() -> None:
    text = b"if a then\n\n  b(1)\nend\n-- then\nb(1)\n"
    first, second = (mutant.keys(text) for mutant in lua.mutants(text) if mutant.new == b"2")

    assert first == (Key("", "b(1)", "b(2)", "if a then"), Key("", "b(1)", "b(2)"))
    assert second == (Key("", "b(1)", "b(2)", "-- then"), Key("", "b(1)", "b(2)"))


@pytest.mark.parametrize("path", TARGETS)
def test_each_target_has_mutants_and_tests(path: str) -> None:
    assert FIND[Path(path).suffix]((ROOT / path).read_bytes())
    assert [test for test in TARGETS[path] if not (ROOT / test).is_file()] == []


def test_each_equivalent_mutant_is_of_a_target_and_has_a_reason() -> None:
    assert set(records()) <= set(TARGETS)


@pytest.mark.parametrize("path", TARGETS)
def test_each_equivalent_mutant_is_one_of_the_file_as_it_is(path: str) -> None:
    source = (ROOT / path).read_bytes()
    found = {key for mutant in FIND[Path(path).suffix](source) for key in mutant.keys(source)}

    assert set(records().get(path, ())) - found == set()
