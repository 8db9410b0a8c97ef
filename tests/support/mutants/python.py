"""Mutants of Python sources, found in the syntax tree and written as changes of the text."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence

from tests.support.mutants.mutant import Mutant, distinct

COMPARISONS: dict[type[ast.cmpop], tuple[str, ...]] = {
    ast.Lt: ("<=", ">="),
    ast.LtE: ("<", ">"),
    ast.Gt: (">=", "<="),
    ast.GtE: (">", "<"),
    ast.Eq: ("!=",),
    ast.NotEq: ("==",),
    ast.Is: ("is not",),
    ast.IsNot: ("is",),
    ast.In: ("not in",),
    ast.NotIn: ("in",),
}
"""For each comparison: the one with another boundary, where there is one, and the opposite."""
ARITHMETIC: dict[type[ast.operator], str] = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "/",
    ast.Div: "*",
    ast.FloorDiv: "*",
    ast.Mod: "*",
    ast.Pow: "*",
    ast.LShift: ">>",
    ast.RShift: "<<",
    ast.BitAnd: "|",
    ast.BitOr: "&",
}
COMPARED = re.compile(rb"is\s+not\b|not\s+in\b|is\b|in\b|[=!<>]=|[<>]")
CALCULATED = re.compile(rb"//|\*\*|<<|>>|[-+*/%&|^@]")
JOINED = re.compile(rb"\b(?:and|or)\b")
Condition = ast.If | ast.While | ast.IfExp


def mutants(source: bytes) -> list[Mutant]:
    """All mutants of a Python source, in its order."""
    return distinct(_Finder(source).find(), source)


class _Finder(ast.NodeVisitor):
    """Visits what runs: no annotations, decorators, docstrings or texts of errors."""

    def __init__(self, source: bytes) -> None:
        self._source = source
        self._starts = [0]
        for line in source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self._scope: list[str] = []
        self._names: list[dict[str, int]] = [{}]
        self._found: list[Mutant] = []

    def find(self) -> Iterator[Mutant]:
        tree = ast.parse(self._source)
        self._body(tree.body)
        return iter(self._found)

    # --- places ---------------------------------------------------------------------------------

    def _begin(self, node: ast.expr | ast.stmt) -> int:
        return self._starts[node.lineno - 1] + node.col_offset

    def _end(self, node: ast.expr | ast.stmt) -> int:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._starts[node.end_lineno - 1] + node.end_col_offset

    def _add(self, begin: int, end: int, new: bytes, operator: str) -> None:
        self._found.append(Mutant(begin, end, new, operator, ".".join(self._scope)))

    def _between(self, left: ast.expr, right: ast.expr, wanted: re.Pattern[bytes], new: str, operator: str) -> None:
        """Replace the operator that stands between two operands."""
        begin = self._end(left)
        match = wanted.search(self._source, begin, self._begin(right))
        if match is not None:
            self._add(match.start(), match.end(), new.encode(), operator)

    # --- statements -----------------------------------------------------------------------------

    def _body(self, body: Sequence[ast.stmt]) -> None:
        for statement in body:
            is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
            if not is_text:  # a docstring
                self._delete(statement)
                self.visit(statement)

    def _delete(self, statement: ast.stmt) -> None:
        match statement:
            case ast.Expr() | ast.AugAssign() | ast.Raise() | ast.Break() | ast.Continue() | ast.Delete():
                is_felt = True
            case ast.Assign(targets=[target]) | ast.AnnAssign(target=target, value=ast.expr()):
                # Without its first assignment a name is missing, which any test would see.
                again = isinstance(target, ast.Name) and self._names[-1].get(target.id, 0) > 1
                is_felt = again or isinstance(target, ast.Attribute | ast.Subscript | ast.Tuple)
            case ast.Return(value=None):
                is_felt = True
            case _:
                is_felt = False
        if is_felt:
            self._add(self._begin(statement), self._end(statement), b"pass", "statement")

    def generic_visit(self, node: ast.AST) -> None:
        """Visit what lies below; a list of statements as a body."""
        for _, value in ast.iter_fields(node):
            if isinstance(value, ast.AST):
                self.visit(value)
            elif isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                self._body(value)
            elif isinstance(value, list):
                for item in value:
                    if isinstance(item, ast.AST):
                        self.visit(item)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for default in [*node.args.defaults, *node.args.kw_defaults]:
            if default is not None:
                self.visit(default)
        names = {argument.arg: 1 for argument in ast.walk(node.args) if isinstance(argument, ast.arg)}
        for inner in ast.walk(node):
            if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                names[inner.id] = names.get(inner.id, 0) + 1
        self._scope.append(node.name)
        self._names.append(names)
        self._body(node.body)
        self._names.pop()
        self._scope.pop()

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - the visitor's name

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._scope.append(node.name)
        self._body(node.body)
        self._scope.pop()

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_Return(self, node: ast.Return) -> None:
        value = node.value
        if value is not None and not (isinstance(value, ast.Constant) and value.value is None):
            self._add(self._begin(value), self._end(value), b"None", "return")
            self.visit(value)

    def visit_Raise(self, node: ast.Raise) -> None:
        """Its deletion is enough: what it says is a text."""

    def visit_Import(self, node: ast.Import) -> None:
        """Nothing runs there that could be another."""

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        new = ARITHMETIC.get(type(node.op))
        if new is not None:
            begin = self._end(node.target)
            match = CALCULATED.search(self._source, begin, self._begin(node.value))
            if match is not None:
                self._add(match.start(), match.end(), new.encode(), "arithmetic")
        self.visit(node.value)

    # --- conditions -----------------------------------------------------------------------------

    def _condition(self, test: ast.expr) -> None:
        """Negate what no other mutant negates."""
        if not isinstance(test, ast.Compare | ast.UnaryOp):
            begin, end = self._begin(test), self._end(test)
            self._add(begin, end, b"not (" + self._source[begin:end] + b")", "negation")

    def _visit_condition(self, node: Condition) -> None:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return
        self._condition(node.test)
        self.generic_visit(node)

    visit_If = visit_While = visit_IfExp = _visit_condition  # noqa: N815 - the visitor's names

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for test in node.ifs:
            self._condition(test)
        self.generic_visit(node)

    # --- operators ------------------------------------------------------------------------------

    def visit_Compare(self, node: ast.Compare) -> None:
        operands = [node.left, *node.comparators]
        for left, right, comparison in zip(operands, operands[1:], node.ops, strict=False):
            for new in COMPARISONS[type(comparison)]:
                self._between(left, right, COMPARED, new, "comparison")
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        new = "or" if isinstance(node.op, ast.And) else "and"
        for left, right in zip(node.values, node.values[1:], strict=False):
            self._between(left, right, JOINED, new, "junction")
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        new = ARITHMETIC.get(type(node.op))
        if new is not None:
            self._between(node.left, node.right, CALCULATED, new, "arithmetic")
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        begin = self._begin(node)
        if isinstance(node.op, ast.Not):
            self._add(begin, begin + len(b"not"), b"", "negation")
        elif isinstance(node.op, ast.USub):
            self._add(begin, begin + 1, b"", "arithmetic")
        self.generic_visit(node)

    # --- constants ------------------------------------------------------------------------------

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Before Python 3.12 its parts do not know where they stand."""

    def visit_Constant(self, node: ast.Constant) -> None:
        begin, end = self._begin(node), self._end(node)
        if isinstance(node.value, bool):
            self._add(begin, end, str(not node.value).encode(), "constant")
        elif isinstance(node.value, int | float):
            for step in (1, -1):
                self._add(begin, end, str(node.value + step).encode(), "constant")
        elif isinstance(node.value, str) and b"\\" not in self._source[begin:end]:
            for match in re.finditer(rb"\d", self._source[begin:end]):
                at = begin + match.start()
                self._add(at, at + 1, b"%d" % ((int(match[0]) + 1) % 10), "constant")
