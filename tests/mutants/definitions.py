"""Find a definition by its qualified name, in any file of a package.

`orchestrator:Dispatcher.stop` is a method, `common.database:POOL_SIZE` a constant (the module or package before the
colon may be as short as is unambiguous). `alembic:order_ledger_guard` is SQL: a table, constraint, index, function,
trigger or view, as the last migration defines it; or a whole migration, by its file's name without the number.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from tests.mutants.source import Span

MIGRATIONS = "alembic"
SQL = re.compile(
    r"(?:\bCREATE\s(?:OR\s+REPLACE\s+)?(?:UNIQUE\s+)?(?:TABLE|INDEX|FUNCTION|TRIGGER|VIEW)"
    r"|(?<!DROP )\bCONSTRAINT)\s+(?:CONCURRENTLY\s+)?(?:IF\s+NOT\s+EXISTS\s+)?(\w+)"
)
SQL_END = re.compile(r';|"""|\Z')
DOLLAR_QUOTED = re.compile(r"\$(\w*)\$.*?\$\1\$", re.DOTALL)


class NotFound(Exception):
    """The list of mutants names something that the code does not define exactly once."""


@dataclass(frozen=True)
class Definition:
    path: Path
    name: str
    span: Span
    node: ast.AST | None = None
    """None: SQL."""

    @property
    def is_python(self) -> bool:
        return self.path.suffix == ".py"


def find(root: Path, target: str) -> Definition:
    """The definition that `target` names in the tree at `root`. :raises NotFound:"""
    prefix, _, name = target.partition(":")
    known = list(_definitions(root, prefix))
    found = [definition for definition in known if definition.name == name]
    if found and prefix == MIGRATIONS:
        return found[-1]
    if len(found) == 1:
        return found[0]
    if found:
        files = ", ".join(f"{definition.path.relative_to(root)}" for definition in found)
        raise NotFound(f"{target} is defined {len(found)} times ({files}). Name the module before the colon.")
    raise NotFound(f"{target} is not defined. {_suggestion(root, name, [each.name for each in known])}")


def _suggestion(root: Path, name: str, known: list[str]) -> str:
    moved = [
        folder.name
        for folder in sorted(root.iterdir())
        if (folder / "__init__.py").exists()
        and any(definition.name == name for definition in _definitions(root, folder.name))
    ]
    candidates = [f"{package}:{name}" for package in moved] or get_close_matches(name, sorted(set(known)), n=3)
    return f"Did you mean {' or '.join(candidates)}?" if candidates else "Nothing has a similar name."


def _modules(folder: Path) -> list[Path]:
    """Without `build`, the copy that `pip install ./holdfast_client` leaves there."""
    return [path for path in sorted(folder.rglob("*.py")) if "build" not in path.relative_to(folder).parts]


def _definitions(root: Path, prefix: str) -> Iterator[Definition]:
    if prefix == MIGRATIONS:
        for path in sorted((root / "alembic" / "versions").glob("[0-9]*.*")):
            yield from _sql(path, path.read_text(encoding="utf-8"))
        return
    folder = root.joinpath(*prefix.split("."))
    by_name = root / f"{prefix}.py"  # such as gunicorn.conf.py
    for path in dict.fromkeys([by_name, folder.with_suffix(".py"), *_modules(folder)]):
        if path.exists():
            yield from _python(path, path.read_text(encoding="utf-8"))


@cache
def _sql(path: Path, text: str) -> list[Definition]:
    upgrade = text.partition("def downgrade")[0]
    whole = Definition(path, path.stem.partition("_")[2], Span(0, len(upgrade)))
    return [whole] + [
        Definition(path, found[1], Span(found.start(), _end(text, found))) for found in SQL.finditer(upgrade)
    ]


def _end(text: str, found: re.Match[str]) -> int:
    """Return the end of the SQL that begins at `found`."""
    blanked = DOLLAR_QUOTED.sub(lambda quoted: "." * len(quoted[0]), text)
    if found[0].startswith("CONSTRAINT"):
        depth = 0
        for mark in re.compile(r"[(),;]").finditer(blanked, found.end()):
            depth += {"(": 1, ")": -1}.get(mark[0], 0)
            if depth < 0 or (depth == 0 and mark[0] != "("):
                return mark.end() if mark[0] == ")" and depth == 0 else mark.start()
    ended = SQL_END.search(blanked, found.end())
    return ended.start() if ended else len(text)


@cache
def _python(path: Path, text: str) -> list[Definition]:
    starts = _line_starts(text)
    return [
        Definition(path, name, span_of(text, node, starts), node) for name, node in _named(ast.parse(text), prefix="")
    ]


def _named(parent: ast.AST, prefix: str) -> Iterator[tuple[str, ast.stmt]]:
    """Functions, classes and assignments, each with its qualified name."""
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield prefix + node.name, node
            yield from _named(node, f"{prefix}{node.name}.")
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for name in [each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)]:
                yield prefix + name, node
        elif isinstance(node, ast.stmt):
            yield from _named(node, prefix)


def span_of(text: str, node: ast.AST, starts: list[int] | None = None) -> Span:
    """The characters of a statement or an expression, with the decorators of a definition."""
    starts = starts or _line_starts(text)
    lines = text.splitlines()
    decorators = getattr(node, "decorator_list", [])
    row, column = (decorators[0].lineno, decorators[0].col_offset - 1) if decorators else (node.lineno, node.col_offset)  # type: ignore[attr-defined]
    end_row, end_column = node.end_lineno, node.end_col_offset  # type: ignore[attr-defined]
    return Span(
        starts[row - 1] + _characters(lines[row - 1], column),
        starts[end_row - 1] + _characters(lines[end_row - 1], end_column),
    )


def _characters(line: str, octets: int) -> int:
    """ast counts columns in bytes of UTF-8."""
    return len(line.encode()[:octets].decode())


def _line_starts(text: str) -> list[int]:
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return starts
