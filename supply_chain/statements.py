"""SQL with a value in its text. Values are parameters; a statement has only constants of the code in its text.

ruff's rule S608 reports every statement that is put together, also from constants. So it is off in the files that hold
the statements, and this check looks at them. It reads the text of each f-string, sum, `%`, `format` and `replace`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from supply_chain import git
from supply_chain.reviewed import Reviewed

# Upper case, as all SQL here is written; or the beginning of a statement. Statements that only define something are
# left out: they cannot have parameters.
SQL = re.compile(
    r"\b(SELECT|INSERT\s+INTO|UPDATE|DELETE\s+FROM|FROM|WHERE|VALUES|UNION|JOIN|RETURNING|ORDER\s+BY|AND|I?LIKE)\b"
    r"|(?i:^\s*(select\b.*\bfrom|insert\s+into|update\s+\S+\s+set|delete\s+from|with\s+\w+\s+as)\b)",
    re.DOTALL,
)
CONSTANT = re.compile(r"_*[A-Z][A-Z0-9_]*")
BUILDS = {"format", "format_map", "join", "replace"}
IMPORT = (ast.Import, ast.ImportFrom)
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def findings(folder: Path, reviewed: Reviewed) -> list[str]:
    """One line for each expression in a statement that is not a constant, and for each exception without a use.

    :raises CannotCheck: if git cannot list the files
    """
    names = [name for name in git.files(folder) if name.endswith(".py") and not name.startswith("tests/")]
    files = {name: ast.parse((folder / name).read_text(encoding="utf-8")) for name in names}
    shared = {name for tree in files.values() for name in sql_names(tree.body)}
    found = {(name, *each) for name, tree in files.items() for each in File(tree, shared).values()}
    allowed = reviewed.statements
    lines = [
        f"{name}:{line}: {text} is in the text of a statement. Make it a parameter"
        for name, line, text in sorted(found)
        if (name, text) not in allowed
    ]
    unused = allowed - {(name, text) for name, _, text in found}
    return lines + [f"{name}: the exception for {text} has no use" for name, text in sorted(unused)]


class File:
    """One file: which of its names are constants, and which of its strings are SQL."""

    def __init__(self, tree: ast.Module, shared: set[str]) -> None:
        """
        :param shared: names of constants of all files that are SQL
        """
        self._nodes = list(ast.walk(tree))
        self._shared = shared
        imported = {name for node in self._nodes if isinstance(node, IMPORT) for name in _bound(node)}
        self._sql = sql_names(self._nodes) | shared & imported
        functions = [node for node in self._nodes if isinstance(node, FUNCTION)]
        local = {name for each in functions for node in ast.walk(each) for name in _bound(node)}
        self._constants = {name for node in tree.body for name in _bound(node)} - local

    def values(self) -> Iterator[tuple[int, str]]:
        """The line and the text of each expression in a statement that is not a constant."""
        for node in self._nodes:
            parts = _parts(node)
            if any(self._is_sql(part) for part in parts):
                reported = parts[1:] if isinstance(node, ast.AugAssign) else parts
                yield from ((part.lineno, ast.unparse(part)) for part in reported if not self._is_constant(part))

    def _is_sql(self, part: ast.expr) -> bool:
        if isinstance(part, ast.Attribute):
            return part.attr in self._shared
        return _has_sql(part) or (isinstance(part, ast.Name) and part.id in self._sql)

    def _is_constant(self, part: ast.expr) -> bool:
        """Whether it is decided when the code is imported."""
        if isinstance(part, ast.Constant):
            return True
        if isinstance(part, ast.Attribute):  # of a module
            is_ours = isinstance(part.value, ast.Name) and part.value.id in self._constants
            return is_ours and bool(CONSTANT.fullmatch(part.attr))
        if isinstance(part, ast.Name):
            return part.id in self._constants and bool(CONSTANT.fullmatch(part.id))
        parts = _parts(part)
        if any(map(self._is_sql, parts)):
            return True  # a statement of its own: `values` reports its parts
        return bool(parts) and all(map(self._is_constant, parts))


def sql_names(nodes: Iterable[ast.AST]) -> set[str]:
    """The names that these nodes give to SQL."""
    assigned = [node for node in nodes if isinstance(node, ast.Assign | ast.AnnAssign) and node.value]
    return {name for node in assigned if _has_sql(node.value) for name in _bound(node)}


def _has_sql(part: ast.AST | None) -> bool:
    if isinstance(part, ast.Constant):
        return isinstance(part.value, str) and bool(SQL.search(part.value))
    return part is not None and any(map(_has_sql, _parts(part)))


def _parts(node: ast.AST) -> list[ast.expr]:
    """What a string is put together from. Empty: the node does not put a string together."""
    match node:
        case ast.JoinedStr(values=values):
            return [value.value if isinstance(value, ast.FormattedValue) else value for value in values]
        case ast.BinOp(left=left, op=ast.Add() | ast.Mod(), right=right):
            return [left, *_elements(right)]
        case ast.AugAssign(target=target, op=ast.Add() | ast.Mod(), value=value):
            return [target, value]
        case ast.Call(func=ast.Attribute(value=value, attr=attr), args=args, keywords=keywords) if attr in BUILDS:
            return [value, *(each for given in args for each in _elements(given)), *(each.value for each in keywords)]
    return []


def _elements(part: ast.expr) -> list[ast.expr]:
    match part:
        case ast.Tuple(elts=elements) | ast.List(elts=elements) | ast.Dict(values=elements):
            return elements
        case ast.GeneratorExp(elt=element) | ast.ListComp(elt=element):
            return [element]
    return [part]


def _bound(node: ast.AST) -> Iterator[str]:
    """The names that one node binds."""
    match node:
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            yield from (each.asname or each.name for each in names)
        case ast.Assign(targets=targets):
            yield from (each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)) | ast.NamedExpr(target=ast.Name(id=name)) | ast.arg(arg=name):
            yield name
        case ast.For(target=target) | ast.comprehension(target=target):
            yield from (each.id for each in ast.walk(target) if isinstance(each, ast.Name))
